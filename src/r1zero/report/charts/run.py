"""What a report draws, as data: which curves stand in which panel. `svg` draws it into the page, `files` to files."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.metrics import METRICS, Metric, metric_of
from r1zero.report.charts import by_name
from r1zero.report.charts.model import Chart, Series, slug
from r1zero.report.data.lengths import Change, decompose, mean_lengths, pooled, shares, windows
from r1zero.report.data.seed_groups import SeedGroup, curve, evaluated_sets, evaluation_curve
from r1zero.types import COARSE_FATES


@dataclass(frozen=True, slots=True)
class LengthCharts:
    """One group's responses by class: shares and mean lengths over steps, and why the mean length changed."""

    label: str
    key: str
    steps: tuple[float, ...]
    """The middle of each bin of steps that is pooled into one point."""
    shares: dict[str, tuple[float, ...]]
    by_class: Chart
    change: Change | None
    first: tuple[int, ...]
    last: tuple[int, ...]
    bin: int
    """Steps in a bin."""


# Panels: what was logged, the title, and the unit, which is % of a share.
PRETRAINING = (
    ("pretrain/loss", "Loss", "nats"),
    ("pretrain/held_out_loss", "Held-out loss", "nats"),
    ("pretrain/grad_norm", "Gradient norm of pretraining", ""),
)
LEARNING = (
    ("rollout/reward", "Reward", "%"),
    ("rollout/pass_at_1", "pass@1", "%"),
    ("rollout/pass_at_g", "pass@G", "%"),
    ("rollout/dead_groups", "Dead groups", "%"),
    ("learn/entropy", "Entropy", "nats"),
)
LENGTHS = (
    ("rollout/length", "Length of all responses", "tokens"),
    ("rollout/length_correct", "Length of correct responses", "tokens"),
    ("rollout/length_incorrect", "Length of incorrect responses", "tokens"),
    ("rollout/length_truncated", "Length of truncated responses", "tokens"),
    ("rollout/truncated", "Truncated share", "%"),
)
HEALTH = (("learn/grad_norm", "Gradient norm", ""), ("speed/tokens_per_second", "Speed", "tokens/s"))
BIAS = (("bias/length", "Length bias", ""), ("bias/difficulty", "Difficulty bias", ""))
DEMO = (
    ("rollout/reward", "Training reward", "%"),
    ("rollout/length_correct", "Length of right answers", "tokens"),
    ("rollout/length_incorrect", "Length of wrong answers", "tokens"),
    ("rollout/truncated", "Truncated responses", "%"),
)
_BINS = 40
"""Points of responses by class, at most: each of consecutive steps, pooled."""
_OWN_PANEL = {key for each in (PRETRAINING, LEARNING, LENGTHS, HEALTH, BIAS) for key, _, _ in each}
_REFERENCES = {
    "bias/length": ((0.0, "unbiased"), (-1.0, "1/|o|")),
    "bias/difficulty": ((0.0, "unbiased"), (-1.0, "1/std")),
}


def learning(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return reward and accuracies, pass@1 and pass@G, dead groups and entropy."""
    listed = any(key.startswith("reward/") for key in _logged(groups))  # a sum, and no share of anything
    reward = [(key, title, "" if listed else unit) for key, title, unit in LEARNING[:1]]
    return panels(groups, reward) + _evaluations(groups) + panels(groups, LEARNING[1:])


def _evaluations(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return accuracy on each question set."""
    about = "Share of responses graded right. The band is the 95 % interval (Wilson, over questions) of one run, "
    about += "one standard deviation between seeds of several."
    charts = []
    for name in evaluated_sets(groups):
        series = tuple(filter(None, (evaluation_curve(group, i, name) for i, group in enumerate(groups))))
        charts.append(
            Chart(slug(f"eval-{name}"), f"Accuracy: {name}", "", series, about, better="up", percent=True, ceiling=0.05)
        )
    return charts


def lengths(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return mean lengths, all and by class, the truncated share, and what reward costs in tokens."""
    path = reward_against_length(groups)
    return panels(groups, LENGTHS) + ([path] if path else [])


def others(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return every other logged number, in the table's order; strangers last."""
    logged = {key for key in _logged(groups) - _OWN_PANEL if not by_name.shown(key)}
    keys = [*(key for key in METRICS if key in logged), *sorted(logged - METRICS.keys())]
    return panels(groups, [(key, key, "") for key in keys])


def missing(groups: Sequence[SeedGroup]) -> list[str]:
    """Return the panels of reinforcement learning that no such run has logged anything for."""
    logged = _logged(groups)
    if not any(key.startswith("rollout/") for key in logged):
        return []
    return [title for key, title, _ in (*LEARNING, *LENGTHS, *HEALTH, *BIAS) if key not in logged]


def _metric(key: str) -> Metric:
    """Return the row of a logged number; of a stranger, one that says nothing."""
    try:
        return metric_of(key)
    except KeyError:
        return Metric(key, "")


def _logged(groups: Sequence[SeedGroup]) -> set[str]:
    return {key for group in groups for run in group.runs for row in run.metrics.values() for key in row}


def reward_against_length(groups: Sequence[SeedGroup]) -> Chart | None:
    """Return the path of training in the plane of mean length and reward (the paper's Fig. 1, right)."""
    series = []
    for index, group in enumerate(groups):
        x, y = curve(group, index, "rollout/length"), curve(group, index, "rollout/reward")
        if x is None or y is None:
            continue
        at = dict(zip(x.x, x.y, strict=True))
        points = [(at[step], reward, int(step)) for step, reward in zip(y.x, y.y, strict=True) if step in at]
        if points:
            xs, ys, steps = zip(*points, strict=True)
            series.append(Series(group.title, f"s{index}", xs, ys, steps=steps))
    if not series:
        return None
    about = "Token efficiency: each run's way from its first step (open mark) to its last (full mark). "
    about += "Up is better; to the right costs tokens."
    return Chart("reward-length", "Reward against length", "reward", tuple(series), about, x_label="tokens", path=True)


def all_by_class(groups: Sequence[SeedGroup]) -> list[LengthCharts]:
    """Return every group's responses by class, of those that have saved any."""
    return [each for i, group in enumerate(groups) if (each := by_class(group, i)) is not None]


def by_class(group: SeedGroup, index: int) -> LengthCharts | None:
    """Return a group's responses by class; None where none are saved."""
    sums = group.lengths
    if not sums:
        return None
    steps = tuple(sums)
    size = math.ceil(len(steps) / _BINS)
    bins = [steps[at : at + size] for at in range(0, len(steps), size)]
    pools = [pooled(sums[step] for step in each) for each in bins]
    middles = tuple(sum(each) / len(each) for each in bins)
    means = [mean_lengths(pool) for pool in pools]
    series = []
    for name in COARSE_FATES:
        points = [(at, mean) for at, each in zip(middles, means, strict=True) if (mean := each[name]) is not None]
        if points:
            x, y = zip(*points, strict=True)
            series.append(Series(name, name, x, y))
    key = f"classes-{index}"
    about = "Mean length of each class. A truncated response is only truncated, whatever its answer."
    chart = Chart(key, "Length by class", "tokens", tuple(series), about)
    share: dict[str, tuple[float, ...]] = {name: tuple(shares(pool)[name] for pool in pools) for name in COARSE_FATES}
    first, last = windows(steps)
    change = decompose(pooled(sums[s] for s in first), pooled(sums[s] for s in last)) if len(steps) > 1 else None
    return LengthCharts(group.title, key, middles, share, chart, change, first, last, size)


def panels(groups: Sequence[SeedGroup], wanted: Sequence[tuple[str, str, str]]) -> list[Chart]:
    """Return a panel for each of these numbers that something was logged for."""
    steps = [step for group in groups for run in group.runs for step in run.metrics]
    span = (float(min(steps)), float(max(steps))) if steps else None
    charts = []
    for key, title, unit in wanted:
        series = tuple(filter(None, (curve(group, i, key) for i, group in enumerate(groups))))
        if not series:
            continue
        metric = _metric(key)
        charts.append(
            Chart(
                slug(key),
                title,
                unit.strip("%"),
                series,
                metric.meaning,
                metric.suspect,
                metric.better,
                percent=unit == "%",
                floor=None if key not in _OWN_PANEL else 0.0,
                ceiling=0.05 if unit == "%" else None,
                span=span,
                references=_REFERENCES.get(key, ()),
            )
        )
    return charts
