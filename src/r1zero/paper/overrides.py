"""Settings of the user's for all training runs of a study: what leaves it the study that it is goes into its jobs, and
anything else is refused before a job starts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from r1zero.config import Recipe
from r1zero.config.load import packaged_recipe
from r1zero.config.overrides import flattened, overlap
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.paper.jobs import EvaluationJob, Job, RunJob
from r1zero.rollouts.question_sets import check_benchmarks, check_training
from r1zero.templates import get_template
from r1zero.trackers import check_sinks

PLANNED = (
    "cluster", "sampling.engine", "sampling.tensor_parallel", "learner.layout", "learner.gradient_checkpointing",
    "learner.micro_tokens", "learner.autocast", "model.device", "model.attention",
)  # fmt: skip
"""What a machine's plan decides for every job, or reckons with. It takes `sampling.memory` as it is given."""
MEMORY = "sampling.memory"
OBJECTIVE = "objective.name"
_OF_MODEL = ("model.path", "model.revision")


def trains(job: Job) -> bool:
    """Tell whether a job is a training run, which the user's settings are for."""
    return isinstance(job, RunJob) and job.kind is Recipe


def with_settings(jobs: Sequence[Job], changes: Mapping[str, object], *, planned: bool = False) -> list[Job]:
    """Return the jobs, training runs with these settings, unchecked; `planned`: as a machine's plan takes them."""
    flat = flattened(changes)
    if planned and MEMORY in flat:
        flat = {"sampling.engine": "vllm"} | flat  # whose memory it is, and which every plan takes
    return [
        replace(job, changes={**job.changes, **flat}) if isinstance(job, RunJob) and trains(job) else job
        for job in jobs
    ]


def check_settings(
    jobs: Sequence[Job], changes: Mapping[str, object], *, study: str, source: str, planned: bool
) -> None:
    """Refuse settings that are not to be had, or that would make other runs of a study's than it compares.

    `source` says where they were given; `planned`, whether a machine's plan gives jobs settings too.

    Raises:
        UserError: in one sentence.
    """
    flat = flattened(changes)
    for key in flat:
        if "." not in key:
            raise UserError(f"{source}: {key} is not a valid setting: write SECTION.KEY=VALUE, such as {_EXAMPLE}.")
        if planned and any(overlap(key, each) for each in PLANNED):
            raise UserError(f"{source}: {key} is what --machine plans for every job: leave one of them out.")
    runs = [job for job in jobs if isinstance(job, RunJob) and trains(job)]
    own = dict(_own(runs, jobs))
    for key in flat:
        for setting, why in own.items():
            if overlap(key, setting):
                raise UserError(f"{source}: {key} is {why.format(study=study)}: leave it out.")
    for job, before in zip(with_settings(runs, flat, planned=planned), runs, strict=True):
        assert isinstance(job, RunJob)
        _check(job, before.asked(), [*flat], f"{job.name} with {source}")


_EXAMPLE = "learner.updates=4"


def _own(runs: Sequence[RunJob], jobs: Sequence[Job]) -> Iterator[tuple[str, str]]:
    """Yield what a study is of, by the settings' names, and how to say so; the better reason last."""
    yield OBJECTIVE, "what the claims of {study} name"
    recipes = [job.asked() for job in runs]
    asked = {job.model for job in jobs if isinstance(job, EvaluationJob)}
    starts = {job.start for job in jobs if isinstance(job, EvaluationJob)}
    if any(recipe.model.path in asked for recipe in recipes):
        yield from ((name, "of the model that {study} evaluates beside its training") for name in _OF_MODEL)
    if any(job.name in starts for job in runs):
        yield "template", "what {study} evaluates by too"
    yield from ((key, "what {study} sets for its jobs itself") for job in runs for key in job.changes)
    plain = [flattened(recipe.model_dump(mode="json")) for recipe in recipes]
    for key in dict.fromkeys(key for each in plain for key in each):
        if any(each.get(key) != plain[0].get(key) for each in plain):
            yield key, "what the jobs of {study} differ in"


def _check(job: RunJob, before: Recipe, keys: Sequence[str], where: str) -> None:
    """Check what a job's settings name, as far as that can be told without a model. Raises UserError."""
    recipe: Recipe = packaged_recipe(job.recipe, Recipe, job.changes, where)
    try:
        recipe_objective(recipe)
        if _touched(keys, "questions"):
            check_training(recipe.questions)
        if _touched(keys, "evaluation.benchmarks"):
            check_benchmarks(recipe)
        if _touched(keys, "template") and recipe.template.name != "chat":  # which is in the model's tokenizer
            get_template(**recipe.template.model_dump())
        if _touched(keys, "log"):
            check_sinks(recipe.log.sinks)
    except UserError as error:
        raise UserError(f"{where}: {str(error).rstrip('.')}.") from None
    if before.evaluation.benchmarks and not recipe.evaluation.benchmarks:
        raise UserError(f"{where}: evaluation.benchmarks = [] leaves no score to read: name a set, or leave it out.")
    if not recipe.train.steps:
        raise UserError(f"{where}: train.steps = 0 trains nothing: write 1 or more, or leave it out.")


def _touched(keys: Sequence[str], setting: str) -> bool:
    return any(overlap(key, setting) for key in keys)
