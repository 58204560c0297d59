"""A copy of a model's matrices in the precision of its products, for one sampling call.

Under autocast every product casts its float32 weights anew, in decoding at every token. The copy has them cast once.
All else (norms, embeddings, biases that are added in float32, buffers) are the model's own tensors, and it runs under
the same autocast: so it computes the model's own bits, and a copy that does not is not taken.

It is made when a call begins and is gone when the call ends. So it never outlives the weights that it was made from,
whoever moved them, and takes no memory while a learner learns.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from r1zero.policy.device import COPY_SHARE, product_dtype

Autocast = Callable[[], AbstractContextManager[object]]


class Lowering:
    """Makes the copies of a model's matrices; tries once whether they give the model's own bits."""

    def __init__(self, model: PreTrainedModel, autocast: Autocast):
        self.model, self.autocast = model, autocast
        self.dtype = product_dtype(autocast, model.device)
        self._agrees: bool | None = None

    def __call__(self) -> PreTrainedModel:
        """Return the model with its matrices as they are now, in the precision of its products.

        That is the model itself where its matrices are in that precision, where the copy would take more than its share
        of the memory that is free, and where its bits would be others.
        """
        if self.dtype is None or self._agrees is False or not self._has_room(self.dtype):
            return self.model
        try:
            made = lowered(self.model, self.dtype)
        except torch.OutOfMemoryError:
            return self.model
        if self._agrees is None:
            self._agrees = _agree(self.model, made, self.autocast)
        return made if self._agrees else self.model

    def _has_room(self, dtype: torch.dtype) -> bool:
        free = free_memory(self.model.device)
        size = sum(part.weight.numel() for part in _matrices(self.model, dtype).values()) * dtype.itemsize
        return size > 0 and (free is None or size <= COPY_SHARE * free)


def lowered(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """Return a model that shares every tensor with this one but the weights of its products, which are in `dtype`."""
    shared: list[object] = [*model.parameters(), *model.buffers(), model.config]
    made: PreTrainedModel = copy.deepcopy(model, {id(each): each for each in shared})
    for name, part in _matrices(model, dtype).items():
        twin = made.get_submodule(name)
        twin.weight = nn.Parameter(part.weight.detach().to(dtype), requires_grad=False)
    return made


def _matrices(model: nn.Module, dtype: torch.dtype) -> dict[str, nn.Linear | Conv1D]:
    """Return the modules whose weights autocast would cast, by name."""
    found: dict[str, Any] = {name: part for name, part in model.named_modules() if type(part) in (nn.Linear, Conv1D)}
    return {name: part for name, part in found.items() if part.weight.dtype != dtype}


@torch.no_grad()
def _agree(model: PreTrainedModel, made: PreTrainedModel, autocast: Autocast) -> bool:
    """Tell whether both give the same bits, on a few tokens."""
    ids = torch.arange(8, device=model.device)[None] % model.config.get_text_config().vocab_size

    def logits(each: PreTrainedModel) -> Tensor:
        with autocast():
            return each(input_ids=ids, use_cache=False).logits

    return torch.equal(logits(model), logits(made))


def free_memory(device: torch.device) -> int | None:
    """Return bytes that are free on a device, what its allocator keeps for itself included; None where nobody says."""
    if device.type == "cuda":
        return (
            torch.cuda.mem_get_info(device)[0]
            + torch.cuda.memory_reserved(device)
            - torch.cuda.memory_allocated(device)
        )
    told = Path("/proc/meminfo")
    lines = told.read_text(encoding="utf-8").splitlines() if device.type == "cpu" and told.exists() else []
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")), None)
