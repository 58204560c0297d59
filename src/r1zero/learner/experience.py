"""What is held fixed while a rollout batch is learnt from, per response: old and reference log-probs, token advantages.

Legend: T tokens of one response.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from r1zero.learner.ranks import Ranks
from r1zero.learner.value_head import ValueHead
from r1zero.objectives.advantage import gae
from r1zero.objectives.table import Objective
from r1zero.policy.batch import MicroBatch, Trajectory, micro_batches
from r1zero.policy.load import Policy
from r1zero.policy.logprobs import Scorer
from r1zero.policy.shared_prompts import SharedPrompts, shared_micro_batches

PerResponse = Sequence[Tensor | None]


@dataclass(frozen=True, slots=True)
class Experience:
    """One tensor [T] per response, or None for a response that is not learnt from; None altogether if not needed."""

    old: PerResponse | None = None
    """log π_old; None: π_old is the current policy."""
    reference: PerResponse | None = None
    """log π_ref."""
    advantages: PerResponse | None = None
    """Token advantages; None: every token has its response's."""
    values: PerResponse | None = None
    returns: PerResponse | None = None

    def of(self, share: Iterable[int]) -> Experience:
        """Return the same for some of the responses."""
        indices = list(share)
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Experience(**{name: part and [part[i] for i in indices] for name, part in parts.items()})


def concat(batch: MicroBatch, parts: PerResponse) -> Tensor:
    """Return the tensors of a micro-batch's responses, one after another."""
    tensors = [parts[i] for i in batch.response_N.unique_consecutive().tolist()]
    return torch.cat([tensor for tensor in tensors if tensor is not None])


def batches(
    policy: Policy, trajectories: Sequence[Trajectory], indices: Sequence[int], *, layout: str, budget: int
) -> Iterator[tuple[MicroBatch, SharedPrompts | None]]:
    """Yield micro-batches of some trajectories in a layout of `learner.layout`."""
    if layout == "shared":
        yield from shared_micro_batches(policy, trajectories, indices, budget)
        return
    for batch in micro_batches(trajectories, indices, budget, packed=layout == "packed", device=policy.device):
        yield batch, None


@torch.no_grad()
def token_scores(
    scorer: Scorer,
    trajectories: Sequence[Trajectory],
    indices: Sequence[int],
    temperature: float,
    *,
    layout: str,
    budget: int,
    ranks: Ranks,
    head: ValueHead | None = None,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Return log-probs of each response's tokens under a policy, and their states' values under a head (zeros without
    one).
    """
    logprobs: list[Tensor | None] = [None] * len(trajectories)
    values: list[Tensor | None] = [None] * len(trajectories)
    passes = batches(scorer.policy, trajectories, indices, layout=layout, budget=budget)
    for (batch, prompts), real in ranks.pad_passes(passes):
        states_NH, logprobs_N, _ = scorer(batch, prompts, temperature)
        if not real:
            continue
        values_N = torch.zeros_like(logprobs_N) if head is None else head(states_NH)
        present = batch.response_N.unique_consecutive().tolist()
        sizes = [trajectories[i].length for i in present]
        for i, logp, value in zip(present, logprobs_N.split(sizes), values_N.split(sizes), strict=True):
            logprobs[i], values[i] = logp, value
    return logprobs, values


def token_advantages(
    objective: Objective,
    trajectories: Sequence[Trajectory],
    values: PerResponse,
    old: PerResponse,
    reference: PerResponse | None,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Return GAE of each response's score, and returns Â + V. A KL term in the reward is charged token by token."""
    advantages: list[Tensor | None] = [None] * len(trajectories)
    returns: list[Tensor | None] = [None] * len(trajectories)
    for i, values_T in enumerate(values):
        if values_T is None:
            continue
        rewards_T = torch.zeros_like(values_T)
        if reference is not None and objective.kl == "k1_reward":
            rewards_T = -objective.kl_coefficient * (old[i] - reference[i])  # type: ignore[operator]
        rewards_T[-1] += trajectories[i].advantage
        advantages[i] = gae(rewards_T, values_T, objective.gamma, objective.lam)
        returns[i] = advantages[i] + values_T  # type: ignore[operator]
    return advantages, returns
