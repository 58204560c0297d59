"""How a recipe's questions fit into its model's context: what a run would say of them, before it starts."""

from __future__ import annotations

from functools import partial

from r1zero.config import Recipe
from r1zero.errors import UserError, reason
from r1zero.policy.known import model_config
from r1zero.policy.load import check_place, encode_prompt, find_positions
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import PreparedSet
from r1zero.rollouts.question_sets import fit_notes, load_sets
from r1zero.templates.table import make_template


def context_notes(recipe: Recipe) -> tuple[str, ...]:
    """Tell what a run would of its question sets, rows left out among it, and for how many questions the model's
    positions leave less than the budget, or none. Where the questions or the tokenizer cannot be had, say so.
    """
    told: tuple[str, ...] = ()
    try:
        sets = load_sets(recipe)
        told = tuple(note for each in (sets[0], *sets[1]) for note in each.notes)
        check_place(recipe.model.path)
        return (*told, *fit_of(recipe, sets))
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        why = f"whether prompts and responses fit into the model's context was not looked at ({reason(error, 160)})"
        return (*told, why)


def judge_notes(recipe: Recipe) -> list[str]:
    """Tell which judges a run would ask, how often, and that no plan has their time and price."""
    judges = [each.called for each in recipe.reward if each.use == "judge"]
    return [
        f"the judge of the reward {name} is asked about {recipe.responses:,} responses a step or more, whose time and "
        "price are not in this plan"
        for name in judges
    ]


def fit_of(recipe: Recipe, sets: tuple[QuestionSet, tuple[QuestionSet, ...]] | None = None) -> tuple[str, ...]:
    """Tell how prompts fit alone; `sets` are those of the recipe, where they are loaded already.

    Raises:
        UserError: no prompt of a set leaves room, or there is no such set.
        OSError, ValueError, KeyError, TypeError: there is no readable config or tokenizer.
    """
    model = recipe.model
    positions = find_positions(model_config(model.path, model.revision).get_text_config())
    if positions is None:
        return ()
    tokenizer = load_tokenizer(model.path, model.revision)
    encode, template = partial(encode_prompt, tokenizer), make_template(recipe.template, tokenizer)
    questions, benchmarks = sets or load_sets(recipe)
    trained = fit_notes(recipe, positions, questions, template, encode) if recipe.train.steps else ()
    prepared = [PreparedSet(each, template, encode, positions=positions) for each in benchmarks]
    evaluated = [note for each in prepared for note in each.fit(recipe.eval_max_new_tokens)]
    return (*trained, *evaluated)
