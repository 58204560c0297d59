"""The objective that a recipe names, where its settings go together."""

from __future__ import annotations

from r1zero import config
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.objectives.table import TABLE, Objective, make_objective


def recipe_objective(recipe: Recipe, own: Objective | None = None) -> Objective:
    """Return the objective of a recipe; `own` is what it can only say the name of, where it is of functions.

    Raises:
        UserError: the settings do not go with this objective.
    """
    row = own or TABLE.get(recipe.objective.name)
    if recipe.objective.constant is not None and row is not None and "constant" not in row.uses:
        raise UserError(
            f"objective.constant = {recipe.objective.constant:g} has no place in {row.name}, whose weights are "
            f"{row.weights}; leave it out."
        )
    given = recipe.objective.model_dump(exclude={"name", "constant", "reference", "truncation", "truncation_penalty"})
    objective = make_objective(recipe.objective.name, own, constant=recipe.constant, **given)
    _check_groups(recipe, objective)
    return objective


def _check_groups(recipe: Recipe, objective: Objective) -> None:
    """Tell whether the rollout batch gives the objective its baseline. Raises UserError."""
    alone = objective.critic or objective.advantage == "raw"  # no baseline from the group
    if recipe.rollout.samples < 2 and not alone:
        raise UserError(
            "rollout.samples = 1 leaves every group without a baseline, so every advantage is 0; set rollout.samples "
            "to 2 or more."
        )
    if recipe.rollout.dynamic and alone:
        raise UserError(
            f"rollout.dynamic leaves out groups whose rewards are all equal, and {objective.name} learns from these, "
            "too; leave rollout.dynamic out."
        )
    if recipe.critic != config.CriticSettings() and not objective.critic:
        raise UserError(
            f"the section [critic] belongs to an objective with a critic, which {objective.name} has not; leave it "
            'out, or set objective.name to "ppo".'
        )
