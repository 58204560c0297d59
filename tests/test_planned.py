"""The published grids on machines: splits that fit, settings that every job gets, GPUs of its own, and refusals."""

import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from r1zero.cli import paper as cli_paper
from r1zero.config import Recipe, load_recipe
from r1zero.config.load import read_settings
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.evaluation import evaluate_sets
from r1zero.evaluation.models import local
from r1zero.evaluation.run import make_protocol
from r1zero.paper.elements import ELEMENTS
from r1zero.paper.jobs import EvaluationJob, Job, RunJob
from r1zero.paper.judgements import JudgementJob
from r1zero.paper.planned import Orders, PlannedJob, fitting, plan_jobs, plan_rows, ranks_of, total
from r1zero.paper.run import grids
from r1zero.paper.schedule import carry_out
from r1zero.paper.studies import STUDIES
from r1zero.plan import GIB, USABLE, plan_of
from r1zero.plan.machine import Machine, by_name, counted_machine
from r1zero.plan.model_size import BFLOAT16, Shape, shape_of
from r1zero.plan.splits import splits, splits_text
from r1zero.policy.known import known_models, like
from r1zero.questions import load_questions
from r1zero.templates import get_template
from r1zero.verify import Verifier
from tiny_runs import start, taught_model, tiny_recipe

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
A100 = "A100-80GB"
OAT_ZERO_HOURS = 27
"""Of the paper's 7B run on 8 A100 (section 1)."""


@pytest.fixture(scope="module")
def machine() -> Machine:
    return by_name(A100, BFLOAT16)


@pytest.fixture(scope="module")
def shape() -> Shape:
    return shape_of("Qwen/Qwen2.5-Math-7B", None, "sdpa", BFLOAT16, 4024)


def published() -> list[Job]:
    return [job for jobs in grids(list(STUDIES.values()), Path("out"), "full", 1).values() for job in jobs]


@pytest.fixture(scope="module")
def planned() -> dict[str, PlannedJob]:
    return {each.job.name: each for each in plan_jobs(published(), Orders(f"8x{A100}"))}


def elsewhere(job: Job) -> bool:
    """Whether servers do it."""
    return isinstance(job, JudgementJob) or (isinstance(job, EvaluationJob) and job.served)


# ---- splits


def test_a_machine_is_a_count_and_a_name() -> None:
    assert counted_machine("8xA100-80GB") == (8, "A100-80GB")
    assert counted_machine("H200") == (1, "H200")
    for wrong in ("0xH200", "8x", "9999xH200", "8 H200", ""):
        with pytest.raises(UserError, match=r"is not a valid machine: write NxGPU, such as 8xA100-80GB\."):
            counted_machine(wrong)
    with pytest.raises(UserError, match="is not a machine of a known data sheet"):
        plan_jobs(published()[:1], Orders("8xB9"))


@pytest.mark.parametrize("gpus", [2, 3, 8])
def test_every_split_fits_by_the_plan_and_is_a_valid_recipe(machine: Machine, shape: Shape, gpus: int) -> None:
    recipe = load_recipe(RECIPES / "qwen2.5-math-7b.toml")
    found = splits(recipe, shape, machine, gpus, 750)
    assert [each.pace.step for each in found] == sorted(each.pace.step for each in found)
    assert found or gpus < 4
    for each in found:
        whole = load_recipe(RECIPES / "qwen2.5-math-7b.toml", each.changes)  # contradictions would be refused
        plan = plan_of(whole, shape, machine, 750)
        assert plan.fits
        assert each.peak == max(device.peak for device in plan.devices) <= USABLE * machine.memory
        assert each.gpus == sum(device.count for device in plan.devices) <= gpus
        assert each.pace == plan.pace
        assert whole.learner.micro_tokens <= recipe.learner.micro_tokens
        for section in ("objective", "rollout", "questions", "template", "evaluation"):  # what is learnt stays
            assert getattr(whole, section) == getattr(recipe, section)


def test_a_small_model_fits_on_one_gpu_and_a_large_one_on_none(machine: Machine, shape: Shape) -> None:
    small = load_recipe(RECIPES / "qwen2.5-math-1.5b.toml")
    [one] = splits(small, shape_of(small.model.path, None, "sdpa", BFLOAT16, 4024), machine, 1, 750)
    assert (one.gpus, one.changes["cluster"]) == (1, None)
    assert splits(load_recipe(RECIPES / "qwen2.5-math-7b.toml"), shape, machine, 1, 750) == []


def test_splits_are_told_with_what_bounds_them_and_as_a_command_line_takes_them(machine: Machine, shape: Shape) -> None:
    recipe = load_recipe(RECIPES / "qwen2.5-math-7b.toml")
    said = splits_text(splits(recipe, shape, machine, 8, 750)[:3], 300)
    assert [line[:2] for line in said.splitlines()[::2]] == ["1.", "2.", "3."]
    assert "bound by learning" in said
    assert "--cluster.share_gpus true --sampling.engine vllm" in said


# ---- jobs


def test_models_of_one_shape_are_counted_once_and_alike() -> None:
    assert like("PRIME-RL/Eurus-2-7B-PRIME-Zero") == like("Qwen/Qwen2.5-Math-7B")
    assert like("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B") != like("Qwen/Qwen2.5-Math-1.5B")  # of two heads
    assert like("meta-llama/Llama-3.2-3B-Instruct", "main") == "meta-llama/Llama-3.2-3B-Instruct"
    assert like("HuggingFaceTB/FineMath-Llama-3B") == like("meta-llama/Llama-3.2-3B-Instruct")
    dense = [name for name, each in known_models().items() if each.config["model_type"] in ("llama", "qwen2")]
    assert len({like(name) for name in dense}) == 6


def test_every_job_of_the_paper_fits_on_the_papers_machine(planned: dict[str, PlannedJob]) -> None:
    assert set(planned) == {job.name for job in published()}
    for name, each in planned.items():
        assert not each.problem, name
        if elsewhere(each.job):
            assert (each.gpus, each.peak, each.seconds) == (0, 0, 0)
            continue
        assert 1 <= each.gpus <= 8
        assert 0 < each.peak <= USABLE * 80 * GIB
        assert each.seconds > 0
        assert ranks_of(each.job) == each.gpus
    oat = planned["runs/qwen2.5-math-7b-0"]
    assert oat.gpus == 8
    assert OAT_ZERO_HOURS / 3 <= oat.seconds / 3600 <= 3 * OAT_ZERO_HOURS
    assert planned["runs/qwen2.5-math-1.5b-0"].gpus == 1  # several side by side
    assert total(list(planned.values()), 8).startswith(f"{len(planned)} of {len(planned)} jobs to do (")


def test_every_job_gets_its_engine_precision_and_rows(planned: dict[str, PlannedJob]) -> None:
    before = {job.name: job for job in published()}
    for name, each in planned.items():
        if elsewhere(each.job):
            continue
        if isinstance(each.job, EvaluationJob):
            assert each.job.precision == "bfloat16"
            assert each.job.rows > 1
            # the 7B run is one of ranks, which save shards
            assert each.job.engine == ("torch" if each.job.start == "runs/qwen2.5-math-7b-0" else "vllm")
            assert each.job.engine == "torch" or each.peak == int(0.9 * 80 * GIB)
            continue
        recipe, old = each.job.asked(), before[name].asked()  # type: ignore[union-attr, call-arg]
        if isinstance(recipe, PretrainRecipe):
            assert recipe.learner.rows == old.learner.rows
            continue
        assert isinstance(recipe, Recipe)
        assert recipe.sampling.engine == "vllm"
        assert (recipe.cluster is None) == (each.gpus == 1)
        assert recipe.objective == old.objective
        assert recipe.responses == old.responses


def test_models_that_vllm_does_not_take_keep_the_embedded_sampler(
    planned: dict[str, PlannedJob], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("r1zero.paper.planned._ENGINE_KINDS", frozenset({"qwen2"}))
    names = ("evaluations/deepseek-math-7b-base-r1-t1", "evaluations/base")
    llama, qwen = plan_jobs([job for job in published() if job.name in names], Orders(f"8x{A100}"))
    assert isinstance(llama.job, EvaluationJob)
    assert isinstance(qwen.job, EvaluationJob)
    assert (llama.job.engine, qwen.job.engine, llama.job.precision) == ("torch", "vllm", "bfloat16")
    assert llama.how == f"embedded sampler in bfloat16, {llama.job.rows} rows"
    assert 1 < llama.job.rows < 256  # of keys and values as large as they were before heads shared them
    assert llama.seconds > planned[llama.job.name].seconds


def test_an_engine_has_the_largest_share_that_fits_and_none_without_room_for_a_response() -> None:
    [job] = [job for job in published() if job.name == "evaluations/Llama-3.1-8B-no-t0"]
    [small] = plan_jobs([job], Orders("1xA100-40GB"))
    assert isinstance(small.job, EvaluationJob)
    assert (small.job.engine, small.job.memory, small.peak) == ("vllm", 0.9, int(0.9 * 40 * GIB))
    [long] = plan_jobs([replace(job, max_new_tokens=400_000)], Orders("1xA100-40GB"))
    assert long.problem.startswith("does not fit into one A100-40GB")


def test_the_users_settings_are_in_all_training_runs_and_checked(tmp_path: Path) -> None:
    (tmp_path / "more.toml").write_text("[learner]\nupdates = 4\n[checkpoint]\nkeep_last = 1\n")
    orders = Orders(changes=read_settings(tmp_path / "more.toml"))
    assert orders.changes == {"learner.updates": 4, "checkpoint.keep_last": 1}
    for job in orders.ordered(published()):
        if isinstance(job, RunJob) and job.kind is Recipe:
            assert (job.asked().learner.updates, job.asked().checkpoint.keep_last) == (4, 1)
    with pytest.raises(UserError, match=r"learner\.update"):
        Orders(changes={"learner.update": 4}).ordered(published())
    with pytest.raises(UserError, match="There is no recipe at"):
        read_settings(tmp_path / "none.toml")


def test_what_cannot_fit_is_refused_in_one_sentence() -> None:
    jobs = [job for job in published() if job.name.startswith(("bases/", "runs/on-"))]
    found = plan_jobs(jobs, Orders("1xA100-40GB"))
    assert ["does not fit into" in row[1] for row in plan_rows(found)] == [True] * 5
    with pytest.raises(
        UserError, match=r"^bases/numina-0 does not fit into one A100-40GB .*; 4 more do not fit either\.$"
    ):
        fitting(found)
    with pytest.raises(UserError, match="does not fit into"):
        Orders("1xA100-40GB").ordered(jobs)


def test_weights_in_bfloat16_are_evaluated(tmp_path: Path) -> None:
    model = local(str(taught_model()), rows=8, device="cpu", precision="bfloat16")
    settings = tiny_recipe().evaluation
    template = get_template("no")
    sets = model.prepare([load_questions("arithmetic", options={"level": 1, "style": "bare", "count": 4})], template)
    with Verifier(workers=1) as verifier:
        [found] = evaluate_sets(
            sets, model.sampler, verifier, make_protocol(settings, template, 8, 0, model.positions())
        )
    assert found.questions == 4


# ---- GPUs


@dataclass(frozen=True)
class Looks:
    """A job that writes which GPUs it sees."""

    name: str
    start: str | None = None

    def done(self, out: Path) -> bool:
        return (out / self.name).exists()

    def carry_out(self, out: Path) -> None:
        (out / self.name).write_text(f"{os.environ['CUDA_VISIBLE_DEVICES']} {os.getpid()}")


@pytest.mark.slow
def test_jobs_have_gpus_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    needs = {"two": 2, "all": 4, "one": 1}
    jobs = [Looks("two"), Looks("all"), Looks("one")]
    running: dict[str, int] = {}
    begun: list[str] = []

    def told(job: Job, seconds: float | None) -> None:
        if seconds is not None:
            del running[job.name]
            return
        running[job.name] = needs[job.name]
        begun.append(job.name)
        assert sum(running.values()) <= 4

    carry_out(jobs, tmp_path, 4, told, needs)  # type: ignore[arg-type]
    assert begun == ["two", "one", "all"]  # while the first two run, four are not free
    seen = {name: (tmp_path / name).read_text().split() for name in needs}
    assert {name: len(gpus.split(",")) for name, (gpus, _) in seen.items()} == needs
    assert len({process for _, process in seen.values()}) == 3  # torch sees the GPUs that it has first seen
    assert not set(seen["two"][0].split(",")) & set(seen["one"][0].split(","))
    assert set(seen["all"][0].split(",")) == {"4", "5", "6", "7"}


# ---- the command


def test_the_plan_is_printed_and_nothing_started(tmp_path: Path) -> None:
    words = ("paper", "run", "fig7", "table4", "--scale", "full", "--out", tmp_path)
    said = start(*words, "--machine", f"8x{A100}", "--plan", "--set", "learner.updates=4").done()
    assert "runs/qwen2.5-math-7b-0" in said
    assert "30 of 30 jobs to do" in said  # five of figure 7; two runs and 23 rows of table 4 beside them
    assert not list(tmp_path.iterdir())
    start(*words, "--machine", "1xA100-40GB", "--plan").refused("bases/numina-0 does not fit into one A100-40GB")
    start(*words, "--machine", "999xA100-80GB").refused("plans for 999 GPUs, and ")
    start(*words, "--set", "learner.update=4").refused("learner.update")
    start(*words, "--set", "learner.updates").refused("--set learner.updates is not a valid setting")
    start("paper", "run", "fig5", "--machine", "8xH200").refused("are of the published settings; add --scale full.")
    start(*words, "--rehearse", "--machine", "8xH200").refused("leave one of them out")


def test_the_plan_is_printed_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    printed = []

    def run_paper(*_: object, **__: object) -> Path:
        printed.append(capsys.readouterr().out)
        return tmp_path / "paper.html"

    monkeypatch.setattr("r1zero.paper.run.run_paper", run_paper)
    monkeypatch.setattr("r1zero.paper.planned.gpus_of", lambda jobs, orders: {})  # no GPU is here
    cli_paper.run("fig6", scale="full", machine=f"8x{A100}", out=tmp_path)
    [before] = printed
    assert "runs/r1-wide-0" in before
    assert "12 of 12 jobs to do" in before


def test_doctor_lists_the_three_fastest_splits() -> None:
    words = ("doctor", "--recipe", RECIPES / "qwen2.5-math-7b.toml", "--best")
    said = start(*words, "--machine", "8xH100-80GB").done()
    assert [line[:2] for line in said.splitlines() if line[:1].isdigit()] == ["1.", "2.", "3."]
    assert said.count("bound by") == 3
    start(*words).refused("--best is for a machine; add --machine NxGPU")
    none = start(*words, "--machine", "H100-80GB")
    assert none.wait() == 1
    assert "No split over 1 × H100-80GB fits" in none.out


def test_settings_are_kept_with_the_runs(tmp_path: Path) -> None:
    words = ("paper", "run", "table2", "--scale", "full", "--out", tmp_path)  # a study without a job
    start(*words, "--set", "learner.updates=4").done()
    plan = json.loads((tmp_path / "full" / "paper.json").read_text())
    assert plan["changes"] == {"learner.updates": 4}
    start(*words).refused("was begun with --set or --recipe-overrides learner.updates=4; give that, or choose another")
    start(*words, "--set", "learner.updates=4").done()
    older = {key: plan[key] for key in ("scale", "seeds", "studies")}  # of a version that kept none
    (tmp_path / "full" / "paper.json").write_text(json.dumps(older))
    start(*words).done()


def test_the_list_names_elements_studies_jobs_and_hours() -> None:
    said = start("paper", "list", "--full").done()
    for element in ELEMENTS:
        [line] = [line for line in said.splitlines() if re.search(rf"│ {re.escape(element.name)} +│", line)]
        assert f" {element.study or '–'} │" in line
    assert "GPU-hours" in said
    start("paper", "list", "--machine", "H200").refused("--machine is for the hours of --full; add it.")
