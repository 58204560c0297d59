"""A made-up rollout batch with the features that matter: easy and hard questions, and wrong answers that run on."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def example_batch(
    questions: int = 64, samples: int = 8, seed: int = 0
) -> tuple[Float[Tensor, "P G"], Bool[Tensor, "P G"], Int[Tensor, "P G"]]:
    """Compute (rewards, graded, lengths): pass rates from 1/10 to 9/10; wrong answers about twice as long as right
    ones.
    """
    generator = torch.Generator().manual_seed(seed)
    passed_P1 = torch.linspace(0.1, 0.9, questions)[:, None]
    rewards_PG = (torch.rand(questions, samples, generator=generator) < passed_P1).float()
    middle_PG = torch.where(rewards_PG == 1, 400.0, 800.0)
    lengths_PG = middle_PG * (0.6 * torch.randn(questions, samples, generator=generator)).exp()
    return rewards_PG, torch.ones_like(rewards_PG, dtype=torch.bool), lengths_PG.clamp(20, 3000).long()
