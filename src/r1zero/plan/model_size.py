"""What a model's parameters, cache and backward pass take, counted without loading it.

The model is built without storage, and what its forward pass keeps is counted on tensors that have a shape and no
numbers: the counts are those of this model in the installed version of its code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.cache_utils import DynamicCache
from transformers.initialization import no_init_weights
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS
from transformers.pytorch_utils import Conv1D

from r1zero.config import LoraSettings
from r1zero.errors import UserError, reason
from r1zero.policy.forward import ATTENTION_LAYERS, backbone, with_cache, with_own_cache
from r1zero.policy.known import model_config
from r1zero.policy.load import checkpoint_layers
from r1zero.policy.place import LOADER_ERRORS, check_language_model, check_place
from r1zero.policy.quiet import freeze_other_senses, still

_SHORT = 63  # tokens of the shorter of the two passes that are counted; odd, which no width of a model is
Autocast = Callable[[], AbstractContextManager[object]]
BFLOAT16: Autocast = partial(torch.autocast, device_type="cpu", dtype=torch.bfloat16)
"""bfloat16 for what is counted: tensors without numbers stand on the CPU, wherever the run will be."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What the plan needs to know of a model. Sizes in bytes."""

    parameters: int
    trained: int
    """Those with a gradient: all, or the adapters'."""
    layers: int
    vocabulary: int
    cache_per_token: int
    """Keys and values of one token in all layers."""
    copies: int
    """Weights in the precision of autocast, which a forward pass keeps for its backward pass."""
    kept_per_token: float
    """What the forward pass keeps of each token, all layers, without gradient checkpointing."""
    kept_checkpointed: float
    """The same with it: the layers' inputs, and one layer's insides while they are computed again."""
    ends: int = 0
    """Parameters outside the layers: embeddings, the last norm, the head."""
    number: int = 4
    """Bytes of a number in forward passes: 2 in bfloat16."""
    matrices: int = 0
    """Parameters that are a product's weights, of which the embedded sampler makes a copy under autocast."""

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        return (self.parameters - self.ends) // self.layers


def shape_of(
    path: str,
    revision: str | None,
    attention: str,
    autocast: Autocast,
    tokens: int = 256,
    lora: LoraSettings | None = None,
) -> Shape:
    """Count a model's parameters, and what its forward pass keeps of rows of `tokens` tokens.

    FlashAttention keeps what torch's own attention keeps, and is counted as that.

    Raises:
        UserError: there is no such model, or it computes what cannot be counted without numbers.
    """
    config = _config_of(path, revision)
    _still(config.get_text_config())
    counted = nullcontext if is_float32(autocast) else BFLOAT16
    attention = "sdpa" if attention == "flash_attention_2" else attention
    try:
        with FakeTensorMode(), torch.random.fork_rng(devices=[]), _experts_without_numbers():
            with no_init_weights():  # towers for images look at the numbers that they draw
                model = AutoModelForCausalLM.from_config(
                    config, attn_implementation=attention, dtype=torch.float32, trust_remote_code=False
                )
            model.tie_weights()
            freeze_other_senses(model)
            return _counted(model, counted, max(tokens, 2 * _SHORT) | 1, lora)
    except LOADER_ERRORS as error:
        raise UserError(
            f"What the model at model.path = {path!r} keeps cannot be counted without running it ({reason(error)}); "
            "try it with few questions and train.steps = 1."
        ) from None


def _check_sizes(text: PretrainedConfig, path: str) -> None:
    """Raise a UserError for sizes that no model has; transformers builds one of them without a word."""
    for name in ("num_hidden_layers", "hidden_size", "vocab_size"):
        size = getattr(text, name, None)
        if isinstance(size, int) and size < 1:
            raise UserError(
                f"model.path = {path!r} is not a valid model: its config.json has {name} = {size}; restore that file."
            )


def _still(text: PretrainedConfig) -> None:
    """Have angles that depend on how long a text is be those of any: they take no room, and here are no numbers."""
    for rope in (ropes := getattr(text, "rope_parameters", None) or {}, *ropes.values()):
        if isinstance(rope, dict) and rope.get("rope_type") in ("longrope", "dynamic"):
            rope["rope_type"] = "default"


def parameters_of(path: str, revision: str | None = None) -> int:
    """Return how many parameters a model has. Raises UserError like `shape_of`."""
    return sum(p.numel() for p in without_numbers(path, revision).parameters())


def without_numbers(path: str, revision: str | None = None) -> PreTrainedModel:
    """Return a model's layers without storage. Raises UserError like `shape_of`."""
    config = _config_of(path, revision)
    with torch.device("meta"), torch.random.fork_rng(devices=[]), no_init_weights():
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    model.tie_weights()
    return model


def _config_of(path: str, revision: str | None) -> PretrainedConfig:
    check_place(path, revision)
    try:
        config = model_config(path, revision)
    except LOADER_ERRORS as error:
        raise UserError(
            f"model.path = {path!r} has no readable config.json; give a model folder or a Hub name that this machine "
            f"can reach. The loader said: {reason(error, 300)}"
        ) from None
    check_language_model(config, path)
    _check_sizes(config.get_text_config(), path)
    return config


def _counted(model: PreTrainedModel, autocast: Autocast, long: int, lora: LoraSettings | None) -> Shape:
    text: PretrainedConfig = model.config.get_text_config()
    layers: int = text.num_hidden_layers
    kept, copies, cached = _of_all_layers(model, lambda: (*_line(model, long, autocast), _cached(model)))
    if model.supports_gradient_checkpointing:
        checkpoint_layers(model)
    inputs, _ = _of_all_layers(model, lambda: _line(model, long, autocast))
    weights = _parameters(model)
    moved = sum(p.numel() for p in model.parameters() if p.requires_grad)
    number = 4 if autocast is nullcontext else 2
    adapters = 0 if lora is None else _adapters(model, lora)
    return Shape(
        parameters=weights + adapters,
        trained=moved if lora is None else adapters,
        layers=layers,
        vocabulary=text.vocab_size,
        cache_per_token=round(cached) * number,
        copies=max(0, round(copies)),
        kept_per_token=kept,
        kept_checkpointed=inputs + kept / layers,
        ends=weights - _parameters(_stack(model)),
        number=number,
        matrices=sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear | Conv1D)),
    )


def _of_all_layers(model: PreTrainedModel, count: Callable[[], tuple[float, ...]]) -> tuple[float, ...]:
    """Return what `count` finds of a model. Of layers that are alike it sees one, then two, and not all of dozens."""
    stack = _stack(model)
    if not _alike(model, stack):
        return count()
    layers = stack._modules
    try:
        found = []
        for some in (1, 2):
            stack._modules = dict(list(layers.items())[:some])
            found.append(count())
    finally:
        stack._modules = layers
    return tuple(one + (len(stack) - 1) * (two - one) for one, two in zip(*found, strict=True))


def _alike(model: PreTrainedModel, stack: nn.ModuleList) -> bool:
    """Tell whether each layer of a model is as large as any other and keeps as much: none reads another's keys."""
    text: PretrainedConfig = model.config.get_text_config()
    kinds = set(getattr(text, "layer_types", None) or ())
    sizes = {(type(layer), *((name, p.shape) for name, p in layer.named_parameters())) for layer in stack}
    return (
        len(sizes) == 1
        and len(kinds) <= 1
        and kinds <= ATTENTION_LAYERS
        and not getattr(text, "num_kv_shared_layers", 0)
    )


@contextmanager
def _experts_without_numbers() -> Iterator[None]:
    """Have every pair of token and expert computed by the first expert: which it would be is a number, and not here."""
    ALL_EXPERTS_FUNCTIONS["grouped_mm"] = _first_expert
    try:
        yield
    finally:
        del ALL_EXPERTS_FUNCTIONS["grouped_mm"]  # back to the library's own


def _first_expert(experts: Any, states_TH: Tensor, chosen_TK: Tensor, weights_TK: Tensor) -> Tensor:
    """Compute what has the shapes of `grouped_mm` over experts, K for each token."""

    def of_first(weights: Tensor) -> Tensor:
        return weights[0] if experts.is_transposed else weights[0].T

    pairs = states_TH.repeat_interleave(chosen_TK.shape[1], 0)
    if experts.has_gate:
        inner = experts._apply_gate(pairs @ of_first(experts.gate_up_proj))
    else:
        inner = experts.act_fn(pairs @ of_first(experts.up_proj))
    outer = inner @ of_first(experts.down_proj) * weights_TK.reshape(-1, 1)
    return outer.view(*chosen_TK.shape, -1).sum(dim=1).to(states_TH.dtype)


@torch.no_grad()
def _cached(model: PreTrainedModel) -> int:
    """Return numbers that a cache has more for each token: keys and values, whatever their widths and layers are."""
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    sizes = []
    for tokens in (_SHORT, 2 * _SHORT):
        ids, positions = torch.zeros(1, tokens, dtype=torch.int64), torch.arange(tokens)[None]
        if kinds <= ATTENTION_LAYERS:
            caches: list[Any] = [DynamicCache()]  # as the embedded sampler's, it keeps what a window no longer shows
            reader = _reader(model.eval())
            reader(input_ids=ids, **with_cache(reader, caches[0]))
        else:
            caches = [*with_own_cache(model.eval(), ids, positions, {})[1].values()]
        layers = (layer for cache in caches for layer in getattr(cache, "layers", ()))
        held = (getattr(layer, name, None) for layer in layers for name in ("keys", "values"))
        sizes.append(sum(tensor.numel() for tensor in held if isinstance(tensor, Tensor)))
    return (sizes[1] - sizes[0]) // _SHORT


def _reader(model: PreTrainedModel) -> nn.Module:
    """Return what text goes through: a model with other senses looks in its ids for them, and here are no numbers."""
    return backbone(model) if model.config.get_text_config() is model.config else model.get_decoder()


def _stack(model: PreTrainedModel) -> nn.ModuleList:
    """Return the stack of layers; an empty one where there is none to be found."""
    layers: int = model.config.get_text_config().num_hidden_layers
    stacks = (part for part in model.modules() if isinstance(part, nn.ModuleList) and len(part) == layers)
    return max(stacks, key=_parameters, default=nn.ModuleList())


def _parameters(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def _adapters(model: PreTrainedModel, lora: LoraSettings) -> int:
    """Parameters of A and B beside every layer that has them. What they keep is little beside what their layer does."""
    layers: list[Any] = [
        part
        for name, part in model.named_modules()
        if type(part) in (nn.Linear, Conv1D)
        and part.weight.requires_grad
        and (name.rpartition(".")[2] in lora.targets if lora.targets else part is not model.get_output_embeddings())
    ]
    if not layers:
        raise UserError(f"lora.targets = {list(lora.targets)} does not fit the model; name linear layers of it.")
    return sum(lora.rank * sum(part.weight.shape) for part in layers)


def _line(model: PreTrainedModel, long: int, autocast: Autocast) -> tuple[float, float]:
    """Return what a forward pass keeps: bytes a token, and bytes however many tokens."""
    low, high = (_kept(model, tokens, autocast) for tokens in (_SHORT, long))
    slope = (high - low) / (long - _SHORT)
    return slope, low - slope * _SHORT


def _kept(model: PreTrainedModel, tokens: int, autocast: Autocast) -> int:
    """Return bytes that a forward pass over `tokens` tokens keeps beside the weights themselves."""
    weights = {p.untyped_storage()._cdata for p in (*model.parameters(), *model.buffers())}
    masks = model.config._attn_implementation != "eager"  # made because numbers are missing; a real pass needs none
    found: dict[int, tuple[Tensor, int]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights and not (masks and tensor.shape[-2:] == (tokens, tokens)):
            found[storage._cdata] = tensor, storage.nbytes()  # held, so that no other gets its place
        return tensor

    still(model)
    ids = torch.zeros(1, tokens, dtype=torch.int64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), autocast():
        states = _reader(model)(input_ids=ids, use_cache=False).last_hidden_state
    del states
    return sum(size for _, size in found.values())


def is_float32(autocast: Autocast) -> bool:
    """Tell whether matrix products are in float32 under this autocast."""
    with autocast():
        return not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"))
