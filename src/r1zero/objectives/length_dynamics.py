"""Where an objective leads: its exact expected gradient followed step by step, every step of equal length.

Equal steps take the scale of the gradients out of the comparison; what differs is direction alone. With the exact
expectation there is no noise either, so a wrong answer that grows here grows because of the objective.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r1zero.objectives.expected_gradient import expected_gradient, pushes
from r1zero.objectives.objective import Objective
from r1zero.objectives.toy_mdp import Mdp


@dataclass(frozen=True, slots=True)
class Path:
    """What happens along the way; entry 0 is the start."""

    objective: str
    reward: tuple[float, ...]
    """J."""
    length_wrong: tuple[float, ...]
    """E[|o| | wrong]."""
    length_right: tuple[float, ...]
    """E[|o| | right]."""


def follow(
    mdp: Mdp, objective: Objective | None, group_size: int, start_PXV: Tensor, *, steps: int = 100, stride: float = 0.1
) -> Path:
    """Take `steps` steps of length `stride` in θ along E[gradient]; along ∇J itself where no objective is given."""
    table = pushes(mdp, objective, group_size) if objective else None
    logits = start_PXV
    rows = [_state(mdp, logits)]
    for _ in range(steps):
        if objective and table:
            expected = table.expected(mdp.class_probabilities(logits))
            gradient = expected_gradient(mdp, objective, expected, logits, logits)
        else:
            gradient = mdp.true_gradient(logits)
        norm = gradient.norm()
        if not norm > 0:  # nothing left to learn
            break
        logits = logits + stride * gradient / norm
        rows.append(_state(mdp, logits))
    reward, wrong, right = zip(*rows, strict=True)
    return Path(objective.name if objective else "∇J", reward, wrong, right)


def _state(mdp: Mdp, logits_PXV: Tensor) -> tuple[float, float, float]:
    with torch.no_grad():
        return (
            float(mdp.expected_reward(logits_PXV)),
            float(mdp.mean_length(logits_PXV, 0.0)),
            float(mdp.mean_length(logits_PXV, 1.0)),
        )
