"""From logits to one token a row, and its log-prob under the distribution it was drawn from.

Legend: N rows, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1zero.sampling.protocol import SamplingParams


def draw(logits_NV: Tensor, u_N: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Draw a token per row by inverting the distribution function at `u_N`.

    Returns (tokens_N int64, logprobs_N float32). The log-prob is of the *sampling* distribution, after temperature and
    filters; a greedy token's is its log-prob at temperature 1, since its own distribution is a point.
    """
    if params.temperature == 0:
        logprobs_NV = torch.log_softmax(logits_NV.float(), dim=-1)
        tokens_N = logits_NV.argmax(dim=-1)
    else:
        scaled_NV = keep_top(logits_NV.float() / params.temperature, params.top_k, params.top_p)
        logprobs_NV = torch.log_softmax(scaled_NV, dim=-1)
        # float64: in float32 the sum over a large vocabulary is coarser than its rarest tokens are likely
        cumulative_NV = logprobs_NV.double().exp_().cumsum(dim=-1)
        target_N1 = (u_N * cumulative_NV[:, -1])[:, None]
        # not-a-number logits would point past the vocabulary; their log-probs tell the caller
        tokens_N = torch.searchsorted(cumulative_NV, target_N1, right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
    return tokens_N, logprobs_NV.gather(1, tokens_N[:, None])[:, 0]


def keep_top(logits_NV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Return logits with everything outside the k likeliest tokens, then outside the smallest set of mass ≥ p, at −inf.

    The likeliest token always stays. k = 0 and p = 1 keep everything.
    """
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
