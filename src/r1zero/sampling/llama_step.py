"""One decoding step of the Llama family written out: the same operations on the same weights, a third of the calls.

A small model's step is mostly Python and small operations; those of transformers' modules serve every use there is, and
decoding needs few of them. Nothing is copied: the weights are the model's own, always current.

Legend: n active rows, H hidden size, h heads, d head size, W columns of the cache's window.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedModel, Qwen2ForCausalLM

from r1zero.sampling.slab import SlabCache

_FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})  # angles that depend on the position alone


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Tensor
    q: _Linear
    k: _Linear
    v: _Linear
    o: _Linear
    mlp_norm: Tensor
    gate: _Linear
    up: _Linear
    down: _Linear


class LlamaStep:
    """Logits after one more token for every active row. `columns` bounds positions; made anew for each call."""

    def __init__(self, model: PreTrainedModel, columns: int):
        config: Any = model.config
        inner: Any = model.model
        self.size: int = inner.layers[0].self_attn.head_dim
        self.eps: float = config.rms_norm_eps
        self.act: Callable[[Tensor], Tensor] = inner.layers[0].mlp.act_fn
        self.embedding: Tensor = inner.embed_tokens.weight
        self.norm: Tensor = inner.norm.weight
        self.head = _linear(model.lm_head)
        self.layers = [_layer(each) for each in inner.layers]
        positions = torch.arange(columns, device=self.embedding.device)[None]
        cos_1Cd, sin_1Cd = inner.rotary_emb(self.embedding[:1], positions)
        half = self.size // 2
        self.cos_Cd = cos_1Cd[0]
        self.sin_Cd = torch.cat([-sin_1Cd[0, :, :half], sin_1Cd[0, :, half:]], dim=-1)  # the sign of rotated halves

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Whether this is such a model, in float32 and unchanged: nothing wrapped, hooked or of another attention."""
        if type(model) not in (LlamaForCausalLM, Qwen2ForCausalLM):
            return False
        config: Any = model.config
        kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        return (
            model.dtype == torch.float32
            and config._attn_implementation == "sdpa"
            and not kinds
            and rope in _FIXED_ROPE
            and all(type(part) is nn.Linear for part in _projections(model))
            and not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
        )

    def __call__(self, last_n: Tensor, positions_n: Tensor, mask_nW: Tensor, cache: SlabCache) -> Tensor:
        """Logits [n, V] after the tokens `last_n`, which stand at `positions_n`; writes the cache's column t."""
        n, half = len(last_n), self.size // 2
        cos, sin = self.cos_Cd[positions_n][:, None], self.sin_Cd[positions_n][:, None]
        bias = torch.zeros(mask_nW.shape, device=mask_nW.device).masked_fill_(~mask_nW, -torch.inf)[:, None, None]
        x_nH = functional.embedding(last_n, self.embedding)
        for layer, slab in zip(self.layers, cache.slabs, strict=True):
            y = self._normed(x_nH, layer.norm)
            q, k, v = (part(y).view(n, -1, self.size) for part in (layer.q, layer.k, layer.v))
            q = q * cos + q.roll(half, -1) * sin
            k = k * cos + k.roll(half, -1) * sin
            keys, values = slab.update(k[:, :, None], v[:, :, None])
            grouped = q.shape[1] != k.shape[1]
            mixed = functional.scaled_dot_product_attention(q[:, :, None], keys, values, bias, enable_gqa=grouped)
            x_nH = x_nH + layer.o(mixed.reshape(n, -1))
            y = self._normed(x_nH, layer.mlp_norm)
            x_nH = x_nH + layer.down(self.act(layer.gate(y)) * layer.up(y))
        return self.head(self._normed(x_nH, self.norm))

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        return functional.rms_norm(x, weight.shape, weight, self.eps)


def _layer(part: Any) -> _Layer:
    attention, mlp = part.self_attn, part.mlp
    return _Layer(
        norm=part.input_layernorm.weight,
        q=_linear(attention.q_proj),
        k=_linear(attention.k_proj),
        v=_linear(attention.v_proj),
        o=_linear(attention.o_proj),
        mlp_norm=part.post_attention_layernorm.weight,
        gate=_linear(mlp.gate_proj),
        up=_linear(mlp.up_proj),
        down=_linear(mlp.down_proj),
    )


def _linear(part: nn.Linear) -> _Linear:
    return _Linear(part.weight, part.bias)


def _projections(model: Any) -> Iterator[nn.Module]:
    yield model.lm_head
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        yield from (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
        yield from (mlp.gate_proj, mlp.up_proj, mlp.down_proj)
