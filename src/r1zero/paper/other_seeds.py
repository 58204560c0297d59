"""Studies that test over questions, on more seeds than one: the first counts, and the others stand beside it.

Questions tell how sure a score of one base model and run is, not whether another seed's would be alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from r1zero.paper.claims import Claim, Findings, FoundTable, Hypothesis, Size
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import FIRST, in_miniature

Read = Callable[[Path, Sequence[Job]], Findings]


def repeated(grid: Callable[[Path, Size, int], list[Job]]) -> Callable[[Path, Size], list[Job]]:
    """Return the grid of several seeds from that of one."""
    return lambda out, size: [
        job for seed in range(FIRST, FIRST + size.question_seeds) for job in grid(out, size, seed)
    ]


def with_other_seeds(read: Read) -> Read:
    """Return a reader of the first seed's jobs, which shows beside them what each claim comes to on the others."""

    def first_and_others(out: Path, jobs: Sequence[Job]) -> Findings:
        seeds = by_seed(jobs) if in_miniature(jobs) else {}
        if len(seeds) < 2:
            return read(out, jobs)
        found = {seed: read(out, each) for seed, each in seeds.items()}
        first = next(iter(found.values()))
        return replace(first, tables=[*first.tables, _beside(found)])

    return first_and_others


def by_seed(jobs: Sequence[Job]) -> dict[int, list[Job]]:
    """Return the miniature's jobs by their seed."""
    found: dict[int, list[Job]] = {}
    for job in jobs:
        name = job.name if isinstance(job, RunJob) else job.start or ""
        found.setdefault(int(name.rpartition("-")[2]), []).append(job)
    return dict(sorted(found.items()))


def _beside(found: dict[int, Findings]) -> FoundTable:
    """Show what each claim of the first seed comes to on every seed."""
    columns = [dict(zip((each.text for each in one.stated), _told(one), strict=True)) for one in found.values()]
    rows = [[text, *(column.get(text, "–") for column in columns)] for text in columns[0]]
    return FoundTable("The same on other seeds, each with a base model of its own",
                      ["claim", *(f"seed {seed}" for seed in found)], rows)  # fmt: skip


def _told(found: Findings) -> list[str]:
    return [_said(stated, claim) for stated, claim in zip(found.stated, found.claims, strict=True)]


def _said(stated: Claim | Hypothesis, claim: Claim) -> str:
    """Say a claim's difference and its verdict."""
    test = stated.test if isinstance(stated, Hypothesis) else None
    if test is None:
        return claim.verdict.value
    return f"{f'{test.sample.mean:+.1f} {test.margin.unit}'.strip()}: {claim.verdict.value}".replace("-", "−", 1)
