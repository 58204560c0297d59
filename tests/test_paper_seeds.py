"""Studies that test over questions: the first seed counts, and the others stand beside it."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from r1zero.paper.claims import Findings, FoundTable, judged, over_questions
from r1zero.paper.hypotheses import Margin
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import LAPTOP, QUICK
from r1zero.paper.other_seeds import by_seed, with_other_seeds
from r1zero.paper.studies import STUDIES

REPEATED = ("table1", "fig3-answering", "fig3-exploration", "fig3-reflection", "reflection-accuracy", "fig6", "table4")


@pytest.mark.parametrize("name", REPEATED)
def test_the_miniature_has_three_seeds_of_it_and_its_smallest_form_one(name: str, tmp_path: Path) -> None:
    seeds = by_seed(STUDIES[name].laptop(tmp_path, LAPTOP))
    assert [*seeds] == [31, 32, 33]
    first, *others = ([job.name.replace(str(seed), "SEED") for job in jobs] for seed, jobs in seeds.items())
    assert all(other == first for other in others)
    for seed, jobs in seeds.items():
        assert {job.changes["train.seed"] for job in jobs if isinstance(job, RunJob)} == {seed}
        assert {job.start for job in jobs if job.start} <= {job.name for job in jobs}  # each has its own base model
    assert [*by_seed(STUDIES[name].laptop(tmp_path, QUICK))] == [31]


GAINS = {31: 0.5, 32: 0.1, 33: -0.3}
"""How much better than before each seed is."""


def reading(out: Path, jobs: Sequence[Job]) -> Findings:
    [seed] = {int(job.name.rpartition("-")[2]) for job in jobs if isinstance(job, RunJob)}
    before = [float(i % 10 < 4) for i in range(200)]
    after = [float(i % 10 < 4 + 10 * GAINS[seed]) for i in range(200)]
    better = over_questions("It gets better.", "after − before", before, after, Margin(5, "points", "a reason"))
    tables = [FoundTable("A table", ["seed"], [[str(seed)]])]
    return Findings([better, judged("It is so.", "seen", seed > 31)], tables=tables, notes=["a note"])


def test_claims_are_of_the_first_seed_with_the_others_beside(tmp_path: Path) -> None:
    jobs = STUDIES["fig6"].laptop(tmp_path, LAPTOP)
    found, alone = with_other_seeds(reading)(tmp_path, jobs), reading(tmp_path, by_seed(jobs)[31])
    assert found.claims == alone.claims
    assert found.notes == alone.notes
    assert found.tables[0] == alone.tables[0]
    beside = found.tables[1]
    assert beside.headings == ["claim", "seed 31", "seed 32", "seed 33"]
    assert beside.rows == [
        ["It gets better.", "+50.0 points: seen", "+10.0 points: seen", "−30.0 points: not seen"],
        ["It is so.", "not seen", "seen", "seen"],
    ]


def test_one_seed_or_the_published_setting_is_read_as_it_is(tmp_path: Path) -> None:
    for jobs in (STUDIES["fig6"].laptop(tmp_path, QUICK), STUDIES["fig6"].full(2)):
        asked: list[Sequence[Job]] = []

        def read(_: Path, jobs: Sequence[Job], asked: list[Sequence[Job]] = asked) -> Findings:
            asked.append(jobs)
            return Findings([])

        assert with_other_seeds(read)(tmp_path, jobs) == Findings([])
        assert asked == [jobs]
