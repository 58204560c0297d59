"""The plain way to draw a token: one float64 distribution function over the whole vocabulary.

What the embedded sampler did for every vocabulary until it added up blocks of large ones. Tests hold `draw` against it,
and growth.py measures beside it. Legend: N rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1zero.sampling.protocol import SamplingParams


def plain_draw(logits_NV: Tensor, u_N: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Draw a token per row by inverting the distribution function at `u_N`; tokens_N and their log-probs_N."""
    if params.temperature == 0:
        logprobs_NV = torch.log_softmax(logits_NV.float(), dim=-1)
        tokens_N = logits_NV.argmax(dim=-1)
    else:
        scaled_NV = plain_keep_top(logits_NV.float() / params.temperature, params.top_k, params.top_p)
        logprobs_NV = torch.log_softmax(scaled_NV, dim=-1)
        cumulative_NV = logprobs_NV.double().exp_().cumsum(dim=-1)
        target_N1 = (u_N * cumulative_NV[:, -1])[:, None]
        tokens_N = torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
    return tokens_N, logprobs_NV.gather(1, tokens_N[:, None])[:, 0]


def plain_keep_top(logits_NV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Put everything outside the k likeliest tokens, then outside the smallest set of mass ≥ p, at −inf."""
    if 0 < top_k < logits_NV.shape[-1]:
        kth_N1 = logits_NV.topk(top_k, dim=-1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < kth_N1, -torch.inf)
    if top_p < 1:
        sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True)
        probs_NV = torch.softmax(sorted_NV, dim=-1)
        mass_before_NV = probs_NV.cumsum(dim=-1) - probs_NV
        drop_NV = (mass_before_NV >= top_p).scatter(1, order_NV, mass_before_NV >= top_p)
        logits_NV = logits_NV.masked_fill(drop_NV, -torch.inf)
    return logits_NV
