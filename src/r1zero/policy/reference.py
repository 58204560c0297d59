"""The reference model of a KL term: which it is, and that it is never trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from r1zero import config
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.objectives.table import Objective
from r1zero.policy.load import Policy, recipe_policy


def load_reference(
    recipe: Recipe, objective: Objective, load: Callable[[config.ModelSettings], Policy] | None = None
) -> Policy | None:
    """Return the reference model of a KL term, never trained; none is loaded without one. `load` is for ranks."""
    if objective.kl == "none":
        return None
    other = {"path": recipe.objective.reference, "revision": None} if recipe.objective.reference else {}
    settings = recipe.model.model_copy(update=other)
    with blamed_on_the_reference(recipe):
        policy = load(settings) if load else recipe_policy(settings, recipe.learner.autocast, None)
    policy.model.requires_grad_(requires_grad=False)
    return policy


@contextmanager
def blamed_on_the_reference(recipe: Recipe) -> Iterator[None]:
    """Errors name the setting that the reference comes from."""
    try:
        yield
    except UserError as error:
        if not recipe.objective.reference:
            raise
        raise error.renamed(lambda setting: "objective.reference" if setting == "model.path" else setting) from None
