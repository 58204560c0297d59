"""The paper's miniature: its world, its statistics, its grids, and that a quick run ends in a page."""

import itertools
import json
import os
import random
import re
import shutil
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from processes import END_S, Process, below, wait_ended, wait_for
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.paper import world
from r1zero.paper.claims import ClaimStatus
from r1zero.paper.elements import ELEMENTS
from r1zero.paper.jobs import EvaluationJob, Job, RunJob, asked_of
from r1zero.paper.judgements import JudgementJob
from r1zero.paper.miniature import LAPTOP, QUICK, base, evaluated, trained
from r1zero.paper.page import read_part, render
from r1zero.paper.run import grids, write_page
from r1zero.paper.studies import STUDIES, fig5, pick_studies
from r1zero.questions.catalogue import CATALOGUE
from r1zero.templates import get_template, template_names
from r1zero.types import AnswerFormat, Outcome
from r1zero.verify import Verifier
from test_questions_real import DATA
from tiny_runs import Hold, start

PAPER = DATA.parent / "paper" / "PAPER.md"

# ---- the world


def test_every_text_of_the_world_is_in_its_vocabulary() -> None:
    words = world.tokenizer()
    unknown = words.convert_tokens_to_ids("<unk>")
    questions = list(itertools.islice(world.picks(5), 50))
    texts = [text for name in world.TEXTS for text in itertools.islice(world.corpus(name, 3), 200)]
    texts += [get_template(name).render(q.text) for name in ("no", "r1", "qwen_math") for q in questions]
    for text in texts:
        ids = words.encode(text, add_special_tokens=False)
        assert unknown not in ids
        assert words.decode(ids) == text


def test_only_one_pair_makes_the_sum() -> None:
    for question in itertools.islice(world.picks(1), 300):
        total = sum(question.pair)
        assert [p for p in itertools.combinations(question.numbers, 2) if sum(p) == total] == [question.pair]


def test_no_test_question_is_ever_read_or_trained_on() -> None:
    def numbers(text: str) -> tuple[int, ...]:
        return tuple(sorted(map(int, text.removeprefix("Pick two of ").split(" to make ")[0].split(", "))))

    test = {numbers(q.text) for q in itertools.islice(world.picks(0, test=True), 5000)}
    texts = [text for name in world.TEXTS for text in itertools.islice(world.corpus(name, 0), 500)]
    asked = {numbers(part) for text in texts for part in text.replace("\n", " ").split("Pick two of ")[1:]}
    assert len(test) > 10
    assert not test & asked
    for name, (_, count, tests) in world.SETS.items():
        questions = world.question_set(name, 0)
        assert len({q.text for q in questions}) == count
        found = {numbers(q.text) for q in questions}
        assert found <= test if tests else not test & found


def test_an_answer_never_changes_its_guess_and_is_graded_by_it() -> None:
    rng, looks, right = random.Random(0), [], 0
    triples = []
    for question in itertools.islice(world.picks(2), 400):
        text = world.answer(question, rng)
        guess = text.split(" = ")[0].strip()
        assert text.count(guess) == 1
        assert text.endswith("\\boxed{" + guess.replace(" + ", ",") + "}")
        assert (" yes" in text) != (" no" in text)
        looks.append(text.count(" once more still"))
        right += " yes" in text
        triples.append((text, question.gold, AnswerFormat.BOXED))
    assert abs(right / 400 - world.RIGHT_GUESSES) < 0.1
    more = world.LOOK_AGAIN
    assert abs(sum(looks) / 400 - more / (1 - more)) < 0.25  # p + p² + p³ + …
    with Verifier(workers=1) as verifier:
        verdicts = verifier.verify(triples)
    assert [v.outcome is Outcome.RIGHT for v in verdicts] == [" yes" in text for text, _, _ in triples]


# ---- grids


def test_jobs_of_one_name_are_one_job() -> None:
    for scale in ("laptop", "quick", "full"):
        found: dict[str, object] = {}
        for jobs in grids(list(STUDIES.values()), Path("out"), scale, None).values():
            for job in jobs:
                assert found.setdefault(job.name, job) == job, job.name


def test_one_run_has_one_name_in_all_studies() -> None:
    """What is asked, of which model, and what made that: equal under two names, it would be made twice."""
    for scale in ("laptop", "full"):  # a quick look's two lengths of runs are one, by chance
        jobs = {job.name: job for each in grids(list(STUDIES.values()), Path("out"), scale, 2).values() for job in each}
        asked, names = asked_of(list(jobs.values())), dict[str, str]()

        def made(name: str, jobs: dict[str, Job] = jobs, asked: dict[str, Any] = asked) -> list[Any]:
            recipe, start = asked[name].model_dump(mode="json"), jobs[name].start
            if "template" in recipe:
                name_, own = recipe["template"]["name"], recipe["template"]["answer_format"]
                known = name_ != "chat" and not name_.endswith(".jinja")
                recipe["template"]["answer_format"] = own or (get_template(name_).answer_format if known else "boxed")
            for where in ("log", "checkpoint"):
                recipe.pop(where, None)  # which say what is kept of a run
            return [type(jobs[name]).__name__, recipe, made(start) if start else None]

        for name in asked:
            found = json.dumps(made(name), sort_keys=True)
            assert names.setdefault(found, name) == name


def test_every_recipe_of_every_grid_is_valid(tmp_path: Path) -> None:
    for scale in ("laptop", "quick", "full"):
        for jobs in grids(list(STUDIES.values()), tmp_path, scale, 2).values():
            names = {job.name for job in jobs}
            for job in jobs:
                assert job.start is None or job.start in names
                if job.start is not None:
                    (tmp_path / job.start / "checkpoints" / "step-000001").mkdir(parents=True, exist_ok=True)
                if isinstance(job, RunJob):
                    assert job.resolved(tmp_path).model_dump()["train"]["steps"] != 0
                elif isinstance(job, EvaluationJob) and scale == "full":
                    assert {each["name"] for each in job.benchmarks} <= set(CATALOGUE)


def test_every_job_at_full_scale_names_what_exists(tmp_path: Path) -> None:
    """Question sets and benchmarks with their splits, templates and objectives, of every study."""
    seen = 0
    for jobs in grids(list(STUDIES.values()), tmp_path, "full", 2).values():
        for job in jobs:
            if job.start is not None:
                (tmp_path / job.start / "checkpoints" / "step-000001").mkdir(parents=True, exist_ok=True)
        for job in jobs:
            if isinstance(job, JudgementJob):
                continue  # of an evaluation's answers
            if isinstance(job, EvaluationJob):
                sets, template = [dict(each) for each in job.benchmarks], job.template
            elif isinstance(recipe := job.resolved(tmp_path), Recipe):
                sets = [each.model_dump() for each in (recipe.questions, *recipe.evaluation.benchmarks)]
                template = recipe.template.name
                assert recipe_objective(recipe).name == recipe.objective.name
                seen += 1
            else:
                continue  # pretraining asks no questions
            assert template in template_names(), job.name
            for each in sets:
                entry = CATALOGUE.get(str(each["name"]))
                assert entry is not None, f"{job.name} asks {each['name']}"
                entry = CATALOGUE[entry.part_of or entry.name]
                assert each.get("split") in (None, entry.split), job.name
                assert entry.hub is not None, f"{job.name}: {entry.name} is nowhere to be had"
    assert seen >= 2 * (4 + 12 + 4)  # ablation, figures 6 and 7, for two seeds


def test_the_papers_own_grid_grades_the_r1_template_by_the_papers_own_rule(tmp_path: Path) -> None:
    studies, seen = list(STUDIES.values()), 0
    for jobs in grids(studies, tmp_path, "full", 1).values():
        for job in jobs:
            if job.start is not None:
                (tmp_path / job.start / "checkpoints" / "step-000001").mkdir(parents=True, exist_ok=True)
            if isinstance(job, JudgementJob):
                continue
            if isinstance(job, EvaluationJob):
                template, answer_format = job.template, job.answer_format
            elif isinstance(recipe := job.resolved(tmp_path), Recipe):
                template, answer_format = recipe.template.name, recipe.template.answer_format
            else:
                continue
            assert (answer_format == AnswerFormat.ANSWER_TAGS_STRICT) == (template == "r1"), job.name
            seen += template == "r1"
    assert seen >= 2 + 5 + 2 * 10 + 4  # table 1, figure 3 left and middle, figure 6


def test_the_comparison_changes_only_the_objective(tmp_path: Path) -> None:
    start_ = base(tmp_path, LAPTOP, "qa", 0)
    (tmp_path / start_.name / "checkpoints" / "step-000001").mkdir(parents=True)
    two = [trained(tmp_path, LAPTOP, o, start_, 0, objective=o).resolved(tmp_path).model_dump() for o in fig5.PAIR]
    for recipe in two:
        recipe.pop("objective")
    assert two[0] == two[1]


def listed(kind: str) -> set[str]:
    """The numbers of elements of this kind, in either version of the paper."""
    names = [element.name for element in ELEMENTS if element.name.startswith(kind)]
    return {number for name in names for number in re.findall(r"(?<![v\d])\d+|\b[A-G]\b", name)}


def test_every_element_of_the_paper_is_in_the_list() -> None:
    assert listed("Figure") >= set(map(str, range(1, 16)))
    assert listed("Table") == set("123456")
    assert listed("Appendix") == set("ABCDFG")
    assert {element.study for element in ELEMENTS} - {""} == set(STUDIES)
    assert all(element.note for element in ELEMENTS if not element.study)


@pytest.mark.skipif(not PAPER.exists(), reason="the notes on the paper are not here")
def test_every_element_that_the_notes_speak_of_is_in_the_list() -> None:
    told = PAPER.read_text(encoding="utf-8").partition("# 2. Exact")[0]
    for kind, word in (("Figure", r"Fig\.?"), ("Table", "Table"), ("Appendix", r"App\.?")):
        found = set(re.findall(rf"\b{word} (\d+|[A-G]\b)", told))
        assert found
        assert found <= listed(kind), kind


def test_an_unknown_study_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean fig5"):
        pick_studies(["fig55"])
    assert [study.name for study in pick_studies(["fig2", "table4"])] == ["table4"]
    assert len(pick_studies([])) == len(STUDIES)


def test_a_page_of_unfinished_runs_says_what_is_missing(tmp_path: Path) -> None:
    study = STUDIES["fig5"]
    part = read_part(study, tmp_path, list(study.laptop(tmp_path, QUICK)))
    assert part.problems[0].startswith("bases/qa-31 and")
    assert "goes on" in render([part], "laptop")
    for size, more in (("quick", " --quick"), ("full", " --scale full"), ("rehearsal", " --scale full --rehearse")):
        jobs = list(study.laptop(tmp_path, QUICK))
        assert f"`r1zero paper run fig5{more}` goes on" in read_part(study, tmp_path, jobs, None, size).problems[0]


def test_an_evaluation_is_done_when_it_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    start = base(tmp_path, LAPTOP, "qa", 11)
    warm, greedy = (evaluated(tmp_path, LAPTOP, start, "no", temperature=t) for t in (1.0, 0.0))
    folder = tmp_path / warm.name
    folder.mkdir(parents=True)
    assert not warm.done(tmp_path)
    settings = warm._settings().model_dump(mode="json", exclude={"every"})
    settings["benchmarks"][0]["name"] = "/where/it/was/test.questions.jsonl"
    (folder / "evaluation.json").write_text(json.dumps({"settings": settings}))
    assert not warm.done(tmp_path)  # no results yet
    (folder / "results.json").write_text("[]")
    assert warm.done(tmp_path)
    assert not replace(greedy, name=warm.name).done(tmp_path)
    assert not replace(warm, samples=4).done(tmp_path)
    (folder / "evaluation.json").write_text(json.dumps({"settings": settings, "answer_format": "answer_tags"}))
    assert not warm.done(tmp_path)  # other responses were right
    assert replace(warm, answer_format="answer_tags").done(tmp_path)
    assert replace(warm, answer_format=None).done(tmp_path)
    (folder / "results.json").write_text("[")
    assert not warm.done(tmp_path)


@pytest.mark.parametrize(
    ("number", "studies"),
    [
        ("fig3", ["fig3-answering", "fig3-exploration", "fig3-reflection"]),
        ("fig9", ["fig5"]),  # v2's, over seeds; v1's is v2's figure 10
        ("fig10", ["fig3-reflection"]),
        ("fig12", ["fig3-reflection"]),  # v2's; v1's is v2's figure 14
        ("fig11", ["fig3-reflection"]),  # v1's
        ("fig4", ["fig3-reflection"]),  # v1's, which v2 moved to
        ("fig13", ["fig3-reflection"]),
        ("fig14", ["reflection-accuracy"]),
        ("fig8", ["ablation"]),
        ("fig7", ["fig7"]),
        ("table3", ["fig6"]),
        ("table5", ["reflection-accuracy"]),
        ("fig2", ["table4"]),
    ],
)
def test_studies_are_found_by_the_papers_numbers(number: str, studies: list[str]) -> None:
    assert [study.name for study in pick_studies([number])] == studies
    assert [study.name for study in pick_studies([number, *studies])] == studies


def test_what_is_listed_under_a_number_is_what_runs_under_it() -> None:
    for element in ELEMENTS:
        if element.study and (found := re.match(r"(Figure|Table) (\d+)(?!.* in v2)", element.name)):
            number = f"{'fig' if found[1] == 'Figure' else 'table'}{found[2]}"
            assert element.study in [study.name for study in pick_studies([number])], element.name


# ---- real runs

WAIT = "r1zero.paper.schedule:wait"
"""Where a grid waits for its first jobs, which have been handed to its workers."""


@pytest.mark.slow
def test_killed_and_given_again_it_goes_on_and_ends_in_a_page(tmp_path: Path) -> None:
    words = ("paper", "run", "fig1", "--quick", "--seeds", "1", "--out", tmp_path)
    out = tmp_path / "quick"
    killed = start(*words, hold=Hold(WAIT))  # so that nothing but the base model's run is under way
    killed.held()
    wait_for(lambda: (out / "bases/qa-31/run.json").exists() or None, "the base model's run", END_S)
    workers = below(killed.pid)
    assert workers
    os.kill(killed.pid, signal.SIGKILL)  # it alone: its workers see for themselves that it is gone
    assert killed.wait() == -signal.SIGKILL
    wait_ended(workers)
    assert not (out / "paper.html").exists()
    said = start(*words).done(END_S)
    page = (out / "paper.html").read_text(encoding="utf-8")
    assert "Reward against length" in page
    assert (out / "figures/fig1.png").stat().st_size > 1000
    [found] = json.loads((out / "findings.json").read_text())
    assert found["problems"] == []
    assert {claim["verdict"] for claim in found["claims"]} == {ClaimStatus.UNTESTED.value}  # of one seed
    assert "begun     runs/grpo-31" in said
    before = changed(out)
    assert "begun " not in start(*words).done(END_S)
    assert changed(out) == before
    shutil.copytree(out, tmp_path / "elsewhere")
    shutil.rmtree(out)
    page = write_page(tmp_path / "elsewhere")  # a folder brought from another machine is read, not run again
    assert json.loads((page.parent / "findings.json").read_text()) == [found]


@pytest.mark.slow
def test_interrupted_with_its_workers_it_stops_at_once_and_says_one_sentence(tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to all of them, workers that are still importing too."""
    process = start("paper", "run", "fig5", "--quick", "--out", tmp_path, hold=Hold(WAIT))
    process.held()
    workers = wait_for(lambda: _loading(below(process.pid)) or process.poll(), "a worker that imports torch", END_S)
    assert not isinstance(workers, int), process.err
    for each in workers:
        os.kill(each.pid, signal.SIGINT)
    begun = tmp_path / "quick/bases/qa-31/run.json"
    wait_for(lambda: begun.exists() or process.poll(), "a base model's run", END_S)  # no worker was hurt
    assert begun.exists(), process.err
    assert process.kill(signal.SIGINT) == 130
    assert process.err.startswith("r1zero: interrupted;")
    assert process.err.count("\n") == 1, process.err
    wait_ended(workers)
    assert not list(tmp_path.glob("quick/bases/*/checkpoints/*/complete.json"))


def changed(out: Path) -> dict[Path, int]:
    """When each file of a grid's jobs was written last."""
    return {path: path.stat().st_mtime_ns for path in sorted(out.glob("*/*/**/*")) if path.is_file()}


def _loading(workers: list[Process]) -> list[Process]:
    """Those that have come as far as torch."""
    found = []
    for each in workers:
        with suppress(OSError):  # it has ended meanwhile
            if "libtorch" in Path(f"/proc/{each.pid}/maps").read_text():
                found.append(each)
    return found
