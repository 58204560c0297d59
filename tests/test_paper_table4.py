"""Table 4 at full scale: all of the paper's rows, asked as the paper asked them, its claims and figure 2."""

import re
from pathlib import Path

import pytest

from r1zero.paper.claims import Claim, ClaimStatus, Findings
from r1zero.paper.hypotheses import Margin
from r1zero.paper.jobs import EvaluationJob, RunJob
from r1zero.paper.page import read_part, render
from r1zero.paper.studies import STUDIES
from r1zero.paper.studies.table4 import CLAIMS, FIGURE_2, ROWS
from r1zero.policy.known import known_models
from r1zero.published import BENCHMARKS, SETS
from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import rollout_table
from test_paper_claims import SMALL, asked, share

STUDY = STUDIES["table4"]
AVERAGES = (
    24.2, 33.1, 42.1, 22.0, 41.5, 39.8, 3.3, 6.8, 6.0, 14.8, 0.14, 20.7, 17.1,
    26.5, 38.2, 46.6, 48.0, 43.0, 45.9, 51.4, 28.5, 54.7, 45.1,
)  # fmt: skip
"""The paper's, row by row."""


def jobs() -> dict[str, EvaluationJob]:
    return {job.name: job for job in STUDY.full(1) if isinstance(job, EvaluationJob)}


def test_all_of_the_papers_rows_are_there_in_its_order() -> None:
    assert tuple(row.published.average for row in ROWS) == AVERAGES
    assert {row.published for row in ROWS} >= {row for row in BENCHMARKS if row.table == "4"}
    assert len({row.job_name() for row in ROWS}) == len(ROWS) == len(jobs()) == 23


def test_every_row_is_asked_as_the_paper_asked_it() -> None:
    for row in ROWS:
        job = jobs()[row.job_name()]
        assert (job.template, job.samples, job.temperature) == (row.published.template, 1, 0.0)
        assert job.max_new_tokens == (8000 if row.name.endswith("@8k") else 3000)
        assert [each["name"] for each in job.benchmarks] == list(SETS)
        if job.template == "r1":
            assert job.answer_format == row.published.answer_format == "answer_tags_strict"
        recipe = job.asked("Qwen/Qwen2.5-1.5B")
        assert recipe.template.instruction == job.instruction
        assert bool(job.instruction) == (row.name == "Llama-3.2-3B-Instruct")
        assert row.ours or row.source in known_models()


def test_what_is_made_here_is_made_from_what_the_paper_made_it() -> None:
    runs = {job.name: job for job in STUDY.full(1) if isinstance(job, RunJob)}
    made = {row.name: runs[f"{row.source}-0"] for row in ROWS if row.ours}
    assert {name: (job.recipe, job.asked().model.path, job.start) for name, job in made.items()} == {
        "Oat-Zero-1.5B": ("qwen2.5-math-1.5b", "Qwen/Qwen2.5-Math-1.5B", None),
        "Oat-Zero-7B": ("qwen2.5-math-7b", "Qwen/Qwen2.5-Math-7B", None),
        "Llama-3.2-3B + Dr. GRPO": ("llama-3.2-3b-r1", "meta-llama/Llama-3.2-3B", None),
        "Llama-3.2-3B-FineMath + Dr. GRPO": ("llama-3.2-3b-r1", "HuggingFaceTB/FineMath-Llama-3B", None),
        "Llama-3.2-3B-NuminaQA": ("llama-3.2-3b-numinaqa-pretrain", "HuggingFaceTB/FineMath-Llama-3B", None),
        "Oat-Zero-3B": ("llama-3.2-3b-r1", "HuggingFaceTB/FineMath-Llama-3B", "bases/numina-0"),
    }
    assert all(job.asked().objective.name == "dr_grpo" for name, job in made.items() if not name.endswith("NuminaQA"))
    assert STUDY.full(2) == STUDY.full(1)  # whose questions the claims are tested on


def test_margins_are_shares_of_the_papers_differences() -> None:
    margins = {claim.text: claim.margin for claim in CLAIMS}
    assert margins["Dr. GRPO raises Qwen2.5-Math-1.5B."] == Margin(
        6.0, "points", "a third of the 17.9 points in the paper"
    )
    nearest = [margin.value for text, margin in margins.items() if "every other model of 7B" in text]
    assert nearest == [1.7]  # half of 51.4 − 48.0
    assert all(margin.value > 1 for margin in margins.values())


def evaluated(out: Path, scores: dict[str, int]) -> Findings:
    """So many of 20 right on every set, and 2 where none is said."""
    for row in ROWS:
        job, rollouts = jobs()[row.job_name()], asked(share(scores.get(row.name, 2), 20))
        for name in SETS:
            write_parquet(out / job.name / f"{name}.parquet", rollout_table(rollouts, {}))
    return STUDY.read(out, list(jobs().values()))


def claim(found: Findings, words: str) -> Claim:
    [one] = [each for each in found.claims if words in each.text]
    return one


def test_claims_hold_where_scores_are_higher(tmp_path: Path) -> None:
    found = evaluated(tmp_path, {"Oat-Zero-7B": 10, "PRIME-Zero-7B": 6})
    above = claim(found, "above every other model of 7B")
    assert above.verdict is ClaimStatus.SEEN
    assert above.measured.startswith("average of the five sets, Oat-Zero-7B − PRIME-Zero-7B, the nearest: +20 points")
    assert claim(found, "raises Qwen2.5-Math-1.5B").verdict is ClaimStatus.NOT_SEEN
    assert len(found.claims) == len(CLAIMS)
    ours, theirs = found.tables
    assert [row[0] for row in ours.rows] == [row[0] for row in theirs.rows] == [row.name for row in ROWS]
    oat = next(row for row in ours.rows if row[0] == "Oat-Zero-7B")
    assert oat[:3] == ["Oat-Zero-7B", "Qwen-Math", "3000"]
    assert oat[3:8] == ["50.0"] * 5
    assert oat[8].startswith("50.0 [")
    assert oat[9] == "51.4"
    assert not re.search(SMALL, " ".join([*found.notes, *(each.title for each in found.tables)]))
    assert theirs.title.endswith("(8000 where a row says @8k)")


def test_figure_2_is_drawn_beside_the_papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluated(tmp_path, {"Oat-Zero-7B": 10})
    assert [panel.ours.title for panel in found.panels] == [*SETS, "average"]
    for panel in found.panels:
        assert panel.paper is not None
        assert [row.label for row in panel.ours.rows] == [row.label for row in panel.paper.rows] == list(FIGURE_2)  # type: ignore[union-attr]
    theirs = found.panels[-1].paper
    assert theirs is not None
    assert theirs.rows[-1].value == pytest.approx(0.514)  # type: ignore[union-attr]
    assert found.panels[0].paper.rows[-1].value == pytest.approx(0.433)  # type: ignore[union-attr]
    monkeypatch.setattr(EvaluationJob, "done", lambda *_: True)
    part = read_part(STUDY, tmp_path, list(jobs().values()))
    page = render([part], "full")
    for name in (*FIGURE_2, *SETS):
        assert name in page
    assert "51.4 %" in page
    assert not part.problems
