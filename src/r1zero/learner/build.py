"""The learner of a recipe, new or from a checkpoint."""

from __future__ import annotations

import math

from r1zero.config import Recipe
from r1zero.learner.learner import Learner
from r1zero.learner.ranks import Ranks
from r1zero.objectives.table import Objective
from r1zero.policy.layouts import check_layout
from r1zero.policy.load import Policy
from r1zero.policy.sharded import has_shards, load_plain_optimiser, load_shards
from r1zero.runs import checkpoints


def make_learner(
    recipe: Recipe, policy: Policy, objective: Objective, reference: Policy | None = None, ranks: Ranks | None = None
) -> Learner:
    """Return the learner of a recipe.

    Raises:
        UserError: the model is not computed rightly in `learner.layout`.
    """
    if ranks is None or ranks.first:  # the first has the weights
        check_layout(policy, recipe.learner.layout)
    # under staleness the policy has moved since, so that nothing is told by the difference; engines are checked apart
    gap = math.inf if recipe.rollout.max_staleness else recipe.train.max_logprob_gap
    return Learner(
        policy,
        objective,
        recipe.learner,
        temperature=recipe.sampling.temperature,
        seed=recipe.train.seed,
        total_updates=recipe.train.steps * recipe.learner.updates,
        max_logprob_gap=gap,
        reference=reference,
        critic=recipe.critic,
        ranks=ranks,
    )


def restore(learner: Learner, checkpoint: checkpoints.Checkpoint) -> None:
    """Go on from a checkpoint: one process or the ranks of a cluster, from what either has written."""
    state = checkpoint.state()["learner"]
    model, adam = learner.policy.model, learner.optimiser.adam
    if has_shards(checkpoint.path):
        load_shards(checkpoint.path, model, adam)
    elif type(learner.ranks) is not Ranks:  # sharded: moments are taken by name, and below not again by number
        load_plain_optimiser(model, adam, state.pop("optimiser"))
    learner.restore(state)
