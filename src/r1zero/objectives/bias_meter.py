"""The bias meter: from one batch's rewards and lengths, how an objective weighs responses by length and by difficulty.

An unbiased objective moves every response by the same multiple of r_i − mean(r). The meter asks how that multiple,

    m_i = w_i·|Â_i| / |r_i − mean(r)|        (w_i alone where no baseline is subtracted: Â = r, or a critic's)

goes with the response's length and with its question's spread of rewards, √(p(1−p)) for rewards 0 and 1:

    log m_i ≈ a + b_length·log|o_i| + b_difficulty·log √(p(1−p))        (least squares over live responses)

Both slopes are 0 for Dr. GRPO and −1 for GRPO: 1/|o_i| is the length, 1/std the difficulty. What a denominator shared
by the whole step does (a token mean) differs from step to step, not inside one: here it reads 0, and the exact audit
shows it. Legend: P questions, G samples per question, N live responses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r1zero.objectives.advantage import varied
from r1zero.objectives.objective import Objective

NO_BASELINE = ("raw", "gae")
"""Advantages that subtract no mean of the group: leaving a baseline out, or having a critic's, biases nothing."""

_NOTHING = 1e-18
"""A sum of squares below this is rounding."""
_TOGETHER = 4e-12
"""sin² of the angle below which two columns are one."""


@dataclass(frozen=True, slots=True)
class Bias:
    """The two slopes; None where they cannot be told: the regressor does not vary, or only together with the other."""

    length: float | None
    difficulty: float | None


def bias_meter(
    rewards_PG: Float[Tensor, "P G"],
    graded_PG: Bool[Tensor, "P G"],
    lengths_PG: Int[Tensor, "P G"],
    objective: Objective,
) -> Bias:
    """Return the objective's length bias and difficulty bias on one optimiser step's responses."""
    m_PG = multipliers(rewards_PG, graded_PG, lengths_PG, objective)
    spread_PG = reward_spread(rewards_PG, graded_PG)[:, None].expand_as(m_PG)
    live_PG = m_PG.isfinite()
    return fit(m_PG[live_PG], lengths_PG[live_PG].double(), spread_PG[live_PG])


def multipliers(
    rewards_PG: Float[Tensor, "P G"],
    graded_PG: Bool[Tensor, "P G"],
    lengths_PG: Int[Tensor, "P G"],
    objective: Objective,
) -> Float[Tensor, "P G"]:
    """Compute m_i in float64; NaN for responses that tell nothing: ungraded, of a dead group, or without a gradient."""
    rewards_PG = torch.where(graded_PG, rewards_PG, 0.0).double()
    advantages_PG, weights_PG = _parts(rewards_PG, graded_PG, lengths_PG, objective)
    mean_P1 = rewards_PG.sum(dim=1, keepdim=True) / graded_PG.sum(dim=1, keepdim=True).clamp(min=1)
    deviation_PG = rewards_PG - mean_P1
    spread_P1 = reward_spread(rewards_PG, graded_PG)[:, None]
    baseline = objective.advantage not in NO_BASELINE
    m_PG = weights_PG * advantages_PG.abs() / deviation_PG.abs() if baseline else weights_PG
    tells_PG = graded_PG & (spread_P1 > 0) & (deviation_PG != 0) & (lengths_PG > 0) & (m_PG > 0) & m_PG.isfinite()
    return torch.where(tells_PG, m_PG, torch.nan)


def pushes(
    rewards_PG: Float[Tensor, "P G"],
    graded_PG: Bool[Tensor, "P G"],
    lengths_PG: Int[Tensor, "P G"],
    objective: Objective,
) -> Float[Tensor, "P G"]:
    """Compute w_i·Â_i: what the gradient of every token of a response is multiplied with, at ρ = 1."""
    advantages_PG, weights_PG = _parts(rewards_PG.double(), graded_PG, lengths_PG, objective)
    return weights_PG * advantages_PG


def reward_spread(rewards_PG: Float[Tensor, "P G"], graded_PG: Bool[Tensor, "P G"]) -> Float[Tensor, " P"]:
    """Compute standard deviation of each question's graded rewards, √(p(1−p)) where they are 0 and 1; exactly 0 if
    equal.
    """
    known_PG = torch.where(graded_PG, rewards_PG, 0.0).double()
    count_P = graded_PG.sum(dim=1).clamp(min=1)
    mean_P = known_PG.sum(dim=1) / count_P
    variance_P = torch.where(graded_PG, known_PG - mean_P[:, None], 0.0).square().sum(dim=1) / count_P
    return torch.where(varied(known_PG, graded_PG)[:, 0], variance_P.sqrt(), 0.0)


def fit(
    m_N: Float[Tensor, " N"],
    lengths_N: Float[Tensor, " N"],
    spreads_N: Float[Tensor, " N"],
    weights_N: Float[Tensor, " N"] | None = None,
) -> Bias:
    """Compute slopes of log m on log length and log spread together, by (weighted) least squares."""
    if m_N.shape[0] < 2:
        return Bias(None, None)
    share_N = torch.ones_like(m_N) if weights_N is None else weights_N
    share_N = share_N / share_N.sum()
    columns = torch.stack([lengths_N.double().log(), spreads_N.double().log(), m_N.double().log()])
    columns = columns - (columns * share_N).sum(dim=1, keepdim=True)
    length, spread, target = (columns * share_N.sqrt()).tolist()
    if _dot(spread, spread) <= _NOTHING:
        return Bias(_slope(length, target), None)
    if _dot(length, length) <= _NOTHING:
        return Bias(None, _slope(spread, target))
    # what is left of one when the other is taken out (Frisch and Waugh): nothing, where they vary only together
    shared = _dot(length, spread) / _dot(length, length)
    rest = [b - shared * a for a, b in zip(length, spread, strict=True)]
    if _dot(rest, rest) <= _TOGETHER * _dot(spread, spread):
        return Bias(None, None)
    difficulty = _dot(rest, target) / _dot(rest, rest)
    return Bias(_slope(length, [y - difficulty * b for y, b in zip(target, spread, strict=True)]), difficulty)


def _slope(column: list[float], target: list[float]) -> float | None:
    """Compute the least-squares slope of a target on one column; None where the column does not vary."""
    size = _dot(column, column)
    return _dot(column, target) / size if size > _NOTHING else None


def _dot(one: list[float], other: list[float]) -> float:
    """Compute a sum of products, rounded once.

    LAPACK's least squares differ in their last bits with where in memory their numbers stand, and a run that is made
    again is to log the same.
    """
    return math.fsum(a * b for a, b in zip(one, other, strict=True))


def _parts(
    rewards_PG: Tensor, graded_PG: Tensor, lengths_PG: Tensor, objective: Objective
) -> tuple[Float[Tensor, "P G"], Float[Tensor, "P G"]]:
    """Compute (Â_PG, w_PG), the whole batch as one optimiser step."""
    advantages_PG = objective.audited_advantages(rewards_PG, graded_PG, lengths_PG)
    group_PG = torch.arange(rewards_PG.shape[0], device=rewards_PG.device)[:, None].expand_as(lengths_PG)
    weights_N = objective.response_weights(lengths_PG.flatten(), advantages_PG.flatten() != 0, group_PG.flatten())
    return advantages_PG, weights_N.double().expand(rewards_PG.numel()).reshape(rewards_PG.shape)
