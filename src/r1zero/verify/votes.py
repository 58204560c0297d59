"""Which answers say the same: what votes together where several responses to a question are counted."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from r1zero.verify.answers.numbers import number, tidy
from r1zero.verify.answers.purse import PURSE, exhausted, tab
from r1zero.verify.grade import grade_exact

_MOST_KINDS = 64
"""Kinds of answers that a new one is compared with; where there are more, later ones are told apart by their text."""

_UNITS = 8 * PURSE
"""What comparing the answers to one question may cost in all; what is left then is told apart by its text."""


def same_answers(answers: Sequence[str | None]) -> list[Hashable | None]:
    """Return one value per answer, equal for answers that the verifier's exact path calls equal; None of None.

    Two answers are equal if either is right where the other is the gold: `12 cm` is 12, and 12 votes with it.
    """
    kinds: dict[Hashable, str] = {}  # by a value that stands for the kind, the answer that came first
    known: dict[str, Hashable] = {}
    found: list[Hashable | None] = []
    with tab(_UNITS):
        for answer in answers:
            if answer and answer not in known:
                known[answer] = _kind(answer, kinds)
                kinds.setdefault(known[answer], answer)
            found.append(known[answer] if answer else None)
    return found


def _kind(answer: str, kinds: dict[Hashable, str]) -> Hashable:
    value = number(tidy(answer))
    if value is not None and value in kinds:
        return value
    if len(kinds) < _MOST_KINDS:
        for kind, first in kinds.items():
            is_number = isinstance(kind, type(value)) and value is not None
            if exhausted():
                break
            if not is_number and (_right(first, answer) or _right(answer, first)):
                return kind
    return tidy(answer) if value is None else value


def _right(gold: str, answer: str) -> bool:
    verdict = grade_exact(gold, answer)
    return verdict is not None and verdict.right
