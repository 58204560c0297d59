"""Advantages: a group's rewards → how much better than expected each response was.

Legend: P questions, G samples per question (a group). `graded_PG` marks the responses whose reward is known: one that
nobody could grade is no evidence, so it neither enters its group's baseline nor receives an advantage.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def centred(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """Compute Â_i = r_i − mean(r), over the graded responses of the group.

    Dr. GRPO's advantage (Liu et al. 2025, "Understanding R1-Zero-Like Training", eq. 3 without the divisor): an
    unbiased baseline up to the factor (G−1)/G. Groups of equal rewards get exact zeros, free of the mean's rounding.
    """
    count_P1 = graded_PG.sum(dim=1, keepdim=True).clamp(min=1)
    known_PG = torch.where(graded_PG, rewards_PG, 0.0)
    mean_P1 = known_PG.sum(dim=1, keepdim=True) / count_P1
    return torch.where(graded_PG & varied(rewards_PG, graded_PG), known_PG - mean_P1, 0.0)


def standardised(
    rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"], eps: float = 1e-8, correction: int = 1
) -> Float[Tensor, "P G"]:
    """Compute Â_i = (r_i − mean(r)) / (std(r) + ε), over the graded responses of the group.

    GRPO's advantage (Shao et al. 2024, "DeepSeekMath", §4.1.2). The variance of G rewards is their sum of squares over
    G − `correction`: 1 as torch has it (Bessel's), 0 as numpy has it. In a group of equal rewards, ε alone would let
    the mean's rounding grow to full size; `centred` has made it exactly zero.
    """
    centred_PG = centred(rewards_PG, graded_PG)
    count_P1 = graded_PG.sum(dim=1, keepdim=True)
    variance_P1 = centred_PG.square().sum(dim=1, keepdim=True) / (count_P1 - correction).clamp(min=1)
    return centred_PG / (variance_P1.sqrt() + eps)


def raw(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """Compute Â_i = r_i: no baseline at all.

    REINFORCE (Williams 1992): unbiased, and noisy. PPO's score too, which its critic turns into token advantages.
    """
    return torch.where(graded_PG, rewards_PG, 0.0)


def leave_one_out(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """Compute Â_i = r_i − mean of the others = G/(G−1) · (r_i − mean(r)), over the graded responses of the group.

    RLOO (Kool et al. 2019; Ahmadian et al. 2024): a baseline that does not contain r_i, hence no factor (G−1)/G.
    """
    count_P1 = graded_PG.sum(dim=1, keepdim=True)
    return centred(rewards_PG, graded_PG) * count_P1 / (count_P1 - 1).clamp(min=1)


def mean_divided(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Float[Tensor, "P G"]:
    """Compute Â_i = (r_i − mean(r)) / mean(r); 0 where the mean is not above 0.

    MaxRL (2026), which aims at the log of the pass rate: hard questions weigh more.
    """
    centred_PG = centred(rewards_PG, graded_PG)
    count_P1 = graded_PG.sum(dim=1, keepdim=True).clamp(min=1)
    mean_P1 = torch.where(graded_PG, rewards_PG, 0.0).sum(dim=1, keepdim=True) / count_P1
    return torch.where(mean_P1 > 0, centred_PG / mean_P1.clamp(min=1e-12), 0.0)


def batch_standardised(
    rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"], eps: float = 1e-4
) -> Float[Tensor, "P G"]:
    """Compute Â_i = (r_i − mean of its group) / (std of the batch's rewards + ε), std with Bessel's correction."""
    known_PG = torch.where(graded_PG, rewards_PG, 0.0)
    n = graded_PG.sum()
    mean = known_PG.sum() / n.clamp(min=1)
    deviations_PG = torch.where(graded_PG, known_PG - mean, 0.0)
    std = (deviations_PG.square().sum() / (n - 1).clamp(min=1)).sqrt()
    return centred(rewards_PG, graded_PG) / (std + eps)


def whitened(
    rewards_PG: Float[Tensor, "P G"],
    graded_PG: Bool[Tensor, "P G"],
    lengths_PG: Int[Tensor, "P G"],
    eps: float = 1e-8,
) -> Float[Tensor, "P G"]:
    """Compute group-centred, then recentred and divided by mean and std over the *tokens* of the whole batch.

    With a_i = r_i − mean of its group: Â_i = (a_i − Σ|o|a / Σ|o|) / (token-weighted std of a + ε). A long wrong answer
    moves everybody's baseline: the answers around it change sign or size with its length.
    """
    tokens_PG = torch.where(graded_PG, lengths_PG, 0).to(rewards_PG.dtype)
    total = tokens_PG.sum().clamp(min=1)
    centred_PG = centred(rewards_PG, graded_PG)
    mean = (tokens_PG * centred_PG).sum() / total
    std = ((tokens_PG * (centred_PG - mean).square()).sum() / total).sqrt()
    return torch.where(graded_PG & (std > 0), (centred_PG - mean) / (std + eps), 0.0)


def gae(rewards_T: Float[Tensor, " T"], values_T: Float[Tensor, " T"], gamma: float, lam: float) -> Float[Tensor, " T"]:
    """Compute generalised advantage estimates of one response's T tokens, from token rewards and the values of their
    states.

    Â_t = Σ_{l≥0} (γλ)^l δ_{t+l},  δ_t = r_t + γ·V_{t+1} − V_t,  V_{T+1} = 0  (Schulman et al. 2016, eq. 16). With
    γ = λ = 1 it is the return to come minus V_t.
    """
    next_T = torch.cat([values_T[1:], values_T.new_zeros(1)])
    delta = (rewards_T + gamma * next_T - values_T).tolist()
    advantages, running = [0.0] * len(delta), 0.0
    for t in range(len(delta) - 1, -1, -1):
        running = delta[t] + gamma * lam * running
        advantages[t] = running
    return torch.tensor(advantages, dtype=values_T.dtype, device=values_T.device)


def whiten_tokens(
    values_N: Float[Tensor, " N"],
    tokens_N: Int[Tensor, " N"],
    scale: Callable[[Tensor, Tensor], Tensor],
    add: Callable[[Sequence[Tensor]], Sequence[Tensor]] = lambda sums: sums,
) -> Float[Tensor, " N"]:
    """Compute (a − mean(a))·scale over tokens, where `values_N[n]` is the advantage of `tokens_N[n]` tokens.

    `scale` is 1/std, from Σ(a − mean(a))² and the number of tokens T; `add` adds sums up where others have the rest of
    the tokens. What PPO trainers call masked whitening: the mean of all tokens is a baseline that any one response's
    length moves.
    """
    first, count = add([(tokens_N * values_N).sum(), tokens_N.sum().to(values_N.dtype)])
    count = count.clamp(min=1)
    centred_N = values_N - first / count
    (squares,) = add([(tokens_N * centred_N.square()).sum()])
    return centred_N * scale(squares, count)


def sample_scale(squares: Tensor, tokens: Tensor) -> Tensor:
    """Compute 1 / √(Σ(a − mean(a))² / (T − 1) + 1e-8): Bessel's correction."""
    return (squares / (tokens - 1).clamp(min=1) + 1e-8).rsqrt()


def population_scale(squares: Tensor, tokens: Tensor) -> Tensor:
    """Compute 1 / √max(Σ(a − mean(a))² / T, 1e-8)."""
    return (squares / tokens).clamp(min=1e-8).rsqrt()


def varied(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Bool[Tensor, "P 1"]:
    """Tell whether a group's graded rewards differ at all."""
    high_P1 = torch.where(graded_PG, rewards_PG, -torch.inf).amax(dim=1, keepdim=True)
    low_P1 = torch.where(graded_PG, rewards_PG, torch.inf).amin(dim=1, keepdim=True)
    return high_P1 > low_P1
