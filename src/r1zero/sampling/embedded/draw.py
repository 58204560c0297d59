"""From logits to one token a row, and its log-prob under the distribution it was drawn from.

A vocabulary of more than one block is drawn from in two turns: a block, by the blocks' masses, then a token of that
block alone, by what is left of u. The masses take one pass of float32 over the vocabulary; float64 is for adding up the
masses, and for the one block's tokens.

Legend: N rows, V vocabulary, K tokens of a block, B blocks, M likeliest tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor

from r1zero.sampling.protocol import SamplingParams

BLOCK = 1024
"""K. Vocabularies of one block (the demo's and the miniature's: 395) are drawn from as by the first version, to the
bit: recorded runs replay."""
_LIKELIEST = 1024
"""M, among which the smallest set of mass ≥ p nearly always lies."""
_CHUNK = 1 << 19
"""Numbers that are worked on at a time on a CPU: 2 MiB stay in its cache, and are no fresh memory at every step."""
_BELOW_ONE = 1 - 2.0**-48  # u · total < total survives rounding in float64


def drawing(vocabulary: int) -> str | None:
    """Name the way in which tokens of a vocabulary are drawn, where it is not the first version's."""
    return f"blocks of {BLOCK}" if vocabulary > BLOCK else None


def draw(logits_NV: Tensor, u_N: Tensor, params: SamplingParams) -> tuple[Tensor, Tensor]:
    """Draw a token per row by inverting the distribution function at `u_N`.

    Returns (tokens_N int64, logprobs_N float32). The log-prob is of the *sampling* distribution, after temperature and
    filters; a greedy token's is its log-prob at temperature 1, since its own distribution is a point.
    """
    if params.temperature == 0:
        return _greedy(logits_NV)
    temperature = params.temperature
    whole = logits_NV.shape[1] <= BLOCK
    if whole or params.top_k or params.top_p < 1:
        logits_NV = keep_top(logits_NV.float() / temperature, params.top_k, params.top_p)
        temperature = 1.0
    return _draw_whole(logits_NV, u_N) if whole else _draw_by_blocks(logits_NV, u_N, temperature)


def _greedy(logits_NV: Tensor) -> tuple[Tensor, Tensor]:
    tokens_N = logits_NV.argmax(dim=-1)
    if logits_NV.shape[1] <= BLOCK:
        return tokens_N, torch.log_softmax(logits_NV.float(), dim=-1).gather(1, tokens_N[:, None])[:, 0]
    _, masses_NB = _block_masses(logits_NV, 1.0)
    return tokens_N, -masses_NB.sum(dim=-1).log().float()  # of the peak itself, whose weight is 1


def _draw_whole(logits_NV: Tensor, u_N: Tensor) -> tuple[Tensor, Tensor]:
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    tokens_N1, _ = _invert(logprobs_NV.double().exp_(), u_N[:, None])
    return tokens_N1[:, 0], logprobs_NV.gather(1, tokens_N1)[:, 0]


def _draw_by_blocks(logits_NV: Tensor, u_N: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    peak_N1, masses_NB = _block_masses(logits_NV, temperature)
    block_N1, rest_N1 = _invert(masses_NB, u_N[:, None])
    ids_NK = block_N1 * BLOCK + torch.arange(BLOCK, device=logits_NV.device)
    beyond_NK, ids_NK = ids_NK >= logits_NV.shape[1], ids_NK.clamp(max=logits_NV.shape[1] - 1)
    scaled_NK = (logits_NV.gather(1, ids_NK).float() / temperature).masked_fill(beyond_NK, -torch.inf)
    below_NK = scaled_NK.double() - peak_N1
    chosen_N1, _ = _invert(below_NK.exp(), rest_N1)
    logprobs_N1 = below_NK.gather(1, chosen_N1) - masses_NB.sum(dim=-1, keepdim=True).log()
    return ids_NK.gather(1, chosen_N1)[:, 0], logprobs_N1.float()[:, 0]


def _invert(weights_NK: Tensor, u_N1: Tensor) -> tuple[Tensor, Tensor]:
    """Return where the distribution function of float64 weights passes u, and how far it then is through that place.

    That is in [0, 1) and, where u is uniform, uniform whichever place it is. A place of weight 0 is never returned.
    """
    cumulative_NK = weights_NK.cumsum(dim=-1)
    target_N1 = u_N1 * cumulative_NK[:, -1:]
    # not-a-number weights would point past the end; the log-probs that come of them tell the caller
    found_N1 = torch.searchsorted(cumulative_NK, target_N1, right=True).clamp(max=weights_NK.shape[1] - 1)
    weight_N1 = weights_NK.gather(1, found_N1)
    rest_N1 = (target_N1 - (cumulative_NK.gather(1, found_N1) - weight_N1)) / weight_N1
    return found_N1, rest_N1.clamp(0, _BELOW_ONE)


def _block_masses(logits_NV: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return peak_N1, the largest scaled logit of each row, and masses_NB: each block's sum of exp(scaled − peak).

    Sums within a block are float32, pairwise, and right to some 1e-7 of themselves however small the block's mass is.
    """
    size = logits_NV.shape[1]
    rows = max(1, _CHUNK // size if logits_NV.device.type == "cpu" else len(logits_NV))
    whole = size // BLOCK * BLOCK
    peaks, masses = [], []
    for chunk_nV in logits_NV.split(rows):
        scaled_nV = chunk_nV.float() if temperature == 1 else chunk_nV.float() / temperature
        peaks.append(scaled_nV.amax(dim=-1, keepdim=True))
        weights_nV = (scaled_nV - peaks[-1]).exp_()
        blocks_nB = weights_nV[:, :whole].unflatten(1, (-1, BLOCK)).sum(dim=-1)
        last_n1 = weights_nV[:, whole:].sum(dim=-1, keepdim=True)  # 0, never drawn, where nothing is left over
        masses.append(torch.cat([blocks_nB, last_n1], dim=1))
    return torch.cat(peaks), torch.cat(masses).double()


def keep_top(logits_NV: Tensor, top_k: int, top_p: float) -> Tensor:
    """Return logits with everything outside the k likeliest tokens, then outside the smallest set of mass ≥ p, at −inf.

    The likeliest token always stays. k = 0 and p = 1 keep everything.
    """
    if 0 < top_k < logits_NV.shape[-1]:
        kth_N1 = logits_NV.topk(top_k, dim=-1).values[:, -1:]
        logits_NV = logits_NV.masked_fill(logits_NV < kth_N1, -torch.inf)
    if top_p < 1:
        # a GPU sorts fast, and would wait for the host to see which rows need more than the likeliest
        few = logits_NV.shape[1] > max(BLOCK, _LIKELIEST) and logits_NV.device.type == "cpu"
        logits_NV = (_nucleus_of_likeliest if few else _nucleus)(logits_NV, top_p)
    return logits_NV


def _nucleus(logits_NV: Tensor, top_p: float) -> Tensor:
    sorted_NV, order_NV = logits_NV.sort(dim=-1, descending=True)
    probs_NV = torch.softmax(sorted_NV, dim=-1)
    mass_before_NV = probs_NV.cumsum(dim=-1) - probs_NV
    drop_NV = (mass_before_NV >= top_p).scatter(1, order_NV, mass_before_NV >= top_p)
    return logits_NV.masked_fill(drop_NV, -torch.inf)


def _nucleus_of_likeliest(logits_NV: Tensor, top_p: float) -> Tensor:
    """Sort the likeliest tokens alone, in a tenth of the time, and all of a row where they have too little mass."""
    likeliest_NM, order_NM = logits_NV.topk(_LIKELIEST, dim=-1)
    peak_N1, masses_NB = _block_masses(logits_NV, 1.0)
    probs_NM = (likeliest_NM - peak_N1).double().exp() / masses_NB.sum(dim=-1, keepdim=True)
    mass_NM = probs_NM.cumsum(dim=-1)
    kept_NM = likeliest_NM.masked_fill(mass_NM - probs_NM >= top_p, -torch.inf)
    kept_NV = torch.full_like(logits_NV, -torch.inf).scatter_(1, order_NM, kept_NM)
    more_N = mass_NM[:, -1] < top_p
    if more_N.any():
        kept_NV[more_N] = _nucleus(logits_NV[more_N], top_p)
    return kept_NV
