"""Runs side by side: those that differ only in their seed are one group, whose curve is a mean with a band."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from r1zero.config import Keeps, Recipe
from r1zero.config.overrides import without
from r1zero.config.pretrain import PretrainRecipe
from r1zero.report.charts.model import Series
from r1zero.report.data.lengths import ClassSums, pooled
from r1zero.report.data.run_data import RunData

_SAME_FACTS = ("objective_hash", "questions_fingerprint", "template_hash", "parameters")
_MOST_POINTS = 400
"""Points of a drawn curve; of longer ones every kth is drawn."""


@dataclass(frozen=True, slots=True)
class SeedGroup:
    """Runs that differ only in their seed, in the order of their seeds; mostly one."""

    label: str
    runs: tuple[RunData, ...]

    @property
    def title(self) -> str:
        """The label, with the number of seeds where there are several."""
        return f"{self.label} ({len(self.runs)} seeds)" if len(self.runs) > 1 else self.label

    @property
    def lengths(self) -> dict[int, ClassSums]:
        """Step → the runs' class sums, pooled."""
        steps = sorted({step for run in self.runs for step in run.lengths})
        return {step: pooled(run.lengths[step] for run in self.runs if step in run.lengths) for step in steps}


def grouped(runs: Sequence[RunData]) -> list[SeedGroup]:
    """Return the runs in groups, each labelled by what tells it from the others."""
    buckets: dict[str, list[RunData]] = {}
    seen: Counter[tuple[str, int | None]] = Counter()
    for run in runs:
        same = _experiment(run)
        seen[same, run.seed] += 1
        again = seen[same, run.seed] - 1  # the same run twice tells nothing of the spread between seeds
        buckets.setdefault(f"{same}{again}", []).append(run)
    members = [sorted(bucket, key=lambda run: run.seed or 0) for bucket in buckets.values()]
    labels = _labels([bucket[0] for bucket in members])
    return [SeedGroup(label, tuple(bucket)) for label, bucket in zip(labels, members, strict=True)]


def curve(group: SeedGroup, index: int, key: str) -> Series | None:
    """Return a logged number over steps: the smoothed mean of the group's runs; None where none logged it.

    The band of several runs is one standard deviation (n − 1) to each side, between the smoothed runs.
    """
    return series_of(group, index, [run.logged(key) for run in group.runs])


def evaluated_sets(groups: Iterable[SeedGroup]) -> list[str]:
    """Return the names of the question sets that any run has an accuracy on."""
    rows = [row for group in groups for run in group.runs for row in run.evaluations.values()]
    return sorted({name[1] for row in rows for key in row if (name := re.fullmatch(r"eval/(.+)/accuracy", key))})


def evaluation_curve(group: SeedGroup, index: int, name: str) -> Series | None:
    """Return a question set's accuracy over steps: one run's with its interval, several's as `curve`, unsmoothed."""
    key = f"eval/{name}/accuracy"
    logged = [{step: row[key] for step, row in run.evaluations.items() if key in row} for run in group.runs]
    series = series_of(group, index, logged, 1)
    if series is None or len(group.runs) > 1:
        return series
    rows = [run.evaluations[int(step)] for run in group.runs for step in series.x]  # of the only one
    low, high = (
        tuple(row.get(f"{key}_{end}", y) for row, y in zip(rows, series.y, strict=True)) for end in ("low", "high")
    )
    return replace(series, low=low, high=high)


def window_of(points: int) -> int:
    """Tell how many steps are averaged into one point of a smoothed curve of `points` steps: about a tenth, odd."""
    return min(51, 2 * (points // 24) + 1)


def smooth(values: Sequence[float], window: int = 9) -> list[float]:
    """Return centred moving mean. At the beginning, where curves are steep, it narrows on both sides; at the end, where
    one step's noise would be taken for the outcome, on one only.
    """
    half = window // 2
    spans = [values[max(0, i - half) : i + min(i, half) + 1] for i in range(len(values))]
    return [sum(span) / len(span) for span in spans]


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and standard deviation (n − 1); of one value it is 0."""
    mean = sum(values) / len(values)
    if len(values) < 2:
        return mean, 0.0
    return mean, math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1))


def differing(runs: Iterable[RunData]) -> list[str]:
    """Return the settings in which runs differ, those aside that make no other experiment."""
    recipes = [_settings(run) for run in runs]
    keys = dict.fromkeys(key for recipe in recipes for key in recipe)
    return [key for key in keys if len({_text(recipe.get(key)) for recipe in recipes}) > 1]


def series_of(
    group: SeedGroup, index: int, logged: Sequence[Mapping[int, float]], width: int | None = None
) -> Series | None:
    """Return a number of every run over steps, as `curve` shows it; None where there is none."""
    logged = [points for points in logged if points]
    if not logged:
        return None
    smoothed = []
    for points in logged:
        window = window_of(len(points)) if width is None else width
        smoothed.append(dict(zip(points, smooth(list(points.values()), window), strict=True)))
    steps = sorted({step for points in logged for step in points})
    every = math.ceil(len(steps) / _MOST_POINTS)
    steps = sorted({*steps[::every], steps[-1]})
    raw = tuple(mean_and_deviation([p[step] for p in logged if step in p])[0] for step in steps)
    means = [mean_and_deviation([p[step] for p in smoothed if step in p]) for step in steps]
    y = tuple(mean for mean, _ in means)
    several = len(group.runs) > 1
    low = tuple(mean - deviation for mean, deviation in means) if several else ()
    high = tuple(mean + deviation for mean, deviation in means) if several else ()
    return Series(group.title, f"s{index}", tuple(map(float, steps)), y, raw, low, high)


def _experiment(run: RunData) -> str:
    """Equal for runs that are the same experiment. A run without a recipe is like no other."""
    if not run.recipe:
        return str(run.path.resolve())
    return _text([_settings(run), [run.facts.get(name) for name in _SAME_FACTS]])


def _settings(run: RunData) -> dict[str, object]:
    """Return what makes the experiment. A setting of None is one that an older recipe does not know."""
    kind = PretrainRecipe if run.command == "pretrain" else Recipe
    return {k: v for k, v in without(run.recipe, kind, Keeps.EXPERIMENT).items() if v is not None}


def _labels(firsts: Sequence[RunData]) -> list[str]:
    """Return what tells runs apart: their objective or the settings that differ, else the directories' names."""
    if len(firsts) == 1:
        return [str(firsts[0].facts.get("objective") or firsts[0].name)]
    keys = differing(firsts)
    labels = [", ".join(_setting(key, run.recipe.get(key)) for key in keys) for run in firsts]
    if not 0 < len(keys) <= 2 or not all(run.recipe for run in firsts):
        labels = [run.name for run in firsts]
    labels = [label if len(label) <= 40 else run.name for label, run in zip(labels, firsts, strict=True)]
    for names in ([run.name for run in firsts], [str(run.path) for run in firsts]):  # directories may share a name
        count = Counter(labels)
        labels = [label if count[label] == 1 else name for label, name in zip(labels, names, strict=True)]
    return labels


def _setting(key: str, value: object) -> str:
    if key == "objective.name":
        return str(value)
    text = str(value).rstrip("/").rsplit("/", 1)[-1] if key.endswith(".path") else str(value)
    return f"{key.split('.')[-1]} {text}"


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=str)
