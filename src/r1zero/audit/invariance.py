"""Invariance: that a recipe's gradient is the same however its step is cut, laid out, ordered and spread.

On the user's own model and objective: responses are sampled from the model for questions of the recipe, cut to
different lengths, and given made-up rewards that keep every group live; nobody has to be able to answer anything. Then
the gradient of that one step is computed again and again, each time otherwise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import torch
from torch import Tensor
from torch.multiprocessing.spawn import spawn

from r1zero.audit.replay import take_gradient
from r1zero.config import Recipe
from r1zero.learner.build import make_learner
from r1zero.metrics import Tally
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy, recipe_policy
from r1zero.policy.lora import add_lora
from r1zero.policy.reference import load_reference
from r1zero.rollouts.mixture import make_stream
from r1zero.rollouts.question_sets import fit_notes, load_training
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, SamplingParams
from r1zero.templates.table import make_template

QUESTIONS, SAMPLES, LONGEST = 3, 4, 64
RANKS = 2
TOLERANCE = 1e-5
"""Largest relative difference that counts as equal in float32."""
ROUGH_TOLERANCE = 0.05
"""The same where forward passes run in bfloat16, whose rounding depends on the shape of a batch."""


@dataclass(frozen=True, slots=True)
class Variation:
    """One other way of computing the same gradient."""

    name: str
    difference: float | None
    """‖g − g₀‖ / ‖g₀‖; None where it is not possible with this recipe."""
    reason: str = ""
    """Why not."""


Tell = Callable[[Sequence[str]], object]
"""What is told notes: rows left out, prompts passed over."""


def certify(
    recipe: Recipe, own: Objective | None = None, tell: Tell = lambda notes: None
) -> Iterator[tuple[Variation, bool]]:
    """Yield each variation with whether its gradient equals that of the recipe as it stands, or with an objective of
    a program's `own`.

    Raises:
        UserError: the recipe's model or questions cannot be had.
    """
    policy, objective = _policy(recipe), recipe_objective(recipe, own)
    trajectories = sample(recipe, policy, objective, tell)
    base = gradient(recipe, policy, objective, trajectories)
    tolerance = TOLERANCE if policy.exact else ROUGH_TOLERANCE
    for name, other in _variations(recipe, policy, objective, trajectories):
        if isinstance(other, str):
            yield Variation(name, None, other), True
        else:
            off = difference(other, base)
            yield Variation(name, off), off <= tolerance


def _variations(
    recipe: Recipe, policy: Policy, objective: Objective, trajectories: Sequence[Trajectory]
) -> Iterator[tuple[str, list[Tensor] | str]]:
    """Yield the same gradient computed otherwise, each way by its name; where it is not possible, why not."""

    def with_learner(**settings: object) -> list[Tensor]:
        other = recipe.model_copy(update={"learner": recipe.learner.model_copy(update=settings)})
        return gradient(other, policy, objective, trajectories)

    yield "one response per micro-batch", with_learner(micro_tokens=1)
    yield "everything in one micro-batch", with_learner(micro_tokens=1 << 40)
    generator = torch.Generator().manual_seed(1)
    shuffled = [trajectories[i] for i in torch.randperm(len(trajectories), generator=generator).tolist()]
    yield "responses in another order", gradient(recipe, policy, objective, shuffled)
    for layout in ("padded", "packed", "shared"):
        if layout != recipe.learner.layout:
            yield f"layout {layout}", _impossible(recipe, layout) or with_learner(layout=layout)
    if objective.cut_equally:
        cut = replace(objective, chunks=len(trajectories))
        name = f"the micro-batches of its own formula: {len(trajectories)} instead of {objective.chunks}"
        yield name, gradient(recipe, policy, cut, trajectories)
    elsewhere = "its functions are of this process alone" if objective.functions else ""
    yield f"{RANKS} processes, gradients summed", elsewhere or _spread(recipe, trajectories)


def sample(recipe: Recipe, policy: Policy, objective: Objective, tell: Tell = lambda notes: None) -> list[Trajectory]:
    """Return responses of the recipe's model to its questions, of different lengths, right and wrong by turns."""
    questions = load_training(recipe, reward=recipe.own_golds[0])  # whose own reward needs no answers
    template, positions = make_template(recipe.template, policy.tokenizer), policy.positions
    tell((*questions.notes, *fit_notes(recipe, positions, questions, template, policy.encode)))
    room, seed = min(LONGEST, recipe.sampling.max_new_tokens), recipe.train.seed
    stream = make_stream(recipe, questions, template, policy.encode, positions)
    requests = [Request(prompt.key, prompt.ids) for prompt in stream.next(min(QUESTIONS, recipe.rollout.prompts))]
    params = SamplingParams(room, recipe.sampling.temperature, positions=positions)
    sampler = make_sampler(policy, recipe.sampling.batch_rows)
    drawn = {(s.request, s.sample): s.completion for s in sampler.sample(requests, SAMPLES, params, seed=seed, step=1)}
    completions = [drawn[p, g] for p in range(len(requests)) for g in range(SAMPLES)]
    shape = (len(requests), SAMPLES)
    keep_N = torch.randint(1, room + 1, (len(completions),), generator=torch.Generator().manual_seed(0))
    lengths = [min(completion.length, keep) for completion, keep in zip(completions, keep_N.tolist(), strict=True)]
    rewards_PG = torch.arange(SAMPLES).remainder(2).float().expand(shape).clone()
    rewards_PG[0] = torch.tensor([1.0] + [0.0] * (SAMPLES - 1))  # a harder question
    advantages_PG = objective.advantages(
        rewards_PG, torch.ones(shape, dtype=torch.bool), torch.tensor(lengths).view(shape)
    )
    return [
        Trajectory(requests[i // SAMPLES].prompt_ids, c.token_ids[:n], c.logprobs[:n], advantage)
        for i, (c, n, advantage) in enumerate(zip(completions, lengths, advantages_PG.flatten().tolist(), strict=True))
    ]


def gradient(
    recipe: Recipe,
    policy: Policy,
    objective: Objective,
    trajectories: Sequence[Trajectory],
    share: Sequence[int] | None = None,
) -> list[Tensor]:
    """Return the gradient of one optimiser step on all responses (or on a share of them), parameter by parameter."""
    learner = make_learner(recipe, policy, objective, load_reference(recipe, objective))
    return take_gradient(learner, trajectories, learner.hold(trajectories, Tally()), share)


def difference(gradient: Sequence[Tensor], base: Sequence[Tensor]) -> float:
    """Return ‖g − g₀‖ / ‖g₀‖."""
    off = sum(float((g.double() - b.double()).square().sum()) for g, b in zip(gradient, base, strict=True))
    norm = sum(float(b.double().square().sum()) for b in base)
    return (off / norm) ** 0.5 if norm else float(off > 0)


def _policy(recipe: Recipe) -> Policy:
    policy = recipe_policy(recipe.model, recipe.learner.autocast, None)
    add_lora(policy, recipe.lora, recipe.train.seed)
    return policy


def _impossible(recipe: Recipe, layout: str) -> str:
    if layout == "packed" and recipe.model.attention == "eager":
        return 'not with model.attention = "eager"'
    if layout == "shared" and recipe.learner.gradient_checkpointing:
        return "not with learner.gradient_checkpointing"
    return ""


def _spread(recipe: Recipe, trajectories: Sequence[Trajectory]) -> list[Tensor]:
    """Return the gradient as several processes on this machine compute it: each its share, all summed with gloo."""
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, (recipe, list(trajectories), folder, torch.get_num_threads()), nprocs=RANKS)
        return torch.load(Path(folder) / "gradient.pt")


def _rank(rank: int, recipe: Recipe, trajectories: list[Trajectory], folder: str, threads: int) -> None:
    """What one process of a data-parallel step does."""
    torch.set_num_threads(max(1, threads // RANKS))
    torch.distributed.init_process_group(
        "gloo", f"file://{folder}/meeting", timedelta(minutes=10), world_size=RANKS, rank=rank
    )
    try:
        policy, objective = _policy(recipe), recipe_objective(recipe)
        parts = gradient(recipe, policy, objective, trajectories, range(rank, len(trajectories), RANKS))
        for part in parts:
            torch.distributed.all_reduce(part, op=torch.distributed.ReduceOp.SUM)
        if rank == 0:
            torch.save(parts, Path(folder) / "gradient.pt")
    finally:
        torch.distributed.destroy_process_group()
