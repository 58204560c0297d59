"""One forward pass of a transformers model with a cache, whatever its version calls the cache."""

from __future__ import annotations

import inspect
from functools import lru_cache

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache


def forward(model: PreTrainedModel, ids_nT: Tensor, mask_nW: Tensor, positions_nT: Tensor, cache: Cache) -> Tensor:
    """Compute the logits [n, V] after the last of `ids_nT`; its keys and values are written to `cache`."""
    output = model(
        input_ids=ids_nT,
        attention_mask=mask_nW,
        position_ids=positions_nT,
        logits_to_keep=1,
        **with_cache(model, cache),
    )
    return output.logits[:, -1]


def with_cache(model: nn.Module, cache: Cache) -> dict[str, object]:
    """Name the arguments by which a model reads and writes a cache."""
    return {_cache_name(type(model)): cache, "use_cache": True}


@lru_cache
def _cache_name(kind: type[nn.Module]) -> str:
    """`past_key_values`, or `cache`, as transformers calls it from 5.24 on."""
    return "cache" if "cache" in inspect.signature(kind.forward).parameters else "past_key_values"
