"""One decoding step of Llama and its kin written out: the same operations on the same weights, a third of the calls.

A small model's step is mostly Python and small operations; those of transformers' modules serve every use there is, and
decoding needs few of them. Nothing is copied: the weights are those of the model that a call samples from (under
autocast that is the copy of `lowered`).

What transformers does in a step changes from version to version, and with it the last bits. So nothing is assumed: a
small model of the same kind and shape takes a few steps both ways (`same_bits`), and where no way of ours gives the
bits of its own forward, that one is taken. In less than float32 few steps tell little of the last bits, which rounding
hides most of the time: there it is enough that the logits are the same to rounding.

Legend: n active rows, H hidden size, h heads, k heads of keys and values, d head size, W columns of the cache's window.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import LlamaForCausalLM, MistralForCausalLM, PreTrainedModel, Qwen2ForCausalLM, Qwen3ForCausalLM
from transformers.cache_utils import DynamicCache

from r1zero.policy.forward import forward
from r1zero.sampling.embedded.kv_cache import KvCache
from r1zero.sampling.embedded.lowered import lowered

_CLASSES: dict[str, type[PreTrainedModel]] = {
    kind.__name__: kind for kind in (LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, Qwen3ForCausalLM)
}
_FIXED_ROPE = frozenset({"default", "linear", "llama3", "yarn"})  # angles that depend on the position alone
_STEPS = 4  # of a trial
_ROUNDING = 0.03  # of the largest logit: a few roundings of bfloat16, each half of 1/128 at most


Attention = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]
"""One token's attention: queries [n, h, 1, d], keys and values [n, k, W, d], a bias [n, 1, 1, W] or None where nothing
is masked -> [n, h·d]."""


def grouped(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Attend with h/k queries to each head of keys and values, as transformers does up to 5.22."""
    shared = q.shape[1] != keys.shape[1]
    mixed = functional.scaled_dot_product_attention(q, keys, values, bias, enable_gqa=shared)
    return mixed.reshape(len(q), -1)


def packed(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None) -> Tensor:
    """Return the same with the h/k queries as rows of one product, as transformers does from 5.23 where there is a
    mask.
    """
    if bias is None:
        return grouped(q, keys, values, bias)
    rows = q.reshape(len(q), keys.shape[1], -1, q.shape[3])
    return functional.scaled_dot_product_attention(rows, keys, values, bias).reshape(len(q), -1)


ATTENTIONS: tuple[Attention, ...] = (packed, grouped)


class Window(Protocol):
    """A layer of a cache, which writes a new column and shows what attention reads."""

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [n, k, 1, d]; return the window's, [n, k, W, d]."""
        ...


@dataclass(frozen=True, slots=True)
class _Linear:
    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class _Layer:
    norm: Tensor
    mlp_norm: Tensor
    q: _Linear
    k: _Linear
    v: _Linear
    o: _Linear
    gate: _Linear
    up: _Linear
    down: _Linear
    q_norm: Tensor | None
    """Qwen3's: queries and keys of each head are normed before positions are applied; None elsewhere."""
    k_norm: Tensor | None


class LlamaStep:
    """Compute the logits after one more token for every active row; `columns` bounds positions.

    Made anew for each sampling call, by `make_step`.
    """

    def __init__(self, model: PreTrainedModel, columns: int, attention: Attention):
        config: Any = model.config
        self.attention = attention
        inner: Any = model.model
        self.size: int = inner.layers[0].self_attn.head_dim
        self.eps: float = config.rms_norm_eps
        self.act: Callable[[Tensor], Tensor] = inner.layers[0].mlp.act_fn
        self.embedding: Tensor = inner.embed_tokens.weight
        self.norm: Tensor = inner.norm.weight
        self.head = _linear(model.lm_head)
        self.layers = [_layer(each) for each in inner.layers]
        positions = torch.arange(columns, device=self.embedding.device)[None]
        cos_1Cd, sin_1Cd = inner.rotary_emb(self.embedding[:1], positions)  # in the precision of the hidden states
        half = self.size // 2
        self.cos_Cd = cos_1Cd[0]
        self.sin_Cd = torch.cat([-sin_1Cd[0, :, :half], sin_1Cd[0, :, half:]], dim=-1)  # the sign of rotated halves

    @property
    def columns(self) -> int:
        """How many positions there are."""
        return len(self.cos_Cd)

    @staticmethod
    def fits(model: PreTrainedModel) -> bool:
        """Tell whether this is such a model, unchanged: not wrapped, hooked or of other attention."""
        if type(model) not in _CLASSES.values():
            return False
        config: Any = model.config
        kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
        return (
            model.dtype in (torch.float32, torch.bfloat16)
            and config._attn_implementation == "sdpa"
            and not kinds
            and getattr(config, "sliding_window", None) is None
            and rope in _FIXED_ROPE
            and type(model.lm_head) is nn.Linear
            and all(type(part) is nn.Linear for layer in model.model.layers for part in _projections(layer))
            and not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
        )

    def __call__(self, last_n: Tensor, positions_n: Tensor, mask_nW: Tensor, cache: KvCache) -> Tensor:
        """Return logits [n, V] after the tokens `last_n`, which stand at `positions_n`; writes the cache's column t."""
        bias = None if mask_nW.all() else mask_bias(mask_nW, cache.kv_layers[0].keys.dtype)
        return self.logits(last_n, positions_n, bias, cache.kv_layers)

    def logits(self, last_n: Tensor, positions_n: Tensor, bias: Tensor | None, cache: Sequence[Window]) -> Tensor:
        """Return the same where the layers of a cache show their windows themselves, masked by a bias [n, 1, 1, W]."""
        n, half = len(last_n), self.size // 2
        cos, sin = self.cos_Cd[positions_n][:, None], self.sin_Cd[positions_n][:, None]
        x_nH = functional.embedding(last_n, self.embedding)
        for layer, kept in zip(self.layers, cache, strict=True):
            y = self._normed(x_nH, layer.norm)
            q, k, v = (part(y).view(n, -1, self.size) for part in (layer.q, layer.k, layer.v))
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k = self._normed(q, layer.q_norm), self._normed(k, layer.k_norm)
            q = q * cos + q.roll(half, -1) * sin
            k = k * cos + k.roll(half, -1) * sin
            keys, values = kept.update(k[:, :, None], v[:, :, None])
            x_nH = x_nH + layer.o(self.attention(q[:, :, None], keys, values, bias))
            y = self._normed(x_nH, layer.mlp_norm)
            x_nH = x_nH + layer.down(self.act(layer.gate(y)) * layer.up(y))
        return self.head(self._normed(x_nH, self.norm))

    def _normed(self, x: Tensor, weight: Tensor) -> Tensor:
        if x.dtype == torch.float32:
            return functional.rms_norm(x, weight.shape, weight, self.eps)
        high = x.float()  # rounded before the weight is multiplied with, as transformers does
        return weight * (high * torch.rsqrt(high.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def mask_bias(mask_nW: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what a mask adds to the scores: 0 or −∞, [n, 1, 1, W]."""
    zeros_nW = torch.zeros(mask_nW.shape, dtype=dtype, device=mask_nW.device)
    return zeros_nW.masked_fill_(~mask_nW, -torch.inf)[:, None, None]


def make_step(model: PreTrainedModel, columns: int, products: torch.dtype | None = None) -> LlamaStep | None:
    """Return the step of a model; None where it must take its own forward.

    `products` is what autocast computes products in, if there is one: the step, too, is called under it.
    """
    if not LlamaStep.fits(model):
        return None
    precision = model.dtype, products
    where = str(model.device), torch.get_num_threads()
    attention = same_bits(type(model).__name__, json.dumps(_small(model)), *where, *precision)
    return LlamaStep(model, columns, attention) if attention else None


def _small(model: PreTrainedModel) -> dict[str, Any]:
    """The model's config with one layer, few words and a narrow MLP: all that its attention can depend on is left."""
    given: dict[str, Any] = model.config.to_dict() | {"dtype": None}
    tokens = {"vocab_size": 32, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
    narrow = {"num_hidden_layers": 1, "layer_types": None, "intermediate_size": min(given["intermediate_size"], 64)}
    return given | tokens | narrow


@lru_cache
def same_bits(
    kind: str, small: str, device: str, threads: int, dtype: torch.dtype, products: torch.dtype | None
) -> Attention | None:
    """Tell which attention gives the bits of a model's own forward here, if one does: tried on random weights.

    These depend on nothing but the arguments, so that a run that goes on decides as the run did that was cut.
    """
    del threads  # bits depend on them, and so does what is kept
    chosen: Any = _CLASSES[kind]
    config = chosen.config_class(**json.loads(small))
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = chosen(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():  # norms and biases, too
                parameter += 0.1 * torch.randn_like(parameter)
        prompts = torch.randint(config.vocab_size, (8, 21))
    model = model.to(device, dtype)
    with torch.autocast(torch.device(device).type, products, enabled=products is not None):
        for attention in ATTENTIONS:
            step = LlamaStep(model if products is None else lowered(model, products), 21 + _STEPS, attention)
            if all(_agrees(model, step, prompts[:rows].to(device)) for rows in (1, 3, 8)):
                return attention
    return None


@torch.no_grad()
def _agrees(model: PreTrainedModel, step: LlamaStep, prompts_nT: Tensor) -> bool:
    """Tell whether a few steps after prompts of different lengths are the same to the last bit both ways."""
    n, width = prompts_nT.shape
    starts_n = torch.arange(n, device=prompts_nT.device) % 5
    columns = torch.arange(width + _STEPS, device=prompts_nT.device)
    mask_nW = columns >= starts_n[:, None]
    positions_nT = (columns - starts_n[:, None]).clamp(min=0)
    prefill, caches = DynamicCache(), [KvCache(len(step.layers), n, width, width + _STEPS) for _ in range(2)]
    logits_nV = forward(model, prompts_nT, mask_nW[:, :width].long(), positions_nT[:, :width], prefill)
    for cache in caches:
        cache.insert(prefill, 1, 0)
        cache.active, cache.first = n, 0
    for t in range(width, width + _STEPS):
        last_n, mask, positions_n = logits_nV.argmax(-1), mask_nW[:, : t + 1], positions_nT[:, t]
        logits_nV = forward(model, last_n[:, None], mask, positions_n[:, None], caches[0])
        if not _alike(step(last_n, positions_n, mask, caches[1]), logits_nV):
            return False
        for cache in caches:
            cache.t += 1
    return True


def _alike(ours: Tensor, own: Tensor) -> bool:
    """Tell whether logits are the same: to the last bit, or in less than float32 to rounding."""
    if own.dtype == torch.float32:
        return torch.equal(ours, own)
    return ours.dtype == own.dtype and bool((ours - own).abs().max() <= _ROUNDING * own.abs().max())


def _linear(part: nn.Linear) -> _Linear:
    return _Linear(part.weight, part.bias)


def _layer(layer: Any) -> _Layer:
    """Return a layer's weights; only some kinds have norms of queries and keys."""
    norms = (getattr(layer.self_attn, name, None) for name in ("q_norm", "k_norm"))
    q_norm, k_norm = (part if part is None else part.weight for part in norms)
    before = layer.input_layernorm.weight, layer.post_attention_layernorm.weight
    return _Layer(*before, *map(_linear, _projections(layer)), q_norm=q_norm, k_norm=k_norm)


def _projections(layer: Any) -> tuple[nn.Linear, ...]:
    """Return a layer's products, in the order of `_Layer`."""
    attention, mlp = layer.self_attn, layer.mlp
    inner = (attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj)
    return (*inner, mlp.gate_proj, mlp.up_proj, mlp.down_proj)
