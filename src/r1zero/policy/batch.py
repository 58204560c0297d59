"""Trajectories → micro-batches of token ids, padded or packed, under a token budget.

Whatever the layout, the outcome is the same flat list of response tokens: which hidden state predicts each, its id, and
the response it belongs to. Everything after the model works on that list, so the layout cannot change the mathematics.

Legend: B rows, T columns, N response tokens of the micro-batch, one response after another.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from r1zero.policy.device import to_device


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One response as the learner sees it: ids as sampled, the sampler's log-probs (nats), and its advantage Â."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    sampler_logprobs: tuple[float, ...]
    advantage: float
    """Of the whole response; with a critic its score, which becomes token advantages."""
    counts: bool = True
    """False where the response is only counted: its reward is unknown, or its truncation is masked out."""
    group: int | None = None
    """Which question of its step it answers; None: told by its prompt."""

    @property
    def length(self) -> int:
        """|o|: response tokens, terminator included."""
        return len(self.response_ids)


@dataclass(frozen=True, slots=True)
class MicroBatch:
    """What one forward and backward pass works on."""

    input_ids_BT: Int[Tensor, "B T"]
    positions_BT: Int[Tensor, "B T"]
    predictor_N: Int[Tensor, " N"]
    """Where in the flattened [B·T] hidden states each response token is predicted: one before the token itself."""
    targets_N: Int[Tensor, " N"]
    response_N: Int[Tensor, " N"]
    """Index of each token's response among the trajectories given to `micro_batches`."""
    responses: tuple[int, ...]
    """These indices, each once, in their order: as plain numbers, which no device has to be waited for."""

    @property
    def tokens(self) -> int:
        """Positions the model computes, padding included."""
        return self.input_ids_BT.numel()


def micro_batches(
    trajectories: Sequence[Trajectory], indices: Sequence[int], budget: int, *, packed: bool, device: torch.device
) -> Iterator[MicroBatch]:
    """Cut `trajectories[i] for i in indices` into micro-batches of at most `budget` positions, longest first.

    Rows of like length go together, so that little is padded; the longest come first, so that what does not fit in
    memory fails at once. A trajectory longer than the budget gets a pass of its own.
    """
    size = {i: len(trajectories[i].prompt_ids) + trajectories[i].length for i in indices}
    rows: list[int] = []
    used = 0
    for i in sorted(indices, key=lambda i: (-size[i], i)):
        needed = used + size[i] if packed else (len(rows) + 1) * size[rows[0] if rows else i]
        if rows and needed > budget:
            yield _build(trajectories, rows, packed, device)
            rows, needed = [], size[i]
        rows.append(i)
        used = needed
    if rows:
        yield _build(trajectories, rows, packed, device)


def _build(trajectories: Sequence[Trajectory], rows: list[int], packed: bool, device: torch.device) -> MicroBatch:
    # Right padding: under causal attention no real token can see what comes after it, so no mask is needed. A packed
    # row restarts its positions, from which transformers derives the block-diagonal mask.
    sizes = [len(trajectories[i].prompt_ids) + trajectories[i].length for i in rows]
    width = sum(sizes) if packed else max(sizes)
    ids = torch.zeros(1 if packed else len(rows), width, dtype=torch.int64)
    positions = torch.arange(width).repeat(ids.shape[0], 1)
    predictor, targets, response = [], [], []
    start = 0  # of the current trajectory in the flattened ids
    for i, size in zip(rows, sizes, strict=True):
        trajectory = trajectories[i]
        flat = torch.tensor(trajectory.prompt_ids + trajectory.response_ids)
        ids.view(-1)[start : start + size] = flat
        positions.view(-1)[start : start + size] = torch.arange(size)
        first = start + len(trajectory.prompt_ids)
        predictor.append(torch.arange(first - 1, first - 1 + trajectory.length))
        targets.append(flat[len(trajectory.prompt_ids) :])
        response.append(torch.full((trajectory.length,), i))
        start += size if packed else width
    tensors = (ids, positions, torch.cat(predictor), torch.cat(targets), torch.cat(response))
    return MicroBatch(*(to_device(tensor, device) for tensor in tensors), responses=tuple(rows))
