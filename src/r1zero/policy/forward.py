"""One forward pass of a transformers model, whatever its class calls its parts and its arguments."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.cache_utils import Cache

ATTENTION_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})
"""Kinds of layers whose cache is keys and values of every token, and nothing else."""
_CACHES = ("cache", "past_key_values", "cache_params", "state")
"""What classes call their cache: `past_key_values`, or `cache` from transformers 5.24 on; Mamba's is `cache_params`,
RWKV's `state`."""


def backbone(model: PreTrainedModel) -> nn.Module:
    """Return what computes a model's hidden states: all of it but the output head."""
    inner = model.base_model
    if inner is not model:
        return inner
    # Llama 4's language model looks for its inner part under a name that only the model with images has
    return next((part for part in model.children() if isinstance(part, PreTrainedModel)), model)


def hidden_states(model: PreTrainedModel, ids_BT: Tensor, **arguments: object) -> Tensor:
    """Compute the last layer's hidden states [B, T, H]; what the model's class does not take is left out."""
    inner = backbone(model)
    return inner(input_ids=ids_BT, **_taken(inner, arguments)).last_hidden_state


def forward(model: PreTrainedModel, ids_nT: Tensor, mask_nW: Tensor, positions_nT: Tensor, cache: Cache) -> Tensor:
    """Compute the logits [n, V] after the last of `ids_nT`; its keys and values are written to `cache`."""
    given = {"attention_mask": mask_nW, "position_ids": positions_nT, "logits_to_keep": 1}
    return model(input_ids=ids_nT, **_taken(model, given), **with_cache(model, cache)).logits[:, -1]


def with_own_cache(
    model: PreTrainedModel, ids_nT: Tensor, positions_nT: Tensor, cache: dict[str, Any]
) -> tuple[Tensor, dict[str, Any]]:
    """Compute the logits [n, V] after the last of `ids_nT`, in the cache that the model makes for itself.

    Returns that cache under its name; the first call is given none.
    """
    given = {"position_ids": positions_nT, "logits_to_keep": 1, "use_cache": True, **cache}
    output = model(input_ids=ids_nT, **_taken(model, given))
    made = {name: output[name] for name in _CACHES if output.get(name) is not None}
    return output.logits[:, -1], made


def with_cache(model: nn.Module, cache: Cache) -> dict[str, object]:
    """Name the arguments by which a model reads and writes a cache."""
    return {_cache_name(type(model)): cache, "use_cache": True}


@lru_cache
def _names(kind: type[nn.Module]) -> frozenset[str] | None:
    """The arguments that a class's forward takes; None: any."""
    parameters = inspect.signature(kind.forward).parameters
    anything = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    return None if anything else frozenset(parameters)


def _taken(model: nn.Module, arguments: dict[str, object]) -> dict[str, Any]:
    names = _names(type(model))
    return {name: value for name, value in arguments.items() if names is None or name in names}


@lru_cache
def _cache_name(kind: type[nn.Module]) -> str:
    parameters = inspect.signature(kind.forward).parameters
    return next(
        (name for name in ("cache", "past_key_values", "cache_params") if name in parameters), "past_key_values"
    )
