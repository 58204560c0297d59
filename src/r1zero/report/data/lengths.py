"""Response lengths by class, and why their mean changed: within classes, or because the mixture of classes did.

Every saved response is in exactly one class. A truncated one is only "truncated", whatever its verdict (the paper's
App. D); the others are correct, incorrect (a wrong answer, or none) or ungraded. Sums and counts are kept, so a span of
steps is pooled exactly and never a mean of means.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.report.draw.numbers import some
from r1zero.runs.rollout_rows import RolloutFileError, read_rows
from r1zero.runs.steps import by_step
from r1zero.types import COARSE_FATES, CUT_OFF, Fate

ClassSums = Mapping[str, tuple[int, int]]
"""Class → (responses, their tokens)."""


def class_of(outcome: str, stop: str) -> Fate:
    """Return the class of a response, from its verdict and how it ended."""
    return Fate.of(outcome, stop in CUT_OFF).coarse


def class_sums(responses: Iterable[tuple[str, str, int]]) -> ClassSums:
    """Return (outcome, stop, length) of responses, added up by class."""
    sums: dict[str, tuple[int, int]] = dict.fromkeys(COARSE_FATES, (0, 0))
    for outcome, stop, length in responses:
        name = class_of(outcome, stop)
        count, tokens = sums[name]
        sums[name] = count + 1, tokens + length
    return sums


def read_class_sums(folder: Path, problems: list[str]) -> dict[int, ClassSums]:
    """Return step → class sums of every rollout file that can be read; `problems` gets one sentence on the others."""
    found: dict[int, ClassSums] = {}
    torn: list[str] = []
    for step, path in by_step(folder.glob("*.parquet")):
        try:
            rows = read_rows(path, ("outcome", "stop", "length"))
        except RolloutFileError:
            rows = []
        if rows and not any(None in row.values() for row in rows):
            found[step] = class_sums((row["outcome"], row["stop"], row["length"]) for row in rows)
        else:
            torn.append(path.name)
    if torn:
        problems.append(f"Of the saved responses, {some(torn)} cannot be read; left out.")
    return found


def pooled(sums: Iterable[ClassSums]) -> ClassSums:
    """Several steps' sums as one."""
    every = list(sums)
    return {name: (sum(one[name][0] for one in every), sum(one[name][1] for one in every)) for name in COARSE_FATES}


def shares(sums: ClassSums) -> dict[str, float]:
    """Return class → its share of the responses (0 of none)."""
    responses = sum(count for count, _ in sums.values())
    return {name: sums[name][0] / responses if responses else 0.0 for name in COARSE_FATES}


def mean_lengths(sums: ClassSums) -> dict[str, float | None]:
    """Return class → its mean length; None of nothing."""
    return {name: tokens / count if count else None for name, (count, tokens) in sums.items()}


def mean_length(sums: ClassSums) -> float | None:
    """Return the mean length of all responses; None of nothing."""
    responses = sum(count for count, _ in sums.values())
    return sum(tokens for _, tokens in sums.values()) / responses if responses else None


@dataclass(frozen=True, slots=True)
class Change:
    """How a mean length changed, start to end = the sum of `within` + `mixture`, in tokens."""

    start: float
    end: float
    within: Mapping[str, float]
    """Class → what the change of its own mean length contributes."""
    mixture: float
    """What the change of the classes' shares contributes."""


def decompose(before: ClassSums, after: ClassSums) -> Change | None:
    """Return the change of the mean length between two pools of responses; None when one holds none.

    With shares p and mean lengths m (0 before, 1 after), exactly:

        Σ p₁m₁ − Σ p₀m₀ = Σ ½(p₀ + p₁)(m₁ − m₀)   +   Σ ½(m₀ + m₁)(p₁ − p₀)
                              within the classes             mixture shift

    A class that one pool lacks takes the other's mean there: its coming or going is all mixture.
    """
    start, end = mean_length(before), mean_length(after)
    if start is None or end is None:
        return None
    p0, p1, m0, m1 = shares(before), shares(after), mean_lengths(before), mean_lengths(after)
    within, mixture = {}, 0.0
    for name in COARSE_FATES:
        old, new = m0[name], m1[name]
        first, last = (new if old is None else old) or 0.0, (old if new is None else new) or 0.0
        within[name] = (p0[name] + p1[name]) / 2 * (last - first)
        mixture += (first + last) / 2 * (p1[name] - p0[name])
    return Change(start, end, within, mixture)


def windows(steps: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the first and the last twentieth of the steps, one each at least: "start" and "end" of a report."""
    size = max(1, round(len(steps) / 20))
    return tuple(steps[:size]), tuple(steps[-size:])
