"""The published grids on a machine: each job's engine, precision, rows, ranks and GPUs, its memory and its hours.

They come from the plan that `r1zero doctor --recipe` makes (`r1zero.plan`), by the GPU's data sheet: nothing is started
and no GPU is touched. A job that fits on one GPU gets one, so that several run side by side; any other all of them.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from r1zero.config import EvaluationSettings, Recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.paper.jobs import EvaluationJob, Job, RunJob, asked_of, job_done, needs_no_gpu
from r1zero.paper.judgements import JudgementJob
from r1zero.paper.overrides import MEMORY, check_settings, trains, with_settings
from r1zero.paper.schedule import planned_end
from r1zero.paper.served import NO_SERVERS, Servers
from r1zero.plan.machine import GIB, SHOWN, USABLE, Machine, by_name, counted_machine
from r1zero.plan.memory import held_parts, learning_parts, sampler_parts, slab
from r1zero.plan.model_size import BFLOAT16, Shape, shape_of
from r1zero.plan.placement import staff_of
from r1zero.plan.remedies import changed, shares
from r1zero.plan.splits import GpuSplit, splits
from r1zero.plan.step_time import drawing_seconds, learning_seconds, sampling_seconds
from r1zero.policy.known import like, model_config
from r1zero.questions.catalogue import CATALOGUE
from r1zero.rehearsal.sets import known_corpus

MACHINE = "8xA100-80GB"
"""The paper's own."""
_ENGINE_KINDS = frozenset({"llama", "qwen2"})
"""Kinds of models, by their config.json, that evaluations ask vLLM: the paper's, all that are no larger than a GPU."""
_STUDIES = "these studies"
_ROWS = (1024, 512, 256, 128, 64, 32, 16, 8, 4, 2, 1)


@dataclass(frozen=True, slots=True)
class PlannedJob:
    """A job with the settings that a machine gives it; where nothing makes it fit, `problem` says so."""

    job: Job
    how: str
    """Its settings in words."""
    gpus: int = 0
    peak: int = 0
    """Bytes on one GPU at most."""
    seconds: float = 0.0
    done: bool = False
    problem: str = ""

    @property
    def gpu_hours(self) -> float:
        """Hours of the machine's GPUs that it takes, those of all added up."""
        return self.gpus * self.seconds / 3600


@dataclass(frozen=True, slots=True)
class Orders:
    """What the user says of all jobs: a machine, dotted settings of training runs, and servers to ask."""

    machine: str | None = None
    changes: Mapping[str, object] = field(default_factory=dict)
    servers: Servers = NO_SERVERS
    source: str = field(default="--set", compare=False)
    """Where the settings were given."""
    kept: bool = field(default=False, compare=False)
    """Whether they are those of runs that were begun, and were checked then."""

    def ordered(self, jobs: Sequence[Job], study: str = _STUDIES) -> list[Job]:
        """Return a study's jobs with these settings, and with those that the machine gives them.

        Raises:
            UserError: there is no such setting or machine, one is not to be changed, or a job does not fit.
        """
        changed_jobs = self.with_changes(jobs, study)
        return changed_jobs if self.machine is None else [each.job for each in fitting(plan_jobs(changed_jobs, self))]

    def with_changes(self, jobs: Sequence[Job], study: str = _STUDIES) -> list[Job]:
        """Return a study's jobs with the user's settings alone. Raises UserError."""
        planned = self.machine is not None
        if self.changes and not self.kept:
            check_settings(jobs, self.changes, study=study, source=self.source, planned=planned)
        return self.servers.attached(with_settings(jobs, self.changes, planned=planned))

    def unused(self, jobs: Sequence[Job]) -> list[str]:
        """Tell where settings change nothing, as none of the jobs trains."""
        if not self.changes or any(map(trains, jobs)):
            return []
        return [f"{self.source} changes training runs, and there are none in these studies: nothing is changed."]


NO_ORDERS = Orders()


def gpus_of(jobs: Sequence[Job], orders: Orders) -> dict[str, int] | None:
    """Return how many GPUs each job of a machine's grid has; None where no machine was named.

    Raises:
        UserError: the machine's GPUs, or a package that they are used with, are not here.
    """
    if orders.machine is None:
        return None
    _check_gpus(orders.machine)
    for package in ("vllm", "ray"):
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"--machine {orders.machine} needs the package {package}, which is not installed; run `pip install "
                '"r1zero[vllm,ray]"`.'
            )
    return {job.name: ranks_of(job) for job in jobs}


def _check_gpus(machine: str) -> None:
    """Refuse a machine that has more GPUs than are here, or larger ones. Raises UserError."""
    (count, name), here = counted_machine(machine), torch.cuda.device_count()
    alone = "add --plan to see the plan alone, or "
    if here < count:
        instead = "give --machine here" if here else "leave --machine out"
        raise UserError(f"--machine {machine} plans for {count} GPUs, and {here} are here: {alone}{instead}.")
    memory = by_name(name, BFLOAT16).memory
    least = min(torch.cuda.get_device_properties(i).total_memory for i in range(count))
    if least < SHOWN * memory:
        raise UserError(
            f"--machine {machine} plans for GPUs of {memory / GIB:.0f} GiB, and one of those here has "
            f"{least / GIB:.1f}: {alone}give --machine here."
        )


def ranks_of(job: Job) -> int:
    """Return the GPUs of a job whose settings a machine gave."""
    if needs_no_gpu(job):
        return 0
    if not isinstance(job, RunJob) or job.kind is not Recipe:
        return 1
    recipe: Recipe = job.asked()
    if recipe.cluster is None:
        return 1
    apart = 0 if recipe.cluster.share_gpus else recipe.cluster.samplers * recipe.sampling.tensor_parallel
    return recipe.cluster.learners + apart


def plan_jobs(jobs: Sequence[Job], orders: Orders, out: Path | None = None) -> list[PlannedJob]:
    """Return every job as it runs on the machine, each once; with `out`, those that are done there are marked."""
    count, name = counted_machine(MACHINE if orders.machine is None else orders.machine)
    machine = by_name(name, BFLOAT16)
    known, asked = {job.name: job for job in jobs}, asked_of(jobs)
    found = []
    for job in known.values():
        planned = _asking(job) or _planned(job, known, asked, machine, count)
        found.append(replace(planned, done=out is not None and job_done(planned.job, out)))
    return found


def fitting(found: Sequence[PlannedJob]) -> Sequence[PlannedJob]:
    """Return the jobs where all fit. Raises UserError with the first that does not, and how many more."""
    problems = [each for each in found if each.problem]
    if problems:
        first, more = problems[0], len(problems) - 1
        others = f"; {more} more do not fit either" if more else ""
        raise UserError(f"{first.job.name} {first.problem}{others}.")
    return found


def _asking(job: Job) -> PlannedJob | None:
    """Return a job that others' machines do, as it is planned; None of any other."""
    if isinstance(job, JudgementJob):
        return PlannedJob(job, "asks --judge" if job.judge else "needs a judge (--judge)")
    if not isinstance(job, EvaluationJob) or not (job.served or job.server):
        return None
    return PlannedJob(job, "asks --server" if job.server else f"needs a server (--server {job.model}=…)")


def _planned(job: Job, known: Mapping[str, Job], asked: Mapping[str, Any], machine: Machine, count: int) -> PlannedJob:
    """Return a job as the machine does it; `asked` has the recipes of all by their names."""
    recipe: Recipe | PretrainRecipe = asked[job.name]
    if isinstance(job, EvaluationJob):
        assert isinstance(recipe, Recipe)
        begun = known.get(job.start or "")
        sharded = isinstance(begun, RunJob) and _in_shards(begun, asked[begun.name], machine, count)
        return _evaluation(job, recipe, machine, sharded)
    assert isinstance(job, RunJob)
    if isinstance(recipe, PretrainRecipe):
        return _pretraining(job, recipe, machine)
    return _training(job, recipe, machine, count)


def _in_shards(job: RunJob, recipe: Recipe | PretrainRecipe, machine: Machine, count: int) -> bool:
    """Tell whether a run's ranks write its checkpoints in shards, which engines cannot read."""
    chosen = _split(recipe, machine, count, given=MEMORY in job.changes) if isinstance(recipe, Recipe) else None
    return chosen is not None and chosen.changes["cluster"] is not None


def _split(recipe: Recipe, machine: Machine, count: int, *, given: bool) -> GpuSplit | None:
    """Return the split of a training run: on one GPU where that fits, or else the fastest; None where none fits. The
    engine's share of memory is the recipe's where the user has given it.
    """
    shape, mean = _shape(recipe.model.path, recipe.model.revision), max(1, recipe.sampling.max_new_tokens // 4)
    found = splits(recipe, shape, machine, count, mean, (recipe.sampling.memory,) if given else ())
    return next((each for each in found if each.gpus == 1), found[0] if found else None)


def _training(job: RunJob, recipe: Recipe, machine: Machine, count: int) -> PlannedJob:
    chosen = _split(recipe, machine, count, given=MEMORY in job.changes)
    if chosen is None:
        return PlannedJob(job, "", problem=f"does not fit into {count} × {machine.name}: take larger GPUs, or more")
    seconds = recipe.train.steps * chosen.pace.step + _evaluating(recipe, chosen)
    return PlannedJob(
        replace(job, changes={**job.changes, **chosen.changes}), chosen.text, chosen.gpus, chosen.peak, seconds
    )


def _evaluating(recipe: Recipe, split: GpuSplit) -> float:
    """Return seconds of a run's evaluations, at the pace of its sampling."""
    times = 2 + (recipe.train.steps - 1) // recipe.evaluation.every
    responses = _questions(recipe.evaluation) * recipe.evaluation.samples
    return times * split.pace.sampling * max(1.0, responses / recipe.responses)


def _questions(settings: EvaluationSettings) -> int:
    known = [(CATALOGUE[each.name].rows if each.name in CATALOGUE else 500, each.limit) for each in settings.benchmarks]
    return sum(min(rows, limit or rows) for rows, limit in known)


def _pretraining(job: RunJob, recipe: PretrainRecipe, machine: Machine) -> PlannedJob:
    """One process on one GPU, with fewer rows of a pass where they do not fit."""
    shape, settings = _shape(recipe.model.path, recipe.model.revision), recipe.learner
    known = known_corpus(recipe.corpus.name, recipe.corpus.config) or {}
    step = settings.rows * settings.sequence_length
    tokens = recipe.train.steps * step if recipe.train.steps else (recipe.train.epochs or 1) * known.get("tokens", step)
    rows = settings.micro_rows
    while True:
        micro = {
            "micro_tokens": rows * settings.sequence_length,
            "gradient_checkpointing": settings.gradient_checkpointing,
        }
        like = Recipe.model_validate({"model": {"path": recipe.model.path}, "questions": {"name": "arithmetic"},
                                      "train": {"steps": 1}, "learner": micro, "sampling": {"max_new_tokens": 1},
                                      })  # fmt: skip
        like = changed(like, {"questions.max_prompt_tokens": settings.sequence_length})
        peak = sum(held_parts(like, shape, 1).values()) + sum(learning_parts(like, shape, 1).values())
        if peak <= USABLE * machine.memory:
            seconds = learning_seconds(like, shape, machine, int(tokens))
            changes = {**job.changes, "learner.micro_rows": rows}
            return PlannedJob(replace(job, changes=changes), f"one process, {rows} rows a pass", 1, peak, seconds)
        if rows == 1:
            return PlannedJob(job, "", problem=f"does not fit into one {machine.name}: take a larger GPU")
        rows //= 2


def _evaluation(job: EvaluationJob, recipe: Recipe, machine: Machine, sharded: bool) -> PlannedJob:
    """One GPU, weights in bfloat16: in a vLLM engine where that takes the model, or else by the embedded sampler."""
    shape = _shape(recipe.model.path, recipe.model.revision)
    responses = _questions(recipe.evaluation) * job.samples
    many = changed(recipe, {"rollout.prompts": responses, "rollout.samples": 1})
    kind = model_config(recipe.model.path, recipe.model.revision).model_type
    planned = None if sharded or kind not in _ENGINE_KINDS else _by_engine(job, many, shape, machine)
    return planned or _embedded(job, many, shape, machine)


def _by_engine(job: EvaluationJob, recipe: Recipe, shape: Shape, machine: Machine) -> PlannedJob | None:
    """Return an evaluation with the largest share of a GPU for vLLM that fits; None where none does."""
    rows, mean = _ROWS[0], max(1, job.max_new_tokens // 4)
    for share in shares():
        tried = changed(recipe, {"sampling.engine": "vllm", "sampling.memory": share, "sampling.batch_rows": rows})
        weights, cache, fitting = sampler_parts(tried, shape, machine, staff_of(tried, machine))
        peak = sum(weights.values()) + sum(cache.values())
        if fitting and peak <= USABLE * machine.memory:
            seconds = sampling_seconds(tried, shape, machine, mean)
            planned = replace(job, rows=rows, precision="bfloat16", engine="vllm", memory=share)
            return PlannedJob(planned, f"vLLM in bfloat16 on {share:.0%} of a GPU", 1, peak, seconds)
    return None


def _embedded(job: EvaluationJob, recipe: Recipe, shape: Shape, machine: Machine) -> PlannedJob:
    """Return an evaluation by the embedded sampler, with as many rows as a GPU's memory holds."""
    weights, responses = shape.number * shape.parameters, recipe.responses
    for rows in _ROWS:
        peak = weights + slab(changed(recipe, {"sampling.batch_rows": rows}), shape)
        if peak <= USABLE * machine.memory:
            side = min(rows, responses)
            seconds = drawing_seconds(shape, machine, responses, side, job.max_new_tokens)
            planned = replace(job, rows=rows, precision="bfloat16")
            return PlannedJob(planned, f"embedded sampler in bfloat16, {rows} rows", 1, peak, seconds)
    return PlannedJob(
        job, "", problem=f"does not fit into one {machine.name}: ask it through a server (--server {job.model}=…)"
    )


def _shape(path: str, revision: str | None) -> Shape:
    return _counted(like(path, revision), revision)


@cache
def _counted(path: str, revision: str | None) -> Shape:
    return shape_of(path, revision, "sdpa", BFLOAT16, 4096)


def plan_rows(found: Sequence[PlannedJob]) -> list[list[str]]:
    """Return a table of jobs: name, settings, GPUs, GiB of one at most, hours, and what will be reused."""
    return [
        [each.job.name, each.problem or each.how, str(each.gpus or "–"),
         f"{each.peak / GIB:.1f}" if each.peak else "–", _hours_of(each), "done" if each.done else ""]
        for each in found
    ]  # fmt: skip


def _hours_of(planned: PlannedJob) -> str:
    if planned.problem:
        return "–"
    return hours(planned.seconds) if planned.gpus else "served"


def hours(seconds: float) -> str:
    """Say a duration in hours."""
    if not seconds:
        return "0"
    return f"{seconds / 3600:.2f}" if seconds < 36_000 else f"{seconds / 3600:,.1f}"


def total(found: Sequence[PlannedJob], count: int) -> str:
    """Say what is left to do: jobs, GPU-hours, and the hours that the schedule takes on so many GPUs."""
    left = [each for each in found if not each.done and not each.problem]
    asked, lacking = sum(not each.gpus for each in left), sum(bool(each.problem) for each in found)
    by_servers = f" ({asked} of them by servers, whose hours are not counted)" if asked else ""
    spent = hours(3600 * sum(each.gpu_hours for each in left))
    said = f"{len(left) + lacking} of {len(found)} jobs to do{by_servers}"
    if lacking:
        others = f"; the others take {spent} GPU-hours (within a factor of 3)" if left else ""
        return f"{said}, of which {lacking} {'does' if lacking == 1 else 'do'} not fit{others}"
    return (
        f"{said}, {spent} GPU-hours: {hours(makespan(found, count))} hours of the machine, as they are scheduled "
        "(within a factor of 3)"
    )


def makespan(found: Sequence[PlannedJob], count: int) -> float:
    """Return the seconds that is left to do takes on so many GPUs, in the order in which it is carried out."""
    done = {each.job.name for each in found if each.done}
    gpus = {each.job.name: each.gpus for each in found}
    return planned_end([each.job for each in found], lambda job: job.name in done, count, gpus, seconds_of(found))


def seconds_of(found: Sequence[PlannedJob]) -> dict[str, float]:
    """Return job → the seconds that it is planned to take."""
    return {each.job.name: each.seconds for each in found}
