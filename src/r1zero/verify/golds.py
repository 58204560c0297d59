r"""Gold answers: the answer that a gold states at the end of a whole solution, and what cannot be graded at all.

Sets come with golds such as `12 + 24 = 36 … #### 36`, `so $x = \boxed{15}$`, `Final answer: 14` and `['12']`. Where
the mark is unmistakable, the answer behind it is the gold; what cannot be graded is listed, and never scored.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
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


def unusable(gold: str) -> str | None:
    """Tell why no response can be graded by a gold answer: it is `unreadable`, or a text that marks no answer."""
    why = unreadable(gold)
    if why is None and "\\boxed" in gold:
        return "its last box holds no answer"
    if why is None and (listed := _printed_list(gold)) is not None:
        return f"a printed list of {len(listed)} answers, and nothing says whether one or all are asked for"
    if why is None and len(gold.split()) > _MOST_WORDS and has_prose(gold):
        return "a text that marks no final answer"
    return why


def gold_fault(gold: str) -> str | None:
    """Tell why a gold answer is of no use, or of little: it is `unusable`, or too large to compute."""
    why = unusable(gold)
    if why is None and any(mark in gold for mark in _COSTLY):
        shape = parse(gold)
        if shape is not None and not usable(shape):
            return "too large to compute, so only the same text is right"
    return why


@dataclass(frozen=True, slots=True)
class ReadGolds:
    """A set's questions with golds that can be graded: each the final answer that it marks. `taken` are golds that
    were whole solutions, with what was taken of them; `left_out` those of the questions that have no usable gold;
    `costly` those that are right as the same text only.
    """

    questions: tuple[Question, ...]
    taken: tuple[tuple[str, str], ...]
    left_out: tuple[GoldFault, ...]
    costly: tuple[GoldFault, ...]


def read_golds(questions: Iterable[Question]) -> ReadGolds:
    """Take the final answer from every gold of a set, and leave out the questions that no response can be graded by."""
    kept, taken, left_out, costly = [], [], [], []
    for question in questions:
        golds = tuple(dict.fromkeys(map(final_gold, question.gold)))
        taken += [(gold, final_gold(gold)) for gold in question.gold if final_gold(gold) != gold]
        faults = [(GoldFault(question.id, gold, why), unusable(gold)) for gold in golds if (why := gold_fault(gold))]
        unusables = [fault for fault, why in faults if why]
        if len(unusables) == len(golds):
            left_out += unusables
            continue
        costly += [fault for fault, why in faults if not why]
        kept.append(question if golds == question.gold else replace(question, gold=golds))
    return ReadGolds(tuple(kept), tuple(taken), tuple(left_out), tuple(costly))


def listed(faults: Sequence[GoldFault], most: int = 5) -> str:
    """Return the first faults as a sentence's end: `set/3 (unbalanced braces); …`."""
    shown = "; ".join(f"{fault.question} ({fault.why})" for fault in faults[:most])
    return shown + (f" and {len(faults) - most:,} more" if len(faults) > most else "")
