"""`r1zero recipe check`: what is wrong with a recipe, its own settings first and then what they name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.cli.console import say
from r1zero.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from r1zero.config import Recipe
    from r1zero.config.pretrain import PretrainRecipe


def report(console: Console, path: Path) -> bool:
    """Print what is wrong with a recipe, else what it amounts to; tell whether something is."""
    from r1zero.config.check import line_of, lines_of, read_any, wrong_with
    from r1zero.config.shipped import find

    wrong = [(each.key, each.sentence) for each in wrong_with(path)]
    if not wrong:
        found = read_any(path)
        wrong = [("", f"{path}: {sentence}") for sentence in _named(found, path)]
    file = find(path)
    lines = lines_of(file.read_text(encoding="utf-8")) if wrong and file.suffix == ".toml" and file.is_file() else {}
    for key, sentence in wrong:
        line = line_of(lines, key)
        say(console, f"{f'line {line}: ' if line else ''}{sentence}", whole=True)
    if not wrong:
        say(console, f"{path}: nothing is wrong.", whole=True)
        for line in _amounts(read_any(path)):
            say(console, f"  {line}", whole=True)
    return bool(wrong)


def _named(recipe: Recipe | PretrainRecipe, path: Path) -> Iterator[str]:
    """Yield what is wrong with the things that a recipe names. Nothing is loaded, and no network is asked."""
    from r1zero.config import Recipe
    from r1zero.policy.place import check_place
    from r1zero.runs.chosen import check_made, missing_of
    from r1zero.trackers import check_sinks

    rules: list[Callable[[], object]] = [lambda: check_made(recipe, path), lambda: check_sinks(recipe.log.sinks)]
    if not missing_of(recipe, path):
        rules.append(lambda: check_place(recipe.model.path, recipe.model.revision))
    if isinstance(recipe, Recipe):
        rules += _of_training(recipe, bool(missing_of(recipe, path)))
    for rule in rules:
        try:
            rule()
        except UserError as error:
            yield str(error)


def _of_training(recipe: Recipe, unmade: bool) -> list[Callable[[], object]]:
    from r1zero.objectives.from_recipe import recipe_objective
    from r1zero.rollouts.question_sets import check_benchmarks, check_training
    from r1zero.templates import get_template
    from r1zero.verify.workers.custom_reward import check_reward

    def template() -> None:
        if recipe.template.name != "chat":  # which is in the model's tokenizer
            get_template(**recipe.template.model_dump())

    rules: list[Callable[[], object]] = [lambda: recipe_objective(recipe), template]
    rules += [partial(check_reward, each.code, each.called) for each in recipe.reward if each.code]
    rules += [partial(check_reward, recipe.verifier.reward)] if recipe.verifier.reward else []
    if not unmade:  # which is told in one sentence
        rules += [lambda: check_training(recipe.questions), lambda: check_benchmarks(recipe)]
    return rules


def _amounts(recipe: Recipe | PretrainRecipe) -> Iterator[str]:
    """Yield what follows from a recipe's settings."""
    from r1zero.config import Recipe

    rate = f"learning rate {recipe.learner.learning_rate:g}, {recipe.learner.schedule}"
    if not isinstance(recipe, Recipe):
        learner = recipe.learner
        tokens = learner.rows * learner.sequence_length
        length = f"{recipe.train.steps:,} steps" if recipe.train.steps else f"{recipe.train.epochs:g} epochs"
        yield f"{length} of {tokens:,} tokens ({learner.rows} rows × {learner.sequence_length:,}); {rate}"
        return
    from r1zero.objectives.from_recipe import recipe_objective

    rollout, objective = recipe.rollout, recipe_objective(recipe)
    yield (
        f"{recipe.train.steps:,} steps of {recipe.responses:,} responses: {rollout.prompts} questions × "
        f"{rollout.samples}, each of up to {recipe.sampling.max_new_tokens:,} tokens"
    )
    yield f"{recipe.learner.updates} × {recipe.responses_per_update:,} responses to an optimiser step; {rate}"
    yield f"{objective.name} {objective.hash}: {objective.formula}"
    names = ", ".join(each.name for each in recipe.evaluation.benchmarks)
    every = f"every {recipe.evaluation.every} steps, of up to {recipe.eval_max_new_tokens:,} tokens"
    yield f"evaluated on {names}, {every}" if names else "evaluated on nothing"
