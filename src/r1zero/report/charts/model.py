"""Charts as data: what stands in a panel, whoever draws it."""

from __future__ import annotations

import re
from dataclasses import dataclass

COUNTED = ("step", "level", "k")
"""Labels of x axes of whole numbers."""
PUBLISHED = "published"
"""The style of other people's numbers and of yardsticks, beside those that are measured."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One panel of curves. `percent` shows shares as per cent; `references` are levels with their meaning."""

    key: str
    title: str
    unit: str
    series: tuple[Series, ...]
    about: str = ""
    suspect: str = ""
    better: str = ""
    x_label: str = "step"
    percent: bool = False
    floor: float | None = 0.0
    """The y axis reaches down to this at least; None leaves it to the data."""
    ceiling: float | None = None
    references: tuple[tuple[float, str], ...] = ()
    span: tuple[float, float] | None = None
    """The least that the x axis shows."""
    path: bool = False
    """The points are a path in a plane, not a function of x."""
    cloud: bool = False
    """The points are responses, each for itself. Drawn to files only."""
    log: int = 0
    """The base of the logarithms that x goes by; 0 of none. Drawn to files only."""


@dataclass(frozen=True, slots=True)
class IntervalRow:
    """A value with its interval; `low` and `high` are None of one without."""

    label: str
    style: str
    value: float
    low: float | None
    high: float | None
    told: str
    """The numbers in words."""


@dataclass(frozen=True, slots=True)
class IntervalChart:
    """One panel of values with intervals, one below the other, from `low` to `high`; `reference` is marked."""

    key: str
    title: str
    rows: tuple[IntervalRow, ...]
    low: float = 0.0
    high: float = 1.0
    percent: bool = True
    reference: float | None = None
    about: str = ""


def slug(text: str) -> str:
    """Return text as a name for files and page elements."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


@dataclass(frozen=True, slots=True)
class Series:
    """One curve. `raw` is what `y` was smoothed from; `low` and `high` bound a band (equal to `y` where there is none).

    `style` is `s0`, `s1`, … for the runs in their order, or the name of a class of responses.
    """

    label: str
    style: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    raw: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    steps: tuple[int, ...] = ()
    """The steps of the points, where x is something else."""
