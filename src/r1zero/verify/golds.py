r"""Gold answers, checked once when a set is loaded: what cannot be graded is listed, and never scored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from r1zero.types import Question
from r1zero.verify.answers.equality import usable
from r1zero.verify.answers.grammar import parse
from r1zero.verify.answers.tokens import MAX_CHARS
from r1zero.verify.extraction.boxes import balanced

_COSTLY = ("^", "!", "binom", "**")


@dataclass(frozen=True, slots=True)
class GoldFault:
    """One accepted answer that is of no use, and why."""

    question: str
    gold: str
    why: str


@lru_cache(maxsize=4096)
def unreadable(gold: str) -> str | None:
    """Tell why nothing can be compared with this gold answer, not even the same text; None for nearly all."""
    if not gold.strip():
        return "blank"
    if len(gold) > MAX_CHARS:
        return "too long"
    if not balanced(gold):
        return "unbalanced braces"
    if any(not char.isprintable() and not char.isspace() for char in gold):
        return "a character that cannot be printed"
    return None


def gold_fault(gold: str) -> str | None:
    """Tell why a gold answer is of no use: it is `unreadable`, or too large to compute."""
    why = unreadable(gold)
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
