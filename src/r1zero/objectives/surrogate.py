"""Surrogates: ratio and advantage → the gain of one token.

All take absolute bounds on the ratio, low and high, and are positively homogeneous in the advantage: twice the
advantage, twice the gain. At ρ = 1, inside the bounds, each has the gradient Â·∇log π. Legend: N response tokens, all
rows one after another.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def clipped(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute min(ρ·Â, clip(ρ, low, high)·Â), per token.

    PPO's pessimistic surrogate (Schulman et al. 2017, eq. 7), to be maximised.
    """
    return torch.minimum(ratios_N * advantages_N, ratios_N.clamp(low, high) * advantages_N)


def clip_active(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute 1 where `clipped` has no gradient, 0 elsewhere."""
    stopped_N = torch.where(advantages_N > 0, ratios_N > high, ratios_N < low)
    return (stopped_N & (advantages_N != 0)).to(ratios_N.dtype)


def dual_clipped(gains_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], bound: float) -> Float[Tensor, " N"]:
    """Compute max(gain, bound·Â) where Â < 0: no wrong token weighs more than `bound` times (Ye et al. 2020)."""
    return torch.where(advantages_N < 0, torch.maximum(gains_N, bound * advantages_N), gains_N)


def importance(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute ρ·Â: the plain importance-weighted gain. The bounds play no part."""
    del low, high
    return ratios_N * advantages_N


def policy_gradient(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute log ρ·Â, whose gradient is Â·∇log π whatever the ratio (REINFORCE). The bounds play no part."""
    del low, high
    return ratios_N.log() * advantages_N


def cispo(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute sg(clip(ρ, low, high))·log ρ·Â: the clipped ratio is a weight, so no token's gradient is ever stopped.

    CISPO (MiniMax-M1 2025); sg stops the gradient.
    """
    return ratios_N.detach().clamp(low, high) * ratios_N.log() * advantages_N


def weight_capped(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute 1 where `cispo`'s weight is held at a bound, 0 elsewhere."""
    del advantages_N
    return ((ratios_N > high) | (ratios_N < low)).to(ratios_N.dtype)


def soft_gated(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute (4/τ)·σ(τ·(ρ − 1))·Â with τ = 1 for Â ≥ 0 and 1.05 below: SAPO's smooth gate (Qwen team 2025) for the
    clip.
    """
    del low, high
    tau_N = torch.where(advantages_N < 0, 1.05, 1.0).to(ratios_N.dtype)
    return 4 / tau_N * torch.sigmoid(tau_N * (ratios_N - 1)) * advantages_N


def never(
    ratios_N: Float[Tensor, " N"], advantages_N: Float[Tensor, " N"], low: float, high: float
) -> Float[Tensor, " N"]:
    """Compute 0 everywhere: nothing is clipped."""
    del advantages_N, low, high
    return torch.zeros_like(ratios_N)


def sequence_log_ratios(log_ratios_N: Float[Tensor, " N"], response_N: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Compute mean_t log ρ_it of the response each token stands in: the length-normalised sequence ratio of GSPO.

    s_i = (π_θ(o_i) / π_old(o_i))^(1/|o_i|) (Zheng et al. 2025, eq. 7). Every token of a response carries s_i, so that
    its sum over tokens is |o_i| times the sequence's gain: it belongs together with weights of 1/|o_i|.
    """
    _, index_N, counts = torch.unique(response_N, return_inverse=True, return_counts=True)
    sums = torch.zeros(counts.shape[0], dtype=log_ratios_N.dtype, device=log_ratios_N.device)
    means = sums.index_add(0, index_N, log_ratios_N) / counts
    return means[index_N]
