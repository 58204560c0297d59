"""What runs log by name: how every source of a mixture fares, and what every part of the reward comes to.

The names of a run stand in one panel beside each other; of several runs each has panels of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from r1zero.metrics import metric_of, source_key
from r1zero.report.charts.model import Chart, slug
from r1zero.report.data.seed_groups import SeedGroup, curve

SOURCES = (
    ("share", "Share of the groups", "%"),
    ("reward", "Reward", "%"),
    ("pass_at_1", "pass@1", "%"),
    ("dead_groups", "Dead groups", "%"),
    ("length", "Length of responses", "tokens"),
    ("truncated", "Truncated share", "%"),
)
"""Panels: a source's metric, the title, and the unit, which is % of a share."""
_SOURCE = re.compile(rf"source/(.+)/(?:{'|'.join(name for name, _, _ in SOURCES)})")
_REWARD = re.compile(r"reward/([\w-]+)")
_LOOKS = 12
"""Curves that colours, dashes and marks tell apart."""


def by_source(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return how the sources of every mixture fare: a curve for each."""
    sources, listed = _names(groups, _SOURCE), bool(_names(groups, _REWARD))
    charts: list[Chart] = []
    for name, title, unit in SOURCES:
        unit = "" if name == "reward" and listed else unit  # a sum, and no share of anything
        keys = {source: source_key(source, name) for source in sources}
        charts += _panels(f"sources-{name}", title, unit, groups, keys)
    return charts


def of_reward(groups: Sequence[SeedGroup]) -> list[Chart]:
    """Return what every reward of a list gives by itself: a curve for each."""
    keys = {name: f"reward/{name}" for name in _names(groups, _REWARD)}
    return list(_panels("reward-parts", "Parts of the reward", "", groups, keys))


def shown(key: str) -> bool:
    """Tell whether a logged number stands in one of these panels."""
    return bool(_SOURCE.fullmatch(key) or _REWARD.fullmatch(key))


def _names(groups: Sequence[SeedGroup], pattern: re.Pattern[str]) -> list[str]:
    """Return the names in logged keys of a pattern, in the order in which they were logged."""
    logged = dict.fromkeys(key for group in groups for run in group.runs for row in run.metrics.values() for key in row)
    return list(dict.fromkeys(found[1] for key in logged if (found := pattern.fullmatch(key))))


def _panels(key: str, title: str, unit: str, groups: Sequence[SeedGroup], keys: Mapping[str, str]) -> Iterator[Chart]:
    """Yield every group's panel with a curve for each of the named numbers that it logged; equal names look alike."""
    for index, group in enumerate(groups):
        curves = {name: curve(group, i % _LOOKS, logged) for i, (name, logged) in enumerate(keys.items())}
        series = tuple(replace(each, label=name) for name, each in curves.items() if each is not None)
        if not series:
            continue
        steps = [float(step) for run in group.runs for step in run.metrics]
        metric = metric_of(keys[series[0].label])
        yield Chart(
            slug(f"{key}-{index}"),
            title + (f" ({series[0].label})" if len(series) == 1 else "") + (f": {group.title}" if groups[1:] else ""),
            unit.strip("%"),
            series,
            metric.meaning,
            metric.suspect,
            metric.better,
            percent=unit == "%",
            ceiling=0.05 if unit == "%" else None,
            span=(min(steps), max(steps)),
        )
