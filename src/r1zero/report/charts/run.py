"""What a report draws, as data: which curves stand in which panel. `svg` draws it into the page, `files` to files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1zero.metrics import METRICS
from r1zero.report.charts.model import Chart, Series, slug
from r1zero.report.data.lengths import Change, decompose, mean_lengths, pooled, shares, windows
from r1zero.report.data.seed_groups import SeedGroup, curve, evaluation_curve
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


_PRETRAINING = (
    ("pretrain/loss", "Loss", False),
    ("pretrain/held_out_loss", "Held-out loss", False),
    ("pretrain/grad_norm", "Gradient norm of pretraining", False),
)
_LEARNING = (
    ("rollout/reward", "Reward", True),
    ("rollout/pass_at_1", "pass@1", True),
    ("rollout/pass_at_g", "pass@G", True),
    ("rollout/dead_groups", "Dead groups", True),
    ("learn/entropy", "Entropy", False),
)
_LENGTHS = (
    ("rollout/length", "Length of all responses", False),
    ("rollout/length_correct", "Length of correct responses", False),
    ("rollout/length_incorrect", "Length of incorrect responses", False),
    ("rollout/length_truncated", "Length of truncated responses", False),
    ("rollout/truncated", "Truncated share", True),
)
_HEALTH = (
    ("learn/grad_norm", "Gradient norm", False),
    ("speed/tokens_per_second", "Speed", False),
)
_BIAS = (("bias/length", "Length bias", False), ("bias/difficulty", "Difficulty bias", False))
_DEMO = (
    ("rollout/reward", "Training reward", True),
    ("rollout/length_correct", "Length of right answers", False),
    ("rollout/length_incorrect", "Length of wrong answers", False),
    ("rollout/truncated", "Truncated responses", True),
)
_UNITS = {
    "pretrain/loss": "nats",
    "pretrain/held_out_loss": "nats",
    "rollout/length": "tokens",
    "rollout/length_correct": "tokens",
    "rollout/length_incorrect": "tokens",
    "rollout/length_truncated": "tokens",
    "learn/entropy": "nats",
    "speed/tokens_per_second": "tokens/s",
    "learn/grad_norm": "",
    "rollout/reward": "",
}
_BINS = 40
_OWN_PANEL = {key for panels in (_PRETRAINING, _LEARNING, _LENGTHS, _HEALTH, _BIAS) for key, _, _ in panels}
_REFERENCES = {
    "bias/length": ((0.0, "unbiased"), (-1.0, "1/|o|")),
    "bias/difficulty": ((0.0, "unbiased"), (-1.0, "1/std")),
}


def demo(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return reward, lengths of right and wrong answers, and truncation: what a demo shows."""
    return _panels(groups, _DEMO)


def pretraining(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return losses of pretraining runs."""
    return _panels(groups, _PRETRAINING)


def learning(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return reward and accuracies, pass@1 and pass@G, dead groups and entropy."""
    panels = _panels(groups, _LEARNING)
    rewards = [panel for panel in panels if panel.key == slug("rollout/reward")]
    return [*rewards, *_evaluations(groups), *(panel for panel in panels if panel not in rewards)]


def _evaluations(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return accuracy on each question set."""
    pattern = re.compile(r"eval/(.+)/accuracy")
    names = {
        match[1]
        for group in groups
        for run in group.runs
        for row in run.evaluations.values()
        for key in row
        if (match := pattern.fullmatch(key))
    }
    charts = []
    for name in sorted(names):
        series = _all(groups, lambda group, index, name=name: evaluation_curve(group, index, name))
        about = "Share of responses graded right. The band is the 95 % interval (Wilson, over questions) of one run, "
        about += "one standard deviation between seeds of several."
        charts.append(
            Chart(slug(f"eval-{name}"), f"Accuracy: {name}", "", series, about, better="up", percent=True, ceiling=0.05)
        )
    return charts


def lengths(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return mean lengths, all and by class, the truncated share, and what reward costs in tokens."""
    path = reward_against_length(groups)
    return _panels(groups, _LENGTHS) + ([path] if path else [])


def health(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return what tells whether training is in order."""
    return _panels(groups, _HEALTH)


def bias(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return the bias meter's two slopes."""
    return _panels(groups, _BIAS)


def others(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return every other logged number, in the table's order; strangers last."""
    logged = {key for group in groups for run in group.runs for row in run.metrics.values() for key in row}
    known = [key for key in METRICS if key in logged]
    rest = [key for key in (*known, *sorted(logged - set(known))) if key not in _OWN_PANEL]
    return _panels(groups, [(key, key, False) for key in rest])


def missing(groups: Sequence[SeedGroup]) -> list[str]:
    """Return the panels of reinforcement learning that no such run has logged anything for."""
    if not any(key.startswith("rollout/") for group in groups for run in group.runs for row in run.metrics.values()
               for key in row):  # fmt: skip
        return []
    panels = (*_LEARNING, *_LENGTHS, *_HEALTH, *_BIAS)
    drawn = {chart.key for chart in _panels(groups, panels)}
    return [title for key, title, _ in panels if slug(key) not in drawn]


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
    bins = _bins(steps)
    pools = [pooled(sums[step] for step in each) for each in bins]
    middles = tuple(sum(each) / len(each) for each in bins)
    series = []
    for name in COARSE_FATES:
        points = [
            (middle, mean)
            for middle, pool in zip(middles, pools, strict=True)
            if (mean := mean_lengths(pool)[name]) is not None
        ]
        if points:
            x, y = zip(*points, strict=True)
            series.append(Series(name, name, x, y))
    key = f"classes-{index}"
    about = "Mean length of each class. A truncated response is only truncated, whatever its answer."
    chart = Chart(key, "Length by class", "tokens", tuple(series), about)
    share: dict[str, tuple[float, ...]] = {name: tuple(shares(pool)[name] for pool in pools) for name in COARSE_FATES}
    first, last = windows(steps)
    change = decompose(pooled(sums[s] for s in first), pooled(sums[s] for s in last)) if len(steps) > 1 else None
    return LengthCharts(group.title, key, middles, share, chart, change, first, last, len(bins[0]))


def _bins(steps: Sequence[int]) -> list[Sequence[int]]:
    """Return consecutive steps pooled into at most forty bins."""
    size = -(-len(steps) // _BINS)
    return [steps[at : at + size] for at in range(0, len(steps), size)]


def _panels(groups: Sequence[SeedGroup], panels: Sequence[tuple[str, str, bool]]) -> list[Chart]:
    steps = [step for group in groups for run in group.runs for step in run.metrics]
    span = (float(min(steps)), float(max(steps))) if steps else None
    charts = []
    for key, title, percent in panels:
        series = _all(groups, lambda group, index, key=key: curve(group, index, key))
        if not series:
            continue
        metric = METRICS.get(key)
        charts.append(
            Chart(
                slug(key),
                title,
                _UNITS.get(key, ""),
                series,
                metric.meaning if metric else "",
                metric.suspect if metric else "",
                metric.better if metric else "",
                percent=percent,
                floor=None if key not in _OWN_PANEL else 0.0,
                ceiling=0.05 if percent else None,
                span=span,
                references=_REFERENCES.get(key, ()),
            )
        )
    return charts


def _all(groups: Sequence[SeedGroup], make: Callable[[SeedGroup, int], Series | None]) -> tuple[Series, ...]:
    made = (make(group, index) for index, group in enumerate(groups))
    return tuple(series for series in made if series is not None)
