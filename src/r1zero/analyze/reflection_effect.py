"""Does self-reflection help (the paper's App. D, Fig. 12 and 13, Table 5)?

Reflecting and other responses are compared within the same question only: hard questions draw more reflection, and a
comparison over all questions would blame reflection for it.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from r1zero.analyze.responses import GradedResponse, ModelResponses
from r1zero.statistics import Paired, paired
from r1zero.types import Fate

_ALL = "all"


@dataclass(frozen=True, slots=True)
class Spread:
    """The per-question differences as a box plot has them; whiskers at most 1.5 interquartile ranges long."""

    median: float
    first_quartile: float
    third_quartile: float
    low_whisker: float
    high_whisker: float


@dataclass(frozen=True, slots=True)
class MeanLengths:
    """Mean lengths of a category, in characters (what the paper's Table 5 gives) and tokens; None of nothing."""

    responses: int
    characters: float | None
    tokens: float | None


@dataclass(frozen=True, slots=True)
class Helping:
    """The comparison, and what becomes of responses by difficulty."""

    detection: str
    temperature: float
    reflecting: int
    others: int
    difference: Paired | None
    """Accuracy of reflecting − other responses, over questions that have both; None where no question has."""
    spread: Spread | None
    reflecting_accuracy: float | None
    other_accuracy: float | None
    """Over all questions: not comparable, see above."""
    categories: dict[str, dict[str, int]]
    """Level → category → responses; `all` is every level."""
    reflecting_categories: dict[str, dict[str, int]]
    """The same of reflecting responses only."""
    lengths: dict[str, MeanLengths]
    """By category."""


def analyse(cell: ModelResponses, flags_PG: Sequence[Sequence[bool | None]], detection: str) -> Helping:
    """Compare reflecting (flagged) with other responses of a cell; those of which it is unknown are neither."""
    reflecting: list[GradedResponse] = []
    others: list[GradedResponse] = []
    levels: list[str | None] = []  # of the reflecting ones
    for group, flags in zip(cell.groups, flags_PG, strict=True):
        yes = [reply for reply, flag in zip(group.replies, flags, strict=True) if flag]
        no = [reply for reply, flag in zip(group.replies, flags, strict=True) if flag is False]
        reflecting += yes
        others += no
        levels += [group.level] * len(yes)
    both = within_questions(cell, flags_PG)
    return Helping(
        detection,
        cell.temperature,
        len(reflecting),
        len(others),
        _paired(both) if both else None,
        spread([each.reflecting - each.other for each in both]) if both else None,
        _accuracy(reflecting) if reflecting else None,
        _accuracy(others) if others else None,
        by_level(cell.replies, [group.level for group in cell.groups for _ in group.replies]),
        by_level(reflecting, levels),
        lengths(cell.replies),
    )


class Within(NamedTuple):
    """A question that has both: what it asks, and the accuracy of its other and of its reflecting responses."""

    question: str
    other: float
    reflecting: float


def _paired(both: Sequence[Within]) -> Paired:
    questions, others, reflecting = zip(*both, strict=True)
    return paired(others, reflecting, questions)


def within_questions(cell: ModelResponses, flags_PG: Sequence[Sequence[bool | None]]) -> list[Within]:
    """Return the accuracies of each question that has reflecting and other responses."""
    found = []
    for question, group, flags in zip(cell.questions, cell.groups, flags_PG, strict=True):
        yes = [reply for reply, flag in zip(group.replies, flags, strict=True) if flag]
        no = [reply for reply, flag in zip(group.replies, flags, strict=True) if flag is False]
        if yes and no:
            found.append(Within(question, _accuracy(no), _accuracy(yes)))
    return found


def spread(values: Sequence[float]) -> Spread:
    """Return the five numbers of a box plot (quartiles by linear interpolation, as matplotlib draws them)."""
    ordered = sorted(values)
    if len(ordered) == 1:
        return Spread(*ordered * 5)
    low, middle, high = statistics.quantiles(ordered, n=4, method="inclusive")
    reach = 1.5 * (high - low)
    inside = [value for value in ordered if low - reach <= value <= high + reach]
    return Spread(middle, low, high, inside[0], inside[-1])


def by_level(replies: Sequence[GradedResponse], levels: Sequence[str | None]) -> dict[str, dict[str, int]]:
    """Return counts of every category, by difficulty level (sorted) and of all."""
    found = {level or "no level" for level in levels}
    order = [*sorted(found, key=lambda level: (len(level), level)), _ALL]
    table = {level: dict.fromkeys(map(str, Fate), 0) for level in order}
    for reply, level in zip(replies, levels, strict=True):
        table[level or "no level"][reply.fate] += 1
        table[_ALL][reply.fate] += 1
    return table


def lengths(replies: Sequence[GradedResponse]) -> dict[str, MeanLengths]:
    """Return mean lengths of each category."""
    found: dict[str, MeanLengths] = {}
    for fate in Fate:
        part = [reply for reply in replies if reply.fate is fate]
        n = len(part)
        characters = sum(len(reply.text) for reply in part) / n if n else None
        found[fate] = MeanLengths(n, characters, sum(reply.tokens for reply in part) / n if n else None)
    return found


def _accuracy(replies: Sequence[GradedResponse]) -> float:
    return sum(reply.right for reply in replies) / len(replies)
