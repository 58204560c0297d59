"""The reference model of a KL term: which it is, and that it is never trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from r1zero import config
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.objectives.table import Objective
from r1zero.policy.load import Policy, recipe_policy


def load_reference(recipe: Recipe, objective: Objective) -> Policy | None:
    """Return the reference model of a KL term; none is loaded without one."""
    settings = reference_settings(recipe, objective)
    if settings is None:
        return None
    with blamed_on_the_reference(recipe):
        return frozen(recipe_policy(settings, recipe.learner.autocast, None))


def reference_settings(recipe: Recipe, objective: Objective) -> config.ModelSettings | None:
    """Tell which model is the reference, if the objective has one."""
    if objective.kl == "none":
        return None
    other = {"path": recipe.objective.reference, "revision": None} if recipe.objective.reference else {}
    return recipe.model.model_copy(update=other)


@contextmanager
def blamed_on_the_reference(recipe: Recipe) -> Iterator[None]:
    """Errors name the setting that the reference comes from."""
    try:
        yield
    except UserError as error:
        if not recipe.objective.reference:
            raise
        raise error.renamed(lambda setting: "objective.reference" if setting == "model.path" else setting) from None


def frozen(policy: Policy) -> Policy:
    """Return the same, never trained."""
    policy.model.requires_grad_(requires_grad=False)
    return policy
