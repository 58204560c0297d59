"""The ranks of a learner: one process, or several that share its weights and its work (`r1zero.cluster.fsdp`).

Whatever normalises is computed on the whole optimiser step's responses by every rank for itself, so what ranks work out
only has to be added up: the gradient of R ranks is the sum of their gradients, and equal to that of one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from r1zero.policy.batch import MicroBatch, Trajectory
from r1zero.policy.logprobs import Scorer
from r1zero.policy.shared_prompts import SharedPrompts

Pass = tuple[MicroBatch, SharedPrompts | None]


class Ranks:
    """What a learner asks of the ranks it is one of; as it stands here, one process that has everything."""

    first = True
    """Whether this is the rank that speaks for all, where a number is to be counted once."""

    def shard(self, scorer: Scorer) -> Scorer:
        """Return the same model, its parameters spread over all ranks: gradients that come back are sums over ranks."""
        return scorer

    def partition(self, trajectories: Sequence[Trajectory]) -> list[int]:
        """Return the indices of the responses that this rank works on; every index is one rank's."""
        return list(range(len(trajectories)))

    def pad_passes(self, passes: Iterable[Pass]) -> Iterator[tuple[Pass, bool]]:
        """Return this rank's passes, each with True, and then idle ones until all ranks have made the same number."""
        return ((each, True) for each in passes)

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """Return each value added up over all ranks."""
        return list(values)
