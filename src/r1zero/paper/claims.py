"""What a study found: claims with a statistic and a verdict, pictures in the paper's form, tables."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from r1zero.paper.hypotheses import ALPHA, Alternative, Margin, Test, binomial_tail, holm, of_questions, of_seeds
from r1zero.paper.jobs import EvaluationJob, Job
from r1zero.published import BENCHMARKS, SETS, BenchmarkRow
from r1zero.report.charts.model import Chart, IntervalChart
from r1zero.statistics import paired

_NONE = "no test, which takes two seeds or questions with a number each, and a spread between them"
_ALIKE = 1e-9  # of the margin or the mean: a spread that is none, or rounding


class ClaimStatus(StrEnum):
    """What became of a claim."""

    SEEN = "seen"
    NOT_SEEN = "not seen"
    UNDECIDED = "undecided"
    """Neither it nor its opposite could be told from chance."""
    UNTESTED = "not tested"


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of the paper, what was measured for it, and whether that bears it out."""

    text: str
    measured: str
    verdict: ClaimStatus
    margin: str = ""
    """The margin that its test was made against, with its reason."""
    p_value: float | None = None
    corrected: float | None = None
    """The same after Holm's correction over the study's tests, by which the verdict is."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A claim with its test, which the study's other tests decide with it; None where no test could be made."""

    text: str
    measured: str
    test: Test | None


def judged(text: str, measured: str, seen: bool | None) -> Claim:
    """Make a claim without a test: seen or not as a matter of fact, or untested where `seen` is None."""
    known = ClaimStatus.SEEN if seen else ClaimStatus.NOT_SEEN
    return Claim(text, measured, ClaimStatus.UNTESTED if seen is None else known)


def over_seeds(
    text: str,
    measured: str,
    differences: Sequence[float],
    margin: Margin,
    alternative: Alternative = Alternative.GREATER,
) -> Hypothesis:
    """Test a claim by one difference a seed. Of seeds that all differ alike the spread is unknown: they are no test."""
    sample = of_seeds(differences)
    if sample is not None and sample.error <= _ALIKE * max(abs(sample.mean), margin.value):
        sample = None
    return Hypothesis(text, measured, sample and Test(sample, alternative, margin))


def over_questions(
    text: str, measured: str, lower: Sequence[float], higher: Sequence[float], margin: Margin
) -> Hypothesis:
    """Test that one of two scores of the same questions is higher: one number each of what counts as a question."""
    return Hypothesis(text, measured, higher_score(lower, higher, margin))


def higher_score(lower: Sequence[float], higher: Sequence[float], margin: Margin) -> Test | None:
    """Return the one-sided sign-flip test that one of two scores of the same questions is higher, in points."""
    sample = of_questions([b - a for a, b in zip(lower, higher, strict=True)])
    if sample is None:
        return None
    both = paired(lower, higher).p_value
    return Test(sample, Alternative.GREATER, margin, both / 2 if sample.mean > 0 else 1 - both / 2)


def same_score(first: Sequence[float], second: Sequence[float], margin: Margin) -> Test | None:
    """Return the test that two scores of the same questions are no different, in points."""
    sample = of_questions([b - a for a, b in zip(first, second, strict=True)])
    return sample and Test(sample, Alternative.EQUIVALENT, margin)


def share_above(share: float, flags: Sequence[float], margin: Margin) -> Test | None:
    """Return the exact binomial test that more than `share` of the flags are set, in points above it.

    A flag between 0 and 1 is the mean of what counts as one; their sum is rounded down.
    """
    sample, set_ = of_questions([flag - share for flag in flags]), math.floor(math.fsum(flags) + 1e-9)
    return sample and Test(sample, Alternative.GREATER, margin, binomial_tail(set_, len(flags), share))


def decided(stated: Sequence[Claim | Hypothesis]) -> list[Claim]:
    """Return a study's claims with their verdicts, its tests corrected for their number by Holm's method."""
    tests = [each.test for each in stated if isinstance(each, Hypothesis) and each.test is not None]
    corrected = iter(holm([test.p_value for test in tests]))
    claims = []
    for each in stated:
        if isinstance(each, Claim):
            claims.append(each)
        elif each.test is None:
            claims.append(judged(each.text, f"{each.measured}: {_NONE}", None))
        else:
            claims.append(_verdict(each, each.test, next(corrected), len(tests)))
    return claims


def _verdict(claim: Hypothesis, test: Test, corrected: float, tests: int) -> Claim:
    said = f"{claim.measured}: {test}, p = {test.p_value:.2g}"
    if tests > 1:
        said += f" ({corrected:.2g} by Holm's correction of {tests} tests)"
    if corrected < ALPHA:
        verdict = ClaimStatus.SEEN
    elif test.refuted:
        verdict = ClaimStatus.NOT_SEEN
    else:
        verdict = ClaimStatus.UNDECIDED
        said += f"; {test.too_few(ALPHA / tests)}"
    return Claim(claim.text, said, verdict, test.stated(), test.p_value, corrected)


@dataclass(frozen=True, slots=True)
class Panel:
    """A picture of ours, and the paper's own where its numbers are published and not in it."""

    ours: Chart | IntervalChart
    paper: Chart | IntervalChart | None = None

    @property
    def empty(self) -> bool:
        """Whether there is nothing in it."""
        return not (self.ours.series if isinstance(self.ours, Chart) else self.ours.rows)


@dataclass(frozen=True, slots=True)
class FoundTable:
    """Rows of text under headings."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def published_scores(
    table: str, templates: Mapping[str, str], jobs: Sequence[Job], rows: Sequence[BenchmarkRow] = ()
) -> FoundTable:
    """Show a table of the paper's scores, its templates by these names; it says where the jobs' budget is another.

    `rows` are the table's, where some of them stand in another as well.
    """
    shown = [
        [row.model, templates.get(row.template, row.template), *(f"{value:.1f}" for value in row.percent),
         f"{row.average:.1f}"]
        for row in rows or BENCHMARKS if rows or row.table == table
    ]  # fmt: skip
    budgets = {row.max_new_tokens for row in rows} | {3000}
    ours = sorted({job.max_new_tokens for job in jobs if isinstance(job, EvaluationJob)} - budgets)
    other = f"; here at most {', '.join(map(str, ours))}" if ours else ""
    title = f"The paper's Table {table}, per cent right, at most 3000 tokens (8000 where a row says @8k){other}"
    return FoundTable(title, ["model", "template", *SETS, "average"], shown)


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that a study has to say."""

    stated: Sequence[Claim | Hypothesis]
    panels: Sequence[Panel] = ()
    tables: Sequence[FoundTable] = ()
    notes: Sequence[str] = ()
    runs: Sequence[Path] = ()
    """Directories of the runs it read."""

    @property
    def claims(self) -> list[Claim]:
        """The claims with their verdicts, which take all of the study's tests together."""
        return decided(self.stated)


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

    @property
    def question_seeds(self) -> int:
        """Seeds of the studies that test over questions."""
        return min(3, max(1, self.seeds - 2))


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
    only_small: str = ""
    """What is to be said about the miniature's grid alone."""
