"""What a user orders for the published grids: settings that leave a study what it is, machines, and when jobs begin."""

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from r1zero.cli import paper as cli_paper
from r1zero.config import Recipe
from r1zero.config.overrides import parse_pairs, parse_settings
from r1zero.errors import UserError
from r1zero.paper.jobs import RunJob
from r1zero.paper.planned import NO_ORDERS, Orders, PlannedJob, fitting, gpus_of, plan_jobs, plan_rows, total
from r1zero.paper.run import _begun, _renewed, grids
from r1zero.paper.schedule import Schedule, planned_end
from r1zero.paper.studies import STUDIES
from r1zero.plan.machine import GIB, by_name, counted_machine, full_name
from r1zero.plan.model_size import BFLOAT16
from r1zero.rehearsal.stage import rehearsal_of
from tiny_runs import tiny_recipe

A100 = "8xA100-80GB"


def ordered(study: str, changes: Mapping[str, object], machine: str | None = None, seeds: int = 2) -> list[Recipe]:
    jobs = Orders(machine, changes).with_changes(STUDIES[study].full(seeds), study)
    return [job.asked() for job in jobs if isinstance(job, RunJob) and job.kind is Recipe]


# ---- settings


@pytest.mark.parametrize(("study", "changes", "said"), [
    ("fig5", {"objective.name": "grpo"}, "objective.name is what the jobs of fig5 differ in: leave it out."),
    ("fig5", {"objective": {"name": "grpo"}}, "objective.name is what the jobs of fig5 differ in: leave it out."),
    ("fig5", {"objective.constant": 2.0}, "objective.constant is what the jobs of fig5 differ in"),
    ("fig5", {"objective": {}}, "objective is not a valid setting: write SECTION.KEY=VALUE, such as "),
    ("fig5", {"train.seed": 7}, "train.seed is what the jobs of fig5 differ in"),
    ("reflection-accuracy", {"train.seed": 7}, "train.seed is what reflection-accuracy sets for its jobs itself"),
    ("reflection-accuracy", {"model.path": "x"}, "model.path is of the model that reflection-accuracy evaluates"),
    ("reflection-accuracy", {"template.name": "no"}, "template.name is what reflection-accuracy evaluates by too"),
    ("fig6", {"template.name": "no"}, "template.name is what the jobs of fig6 differ in"),
    ("fig6", {"questions.name": "gsm8k"}, "questions.name is what the jobs of fig6 differ in"),
    ("fig6", {"objective.name": "grpo"}, "objective.name is what the claims of fig6 name"),
    ("fig7", {"model": {"path": "x"}}, "model.path is what the jobs of fig7 differ in"),
    ("table4", {"model.path.x": 1}, "model.path.x is what the jobs of table4 differ in"),
    ("fig5", {"questions.name": "foo"}, "runs/dr_grpo-0 with --set: questions.name is 'foo', which is neither a known"),
    ("fig5", {"evaluation.benchmarks": [{"name": "foo"}]}, "a set of evaluation.benchmarks is 'foo', which is neither"),
    ("fig5", {"evaluation.benchmarks": []}, "evaluation.benchmarks = [] leaves no score to read"),
    ("fig5", {"template.name": "foo"}, "runs/dr_grpo-0 with --set: "),
    ("fig5", {"log.sinks": ["foo"]}, "log.sinks names 'foo', which is not a tracker"),
    ("fig5", {"objective.dual_clip": 3.0, "objective.clip_low": 2.0}, "runs/dr_grpo-0 with --set: objective.clip_low"),
    ("fig5", {"train.steps": 0}, "train.steps = 0 trains nothing"),
    ("fig5", {"learner.update": 4}, "runs/dr_grpo-0 with --set has an unknown setting 'learner.update'; did you mean"),
    ("fig5", {"learner.updates": 3}, "runs/dr_grpo-0 with --set: learner.updates = 3 does not divide"),
])  # fmt: skip
def test_what_a_study_is_of_is_not_set_and_what_is_wrong_is_told(
    study: str, changes: Mapping[str, object], said: str
) -> None:
    with pytest.raises(UserError) as found:
        ordered(study, changes)
    assert said in str(found.value)
    assert str(found.value).count("\n") == 0
    assert "recipes/" not in str(found.value)  # a file that the user never wrote


def test_what_all_runs_of_a_study_share_is_set() -> None:
    for study in ("fig1", "fig5", "ablation", "fig6", "fig7", "table4", "reflection-accuracy"):
        for recipe in ordered(study, {"learner": {"updates": 4}, "checkpoint.keep_last": 1}):
            assert (recipe.learner.updates, recipe.checkpoint.keep_last) == (4, 1)
    assert {recipe.model.path for recipe in ordered("fig5", {"model.path": "Qwen/Qwen2.5-7B"})} == {"Qwen/Qwen2.5-7B"}
    kept = Orders(None, {"objective.name": "grpo"}, kept=True)  # of an older version's runs: the page is still written
    assert kept.with_changes(STUDIES["fig5"].full(1), "fig5")


def test_settings_that_change_nothing_say_so() -> None:
    orders = Orders(changes={"learner.updates": 4})
    [said] = orders.unused(STUDIES["table1"].full(1))
    assert said == "--set changes training runs, and there are none in these studies: nothing is changed."
    assert orders.unused([*STUDIES["table1"].full(1), *STUDIES["fig5"].full(1)]) == []
    assert NO_ORDERS.unused(STUDIES["table1"].full(1)) == []


@pytest.mark.parametrize(("words", "said"), [
    (["learner.updates"], "--set learner.updates is not a valid setting: write NAME=VALUE, such as learner.updates=4."),
    ([""], "--set  is not a valid setting: write NAME=VALUE"),
    (["a.b=1", "a.b=2"], "--set gives a.b more than once; keep one of them."),
    (["a.b=1", "a={b=2}"], "--set gives a.b more than once"),
    (["a.b.c=1", "a.b=2"], "--set gives a.b more than once"),
])  # fmt: skip
def test_a_setting_is_given_once_and_whole(words: list[str], said: str) -> None:
    with pytest.raises(UserError) as found:
        parse_settings(words, "--set")
    assert said in str(found.value)


def test_sections_are_settings_one_by_one() -> None:
    assert parse_settings(["a={b=1, c=[2]}", "d.e=x"], "--set") == {"a.b": 1, "a.c": [2], "d.e": "x"}
    with pytest.raises(UserError, match="--x gives a more than once"):
        parse_pairs(["a=1", "a=1"], "--x")


def test_where_settings_were_given_is_said(tmp_path: Path) -> None:
    file = tmp_path / "more.toml"
    file.write_text("[learner]\nupdate = 4\n")
    orders = cli_paper._orders(None, False, ["log.project=x"], file, cli_paper.SERVING)
    assert orders.changes == {"learner.update": 4, "log.project": "x"}
    with pytest.raises(UserError) as found:
        orders.with_changes(STUDIES["fig5"].full(1), "fig5")
    assert str(found.value).startswith(f"runs/dr_grpo-0 with {file} and --set has an unknown setting 'learner.update';")


# ---- machines


@pytest.mark.parametrize(
    "key", ["cluster.learners", "sampling.engine", "sampling.tensor_parallel", "learner.micro_tokens", "model.device"]
)
def test_what_a_machine_plans_is_not_set(key: str) -> None:
    with pytest.raises(UserError) as found:
        ordered("fig5", {key: 2}, A100)
    assert str(found.value) == f"--set: {key} is what --machine plans for every job: leave one of them out."


def test_a_plan_takes_the_share_of_memory_that_is_given() -> None:
    jobs = Orders(A100, {"sampling.memory": 0.4}).ordered(STUDIES["fig5"].full(1), "fig5")
    assert [job.asked().sampling.memory for job in jobs if isinstance(job, RunJob)] == [0.4, 0.4]
    with pytest.raises(UserError, match=r"sampling\.memory = 4 cannot be used"):
        Orders(A100, {"sampling.memory": 4}).ordered(STUDIES["fig5"].full(1), "fig5")


def seen(monkeypatch: pytest.MonkeyPatch, *gpus: tuple[str, float]) -> None:
    """Let torch see these GPUs: names and GiB."""
    found = [SimpleNamespace(name=name, total_memory=int(size * GIB)) for name, size in gpus]
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(found))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: found[i])


@pytest.mark.parametrize(("gpus", "name"), [
    ([("NVIDIA H200", 139.8)] * 2, "2xH200"),
    ([("NVIDIA A100-SXM4-80GB", 79.25)] * 8, "8xA100-80GB"),
    ([("NVIDIA A100-PCIE-40GB", 39.4)], "1xA100-40GB"),
    ([("NVIDIA H100 80GB HBM3", 79.1)], "1xH100-80GB"),
    ([("NVIDIA H100 NVL", 93.1)], "1xGPU-93GB"),
    ([("NVIDIA RTX A6000", 47.5)] * 4, "4xGPU-47GB"),
    ([("NVIDIA H200", 139.8), ("NVIDIA A100-SXM4-80GB", 79.25)], "2xGPU-79GB"),
])  # fmt: skip
def test_the_machine_that_is_here(monkeypatch: pytest.MonkeyPatch, gpus: list[tuple[str, float]], name: str) -> None:
    seen(monkeypatch, *gpus)
    assert full_name("here") == name
    assert full_name(name) == name
    assert cli_paper._orders(None, True, [], None, cli_paper.SERVING).machine == name  # --plan alone
    monkeypatch.setattr("importlib.util.find_spec", lambda package: package)  # as if vLLM and Ray were here
    assert gpus_of([], Orders(name)) == {}


def test_machines_have_one_name_and_others_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (full_name("8xa100-80gb"), full_name("h200"), full_name("4xgpu-48gb")) == (A100, "1xH200", "4xGPU-48GB")
    assert by_name("GPU-48GB", BFLOAT16).memory == 48 * GIB
    assert by_name("GPU-48GB", BFLOAT16).flops == by_name("A100-80GB", BFLOAT16).flops
    seen(monkeypatch)
    for text, said in {
        "": '--machine "" is not a valid machine: write NxGPU, such as 8xA100-80GB.',
        "8xB9": "--machine B9 is not a machine of a known data sheet: name one of A100-40GB, A100-80GB, H100-80GB, "
        "H200, or GPU-48GB for any GPU of so much memory.",
        "here": "No GPU is here to plan for: give --machine a name, NxGPU, such as 8xA100-80GB.",
    }.items():
        with pytest.raises(UserError) as found:
            cli_paper._orders(text, True, [], None, cli_paper.SERVING)
        assert str(found.value) == said
        with pytest.raises(UserError):
            cli_paper.list_(full=True, machine=text)
    assert counted_machine(A100) == (8, "A100-80GB")


def test_gpus_that_are_smaller_than_planned_or_too_few_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    seen(monkeypatch, *[("NVIDIA A100-SXM4-80GB", 79.2)] * 7, ("NVIDIA A100-SXM4-40GB", 39.4))
    with pytest.raises(UserError) as found:
        gpus_of([], Orders(A100))
    assert str(found.value) == (
        "--machine 8xA100-80GB plans for GPUs of 80 GiB, and one of those here has 39.4: add --plan to see the plan "
        "alone, or give --machine here."
    )
    with pytest.raises(UserError, match=r"plans for 9 GPUs, and 8 are here: .* or give --machine here"):
        gpus_of([], Orders("9xA100-40GB"))


def test_a_seed_less_than_one_is_refused_with_the_plan_too(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^--seeds 0 runs nothing; give 1 or more\.$"):
        cli_paper.run("fig5", scale="full", machine=A100, plan=True, seeds=0, out=tmp_path)


def test_what_does_not_fit_has_no_hours() -> None:
    found = plan_jobs([job for job in STUDIES["fig7"].full(1) if job.name == "bases/numina-0"], Orders("1xA100-40GB"))
    assert [row[4] for row in plan_rows(found)] == ["–"]
    assert total(found, 1) == "1 of 1 jobs to do, of which 1 does not fit"
    with pytest.raises(UserError):
        fitting(found)


# ---- schedules


@dataclass(frozen=True)
class Task:
    """A job by its name."""

    name: str
    start: str | None = None


def simulated(tasks: list[Task], places: int, gpus: Mapping[str, int], seconds: Mapping[str, float]) -> float:
    return planned_end(tasks, lambda job: False, places, gpus, seconds)  # type: ignore[arg-type]


def test_the_longest_chain_begins_first() -> None:
    tasks = [Task("a"), Task("b"), Task("c"), Task("base"), Task("run", "base")]
    seconds = {"a": 4.0, "b": 4.0, "c": 4.0, "base": 3.0, "run": 7.0}
    gpus = dict.fromkeys(seconds, 1)
    # two GPUs: base 0–3, run 3–10 on one; a, b 0–8 on the other, c 8–12. As given: a, b 0–4, base 4–7, run 7–14
    assert simulated(tasks, 2, gpus, seconds) == 12
    schedule = Schedule(tasks, lambda job: False, 2, gpus, seconds)  # type: ignore[arg-type]
    assert [schedule.next()[0].name, schedule.next()[0].name] == ["base", "a"]  # type: ignore[index]
    plain = Schedule(tasks, lambda job: False, 2, gpus)  # type: ignore[arg-type]
    assert [plain.next()[0].name, plain.next()[0].name] == ["a", "b"]  # type: ignore[index]


def test_a_large_job_does_not_starve() -> None:
    tasks = [Task("long"), *(Task(f"small{i}") for i in range(6)), Task("all")]
    gpus = {task.name: 1 for task in tasks} | {"all": 2}
    seconds = {"long": 10.0, "all": 9.0} | {f"small{i}": 4.0 for i in range(6)}
    # long 0–10; beside it two of the small ones, 0–8: a third would end at 12. all 10–19; the other four 19–27
    assert simulated(tasks, 2, gpus, seconds) == 27
    now = 0.0
    schedule = Schedule(tasks, lambda job: False, 2, gpus, seconds, lambda: now)  # type: ignore[arg-type]
    begun: list[str] = []

    def begin() -> None:
        while (found := schedule.next()) is not None:
            future: Future[float] = Future()
            future.set_result(0.0)
            schedule.running[future] = found
            begun.append(found[0].name)

    def end(name: str) -> None:
        [future] = [each for each, (job, _) in schedule.running.items() if job.name == name]
        schedule.end(future, lambda job, took: None)

    begin()
    now = 11.0  # later than planned: what runs still may end at any moment, and nothing goes before what waits
    end("small0")
    begin()
    assert begun == ["long", "small0"]
    end("long")
    begin()
    assert begun == ["long", "small0", "all"]


def test_hours_are_those_of_the_schedule() -> None:
    found = plan_jobs(STUDIES["fig5"].full(1), Orders(A100))
    seconds = {each.job.name: each.seconds for each in found}
    assert [each.gpus for each in found] == [1, 1]  # side by side
    assert f": {max(seconds.values()) / 3600:.2f} hours of the machine, as they are scheduled" in total(found, 8)
    assert f": {sum(seconds.values()) / 3600:.1f} hours of the machine, as they are scheduled" in total(found, 1)
    assert total([done(each) for each in found], 1).startswith("0 of 2 jobs to do, 0 GPU-hours: 0 hours")


def done(planned: PlannedJob) -> PlannedJob:
    return PlannedJob(planned.job, planned.how, planned.gpus, planned.peak, planned.seconds, True)


# ---- folders


def test_what_nothing_was_done_in_may_be_ordered_anew(tmp_path: Path) -> None:
    kept = '{"scale": "full", "seeds": 3, "studies": ["fig5"], "machine": "h200", "changes": {}, "servers": {}}'
    (tmp_path / "paper.json").write_text(kept)
    (tmp_path / "runs" / "grpo-0").mkdir(parents=True)  # of a job that failed before its first file
    renew: Callable[..., object] = lambda orders: _renewed(tmp_path, "full", [STUDIES["fig5"]], 2, orders)  # noqa: E731
    assert not _begun(tmp_path)
    renew(NO_ORDERS)
    (tmp_path / "runs" / "grpo-0" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="was begun with --seeds 3; give that"):
        renew(NO_ORDERS)
    assert _renewed(tmp_path, "full", [STUDIES["fig5"]], 3, Orders("1xH200"))  # the same, by its other name


def test_a_refused_rehearsal_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        rehearsal_of(tiny_recipe({"log.sinks": ["no-such"]}), tmp_path / "out", resume=False)
    assert not (tmp_path / "out").exists()


# ---- seeds


def test_studies_that_test_over_questions_have_one_seed() -> None:
    for name, jobs in grids(list(STUDIES.values()), Path("out"), "full", 3).items():
        one = {job.name for job in STUDIES[name].full(1)}
        assert ({job.name for job in jobs} > one) == (name in ("fig1", "fig5", "ablation", "fig7")), name
