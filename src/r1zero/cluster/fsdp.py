"""Several ranks that share one learner's weights and work: FSDP2 of `torch.distributed`.

Parameters, gradients and moments are sharded over the ranks, layer by layer; a layer is whole only while it computes.
Gradients are summed over ranks, never averaged, because the weights of the responses already are those of the whole
step (promise 1).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard

from r1zero.learner.ranks import Pass, Ranks
from r1zero.policy.batch import MicroBatch, Trajectory
from r1zero.policy.logprobs import Scorer


class FsdpRanks(Ranks):
    """All ranks of the default process group. Every method that computes is to be called by all of them."""

    def __init__(self, device: torch.device):
        self.device, self.first = device, dist.get_rank() == 0
        self.mesh: DeviceMesh = init_device_mesh(device.type, (dist.get_world_size(),))

    def shard(self, scorer: Scorer) -> Scorer:
        """Spread rank 0's model over the ranks: every decoder layer by itself, and the rest as one."""
        full = dict(scorer.model.state_dict()) if self.first else {}
        for module in (*_layers(scorer.model), scorer):  # the whole last: it shards what no layer has sharded
            # weights are gathered in float32: autocast then computes what it computes in one process
            sharded = fully_shard(module, mesh=self.mesh, reshard_after_forward=True)
            sharded.set_gradient_divide_factor(1.0)  # a sum
            sharded.set_force_sum_reduction_for_comms(True)  # gloo has no other
        options = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
        set_model_state_dict(scorer.model, full, options=options)
        for buffer in scorer.model.buffers():  # what a config computes, and no state holds
            dist.broadcast(buffer, 0)
        return scorer

    def partition(self, trajectories: Sequence[Trajectory]) -> list[int]:
        """Deal out about the same tokens to every rank: the longest first, forth and back over the ranks.

        Those without an advantage come last, for most objectives pass over them.
        """
        rank, count = dist.get_rank(), dist.get_world_size()
        size = [len(each.prompt_ids) + each.length for each in trajectories]
        order = sorted(range(len(trajectories)), key=lambda i: (not trajectories[i].advantage, -size[i], i))
        turns = itertools.cycle([*range(count), *reversed(range(count))])  # 0 1 2 2 1 0 0 1 2 …
        return sorted(i for i, turn in zip(order, turns, strict=False) if turn == rank)

    def pad_passes(self, passes: Iterable[Pass]) -> Iterator[tuple[Pass, bool]]:
        """See `Ranks`: gathering weights and adding gradients takes all ranks at once."""
        mine = list(passes)
        most = torch.tensor(len(mine), device=self.device)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        for each in mine:
            yield each, True
        for _ in range(int(most) - len(mine)):
            yield (_idle(self.device), None), False

    def all_reduce_sum(self, values: Sequence[float]) -> list[float]:
        """See `Ranks`."""
        sums = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(sums)
        return sums.tolist()


def _layers(model: nn.Module) -> list[nn.Module]:
    """Return the modules that transformers says are not to be split: the decoder layers."""
    names = set(getattr(model, "_no_split_modules", None) or ())
    return [module for module in model.modules() if type(module).__name__ in names]


def _idle(device: torch.device) -> MicroBatch:
    """Return a pass over one token that predicts one."""
    zero, pair = torch.zeros(1, dtype=torch.int64, device=device), torch.arange(2, device=device)
    ids = torch.zeros(1, 2, dtype=torch.int64, device=device)
    return MicroBatch(ids, pair[None], zero, zero, zero, (0,))
