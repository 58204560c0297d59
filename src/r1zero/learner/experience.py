"""What is held fixed while a rollout batch is learnt from, per response: old and reference log-probs, token advantages.

Legend: T tokens of one response.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from r1zero.objectives.advantage import gae
from r1zero.objectives.table import Objective
from r1zero.policy.batch import MicroBatch, Trajectory

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
    tensors = [parts[i] for i in batch.responses]
    return torch.cat([tensor for tensor in tensors if tensor is not None])


def token_advantages(
    objective: Objective,
    trajectories: Sequence[Trajectory],
    values: PerResponse,
    old: PerResponse,
    reference: PerResponse | None,
) -> tuple[list[Tensor | None], list[Tensor | None]]:
    """Return GAE of each response's score, and returns Â + V. A KL term in the reward is charged token by token.

    `whitened` makes the learnt advantages of it.
    """
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


def whitened(
    objective: Objective, advantages: PerResponse, all_reduce_sum: Callable[[Sequence[float]], list[float]]
) -> list[Tensor | None]:
    """Return token advantages as the objective whitens them, over the tokens of all ranks' responses."""
    known = [each for each in advantages if each is not None]

    def add(sums: Sequence[Tensor]) -> list[Tensor]:
        total = all_reduce_sum([each.item() for each in sums])  # every rank takes part, one without responses too
        return [torch.tensor(each, dtype=torch.float64) for each in total]

    flat_N = torch.cat([each.double().cpu() for each in known]) if known else torch.zeros(0, dtype=torch.float64)
    parts = iter(objective.whitened(flat_N, add).split([len(each) for each in known]))
    return [each if each is None else next(parts).to(each) for each in advantages]
