"""Weights: the response lengths of a whole optimiser step → w_i, one per response.

They are computed once, before the step's responses are split into micro-batches or over ranks; from there the loss is
a plain sum, so its gradient cannot depend on the split. Peers whose loss does depend on a split state that split here:
`chunk_N` says which of the peer's micro-batches (or ranks) a response would have been in.

Legend: N responses in the optimiser step; |o_i| their lengths in tokens, terminator included; T = Σ|o_i|; C a constant.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Step:
    """What weights may depend on: all responses of one optimiser step."""

    lengths_N: Int[Tensor, " N"]
    live_N: Bool[Tensor, " N"]
    """Whether the response's advantage is not 0."""
    group_N: Int[Tensor, " N"]
    """Index of its question, from 0."""
    chunk_N: Int[Tensor, " N"]
    """Index of the micro-batch a peer would have put it in, from 0."""
    constant: float
    dtype: torch.dtype = torch.float32

    @property
    def tokens(self) -> Float[Tensor, " N"]:
        """|o_i|, [N], at least 1."""
        return self.lengths_N.clamp(min=1).to(self.dtype)


def constant(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / (N·C): every token counts the same, whatever response it stands in.

    Dr. GRPO (Liu et al. 2025, Listing 1: sum over tokens divided by a constant, mean over responses).
    """
    return _ones(step) / (max(_count(step), 1) * step.constant)


def constant_total(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / C: the same with the number of responses left to whoever chooses C."""
    return _ones(step) / step.constant


def per_response(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / (N·|o_i|): the mean over a response's tokens, then over responses.

    GRPO (Shao et al. 2024, eq. 3). A wrong answer's tokens weigh the less the longer it is: the length bias.
    """
    return 1 / (_count(step) * step.tokens)


def token_mean(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / T: the mean over all tokens of the step (DAPO, Yu et al. 2025).

    Equal weights within a step, but T is random: a long wrong answer shrinks everybody's gradient in its step.
    """
    return _ones(step) / step.lengths_N.sum().clamp(min=1)


def live_token_mean(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / T_live: the mean over the tokens of responses whose advantage is not 0, dropped ones not counted."""
    return _ones(step) / torch.where(step.live_N, step.lengths_N, 0).sum().clamp(min=1)


def chunk_token_mean(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / (K·T_k): the token mean of each of K micro-batches, then the mean over micro-batches."""
    count, tokens_K = _count_chunks(step), _per(step.chunk_N, step.tokens)
    return 1 / (count * tokens_K[step.chunk_N])


def chunk_width(step: Step) -> Float[Tensor, " N"]:
    """Compute n_k / (N·width): sums over the padded width, every micro-batch weighed by its number of responses n_k."""
    size_K = _per(step.chunk_N, _ones(step))
    return size_K[step.chunk_N] / (_count(step) * step.tokens.amax())


def width(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / max|o|: sums over tokens divided by the padded width of the step, which is another in every step."""
    return _ones(step) / step.tokens.amax()


def mean_width(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / (N·max|o|): sums over tokens divided by the padded width of the step, mean over responses."""
    return _ones(step) / (max(_count(step), 1) * step.tokens.amax())


def question_token_mean(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / (P·T_p): the token mean of each question's responses, then the mean over P questions."""
    tokens_P = _per(step.group_N, step.tokens)
    return 1 / ((step.group_N.amax() + 1) * tokens_P[step.group_N])


def response_sum(step: Step) -> Float[Tensor, " N"]:
    """Compute 1 / N: sums over tokens, mean over responses."""
    return _ones(step) / max(_count(step), 1)


def equal_chunks(n: int, count: int) -> Int[Tensor, " N"]:
    """Chunk indices of n responses dealt in order into `count` micro-batches of equal size (the last may be less)."""
    size = -(-n // max(1, min(count, n)))
    return torch.arange(n) // max(size, 1)


def chunks_by_tokens(lengths_N: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Chunk indices where responses, shortest first, fill micro-batches up to the longest response's tokens each."""
    budget = int(lengths_N.max())
    chunk_N = torch.zeros_like(lengths_N)
    chunk, used = 0, 0
    for i in lengths_N.argsort(stable=True).tolist():
        size = int(lengths_N[i])
        if used and used + size > budget:
            chunk, used = chunk + 1, 0
        used += size
        chunk_N[i] = chunk
    return chunk_N


def _count(step: Step) -> int:
    return step.lengths_N.shape[0]


def _count_chunks(step: Step) -> Tensor:
    return step.chunk_N.amax() + 1


def _ones(step: Step) -> Float[Tensor, " N"]:
    return torch.ones_like(step.lengths_N, dtype=step.dtype)


def _per(index_N: Tensor, values_N: Tensor) -> Tensor:
    """Sums of `values_N` by index: entry k belongs to index k. As long as the step, so that its shape is known."""
    return torch.zeros_like(values_N).index_add(0, index_N, values_N)
