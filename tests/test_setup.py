"""From a recipe to an objective: which settings go with which row."""

import pytest

from r1zero.config import Recipe, make_recipe
from r1zero.errors import UserError
from r1zero.objectives.from_recipe import recipe_objective

BASE = {"model": {"path": "base"}, "questions": {"name": "arithmetic"}, "train": {"steps": 3}}


def recipe(overrides: dict[str, object]) -> Recipe:
    return make_recipe(BASE, overrides)


def refusal(overrides: dict[str, object]) -> str:
    with pytest.raises(UserError) as caught:
        recipe_objective(recipe(overrides))
    return str(caught.value)


def test_a_group_of_one_has_no_baseline_unless_the_objective_needs_none() -> None:
    assert refusal({"rollout.samples": 1}) == (
        "rollout.samples = 1 leaves every group without a baseline, so every advantage is 0; set rollout.samples to 2 "
        "or more."
    )
    for name in ("reinforce", "ppo", "verl/gae"):
        chosen = recipe({"objective.name": name, "rollout.samples": 1})
        assert (recipe_objective(chosen).name, chosen.responses) == (name, 128)


def test_dynamic_sampling_needs_groups() -> None:
    for name in ("reinforce", "ppo", "slime/ppo"):
        assert "learns from these, too" in refusal({"objective.name": name, "rollout.dynamic": True})
    assert recipe_objective(recipe({"rollout.dynamic": True})).name == "dr_grpo"


def test_a_critic_belongs_to_an_objective_with_one() -> None:
    assert refusal({"critic.learning_rate": 0.5}) == (
        "the section [critic] belongs to an objective with a critic, which dr_grpo has not; leave it out, or set "
        'objective.name to "ppo".'
    )
    assert recipe_objective(recipe({"critic.learning_rate": 0.5, "objective.name": "ppo"})).critic
