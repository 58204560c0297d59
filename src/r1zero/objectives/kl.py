"""Estimators of KL(π_θ ‖ π_ref) from sampled tokens (Schulman 2020, "Approximating KL divergence").

With samples from π_θ and d = log π_θ − log π_ref of the sampled token. What matters in a loss is the *gradient* of its
expectation, not the value; the true one, token by token, is E[d·∇log π_θ]. What a token does to the divergence of later
tokens, no term in a loss sees; in the reward (k1) it is seen. Legend: N response tokens.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


def k1(logprobs_N: Float[Tensor, " N"], reference_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Compute d: unbiased. In the *reward* (detached, summed over the response) its policy gradient is the true one.

    In a loss it would be useless: E[∇d] = 0.
    """
    return logprobs_N - reference_N


def k2(logprobs_N: Float[Tensor, " N"], reference_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Compute d²/2: a biased value whose gradient d·∇log π_θ is the true one, on-policy."""
    return (logprobs_N - reference_N).square() / 2


def k3(logprobs_N: Float[Tensor, " N"], reference_N: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Compute e^(−d) − 1 + d: an unbiased value, never negative; its expected gradient is that of KL(π_ref ‖ π_θ)."""
    difference_N = logprobs_N - reference_N
    return (-difference_N).exp() - 1 + difference_N


def k3_corrected(
    logprobs_N: Float[Tensor, " N"], reference_N: Float[Tensor, " N"], ratios_N: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """Compute ρ·k3: unbiased in value and gradient, on-policy and off, since ρ carries the gradient of the sampling as
    well.
    """
    return ratios_N * k3(logprobs_N, reference_N)
