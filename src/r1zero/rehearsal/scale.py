"""Settings of a rehearsal, as changes of a recipe: few rows, short responses, two steps, one process on the CPU.

Everything that names something stays as it is, and so do the prompts' bound, the objective (but for what a truncated
response earns) and the learner's layout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1zero.config import BenchmarkSettings, Recipe, RewardSettings
from r1zero.config.pretrain import PretrainRecipe
from r1zero.questions import CATALOGUE, find_path
from r1zero.rehearsal.sets import ROWS

STEPS = 2
TOKENS = 8
"""Budget of a response."""
_EPOCHS = 0.2  # of a corpus of few documents: about two steps
_GROUPS, _SAMPLES, _UPDATES = 2, 4, 2

Changes = dict[str, object]
"""New values by the settings' dotted names."""


def training_changes(recipe: Recipe, models: Mapping[str, str], data: Path) -> Changes:
    """Return what a rehearsal of a training run changes; `models` are the stand-ins' folders by the models' names."""
    prompts, samples = min(recipe.rollout.prompts, _GROUPS), min(recipe.rollout.samples, _SAMPLES)
    updates = min(recipe.learner.updates, _UPDATES)
    changes: Changes = {
        **_here(recipe.model.path, models),
        **_asked_of(recipe, data),
        "questions.data_dir": str(data),
        "sampling": {**recipe.sampling.model_dump(exclude=_ENGINE), "max_new_tokens": _budget(recipe)},
        "cluster": None,
        "rollout.prompts": prompts,
        "rollout.samples": samples,
        "rollout.max_staleness": 0,
        # no stand-in answers right: rewards differ, and there is a gradient, by which responses end before the budget
        "objective.truncation": "penalise",
        "objective.truncation_penalty": 0.1,
        "learner.updates": updates if prompts * samples % updates == 0 else 1,
        "evaluation.benchmarks": cut_benchmarks(recipe.evaluation.benchmarks, recipe.questions.data_dir),
        "evaluation.max_new_tokens": min(recipe.eval_max_new_tokens, TOKENS),
        "evaluation.samples": min(recipe.evaluation.samples, _SAMPLES),
        "verifier.workers": 1,
        "checkpoint.every": 1,
        "log.sinks": (),
        "train.steps": min(recipe.train.steps, STEPS),
        "train.threads": 1,
    }
    if recipe.objective.reference:
        changes["objective.reference"] = models.get(recipe.objective.reference, recipe.objective.reference)
    if recipe.model.attention == "flash_attention_2":
        changes["model.attention"] = "sdpa"
    if recipe.reward:
        changes["reward"] = [_shorter(each, recipe.sampling.max_new_tokens, _budget(recipe)) for each in recipe.reward]
    return changes


def _shorter(reward: RewardSettings, budget: int, now: int) -> dict[str, Any]:
    """Return a reward whose lengths are to the rehearsal's budget what they are to the recipe's."""
    told = reward.model_dump()
    if reward.use != "overlong":
        return told
    lengths = {name: max(1, int(tokens) * now // budget) for name, tokens in reward.options.items() if tokens}
    return told | {"options": lengths}


_ENGINE = {"engine", "memory", "tensor_parallel", "check_every"}


def _budget(recipe: Recipe) -> int:
    return min(recipe.sampling.max_new_tokens, TOKENS)


def pretraining_changes(recipe: PretrainRecipe, models: Mapping[str, str], corpus: str) -> Changes:
    """Return what a rehearsal of a pretraining run changes; its rows stay as long as they are."""
    changes: Changes = {
        **_here(recipe.model.path, models),
        "corpus.name": corpus,
        "learner.rows": 1,
        "learner.micro_rows": 1,
        "learner.warmup_steps": min(recipe.learner.warmup_steps, 1),
        "evaluation.documents": min(recipe.evaluation.documents, 2),
        "checkpoint.every": 1,
        "log.sinks": (),
        "train.threads": 1,
    }
    if recipe.train.steps is not None:
        return changes | {"train.steps": min(recipe.train.steps, STEPS)}
    return changes | {"train.epochs": min(recipe.train.epochs or 1, _EPOCHS)}


def _here(model: str, models: Mapping[str, str]) -> Changes:
    return {"model.path": models.get(model, model), "model.revision": None, "model.device": "cpu"}


def _asked_of(recipe: Recipe, data: Path) -> Changes:
    """Return the limit of the training set, or of every source, and where its rows lie."""
    settings = recipe.questions
    if not settings.sources:
        return _asked(settings.model_dump(), "questions.", settings.data_dir)
    plain = [each.model_dump() for each in settings.sources]
    sources = [{**each, **_asked(each, "", each["data_dir"] or settings.data_dir)} for each in plain]
    known = [{**each, "data_dir": str(data)} if each["name"] in CATALOGUE else each for each in sources]
    return {"questions.sources": known}


def cut_benchmarks(benchmarks: Sequence[BenchmarkSettings], data_dir: str | None) -> list[dict[str, Any]]:
    """Return sets to evaluate on, of a few rows each; `data_dir` is where their files are looked for."""
    return [{**each.model_dump(), **_asked(each.model_dump(), "", data_dir)} for each in benchmarks]


def _asked(settings: Mapping[str, Any], prefix: str, data_dir: str | None) -> Changes:
    """Return the limit of a set; of a known one neither split nor filter, for a few of its rows stand in a file; a file
    in the data folder by its whole name, for a rehearsal's folder is another.
    """
    name = settings["name"]
    changes: Changes = {f"{prefix}limit": min(settings["limit"] or ROWS, ROWS)}
    if name in CATALOGUE:
        return changes | {f"{prefix}split": None, f"{prefix}where": None}
    found = find_path(name, Path(data_dir) if data_dir else None)
    return changes if found in (None, Path(name).expanduser()) else changes | {f"{prefix}name": str(found)}
