"""Where the parts of a run lie that goes on: they may have moved, and must be what they were."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1zero.config import Recipe
from r1zero.policy.fingerprint import model_fingerprint
from r1zero.policy.place import check_place
from r1zero.policy.reference import blamed_on_the_reference
from r1zero.questions import CATALOGUE, DATA_VARIABLE, QuestionSet
from r1zero.rollouts.question_sets import load_sets
from r1zero.runs import moved
from r1zero.runs.begin import Beginning
from r1zero.runs.run import Run

_NAMES = frozenset((*CATALOGUE, "arithmetic"))  # which never mean a path


def located(recipe: Recipe, beginning: Beginning) -> Recipe:
    """Return the recipe with every place that its run needs as it is called from here, before anything is loaded.

    Raises:
        UserError: what the run needs is not there, or a model there is not the one that it was started with.
    """
    if beginning.existing is None:
        return recipe
    unread = () if _reads_model(recipe, beginning) else ("model.path", "model.revision")
    found = beginning.placed(recipe, unread, _data_folders(recipe))
    for setting in moved.renamed(beginning.existing.recipe, found):
        if setting == "model.path":
            check_place(found.model.path, found.model.revision)
        if setting == "objective.reference" and found.objective.reference:
            with blamed_on_the_reference(found):
                check_place(found.objective.reference)
    beginning.existing.check_models(found, model_facts(found, beginning))
    return found


def model_facts(recipe: Recipe, beginning: Beginning) -> dict[str, Any]:
    """Return the fingerprints of the models that a run reads, or that are said to have moved, as far as they are known.

    Of a model on the Hub that is once it has been loaded.
    """
    facts, settings = {}, recipe.model
    renamed = moved.renamed(beginning.existing.recipe, recipe) if beginning.existing else {}
    if _reads_model(recipe, beginning) or {"model.path", "model.revision"} & renamed.keys():
        facts["model_fingerprint"] = model_fingerprint(settings.path, settings.revision)
    if recipe.objective.kl != "none":
        other = recipe.objective.reference
        facts["reference_fingerprint"] = (
            model_fingerprint(other) if other else model_fingerprint(settings.path, settings.revision)
        )
    return {name: found for name, found in facts.items() if found is not None}


def place_facts(recipe: Recipe) -> dict[str, Any]:
    """Return where what the recipe names lies now, for a run that goes on from another folder."""
    return {"places": moved.places(recipe, but=_NAMES)}


def load_own_sets(
    recipe: Recipe, existing: Run | None, own_golds: tuple[str | None, str | None] | None = None
) -> tuple[QuestionSet, tuple[QuestionSet, ...]]:
    """Return the sets of a recipe, called as the run calls them that goes on; `own_golds` as for `load_sets`, which is
    what raises UserError, too.
    """
    if existing is None:
        return load_sets(recipe, own_golds=own_golds)
    facts, was = existing.facts, existing.recipe
    called = _called(facts, recipe)
    settings = recipe.evaluation.benchmarks
    known = facts.get("benchmarks")
    same = was.evaluation.benchmarks == settings or "evaluation.benchmarks" in moved.renamed(was, recipe)
    names = known if same and isinstance(known, list) and len(known) == len(settings) else []
    plain = [_bare(name, each.split) or "" for name, each in zip(names, settings, strict=False)]
    questions, benchmarks = load_sets(recipe, called, plain, own_golds)
    if plain and benchmark_mark(benchmarks) != facts.get("benchmarks_fingerprint"):  # others, with names of their own
        return questions, load_sets(recipe, called, own_golds=own_golds)[1]
    return questions, benchmarks


def benchmark_mark(benchmarks: Sequence[QuestionSet]) -> str:
    """Return the fingerprints of all sets, as a run keeps them."""
    return " ".join(each.fingerprint for each in benchmarks)


def _reads_model(recipe: Recipe, beginning: Beginning) -> bool:
    """Tell whether `model.path` is read: all that a whole model needs is in the checkpoint that it goes on from."""
    apart = recipe.lora is not None or recipe.cluster is not None or recipe.sampling.engine == "vllm"
    reference = recipe.objective.kl != "none" and recipe.objective.reference is None
    return beginning.checkpoint is None or apart or reference


def _data_folders(recipe: Recipe) -> list[Path]:
    own = (each.data_dir for each in recipe.questions.each)
    named = dict.fromkeys((*own, recipe.questions.data_dir, os.environ.get(DATA_VARIABLE)))
    return [Path(folder).expanduser() for folder in named if folder]


def _called(facts: Mapping[str, Any], recipe: Recipe) -> list[str | None]:
    """Return what the training sets are called by the run that goes on, of those that it knows as many of."""
    settings, known = recipe.questions.each, facts.get("sources")
    names = [each.get("name") for each in known] if isinstance(known, list) else [facts.get("questions")]
    if len(names) != len(settings):
        return []
    return [_bare(name, each.split) for name, each in zip(names, settings, strict=True)]


def _bare(name: object, split: str | None) -> str | None:
    """Return what a set is called without its split."""
    return name.removesuffix(f":{split}") if isinstance(name, str) else None
