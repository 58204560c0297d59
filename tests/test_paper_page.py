"""A study's claims by hand from made-up runs, and the page of the paper in a browser."""

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1zero.errors import UserError
from r1zero.paper import curves
from r1zero.paper.claims import Claim, ClaimStatus, Findings, FoundTable, Panel
from r1zero.paper.jobs import EvaluationJob, RunJob
from r1zero.paper.miniature import LAPTOP
from r1zero.paper.page import StudyPart, read_part, render, write_paper
from r1zero.paper.run import PLAN, write_page
from r1zero.paper.studies import STUDIES, fig5
from r1zero.paper.studies.base_models import model_of
from r1zero.published import BASE_MODELS as ANALYSED
from r1zero.published import KEYWORDS
from r1zero.report.charts.model import Chart, Series
from r1zero.report.draw import svg
from r1zero.report.draw.files import draw_charts
from r1zero.types import Outcome, Stop
from report_runs import group, make_run, response

if TYPE_CHECKING:
    from browser import Browser

REWARDS = {"dr_grpo": (0.50, 0.52, 0.54), "grpo": (0.53, 0.49, 0.55)}
WRONG = {"dr_grpo": (10, 11, 12), "grpo": (20, 23, 20)}
CUT = {"dr_grpo": 2, "grpo": 6}
"""How much longer the wrong response is that is cut off."""


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three seeds of both objectives; at the end, two wrong responses of which one is cut off, and a right one."""
    for objective in fig5.PAIR:
        for seed in range(3):
            length = WRONG[objective][seed]
            batch = [
                group(
                    0,
                    response("a", Outcome.WRONG, length),
                    response("b", Outcome.NO_ANSWER, length + CUT[objective], Stop.LENGTH),
                ),
                group(1, response("c", Outcome.RIGHT, 9), response("d", Outcome.RIGHT, 9)),
            ]
            metrics = [
                {"rollout/reward": 0.1, "rollout/length": 5.0, "rollout/truncated": 0.0},
                {"rollout/reward": REWARDS[objective][seed], "rollout/length": length, "rollout/truncated": 0.25},
            ]
            make_run(
                tmp_path / f"runs/{objective}-{seed}",
                seed=seed,
                metrics=metrics,
                rollouts={1: batch[1:], 2: batch},
                evaluations={0: 0.2, 2: 0.6},
                recipe={"objective.name": objective, "sampling.max_new_tokens": 50},
            )
    return tmp_path


def jobs() -> list[RunJob]:
    return [RunJob(f"runs/{objective}-{seed}", "miniature") for seed in range(3) for objective in fig5.PAIR]


def test_wrong_answers_are_compared_seed_by_seed_truncated_ones_included(runs: Path) -> None:
    longer, alike, *_ = fig5.read_fig5(runs, jobs()).claims
    # wrong: (20+26)/2 − (10+12)/2 = 12, then 14, then 10: mean 12, error 2/√3, t = 10.39 with 2 degrees of freedom
    assert longer.verdict is ClaimStatus.SEEN
    assert "+12 tokens [at least 8.63, one-sided 95 %] over 3 seeds, p = 0.0046" in longer.measured
    assert "(0.0091 by Holm's correction of 2 tests)" in longer.measured  # of the growth there is none, see below
    assert longer.margin.startswith("A difference below 5 tokens would not matter: a tenth of the token budget")
    # rewards 0.03, −0.03, 0.01: mean 0.00333, error 0.0176, and (0.05 − 0.00333) / 0.0176 = 2.646 with 2 degrees of
    # freedom: p = ½ (1 − 2.646 / 3) = 0.059. Not to tell them apart is no proof that they are alike
    assert alike.p_value == pytest.approx(0.059, abs=1e-3)
    assert alike.verdict is ClaimStatus.UNDECIDED
    assert alike.measured.startswith("reward at the end, GRPO − Dr. GRPO: +0.00333 [-0.0482 to 0.0548, 90 %]")


def test_lengths_of_wrong_evaluated_responses_have_the_truncated_ones_too(tmp_path: Path) -> None:
    """As the paper's panel, drawn from scores that know right and not right; `length_incorrect` leaves them out."""
    for objective, cut in (("dr_grpo", 20), ("grpo", 50)):
        asked = [
            group(0, response("", Outcome.WRONG, 10), response("", Outcome.RIGHT, 9)),
            group(1, response("", Outcome.NO_ANSWER, cut, Stop.LENGTH), response("", Outcome.RIGHT, 9)),
        ]
        none_wrong = [group(0, response("", Outcome.RIGHT, 9))]
        make_run(tmp_path / f"runs/{objective}-0", evaluations={0: 0.5, 2: 0.5, 4: 1.0},
                 evaluated={0: asked[:1], 2: asked, 4: none_wrong},
                 recipe={"objective.name": objective, "sampling.max_new_tokens": 50})  # fmt: skip
    panels = fig5.read_fig5(tmp_path, jobs()[:2]).panels
    [incorrect] = [panel.ours for panel in panels if panel.ours.key == "fig5-incorrect"]
    assert {each.label: (each.x, each.y) for each in incorrect.series} == {
        "Dr. GRPO": ((0.0, 2.0), (10.0, 15.0)), "GRPO": ((0.0, 2.0), (10.0, 30.0)),
    }  # fmt: skip
    assert "those at the token limit included" in incorrect.about


def test_growth_is_from_the_first_tenth_to_the_last(runs: Path) -> None:
    *_, grows, stays = fig5.read_fig5(runs, jobs()).claims
    assert {grows.verdict, stays.verdict} == {ClaimStatus.UNTESTED}  # nothing was wrong at the start
    starts = {"dr_grpo": (11, 12, 12), "grpo": (12, 13, 14)}
    for job in jobs():
        _, objective, seed = job.name.replace("/", "-").split("-")
        metrics = [{"rollout/reward": 0.1}, {"rollout/reward": 0.1}]
        first, last = (
            [group(0, response("a", Outcome.WRONG, length), response("c", Outcome.RIGHT, 9))]
            for length in (starts[objective][int(seed)], WRONG[objective][int(seed)])
        )
        shutil.rmtree(runs / job.name)
        make_run(runs / job.name, seed=int(seed), metrics=metrics, rollouts={1: first, 2: last},
                 evaluations={0: 0.2}, recipe={"objective.name": objective, "sampling.max_new_tokens": 50})  # fmt: skip
    *_, grows, stays = fig5.read_fig5(runs, jobs()).claims
    assert (grows.text, grows.verdict) == ("Wrong answers grow under GRPO.", ClaimStatus.SEEN)
    assert "end − start of training: +8 tokens [at least " in grows.measured  # 8, 10, 6
    assert (stays.text, stays.verdict) == ("Wrong answers do not grow under Dr. GRPO.", ClaimStatus.SEEN)
    assert "-0.667 tokens [at most 0.307, one-sided" in stays.measured  # −1, −1, 0: error ⅓; −⅔ + 2.92 / 3 = 0.307
    assert stays.margin.startswith("Margin 5 tokens: a tenth of the token budget")


def test_questions_about_the_same_numbers_count_as_one(tmp_path: Path) -> None:
    shots = "Pick two of 1, 2, 3 to make 5. 2 + 3\n"
    asked = (("7, 2, 5", 9, "right"), ("9, 1, 4", 5, "wrong"), ("2, 5, 7", 12, "wrong"), ("5, 7, 2", 7, "wrong"))
    rows = [{"question_id": str(i), "prompt": f"{shots}Pick two of {numbers} to make {total}. ", "outcome": outcome}
            for i, (numbers, total, outcome) in enumerate(asked)]  # fmt: skip
    rows += [{"question_id": "m", "prompt": "What is 7, 2, 5?", "outcome": "right"}] * 2
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "test.parquet")
    assert curves.rights(tmp_path) == [0.0, 1 / 3, 1.0]  # 1 4 9; 2 5 7; the question of another world


def test_the_papers_keyword_counts_stand_beside_ours() -> None:
    assert len(KEYWORDS) == 15
    assert {len(row) for row in KEYWORDS.values()} == {len(ANALYSED)}
    assert [row.model for row in ANALYSED][KEYWORDS["re-evaluate"].index(808)] == "Qwen2.5-7B"


def test_what_does_not_show_is_said(runs: Path) -> None:
    backwards = [RunJob(job.name, job.recipe) for job in jobs()]
    for seed in range(3):
        a, b = (runs / f"runs/{objective}-{seed}" for objective in fig5.PAIR)
        a.rename(runs / "aside")
        b.rename(a)
        (runs / "aside").rename(b)
    longer, *_ = fig5.read_fig5(runs, backwards).claims
    assert longer.verdict is ClaimStatus.NOT_SEEN
    assert "-12 tokens [" in longer.measured


def test_the_panels_have_the_papers_curves_beside_them(runs: Path) -> None:
    found = fig5.read_fig5(runs, jobs())
    assert [panel.ours.key for panel in found.panels][:2] == ["fig5-reward", "fig5-length"]
    assert len(found.panels) == 6
    wrong = found.panels[2].ours  # the lengths that the claim is about: no published curve
    assert [(each.label, each.y[-1]) for each in wrong.series] == [
        ("Dr. GRPO (3 seeds)", 12.0), ("GRPO (3 seeds)", 24.0),
    ]  # fmt: skip
    reward = found.panels[0].paper
    assert reward is not None
    assert {series.label: series.y[-1] for series in reward.series} == {"Dr. GRPO": 0.635, "GRPO": 0.603}
    score = found.panels[5].paper
    assert score is not None
    assert score.series[1].y[-1] == pytest.approx(0.23, abs=0.001)  # per cent there, shares here


def test_a_seed_without_wrong_answers_leaves_the_claim_untested(runs: Path) -> None:
    path = runs / "runs/grpo-1"
    shutil.rmtree(path)
    right = [group(0, response("c", Outcome.RIGHT, 9), response("d", Outcome.RIGHT, 9))]
    make_run(path, seed=1, metrics=[{"rollout/reward": 1.0}] * 2, rollouts={1: right, 2: right}, evaluations={0: 1.0},
             recipe={"objective.name": "grpo", "sampling.max_new_tokens": 50})  # fmt: skip
    longer, *_ = fig5.read_fig5(runs, jobs()).claims
    assert longer.verdict is ClaimStatus.UNTESTED
    assert "no test, which takes two seeds or questions with a number each" in longer.measured


def test_damaged_runs_are_one_sentence_of_their_study(runs: Path) -> None:
    @dataclass(frozen=True)
    class Done(RunJob):
        def done(self, out: Path) -> bool:
            return True

    (runs / "runs/grpo-1/evaluations.jsonl").unlink()
    study = replace(STUDIES["fig5"])
    [problem] = read_part(study, runs, [Done(job.name, job.recipe) for job in jobs()]).problems
    assert problem.startswith("Its runs cannot be read (")
    assert "`r1zero paper run fig5` again" in problem
    (runs / "runs/dr_grpo-0/run.json").write_text("{")
    [problem] = read_part(study, runs, jobs()).problems  # whether it is done cannot be told
    assert "dr_grpo-0" in problem


@pytest.mark.parametrize(
    "plan",
    [
        {"scale": "huge", "seeds": None, "studies": ["fig5"]},
        {"scale": "laptop", "seeds": "five", "studies": ["fig5"]},
        {"scale": "laptop", "seeds": 2.5, "studies": ["fig5"]},
        {"scale": "laptop", "seeds": 0, "studies": ["fig5"]},
        {"scale": "laptop", "seeds": None, "studies": [5]},
        {"scale": "laptop", "seeds": None, "studies": "fig5"},
        {"scale": "laptop", "seeds": None},
        [],
    ],
)
def test_a_damaged_plan_is_one_sentence(tmp_path: Path, plan: object) -> None:
    (tmp_path / PLAN).write_text(json.dumps(plan))
    with pytest.raises(UserError, match=r"paper.json cannot be read .*; remove it, and give"):
        write_page(tmp_path)


def test_a_model_is_named_by_its_base_its_run_or_itself() -> None:
    jobs = [*STUDIES["table1"].full(1), *STUDIES["table1"].laptop(Path("out"), LAPTOP)]
    models = {model_of(job) for job in jobs if isinstance(job, EvaluationJob)}
    assert models == {"Qwen2.5-Math-1.5B", "Qwen2.5-Math-7B", "qa", "web"}


def part() -> StudyPart:
    series = (Series("one", "s0", (0.0, 1.0), (0.2, 0.4)), Series("<b>two</b>", "s1", (0.0, 1.0), (0.3, 0.1)))
    chart = Chart("a-chart", "Reward", "", series, percent=True)
    return StudyPart(
        STUDIES["fig5"],
        [
            Claim("Wrong answers grow.", "p = 0.01 <script>", ClaimStatus.SEEN),
            Claim("Also.", "p = 0.6", ClaimStatus.NOT_SEEN),
        ],
        [Panel(chart, Chart("paper-a-chart", "Reward", "", series, percent=True)), Panel(Chart("b", "B", "", series))],
        [FoundTable("Numbers", ["", "x"], [["row", "1"]])],
        ["A note."],
    )


def test_a_chart_that_nothing_was_logged_for_is_said_and_not_drawn(tmp_path: Path) -> None:
    findings = Findings([], [Panel(Chart("none", "Lengths of nobody", "tokens", ()))])
    study = replace(STUDIES["fig5"], read=lambda out, jobs: findings)
    read = read_part(study, tmp_path, [])
    assert read.panels == []
    assert "Nothing was logged for: Lengths of nobody." in render([read], "quick")


def test_a_reward_that_penalties_keep_below_zero_is_on_its_chart(tmp_path: Path) -> None:
    chart = Chart("reward", "Reward", "", (Series("a", "s0", (1.0, 2.0), (-0.0375, -0.0375)),), percent=True)
    _, y = svg.axes(chart)
    assert y.low <= -0.0375 < 0 <= y.high
    draw_charts([chart], tmp_path / "figure")
    assert (tmp_path / "figure.png").exists()


def test_the_page_says_margins_and_what_is_undecided() -> None:
    claim = Claim("Also.", "p = 0.6", ClaimStatus.UNDECIDED, "Margin <5>: so much matters.", 0.6, 0.9)
    text = render([replace(part(), claims=[claim])], "full")
    assert "Margin &lt;5&gt;: so much matters." in text
    assert "<b>1</b> undecided" in text
    assert "in miniature" not in text


def test_nothing_on_the_page_becomes_markup() -> None:
    text = render([part(), StudyPart(STUDIES["fig6"], problems=["lost & gone"])], "laptop")
    assert "<script>alert" not in text
    assert "p = 0.01 &lt;script&gt;" in text
    assert "&lt;b&gt;two&lt;/b&gt;" in text
    assert "lost &amp; gone" in text


def test_it_is_written_with_its_findings_and_figures(tmp_path: Path) -> None:
    page = write_paper([part()], tmp_path, "laptop")
    assert page.name == "paper.html"
    assert (tmp_path / "figures/fig5.svg").read_text(encoding="utf-8").startswith("<?xml")
    [found] = json.loads((tmp_path / "findings.json").read_text(encoding="utf-8"))
    assert [claim["verdict"] for claim in found["claims"]] == ["seen", "not seen"]


def test_a_folder_without_a_plan_or_with_a_torn_one_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no paper\.json"):
        write_page(tmp_path)
    (tmp_path / PLAN).write_text('{"scale": "laptop"')
    with pytest.raises(UserError, match=r"paper\.json cannot be read"):
        write_page(tmp_path)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return write_paper([part()], tmp_path, "laptop")


def test_a_browser_shows_claims_charts_and_tables(tab: "Browser") -> None:
    assert tab.js("[...document.querySelectorAll('.claims .status')].map(e => e.textContent)") == ["seen", "not seen"]
    assert tab.js("document.querySelectorAll('#fig5 .plot svg').length") == 3
    assert tab.js("document.querySelector('#fig5 table.numbers tbody td').textContent") == "1"
    assert tab.js("document.documentElement.scrollWidth <= innerWidth")
    tab.size(390, 800)
    assert tab.js("document.documentElement.scrollWidth <= innerWidth")
