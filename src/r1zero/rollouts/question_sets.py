"""The question sets that a recipe or a command line names, and whether their prompts fit into the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from r1zero.config import BenchmarkSettings, EvaluationSettings, QuestionsSettings, Recipe
from r1zero.errors import UserError, plural
from r1zero.policy.load import Policy
from r1zero.questions import QuestionSet, load_questions, renamed
from r1zero.rollouts.prompts import PreparedSet, longest_prompt
from r1zero.templates import Template
from r1zero.verify.golds import gold_note


def notes(questions: QuestionSet) -> list[str]:
    """Return what a user should know about a set: rows left out, another size, gold answers that cannot be graded."""
    dropped = [
        f"{questions.name}: {plural(count, 'row')} left out ({reason})" for reason, count in questions.dropped.items()
    ]
    stored = questions.questions if isinstance(questions.questions, tuple) else ()  # made ones are sound
    return [*dropped, *questions.notes, *gold_note(questions.name, stored)]


def load_sets(recipe: Recipe) -> tuple[QuestionSet, tuple[QuestionSet, ...]]:
    """Return the questions to train on and the sets to evaluate on. Raises UserError like `load_benchmarks`."""
    data_dir = Path(recipe.questions.data_dir) if recipe.questions.data_dir else None
    return load_set(recipe.questions, data_dir), load_benchmarks(recipe.evaluation, data_dir)


def load_set(settings: QuestionsSettings | BenchmarkSettings, data_dir: Path | None) -> QuestionSet:
    """Return the question set that a section of the recipe names."""
    return load_questions(
        settings.name,
        data_dir=data_dir,
        question_column=settings.question_column,
        answer_column=settings.answer_column,
        split=settings.split,
        limit=settings.limit,
        options=settings.options,
    )


def in_recipe(key: str) -> str:
    """Return a benchmark's setting as a recipe names it."""
    return "evaluation.benchmarks" if key == "name" else f"{key} in evaluation.benchmarks"


def flag(key: str) -> str:
    """Return a benchmark's setting as the command line names it."""
    return "--benchmarks" if key == "name" else f"--{key.replace('_', '-')}"


def load_benchmarks(
    settings: EvaluationSettings, data_dir: Path | None, named: Callable[[str], str] = in_recipe
) -> tuple[QuestionSet, ...]:
    """Return the sets to evaluate on; `named` says what their settings are called where the user wrote them.

    Raises:
        UserError: a set cannot be had, has no end, or has another's name: nobody could tell their results apart.
    """
    sets: list[QuestionSet] = []
    for benchmark in settings.benchmarks:
        if benchmark.name == "arithmetic" and benchmark.limit is None and "count" not in benchmark.options:
            raise UserError(f"{named('name')}: arithmetic has no end; set {named('limit')} to a number of questions.")
        try:
            sets.append(load_set(benchmark, data_dir))
        except UserError as error:
            raise renamed(error, named) from error
    names = [each.name for each in sets]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"{named('name')} names {name!r} more than once; keep one of them.")
    return tuple(sets)


def longest_that_fits(
    recipe: Recipe, policy: Policy, template: Template, questions: QuestionSet, benchmarks: Sequence[PreparedSet]
) -> int:
    """Return the longest prompt to train on, in tokens.

    Raises:
        UserError: a prompt of the training set or of a benchmark, with its response, does not fit into the model.
    """
    longest, budget = recipe.questions.max_prompt_tokens, recipe.sampling.max_new_tokens
    if policy.positions is not None and longest + budget > policy.positions:
        prompt = longest_prompt(questions, template, policy.encode, longest)
        if prompt + budget > policy.positions:
            remedy = "lower it, or leave long prompts out with questions.max_prompt_tokens"
            raise _no_room("sampling.max_new_tokens", budget, prompt, policy.positions, remedy)
        longest = policy.positions - budget
    source = "sampling" if recipe.evaluation.max_new_tokens is None else "evaluation"
    check_room(benchmarks, policy.positions, recipe.eval_max_new_tokens, f"{source}.max_new_tokens")
    return longest


def check_room(sets: Sequence[PreparedSet], positions: int | None, budget: int, setting: str) -> None:
    """Make sure that every set's prompts, and `budget` tokens after them, fit into `positions`. Raises UserError."""
    for each in sets:
        if positions is not None and each.longest + budget > positions:
            remedy = f"lower it, for {each.questions.name} has such prompts"
            raise _no_room(setting, budget, each.longest, positions, remedy)


def context_length(recipe: Recipe, positions: int | None, longest: int, benchmarks: Sequence[PreparedSet]) -> int:
    """Return tokens of the longest prompt and response together, training's and evaluation's.

    A model of `positions` holds no more.
    """
    evaluated = max((each.longest for each in benchmarks), default=0)
    needed = max(longest + recipe.sampling.max_new_tokens, evaluated + recipe.eval_max_new_tokens)
    return needed if positions is None else min(needed, positions)


def _no_room(setting: str, budget: int, prompt: int, positions: int, remedy: str) -> UserError:
    return UserError(
        f"{setting} = {budget} after a prompt of {prompt} tokens needs {prompt + budget} positions, and the model has "
        f"{positions} (its max_position_embeddings): {remedy}."
    )
