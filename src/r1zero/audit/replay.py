"""Counterfactual replay: one saved step of a run, and the gradient that each objective would have taken from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from r1zero.audit.saved_step import SavedStep, read_step
from r1zero.learner.build import make_learner
from r1zero.learner.experience import Experience
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.bias_meter import Bias
from r1zero.objectives.table import Objective, make_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy, recipe_policy
from r1zero.policy.lora import add_lora
from r1zero.policy.reference import load_reference
from r1zero.runs import checkpoints
from r1zero.runs.run import Run


@dataclass(frozen=True, slots=True)
class Replayed:
    """One objective's gradient on the data."""

    objective: str
    norm: float
    cosine: float | None
    """With dr_grpo's; None where either is zero."""
    length_bias: float | None
    difficulty_bias: float | None


@dataclass(frozen=True, slots=True)
class Replay:
    """A saved step, and the weights it is looked at with."""

    step: SavedStep
    source: str
    """Where the weights are from."""
    exact: bool
    """Whether they are the ones that sampled."""
    rows: tuple[Replayed, ...]


def replay(run: Run, number: int, objectives: Sequence[Objective]) -> Replay:
    """Return gradients of all objectives on the responses of step `number`, the whole batch as one optimiser step.

    The weights are those of the newest checkpoint before the step, or the base model. Where they are not the ones that
    sampled, π_old is what the sampler reported, so that ratios are not 1. Objectives with a critic have none here.

    Raises:
        UserError: the step or the model is not there.
    """
    recipe, step = run.recipe_here, read_step(run, number)
    before = [c for c in checkpoints.complete(run.path / "checkpoints") if c.step < number]
    policy = recipe_policy(recipe.model, run.autocast, before[-1] if before else None)
    add_lora(policy, recipe.lora, recipe.train.seed)
    exact = (before[-1].step if before else 0) == number - 1
    plain = make_objective("dr_grpo", constant=recipe.constant)
    gradient = partial(_gradient, run, policy, step, exact)
    yardstick = gradient(plain)
    rows = tuple(_compare(each.name, gradient(each), yardstick, step.bias(each)) for each in objectives)
    source = before[-1].path.name if before else recipe.model.path
    return Replay(step, source, exact, rows)


def _compare(name: str, gradient: Sequence[Tensor], yardstick: Sequence[Tensor], bias: Bias) -> Replayed:
    along = sum(_dot(g, y) for g, y in zip(gradient, yardstick, strict=True))
    norm, other = (sum(_dot(g, g) for g in each) ** 0.5 for each in (gradient, yardstick))
    cosine = along / (norm * other) if norm and other else None
    return Replayed(name, norm, cosine, bias.length, bias.difficulty)


def _gradient(run: Run, policy: Policy, step: SavedStep, exact: bool, objective: Objective) -> list[Tensor]:
    """Return the gradient of L, parameter by parameter, on the CPU."""
    recipe, trajectories = run.recipe_here, step.trajectories(objective)
    reference = load_reference(recipe, objective) if objective.in_loss else None
    learner = make_learner(recipe, policy, objective, reference)
    old = None if exact else [torch.tensor(t.sampler_logprobs, device=policy.device) for t in trajectories]
    fixed = None
    if reference is not None:
        logprobs = learner.logprobs(trajectories, reference=True)
        fixed = [torch.tensor(row, device=policy.device) for row in logprobs]
    return take_gradient(learner, trajectories, Experience(old=old, reference=fixed))


def take_gradient(
    learner: Learner, trajectories: Sequence[Trajectory], held: Experience, share: Sequence[int] | None = None
) -> list[Tensor]:
    """Return what `Learner.gradient` adds to the model's parameters, one tensor each, on the CPU; nothing is left on
    them.
    """
    model = learner.policy.model
    model.zero_grad(set_to_none=True)
    model.train()  # for gradient checkpointing; dropout is off
    learner.gradient(trajectories, held, Tally(), share)
    parts = [(torch.zeros_like(p) if p.grad is None else p.grad).detach().cpu() for p in model.parameters()]
    model.zero_grad(set_to_none=True)
    return parts


def _dot(one: Tensor, other: Tensor) -> float:
    return float(torch.dot(one.flatten().double(), other.flatten().double()))
