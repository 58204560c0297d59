"""The decoding step written out for the Llama family: the same bits as transformers' own modules, or not taken."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    Olmo2Config,
    PreTrainedModel,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from helpers import EOS, TOKENIZER, VOCABULARY, encode
from r1zero.policy.device import pick_autocast
from r1zero.policy.precision import attention_fault
from r1zero.policy.probe import Told, objection
from r1zero.sampling.embedded import llama_decode
from r1zero.sampling.embedded.llama_decode import LlamaStep
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import SamplingParams
from r1zero.types import Completion
from regime import seeded
from test_embedded_sampler import PROMPTS, SOME_EOS, requests_of

SIZES = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
ROPE = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 64}
KINDS: dict[str, tuple[type, dict[str, Any]]] = {
    "llama": (LlamaConfig, {}),
    "grouped": (LlamaConfig, {"num_key_value_heads": 2}),
    "biases": (LlamaConfig, {"attention_bias": True, "mlp_bias": True}),
    "tied": (LlamaConfig, {"tie_word_embeddings": True}),
    "wide heads": (LlamaConfig, {"head_dim": 24}),
    "gelu": (LlamaConfig, {"hidden_act": "gelu"}),
    "llama3 rope": (LlamaConfig, {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4, **ROPE}}),
    "qwen2": (Qwen2Config, {"num_key_value_heads": 2}),
    "qwen3": (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 16}),
    "qwen3, wide heads": (Qwen3Config, {"num_key_value_heads": 2, "head_dim": 40, "tie_word_embeddings": True}),
    "qwen3, biases": (Qwen3Config, {"head_dim": 16, "attention_bias": True}),
    "mistral without a window": (MistralConfig, {"num_key_value_heads": 2, "sliding_window": None}),
}


def model(kind: type, changes: dict[str, Any], attention: str = "sdpa") -> PreTrainedModel:
    torch.manual_seed(seeded())
    config = kind(**SIZES, **{"num_key_value_heads": 4} | changes, vocab_size=VOCABULARY, eos_token_id=EOS,
                  max_position_embeddings=256)  # fmt: skip
    made = AutoModelForCausalLM.from_config(config, attn_implementation=attention).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # norms and biases too: none keeps its neutral value
            parameter += 0.05 * torch.randn_like(parameter)
    return made


def responses(policy: PreTrainedModel, rows: int, temperature: float) -> dict[tuple[int, int], Completion]:
    sampler = TorchSampler(policy, TOKENIZER, SOME_EOS, rows=rows)
    params = SamplingParams(40, temperature)
    found = sampler.sample(requests_of(PROMPTS), 4, params, seed=0, step=1)
    return {(each.request, each.sample): each.completion for each in found}


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("rows", [6, 256])
def test_it_draws_the_same_bits(name: str, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = model(*KINDS[name])
    assert LlamaStep.fits(policy)
    calls = 0
    step = LlamaStep.__call__

    def counted(self: LlamaStep, *args: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return step(self, *args)

    monkeypatch.setattr(LlamaStep, "__call__", counted)
    ours = responses(policy, rows, 0.9)
    assert calls > 10
    monkeypatch.setattr(LlamaStep, "fits", staticmethod(lambda model: False))
    before = calls
    assert ours == responses(policy, rows, 0.9)  # ids, log-probs and all
    assert calls == before


@pytest.mark.skipif(bool(attention_fault()), reason=f"attention in bfloat16 fails here: {attention_fault()}")
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("autocast", [True, False])
def test_in_bfloat16_it_computes_the_same_to_rounding(
    name: str, autocast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside float32 weights under autocast, whose copy it takes, and beside weights in bfloat16."""
    policy = model(*KINDS[name])
    context = pick_autocast("bfloat16" if autocast else "off", torch.device("cpu"))
    policy = policy if autocast else policy.to(torch.bfloat16)
    sampler = TorchSampler(policy, TOKENIZER, SOME_EOS, rows=6, autocast=context)
    step = llama_decode.make_step(sampler.lower(), 60, sampler.lower.dtype)
    assert step
    prompts = torch.arange(5 * 21).reshape(5, 21) % VOCABULARY
    with context():
        assert llama_decode._agrees(policy, step, prompts)
        monkeypatch.setattr(step, "eps", 0.5)  # another function
        assert not llama_decode._agrees(policy, step, prompts)
    drawn = list(sampler.sample(requests_of(PROMPTS), 2, SamplingParams(40), seed=0, step=1))

    def told() -> Iterator[Told]:
        for each in drawn:
            found = each.completion
            yield encode(PROMPTS[each.request]), found.token_ids, torch.tensor(found.logprobs)

    assert objection(policy, told, context) == ""


def slightly_off(*inputs: torch.Tensor | None) -> torch.Tensor:
    """Attention whose last bits are not those of the model's own."""
    return llama_decode.grouped(*inputs) * (1 + 1e-6)


@pytest.mark.parametrize("name", ["llama", "grouped", "qwen2", "qwen3"])
def test_where_no_bits_agree_the_models_own_forward_is_taken(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = model(*KINDS[name])
    assert llama_decode.make_step(policy, 60)
    monkeypatch.setattr(llama_decode, "ATTENTIONS", (slightly_off,))
    llama_decode.same_bits.cache_clear()
    assert llama_decode.make_step(policy, 60) is None
    ours = responses(policy, 6, 0.9)
    monkeypatch.setattr(LlamaStep, "fits", staticmethod(lambda model: False))
    assert ours == responses(policy, 6, 0.9)
    llama_decode.same_bits.cache_clear()


def test_another_order_of_operations_in_the_model_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a coming version of transformers might have it: the same function, other last bits."""
    own = LlamaRMSNorm.forward

    def rounded_otherwise(self: LlamaRMSNorm, hidden_states: torch.Tensor) -> torch.Tensor:
        return own(self, hidden_states * 3) + (own(self, hidden_states) - own(self, hidden_states * 3)) / 3

    llama_decode.same_bits.cache_clear()
    monkeypatch.setattr(LlamaRMSNorm, "forward", rounded_otherwise)
    assert llama_decode.make_step(model(LlamaConfig, {}), 60) is None
    llama_decode.same_bits.cache_clear()


def test_trying_it_out_leaves_the_random_state_alone_and_is_done_once() -> None:
    policy = model(LlamaConfig, {"num_key_value_heads": 2})
    llama_decode.same_bits.cache_clear()
    before = torch.random.get_rng_state()
    for _ in range(3):
        assert llama_decode.make_step(policy, 60)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert llama_decode.same_bits.cache_info().misses == 1


def hooked() -> PreTrainedModel:
    made = model(LlamaConfig, {})
    made.get_submodule("model.layers.1").register_forward_hook(lambda *_: None)
    return made


def wrapped() -> PreTrainedModel:
    made = model(LlamaConfig, {})
    layer: Any = made.get_submodule("model.layers.1.self_attn")
    layer.q_proj = nn.Sequential(layer.q_proj)
    return made


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(hooked, id="a hook"),
        pytest.param(wrapped, id="a wrapped layer"),
        pytest.param(lambda: model(LlamaConfig, {}, "eager"), id="eager attention"),
        pytest.param(lambda: model(LlamaConfig, {}).to(torch.float64), id="float64"),
        pytest.param(lambda: model(MistralConfig, {"sliding_window": 8}), id="a window"),
        pytest.param(lambda: model(Olmo2Config, {}), id="another class"),
        pytest.param(
            lambda: model(Qwen2Config, {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}),
            id="sliding windows",
        ),
        pytest.param(
            lambda: model(
                Qwen3Config,
                {"head_dim": 16, "use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1},
            ),
            id="sliding windows beside norms",
        ),
        pytest.param(
            lambda: model(LlamaConfig, {"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}),
            id="angles that depend on the length",
        ),
    ],
)
def test_any_other_model_takes_its_own_forward(make: Any) -> None:
    assert not LlamaStep.fits(make())
