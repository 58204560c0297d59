"""What a study found: claims with a statistic and a verdict, pictures in the paper's form, tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from r1zero.errors import plural
from r1zero.paper.jobs import Job
from r1zero.published import BENCHMARKS, SETS
from r1zero.report.charts.model import Chart
from r1zero.statistics import Paired, PairedT, paired, paired_t


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


def judged(text: str, measured: str, seen: bool | None) -> Claim:
    """Make a claim that is seen or not, or untested where `seen` is None."""
    known = ClaimStatus.SEEN if seen else ClaimStatus.NOT_SEEN
    return Claim(text, measured, ClaimStatus.UNTESTED if seen is None else known)


def significant(test: Paired | PairedT) -> bool:
    """Tell whether a difference is told from chance at 5 %."""
    return test.p_value < 0.05


def over_seeds(
    text: str, measured: str, differences: Sequence[float], shows: Callable[[PairedT], bool] = significant
) -> Claim:
    """Judge a claim by a test on one difference a seed."""
    test = paired_t(differences)
    said = "no test, which takes two seeds with a number each" if test is None else str(test)
    return judged(text, f"{measured}: {said}", None if test is None else shows(test))


def over_questions(text: str, measured: str, lower: Sequence[float], higher: Sequence[float]) -> Claim:
    """Judge that one of two scores of the same questions is higher."""
    test = paired(lower, higher)
    return judged(text, f"{measured}: {difference(test)}", test.difference > 0 and significant(test))


def difference(test: Paired) -> str:
    """Say a paired test over questions, in points of accuracy."""
    return (
        f"{100 * test.difference:+.1f} points [{100 * test.low:.1f}, {100 * test.high:.1f}] over "
        f"{plural(test.questions, 'independent question')}, p = {test.p_value:.2g}"
    )


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


def published_scores(table: str, templates: Mapping[str, str]) -> FoundTable:
    """Show a table of the paper's scores, its templates by these names."""
    rows = [
        [row.model, templates.get(row.template, row.template), *(f"{value:.1f}" for value in row.percent),
         f"{row.average:.1f}"]
        for row in BENCHMARKS if row.table == table
    ]  # fmt: skip
    return FoundTable(f"The paper's Table {table}, per cent right", ["model", "template", *SETS, "average"], rows)


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
    full: Callable[[int], Sequence[Job]]
    """The published setting's grid, for a number of seeds."""
    read: Callable[[Path, Sequence[Job]], Findings]
    """Findings from the finished grid."""
