"""The claims of the studies, each on made-up finished jobs, that hold and that do not."""

import itertools
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from r1zero.paper.claims import Claim, ClaimStatus, Findings
from r1zero.paper.jobs import EvaluationJob, Job, RunJob
from r1zero.paper.miniature import LAPTOP, in_miniature
from r1zero.paper.page import StudyPart, render
from r1zero.paper.studies import STUDIES, fig5, fig6, fig7
from r1zero.runs.files import write_parquet
from r1zero.runs.rollout_rows import rollout_table
from r1zero.types import Outcome, Rollout
from report_runs import group, make_run, response

SEEN, NOT_SEEN, UNDECIDED = ClaimStatus.SEEN, ClaimStatus.NOT_SEEN, ClaimStatus.UNDECIDED
QWEN, LLAMA = "Qwen/Qwen2.5-Math-1.5B", "meta-llama/Llama-3.1-8B"
ANSWER, TALK = "Therefore the answer is \\boxed{2}.", "What is 2 + 2? What is 3 + 3? What is 4 + 4? What is 5 + 5?"


def asked(rights: Sequence[bool], texts: Sequence[str] = ()) -> list[Rollout]:
    """A greedy response each to so many questions."""
    return [group(i, response(texts[i] if texts else ANSWER, Outcome.RIGHT if right else Outcome.WRONG))
            for i, right in enumerate(rights)]  # fmt: skip


def share(right: int, of: int = 200) -> list[bool]:
    """So many of so many, spread evenly: of two shares the smaller is right where the larger is."""
    ranked = sorted(range(of), key=lambda i: (i * 77) % of)
    return [i in ranked[:right] for i in range(of)]


def evaluation(out: Path, job: Job, rollouts: Sequence[Rollout], temperature: float = 0.0) -> None:
    """Write a job's folder as `r1zero evaluate` does."""
    assert isinstance(job, EvaluationJob)
    write_parquet(out / job.name / "set.parquet", rollout_table(rollouts, {}))
    identity = {"model": job.model, "template": job.template, "settings": {"temperature": temperature},
                "sets": {"set": "set.parquet"}}  # fmt: skip
    (out / job.name / "evaluation.json").write_text(json.dumps(identity | {"answer_format": "boxed"}))


def find(found: Findings, words: str) -> Claim:
    [claim] = [claim for claim in found.claims if words in claim.text]
    return claim


# ---- table 1


def table1(out: Path, rights: dict[str, int]) -> Findings:
    jobs = [job for job in STUDIES["table1"].full(1) if isinstance(job, EvaluationJob) and job.model == QWEN]
    for job in jobs:
        evaluation(out, job, asked(share(rights[job.template])))
    return STUDIES["table1"].read(out, jobs)


def test_no_template_is_best_by_60_percent_over_four_shots(tmp_path: Path) -> None:
    found = table1(tmp_path, {"no": 128, "few_shot": 80, "qwen_math": 90, "r1": 20})
    about = find(found, "about 60 % above 4-shot")
    assert about.verdict is SEEN
    assert about.measured.startswith("no template / 4-shot is 1.60; ")
    assert find(found, "no template is best").verdict is SEEN
    assert "no template − Qwen-Math, the nearest: +19 points" in find(found, "no template is best").measured
    assert find(found, "R1 template").verdict is SEEN


@pytest.mark.parametrize(("bare", "verdict"), [(80, NOT_SEEN), (190, NOT_SEEN), (104, UNDECIDED)])
def test_another_gain_than_60_percent_is_not_it(tmp_path: Path, bare: int, verdict: ClaimStatus) -> None:
    """No gain at all; one of 138 %; and one of 30 %, the very limit, which no number of questions decides."""
    found = table1(tmp_path, {"no": bare, "few_shot": 80, "qwen_math": 90, "r1": 20})
    assert find(found, "about 60 % above 4-shot").verdict is verdict


def test_without_a_right_answer_under_four_shots_there_is_no_ratio(tmp_path: Path) -> None:
    about = find(table1(tmp_path, {"no": 100, "few_shot": 0, "qwen_math": 9, "r1": 0}), "above 4-shot")
    assert about.measured.startswith("no template / 4-shot is without bound; 1.9 × 4-shot − no template: -50 points")
    assert about.verdict is NOT_SEEN


def test_of_one_question_no_claim_is_tested(tmp_path: Path) -> None:
    """As after a rehearsal with sets cut to a row."""
    for name in ("table1", "fig3-answering", "fig3-exploration", "reflection-accuracy"):
        jobs = [job for job in STUDIES[name].full(1) if isinstance(job, EvaluationJob)]
        for job in jobs:
            evaluation(tmp_path / name, job, asked([True]), job.temperature)
        found = STUDIES[name].read(tmp_path / name, jobs)
        assert {claim.verdict for claim in found.claims} == {ClaimStatus.UNTESTED}
        jobs = [job for job in jobs if job.temperature in (0, 1)]  # and of one temperature
        assert STUDIES[name].read(tmp_path / name, jobs).claims


@pytest.mark.parametrize("name", ["table1", "fig3-answering", "fig3-exploration", "reflection-accuracy"])
def test_questions_that_are_asked_again_are_no_evidence_of_their_own(name: str, tmp_path: Path) -> None:
    """Three questions, and the same three asked forty times over under other ids: the same claims."""
    jobs = [job for job in STUDIES[name].full(1) if isinstance(job, EvaluationJob)]
    measured = []
    for times in (1, 40):
        for i, job in enumerate(jobs):
            rollouts = []
            for n, again in itertools.product(range(3), range(times)):
                said = ANSWER if (n + i) % 3 else TALK
                outcomes = [Outcome.RIGHT if (n + i + k) % 2 else Outcome.WRONG for k in (0, 1)]
                texts = [f"Let me recheck. {said}" if n % 2 == k else said for k in (0, 1)]
                each = group(n, *map(response, texts, outcomes))
                rollouts.append(replace(each, question=replace(each.question, id=f"{each.question.id}/{again}")))
            evaluation(tmp_path / str(times), job, rollouts, job.temperature)
        found = STUDIES[name].read(tmp_path / str(times), jobs)
        measured.append([(claim.p_value, claim.verdict) for claim in found.claims])
    assert any(p is not None for p, _ in measured[0])
    assert measured[0] == [(p and pytest.approx(p), verdict) for p, verdict in measured[1]]


# ---- figure 3, left


def answering(out: Path, rates: dict[str, tuple[int, int]]) -> Findings:
    """Model → how many of 200 responses answer without a template, and under R1."""
    jobs = [job for job in STUDIES["fig3-answering"].full(1) if isinstance(job, EvaluationJob) and job.model in rates]
    for job in jobs:
        bare, dressed = rates[job.model]
        answers = share(bare if job.template == "no" else dressed)
        evaluation(out, job, asked(answers, [ANSWER if yes else TALK for yes in answers]))
    return STUDIES["fig3-answering"].read(out, jobs)


def test_the_r1_template_raises_the_answering_rate_of_llama_and_deepseek(tmp_path: Path) -> None:
    deepseek = "deepseek-ai/deepseek-math-7b-base"
    found = answering(tmp_path, {QWEN: (200, 128), LLAMA: (127, 170), deepseek: (140, 141)})
    llama = find(found, "Llama-3.1-8B answers more readily with the R1 template")
    assert llama.verdict is SEEN
    assert "answering rate, R1 − no template: +21.5 points [at least " in llama.measured
    assert find(found, "deepseek-math-7b-base answers more readily with the R1 template").verdict is NOT_SEEN
    assert find(found, "Qwen2.5-Math-1.5B answers without any template").verdict is SEEN
    assert len(found.claims) == 3  # nobody is said to answer without a template who needs one


@pytest.mark.parametrize(("bare", "dressed", "verdict"), [(20, 199, SEEN), (140, 141, NOT_SEEN)])
def test_the_served_model_answers_least_of_all_without_a_template_and_more_with_r1(
    tmp_path: Path, bare: int, dressed: int, verdict: ClaimStatus
) -> None:
    found = answering(tmp_path, {QWEN: (200, 128), LLAMA: (127, 170), "deepseek-ai/DeepSeek-V3-Base": (bare, dressed)})
    least = find(found, "DeepSeek-V3-Base answers least of all without a template")
    assert least.verdict is verdict
    assert f"Llama-3.1-8B, the nearest, − DeepSeek-V3-Base: {(127 - bare) / 2:+.1f} points" in least.measured
    assert find(found, "DeepSeek-V3-Base answers more readily with the R1 template").verdict is verdict


def test_a_qwen_model_that_talks_on_does_not_answer_without_a_template(tmp_path: Path) -> None:
    assert find(answering(tmp_path, {QWEN: (120, 190)}), "answers without any").verdict is NOT_SEEN


# ---- figure 3, middle


def test_an_inner_optimum_is_one_above_both_ends(tmp_path: Path) -> None:
    def verdict(rights: Callable[[float], int]) -> ClaimStatus:
        jobs = [job for job in STUDIES["fig3-exploration"].full(1)
                if isinstance(job, EvaluationJob) and job.model == LLAMA]  # fmt: skip
        for job in jobs:
            evaluation(tmp_path, job, asked(share(rights(job.temperature))), job.temperature)
        found = STUDIES["fig3-exploration"].read(tmp_path, jobs)
        assert find(found, "right answers exist").verdict is SEEN
        return find(found, "inner optimum").verdict

    assert verdict(lambda t: 100 if t in (0.1, 1.0) else 130) is SEEN
    assert verdict(lambda t: 100 + round(50 * t)) is not SEEN  # it rises to the end
    assert verdict(lambda t: 120 if t == 0.5 else 118) is not SEEN  # by two questions of 200, of eight looks


@pytest.mark.parametrize(
    ("qwen", "verdict"), [((90, 150, 120), SEEN), ((90, 105, 100), NOT_SEEN), ((90, 134, 120), UNDECIDED)]
)
def test_qwen_explores_above_the_pure_base_model_by_the_best_of_its_models(
    tmp_path: Path, qwen: tuple[int, int, int], verdict: ClaimStatus
) -> None:
    rights = dict(zip(("Qwen2.5-Math-1.5B", "Qwen2.5-Math-7B", "Qwen2.5-7B"), qwen, strict=True))
    rights |= {"DeepSeek-V3-Base": 130, "Llama-3.1-8B": 199}  # that one is not asked for
    jobs = [job for job in STUDIES["fig3-exploration"].full(1)
            if isinstance(job, EvaluationJob) and job.model.partition("/")[2] in rights]  # fmt: skip
    for job in jobs:
        fewer = 0 if job.temperature == 0.5 else 10  # each is best there
        evaluation(tmp_path, job, asked(share(rights[job.model.partition("/")[2]] - fewer)), job.temperature)
    claim = find(STUDIES["fig3-exploration"].read(tmp_path, jobs), "explore best")
    assert claim.verdict is verdict
    difference = (max(qwen) - 130) / 2
    assert f"Qwen2.5-Math-7B − DeepSeek-V3-Base: {difference:+.3g} points" in claim.measured


# ---- appendix D


def reflecting(out: Path, before: int, after: int) -> Findings:
    """So many of 200 responses reflect, before and after training; right are as many either way."""
    jobs = [job for job in STUDIES["reflection-accuracy"].full(1) if isinstance(job, EvaluationJob)]
    for job in jobs:
        flags = share(after if job.start else before)
        texts = [f"Let me recheck. {ANSWER}" if flag else ANSWER for flag in flags]
        evaluation(out, job, asked([True] * 200, texts), 1.0)
    return STUDIES["reflection-accuracy"].read(out, jobs)


@pytest.mark.parametrize(
    ("before", "after", "verdict"), [(20, 60, SEEN), (20, 24, UNDECIDED), (20, 20, NOT_SEEN), (60, 20, NOT_SEEN)]
)
def test_reflection_is_more_frequent_after_training(
    tmp_path: Path, before: int, after: int, verdict: ClaimStatus
) -> None:
    found = reflecting(tmp_path, before, after)
    more = find(found, "more frequent after training.")
    assert more.verdict is verdict
    assert f"by keyword, after − before: {(after - before) / 2:+.3g} points" in more.measured


def test_the_papers_own_two_models_are_a_pair_of_their_own(tmp_path: Path) -> None:
    """Beside what is made here: its claims are of that alone."""
    own = [job for job in STUDIES["reflection-accuracy"].full(1) if isinstance(job, EvaluationJob)]
    own = [job for job in own if "DeepSeek" not in job.model]
    served = [
        EvaluationJob(f"evaluations/{name}-r1-t1", "r1", [], model=f"deepseek-ai/{name}", temperature=1.0)
        for name in ("DeepSeek-V3-Base", "DeepSeek-R1-Zero")
    ]
    for job, reflecting in zip([*own, *served], (20, 20, 10, 90), strict=True):
        texts = [f"Let me recheck. {ANSWER}" if flag else ANSWER for flag in share(reflecting)]
        evaluation(tmp_path, job, asked([True] * 200, texts), 1.0)
    found = STUDIES["reflection-accuracy"].read(tmp_path, [*own, *served])
    assert find(found, "after training (DeepSeek-R1-Zero)").verdict is SEEN
    assert find(found, "more frequent after training.").verdict is NOT_SEEN
    assert len([claim for claim in found.claims if "not more accurate" in claim.text]) == 4
    [characters] = [row for row in found.tables[0].rows if row[:2] == ["DeepSeek-R1-Zero", "characters"]]
    assert characters[2] == f"{len(ANSWER) + 0.45 * len('Let me recheck. '):.1f}"  # 90 of 200
    assert found.tables[-1].rows == [
        ["DeepSeek-V3-Base", "621.3", "1038.9", "880.7"], ["DeepSeek-R1-Zero", "4965.4", "8206.1", "7870.3"]
    ]  # fmt: skip


def test_that_reflection_does_not_help_is_tested_against_a_margin(tmp_path: Path) -> None:
    jobs = [job for job in STUDIES["reflection-accuracy"].full(1) if isinstance(job, EvaluationJob)]

    def found(chance: Callable[[int, bool], bool]) -> ClaimStatus:
        for job in jobs:
            groups = [
                group(i, *(response(f"Let me recheck. {ANSWER}" if reflects else ANSWER,
                                    Outcome.RIGHT if chance(i, reflects) else Outcome.WRONG)
                           for reflects in (True, False)))
                for i in range(100)
            ]  # fmt: skip
            evaluation(tmp_path, job, groups, 1.0)
        return find(STUDIES["reflection-accuracy"].read(tmp_path, jobs), "base model: reflecting").verdict

    assert found(lambda i, _: i % 2 == 0) is SEEN  # never another outcome
    assert found(lambda i, reflects: reflects or i % 2 == 0) is NOT_SEEN  # half of the questions by reflecting alone
    # 52 for reflecting, 48 against: a difference of 4 points that might as well be 20
    assert found(lambda i, reflects: (i < 52) == reflects) is UNDECIDED


# ---- figure 6


def duet(out: Path, before: dict[str, int], after: dict[tuple[str, str], int], recipe: str) -> Findings:
    """Twelve runs: so many of 200 right by template before training, by template and set after it."""
    jobs = [RunJob(f"runs/{template}-{name}-0", recipe) for template in fig6.TEMPLATES for name in fig6.SETS]
    for job in jobs:
        template, name = job.name.removeprefix("runs/").removesuffix("-0").rsplit("-", 1)
        first, last = asked(share(before[template])), asked(share(after[template, name]))
        make_run(out / job.name, evaluations={0: 0.1, 2: 0.4}, evaluated={0: first, 2: last},
                 recipe={"sampling.max_new_tokens": 50})  # fmt: skip
    return STUDIES["fig6"].read(out, jobs)


BEFORE = {"r1": 10, "qwen_math": 46, "no": 65}
AFTER = {(template, name): right for template, rights in {
    "r1": (80, 79, 62, 52), "qwen_math": (55, 56, 82, 57), "no": (77, 80, 70, 69),
}.items() for name, right in zip(fig6.SETS, rights, strict=True)}  # fmt: skip


def test_all_templates_reach_about_40_percent_and_easy_questions_are_best_under_qwen_math(tmp_path: Path) -> None:
    found = duet(tmp_path, BEFORE, AFTER, "qwen2.5-math-1.5b")
    comparable = find(found, "comparable scores")
    assert comparable.verdict is SEEN
    assert "R1 40.0 % on ORZ-57k, Qwen-Math 41.0 % on GSM-8k, no template 40.0 % on MATH-12k" in comparable.measured
    assert find(found, "easy questions (GSM-8k) are the best set").verdict is SEEN
    assert "GSM-8k − ASDiv-2k, the nearest: +12.5 points" in find(found, "are the best set").measured
    about = find(found, "about 40 %")
    assert about.verdict is UNDECIDED  # of 200 questions, as an interval of ± 6 points is wider than ± 5
    assert "could not have seen less than ±" in about.measured
    assert not any("Wide, middle" in note or "same numbers" in note for note in found.notes)


def test_templates_that_end_apart_are_said_to(tmp_path: Path) -> None:
    worse = {key: right - 40 if key[0] == "r1" else right for key, right in AFTER.items()}
    found = duet(tmp_path, BEFORE, worse, "qwen2.5-math-1.5b")
    comparable = find(found, "comparable scores")
    assert comparable.verdict is NOT_SEEN
    assert "furthest apart: Qwen-Math − R1: +21 points" in comparable.measured
    about = find(found, "about 40 %")
    assert about.verdict is NOT_SEEN
    assert "furthest from 40 %: R1: -20 points" in about.measured


@pytest.mark.parametrize(("basic", "verdict"), [(57, SEEN), (20, NOT_SEEN), (48, UNDECIDED)])
def test_a_narrow_set_does_as_well_under_the_template_that_matches(
    tmp_path: Path, basic: int, verdict: ClaimStatus
) -> None:
    """A difference of 7 of 200 questions, 3.5 points, is within the margin of 5, but its interval is not."""
    published = duet(tmp_path / "full", BEFORE, AFTER | {("qwen_math", "basic"): basic}, "qwen2.5-math-1.5b")
    claim = find(published, "a narrow set of questions does as well")
    assert claim.verdict is verdict
    assert f"under Qwen-Math after training, ASDiv-2k − ORZ-57k: {(basic - 55) / 2:+.3g} points" in claim.measured
    small = duet(tmp_path / "small", BEFORE, AFTER | {("no", "basic"): basic + 22}, "miniature")
    claim = find(small, "a narrow set of questions does as well")
    assert claim.verdict is verdict
    assert f"without a template after training, basic − wide: {(basic - 55) / 2:+.3g} points" in claim.measured


def test_another_best_set_is_said(tmp_path: Path) -> None:
    found = duet(tmp_path, BEFORE, AFTER | {("qwen_math", "wide"): 90}, "qwen2.5-math-1.5b")
    assert find(found, "easy questions (GSM-8k) are the best set").verdict is NOT_SEEN


def test_the_miniature_is_not_asked_for_40_percent(tmp_path: Path) -> None:
    found = duet(tmp_path, BEFORE, AFTER, "miniature")
    assert not [claim for claim in found.claims if "about 40" in claim.text]
    assert any("stand for the paper's" in note for note in found.notes)
    assert "wide" in find(found, "rebuilds").measured


# ---- the published setting's page


def test_no_published_grid_is_taken_for_the_miniatures(tmp_path: Path) -> None:
    for study in STUDIES.values():
        assert not in_miniature(study.full(1))
        assert in_miniature(study.laptop(tmp_path, LAPTOP)) or not study.laptop(tmp_path, LAPTOP)


SMALL = r"(?i)miniature|laptop|\bcontrol\b|\bqa\b(?!-pretrained)|\bweb\b|plain text|same numbers"
"""Words that are true of the miniature alone."""


def pretrained(out: Path, recipe: str) -> tuple[Path, list[Job]]:
    """Runs from three base models, in which nothing differs."""
    names = ("plain", "domain", "numina", "numina-grpo")
    jobs: list[Job] = [RunJob(f"runs/on-{name}-{seed}", recipe) for name in names for seed in range(2)]
    for job in jobs:
        make_run(out / job.name, metrics=[{"rollout/length": 5.0}], evaluations={0: 0.1, 2: 0.2},
                 recipe={"sampling.max_new_tokens": 50})  # fmt: skip
    return out, jobs


def sampled(out: Path, name: str) -> Findings:
    jobs = [job for job in STUDIES[name].full(1) if isinstance(job, EvaluationJob) and job.model in (QWEN, LLAMA)]
    for job in jobs:
        evaluation(out, job, asked([True, False]), job.temperature)
    return STUDIES[name].read(out, jobs)


def test_no_page_of_the_published_setting_speaks_of_the_miniature(tmp_path: Path) -> None:
    even = {"no": 100, "few_shot": 60, "qwen_math": 70, "r1": 9}
    found = [
        table1(tmp_path / "a", even),
        answering(tmp_path / "b", {QWEN: (200, 128), LLAMA: (127, 170)}),
        reflecting(tmp_path / "c", 20, 60),
        duet(tmp_path / "d", BEFORE, AFTER, "qwen2.5-math-1.5b"),
        fig5.read_fig5(*compared(tmp_path / "e", "qwen2.5-1.5b-r1")),
        fig5.read_fig1(*compared(tmp_path / "f", "qwen2.5-1.5b-r1")),
        fig7.read(*pretrained(tmp_path / "h", "llama-3.2-3b-r1")),
        sampled(tmp_path / "i", "fig3-exploration"),
        sampled(tmp_path / "j", "fig3-reflection"),
    ]
    for each in found:
        charts = [panel.ours for panel in each.panels]
        said = json.dumps([each.notes, [asdict(table) for table in each.tables], [c.text for c in each.claims],
                           [(chart.title, chart.about) for chart in charts]], ensure_ascii=False)  # fmt: skip
        assert not re.search(SMALL, said), said
    for study in STUDIES.values():
        assert not re.search(SMALL, f"{study.title} {study.about}")
    page = {size: render([StudyPart(STUDIES["fig7"])], size) for size in ("laptop", "full")}
    assert ["A control has read" in text for text in page.values()] == [True, False]
    assert "in miniature" not in page["full"]
    assert "the miniature" not in page["full"]
    small = fig5.read_fig5(*compared(tmp_path / "g", "miniature"))
    assert any("miniature" in note for note in small.notes)


def compared(out: Path, recipe: str) -> tuple[Path, list[Job]]:
    """Two objectives on two seeds, in which nothing differs."""
    jobs: list[Job] = [RunJob(f"runs/{objective}-{seed}", recipe) for objective in fig5.PAIR for seed in range(2)]
    for job in jobs:
        metrics = [{"rollout/reward": 0.1, "rollout/length": 5.0, "rollout/truncated": 0.0}]
        make_run(out / job.name, metrics=metrics, rollouts={1: asked([True, False])}, evaluations={0: 0.1},
                 recipe={"sampling.max_new_tokens": 50})  # fmt: skip
    return out, jobs


def test_published_scores_beside_another_budget_say_so(tmp_path: Path) -> None:
    even = {"no": 100, "few_shot": 60, "qwen_math": 70, "r1": 9}
    assert table1(tmp_path / "a", even).tables[-1].title.endswith("at most 3000 tokens (8000 where a row says @8k)")
    jobs = [replace(job, max_new_tokens=1024) for job in STUDIES["table1"].full(1)
            if isinstance(job, EvaluationJob) and job.model == QWEN]  # fmt: skip
    for job in jobs:
        evaluation(tmp_path, job, asked(share(even[job.template])))
    assert STUDIES["table1"].read(tmp_path, jobs).tables[-1].title.endswith("; here at most 1024")


def test_the_papers_average_is_that_of_its_sets(tmp_path: Path) -> None:
    """One set of 4 questions, all right, and one of 12, a third of them: the mean of the sets is ⅔, of all ½."""
    jobs = [job for job in STUDIES["table1"].full(1) if isinstance(job, EvaluationJob) and job.model == QWEN]
    for job in jobs:
        evaluation(tmp_path, job, asked([i < 4 for i in range(12)]))
        write_parquet(tmp_path / job.name / "small.parquet", rollout_table(asked([True] * 4), {}))
    best = find(STUDIES["table1"].read(tmp_path, jobs), "no template is best")
    assert best.measured.startswith("4-shot 66.7 %, R1 66.7 %")
