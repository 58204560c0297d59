"""Settings become objects, in one process: a recipe's policy, objective, reference, learner, sampler and verifier.

What a run is made of, and where its parts live, `r1zero.training.setup` decides; ranks of a cluster build theirs here.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from r1zero import config
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.learner.learner import Learner
from r1zero.learner.ranks import Alone, Ranks
from r1zero.objectives.objective import WEIGHTS
from r1zero.objectives.table import TABLE, Objective, make_objective
from r1zero.policy.load import Policy, load_policy
from r1zero.policy.sharded import has_shards, load_plain_optimiser, load_shards
from r1zero.runs import checkpoints
from r1zero.sampling import Sampler
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.templates import Template, get_template
from r1zero.verify import Verifier


def recipe_policy(settings: config.Model, autocast: str, checkpoint: checkpoints.Checkpoint | None) -> Policy:
    """The model of a recipe, or of the checkpoint that its run goes on from."""
    return load_policy(
        str(checkpoint.path) if checkpoint else settings.path,
        revision=None if checkpoint else settings.revision,
        device=settings.device,
        attention=settings.attention,
        autocast=autocast,
    )


def make_template(settings: config.Template, policy: Policy) -> Template:
    """The template a recipe names, with the policy's tokenizer where it needs one."""
    return get_template(
        settings.name, policy.tokenizer, answer_format=settings.answer_format, instruction=settings.instruction
    )


def recipe_objective(recipe: Recipe) -> Objective:
    """The objective of a recipe.

    Raises:
        UserError: the settings do not go with this objective.
    """
    row = TABLE.get(recipe.objective.name)
    if recipe.objective.constant is not None and row is not None and "{constant" not in WEIGHTS[row.weights].formula:
        raise UserError(
            f"objective.constant = {recipe.objective.constant:g} has no place in {row.name}, whose weights are "
            f"{row.weights}; leave it out."
        )
    given = recipe.objective.model_dump(exclude={"name", "constant", "reference", "truncation", "truncation_penalty"})
    objective = make_objective(recipe.objective.name, constant=recipe.constant, **given)
    _check_groups(recipe, objective)
    return objective


def _check_groups(recipe: Recipe, objective: Objective) -> None:
    """Whether the rollout batch gives the objective its baseline. Raises UserError."""
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
    if recipe.critic != config.Critic() and not objective.critic:
        raise UserError(
            f"the section [critic] belongs to an objective with a critic, which {objective.name} has not; leave it "
            'out, or set objective.name to "ppo".'
        )


def load_reference(recipe: Recipe, objective: Objective) -> Policy | None:
    """The reference model of a KL term; none is loaded without one."""
    settings = reference_settings(recipe, objective)
    if settings is None:
        return None
    with blamed_on_the_reference(recipe):
        return frozen(recipe_policy(settings, recipe.learner.autocast, None))


def reference_settings(recipe: Recipe, objective: Objective) -> config.Model | None:
    """Which model is the reference, if the objective has one."""
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
        named = str(error).replace("model.path", "objective.reference") if recipe.objective.reference else str(error)
        raise UserError(named) from None


def frozen(policy: Policy) -> Policy:
    """The same, never trained."""
    policy.model.requires_grad_(requires_grad=False)
    return policy


def make_learner(
    recipe: Recipe, policy: Policy, objective: Objective, reference: Policy | None = None, ranks: Ranks | None = None
) -> Learner:
    """The learner of a recipe."""
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
    elif not isinstance(learner.ranks, Alone):
        load_plain_optimiser(model, adam, state.pop("optimiser"))
    learner.restore(state)


def make_sampler(policy: Policy, rows: int) -> Sampler:
    """The embedded sampler on a policy."""
    return TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, rows=rows, autocast=policy.autocast)


def set_threads(threads: int | None) -> int:
    """Set torch's CPU threads to `threads`, or to what other processes leave free; returns the number.

    Two threads that share a core with someone else wait for each other at every operation.
    """
    if threads is None:
        threads = max(1, round((os.cpu_count() or 1) - os.getloadavg()[0]))
    torch.set_num_threads(threads)
    return threads


def processor(threads: int) -> dict[str, Any]:
    """What run.json says of the processor that bits hang on: torch's threads and the instructions that it uses."""
    return {"threads": threads, "cpu_capability": torch.backends.cpu.get_cpu_capability()}


@contextmanager
def open_verifier(settings: config.Verifier) -> Iterator[Verifier]:
    """The grading processes; a user's own reward function is tried at once."""
    with Verifier(settings.workers, settings.timeout_s, settings.memory_mb, settings.reward) as verifier:
        if settings.reward is not None:
            verifier.check()
        yield verifier
