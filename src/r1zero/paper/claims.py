"""What a study found: claims with a statistic and a verdict, pictures in the paper's form, tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from r1zero.paper.jobs import Job
from r1zero.report.charts.model import Chart


class ClaimStatus(StrEnum):
    """What became of a claim."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    UNTESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper, what was measured for it, and whether that bears it out."""

    text: str
    measured: str
    verdict: ClaimStatus


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of ours, and the paper's own where its numbers are published."""

    ours: Chart
    paper: Chart | None = None


@dataclass(frozen=True, slots=True)
class FoundTable:
    """Rows of text under headings."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a study has to say."""

    claims: Sequence[Claim]
    panels: Sequence[Panel] = ()
    tables: Sequence[FoundTable] = ()
    notes: Sequence[str] = ()
    runs: Sequence[Path] = ()
    """Directories of the runs it read."""


@dataclass(frozen=True, slots=True)
class Size:
    """How large the miniature is."""

    name: str
    seeds: int
    base_steps: int
    compared: int
    """Steps of the runs that compare objectives."""
    steps: int
    """Steps of all others."""
    every: int
    """Steps between evaluations."""
    test: int
    """Test questions of an evaluation."""
    asked: int
    """Questions that base models are asked in the analyses, with 8 samples at each temperature."""
    temperatures: tuple[float, ...]

    @property
    def fewer_seeds(self) -> int:
        """Seeds of the studies that have many runs a seed."""
        return self.seeds if self.seeds < 5 else self.seeds - 2


@dataclass(frozen=True, slots=True)
class Study:
    """A table or figure of the paper: what is run for it, and what is read from the runs."""

    name: str
    source: str
    """Where in the paper."""
    title: str
    about: str
    laptop: Callable[[Path, Size], Sequence[Job]]
    """The miniature's grid, for an output directory."""
    full: Callable[[Path, int], Sequence[Job]]
    """The published setting's grid, for an output directory and a number of seeds."""
    read: Callable[[Path, Sequence[Job]], Findings]
    """Findings from the finished grid."""
