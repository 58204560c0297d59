"""Tiny random models of transformers' own classes, one of each architecture: `make("deepseek_v3")`.

Every size that a config class knows by one of the usual names is made small; what is left is in `OWN`.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

SIZES: dict[str, Any] = {
    "hidden_size": 32, "d_model": 32, "n_embd": 32, "embed_dim": 32, "word_embed_proj_dim": 32, "ffn_dim": 64,
    "intermediate_size": 64, "n_inner": 64, "ffn_hidden_size": 64, "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16, "intermediate_size_mlp": 64, "shared_intermediate_size": 16,
    "num_hidden_layers": 4, "n_layer": 4, "n_layers": 4, "num_layers": 4,
    "num_attention_heads": 4, "n_head": 4, "n_heads": 4, "num_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
    "num_local_experts": 4, "num_experts": 4, "n_routed_experts": 4, "num_experts_per_tok": 2,
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 16,
    "n_group": 1, "topk_group": 1, "first_k_dense_replace": 1,
    "max_position_embeddings": 512, "n_positions": 512, "max_seq_len": 512,
}  # fmt: skip
"""Small values of what config classes call their sizes."""

_MAMBA2 = {"mamba_d_ssm": 64, "mamba_d_state": 8, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_expand": 2,
           "mamba_chunk_size": 8, "mamba_n_groups": 1, "mamba_d_conv": 4}  # fmt: skip
_DELTA = {"linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 8, "linear_value_head_dim": 8}
_MLA = {"num_key_value_heads": 4, "v_head_dim": 12}  # values of another width than keys (16)
_FOUR_KINDS = ["linear_attention", "full_attention"] * 2
_SLIDING = ["sliding_attention", "full_attention"] * 2

OWN: dict[str, dict[str, Any]] = {
    "bamba": {**_MAMBA2, "attn_layer_indices": [1, 3]},
    "axk2": _MLA,
    "deepseek_v2": _MLA,
    "deepseek_v3": _MLA,
    "codegen": {"rotary_dim": 8},
    "deepseek_v32": _MLA,
    "falcon_h1": _MAMBA2,
    "gemma2": {"sliding_window": 6, "query_pre_attn_scalar": 8, "layer_types": _SLIDING},
    "gemma3_text": {"sliding_window": 6, "layer_types": _SLIDING},
    "gemma3n_text": {"layer_types": _SLIDING, "num_kv_shared_layers": 2, "sliding_window": 6, "laurel_rank": 4,
                     "hidden_size_per_layer_input": 8, "intermediate_size": [64] * 4,
                     "activation_sparsity_pattern": [0.0] * 4},
    "gemma4_text": {"layer_types": _SLIDING, "num_kv_shared_layers": 2, "sliding_window": 6, "global_head_dim": 16,
                    "hidden_size_per_layer_input": 8},
    "dots1": {"n_shared_experts": 1},
    "glm_moe_dsa": _MLA,
    "gptj": {"rotary_dim": 8},
    "gpt_neo": {"attention_types": [[["global", "local"], 2]], "window_size": 8},
    "granitemoehybrid": {**_MAMBA2, "layer_types": ["mamba", "attention"] * 2},
    "jamba": {"mamba_d_state": 8, "mamba_dt_rank": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
              "expert_layer_period": 2, "expert_layer_offset": 1, "use_mamba_kernels": False},
    "lfm2": {"layer_types": ["conv", "full_attention"] * 2, "block_multiple_of": 8},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"] * 2},
    "llama4_text": {"attention_chunk_size": 8, "layer_types": ["chunked_attention", "full_attention"] * 2},
    "mamba": {"state_size": 8, "time_step_rank": 4},
    "mamba2": {"state_size": 8, "num_heads": 8, "head_dim": 8, "expand": 2, "n_groups": 1, "chunk_size": 8},
    "minicpm3": {**_MLA, "scale_emb": 1},
    "youtu": _MLA,
    "axk1": _MLA,
    "nemotron_h": {"mamba_num_heads": 8, "mamba_head_dim": 8, "ssm_state_size": 8, "n_groups": 1, "chunk_size": 8},
    "zaya": {"num_experts_per_tok": 1},
    "qwen3_next": {**_DELTA, "layer_types": _FOUR_KINDS},
    "qwen3_5_text": {**_DELTA, "layer_types": _FOUR_KINDS},
}  # fmt: skip
"""What an architecture needs beside or instead of `SIZES`."""


def config_of(kind: str, vocabulary: int, **changes: Any) -> Any:
    """Return a small config of a model type."""
    names = inspect.signature(type(AutoConfig.for_model(kind))).parameters
    sizes = {name: size for name, size in SIZES.items() if name in names}
    if "vocab_size_per_layer_input" in names:
        sizes["vocab_size_per_layer_input"] = vocabulary
    words = {"vocab_size": vocabulary, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0}
    return AutoConfig.for_model(kind, **{**sizes, **words, **OWN.get(kind, {}), **changes})


def make(kind: str, vocabulary: int, *, attention: str = "sdpa", std: float = 0.15, **changes: Any) -> PreTrainedModel:
    """Return a model whose every token matters: weights large enough that no layer is nearly the identity."""
    config = config_of(kind, vocabulary, **changes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=torch.float32)
        with torch.no_grad():
            for part in model.modules():
                if isinstance(part, nn.Linear | nn.Embedding):
                    part.weight.normal_(std=std)
    return model.eval()


QUICK = (
    "deepseek_v3", "falcon_h1", "gemma3n_text", "gemma4_text", "gpt_oss", "llama", "llama4_text", "mamba", "phimoe",
    "qwen2", "qwen3_5_text", "qwen3_next",
)  # fmt: skip
"""A dozen whose layers, caches or routers are each of another kind."""

KINDS = (
    "afmoe", "apertus", "arcee", "aria_text", "axk1", "axk2", "bamba", "biogpt", "bitnet", "bloom", "codegen",
    "cohere", "cohere2", "cohere2_moe", "cwm", "deepseek_v2", "deepseek_v3", "deepseek_v32", "diffllama", "doge",
    "dots1", "ernie4_5", "ernie4_5_moe", "exaone4", "exaone_moe", "falcon", "falcon_h1", "falcon_mamba",
    "flex_olmo", "gemma", "gemma2", "gemma3_text", "gemma3n_text", "gemma4_text", "gemma4_unified_text", "glm",
    "glm4", "glm4_moe", "glm4_moe_lite", "glm_moe_dsa", "gpt-sw3", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox",
    "gpt_neox_japanese", "gpt_oss", "gptj", "granite", "granite_swa", "granitemoe", "granitemoe_swa",
    "granitemoehybrid", "granitemoeshared", "helium", "hrm_text", "hunyuan_v1_dense", "hunyuan_v1_moe", "hy_v3",
    "hyperclovax", "inkling_text", "jais2", "jamba", "jetmoe", "laguna", "lfm2", "lfm2_moe", "llama", "llama4_text",
    "mamba", "mamba2", "mellum", "mimo_v2_flash", "minicpm3", "minimax", "minimax_m2", "minimax_m3_vl_text",
    "ministral", "ministral3", "mistral", "mixtral", "modernbert-decoder", "mpt", "nanochat", "nemotron",
    "nemotron_h", "olmo", "olmo2", "olmo3", "olmo_hybrid", "olmoe", "openai-gpt", "opt", "persimmon", "phi", "phi3",
    "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_5_moe_text", "qwen3_5_text", "qwen3_moe", "qwen3_next",
    "recurrent_gemma", "rwkv", "seed_oss", "smollm3", "solar_open", "stablelm", "starcoder2", "vaultgemma", "xglm",
    "xlstm", "youtu", "zaya",
)  # fmt: skip
"""Model types of transformers that can be made small and read text."""
