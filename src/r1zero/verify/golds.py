r"""Gold answers: the answer that a gold states at the end of a whole solution, and what cannot be graded at all.

Sets come with golds such as `12 + 24 = 36 … #### 36`, `so $x = \boxed{15}$`, `Final answer: 14` and `['12']`. Where
the mark is unmistakable, the answer behind it is the gold; what cannot be graded is listed, and never scored.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from r1zero.types import Question
from r1zero.verify.answers.characters import INVISIBLE
from r1zero.verify.answers.equality import usable
from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.tokens import MAX_CHARS
from r1zero.verify.extraction.boxes import balanced, last_answer
from r1zero.verify.math_verify_guard import has_prose

_MARKED = re.compile(r"(?:\A|\n)[^\S\n]*####[^\S\n]*([^\n]+)\s*\Z")  # GSM8K's
_TAGGED = re.compile(r"<answer>([^<>]+)</answer>\s*\Z")
_STATED = re.compile(
    r"(?:\A|[\n.:;,]|\bso\b)[\s*]*(?:the\s+)?(?:final\s+answer|answer)[\s*]*(?:is|:|=)[\s*:]*([^\n]{1,200}?)[\s.*]*\Z",
    re.IGNORECASE,
)
_LISTED = re.compile(r"\[\s*(?:'[^']*'|\"[^\"]*\")\s*(?:,.*)?\]", re.DOTALL)
_MOST_WORDS = 20  # of a gold that is one sentence
_COSTLY = ("^", "!", "binom", "**")


@dataclass(frozen=True, slots=True)
class GoldFault:
    """One accepted answer that is of no use, and why."""

    question: str
    gold: str
    why: str


@lru_cache(maxsize=4096)
def final_gold(gold: str) -> str:
    """Return the answer that a gold marks as its final one, else the gold: of a whole solution what stands in its last
    box, behind `####`, in answer tags or behind `final answer:`; of a printed list of one text that text."""
    if "\\boxed" in gold or "\\fbox" in gold:
        return last_answer(gold) or gold
    for form in (_MARKED, _TAGGED, _STATED):
        found = form.search(gold)
        if found is not None:
            return found[1].strip()
    listed = _printed_list(gold)
    return listed[0].strip() if listed is not None and len(listed) == 1 else gold


def _printed_list(gold: str) -> list[str] | None:
    """Return the texts of a list as Python prints it, or None."""
    if len(gold) > MAX_CHARS or not _LISTED.fullmatch(gold.strip()):
        return None
    try:
        found = ast.literal_eval(gold.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(text, str) for text in found) else None


@lru_cache(maxsize=4096)
def unreadable(gold: str) -> str | None:
    """Tell why nothing can be compared with this gold answer, not even the same text; None for nearly all."""
    if not gold.strip():
        return "blank"
    if len(gold) > MAX_CHARS:
        return "too long"
    if not balanced(gold):
        return "unbalanced braces"
    if any(not char.isprintable() and not char.isspace() for char in INVISIBLE.sub("", gold)):
        return "a character that cannot be printed"
    return None


def gold_fault(gold: str) -> str | None:
    """Tell why a gold answer is of no use: it is `unreadable`, a text that marks no answer, or too large to compute."""
    why = unreadable(gold)
    if why is None and "\\boxed" in gold:
        return "its last box holds no answer"
    if why is None and (listed := _printed_list(gold)) is not None:
        return f"a printed list of {len(listed)} answers, and nothing says whether one or all are asked for"
    if why is None and len(gold.split()) > _MOST_WORDS and has_prose(gold):
        return "a text that marks no final answer"
    if why is None and any(mark in gold for mark in _COSTLY):
        shape = parse(gold)
        if shape is not None and not usable(shape):
            return "too large to compute, so only the same text is right"
    return why


def check_golds(questions: Iterable[Question]) -> list[GoldFault]:
    """Return every faulty gold answer of a set, in order."""
    return [
        GoldFault(question.id, gold, why)
        for question in questions
        for gold in question.gold
        if (why := gold_fault(gold)) is not None
    ]


def gold_note(name: str, questions: Iterable[Question]) -> tuple[str, ...]:
    """Return one sentence about a set's faulty golds for whoever loads it; nothing if there are none."""
    faults = check_golds(questions)
    if not faults:
        return ()
    shown = "; ".join(f"{fault.question} ({fault.why})" for fault in faults[:5])
    more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
    return (f"{len(faults)} gold answers of {name} cannot be graded and are counted as ungraded: {shown}{more}",)
