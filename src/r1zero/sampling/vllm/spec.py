"""What an engine is started on, and what it may take."""

# pyright: reportMissingImports=warning
# vLLM is not to be had on every machine that this is worked on.
from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase
from vllm.platforms import current_platform
from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

from r1zero.errors import SettingName, UserError
from r1zero.sampling.vllm import USE_TORCH, VLLM


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What an engine is started on, and what it may take."""

    path: str
    """The model's folder or Hub name."""
    revision: str | None
    tokenizer: PreTrainedTokenizerBase
    eos_ids: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    context: int
    """The longest prompt and response together, in tokens."""
    rows: int
    """The most responses drawn side by side."""
    memory: float
    """The share of a device's memory that it may take."""
    tensor_parallel: int = 1
    """GPUs that it is spread over."""
    sleeps: bool = False
    """Whether it gives its memory back between calls, to a learner on the same GPU."""


def memory_options(spec: EngineSpec) -> dict[str, Any]:
    """Tell how much the engine may take: a share of a GPU, or on a CPU what its rows' keys and values need at most.

    Raises:
        UserError: this build of vLLM runs on another kind of device, or not this model on a CPU.
    """
    _check_device(spec.device)
    if spec.device.type == "cuda":
        return {"gpu_memory_utilization": spec.memory}
    settled = AutoConfig.from_pretrained(spec.path, revision=spec.revision, trust_remote_code=False)
    text = settled.get_text_config()
    heads = getattr(text, "num_key_value_heads", None) or text.num_attention_heads
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    possible = CPUAttentionBackend.get_supported_head_sizes()
    if width not in possible:
        raise UserError(
            VLLM,
            f" cannot run the model at {spec.path!r} on a CPU: its attention heads are {width} wide and vLLM knows "
            f"{', '.join(map(str, possible))}; use ",
            USE_TORCH,
            ".",
        )
    token = 2 * text.num_hidden_layers * heads * width * spec.dtype.itemsize
    ram = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    blocks = (spec.context + 256) * spec.rows  # whole blocks of tokens
    return {
        "kv_cache_memory_bytes": int(min(token * blocks, spec.memory * ram)),
        "enforce_eager": True,  # compiling takes longer than a small run
    }


def _check_device(device: torch.device) -> None:
    """Raise a UserError where this build of vLLM would run on another kind of device."""
    theirs = current_platform.device_type
    if theirs != device.type:
        raise UserError(
            VLLM,
            f" runs on {theirs} in this installation of vLLM, and the model is on {device}; set ",
            SettingName("model.device"),
            f' = "{theirs}", or ',
            USE_TORCH,
            ".",
        )
