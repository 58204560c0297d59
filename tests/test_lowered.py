"""The copy of the weights that a sampling call makes under autocast: the same bits, without casting at every token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedModel

from helpers import EOS, MODELS, TOKENIZER, VOCABULARY, lively, llama, needs_peft, policy_of, qwen
from r1zero.config import LoraSettings
from r1zero.policy.device import pick_autocast
from r1zero.policy.lora import add_lora
from r1zero.sampling.embedded import lowered as lowered_module
from r1zero.sampling.embedded.llama_decode import LlamaStep
from r1zero.sampling.embedded.lowered import Lowering, lowered
from r1zero.sampling.embedded.plain import PlainSampler
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import SamplingParams
from r1zero.types import Completion
from regime import seeded
from test_embedded_sampler import PROMPTS, SOME_EOS, requests_of

BFLOAT16 = pick_autocast("bfloat16", torch.device("cpu"))
Kind = type[TorchSampler] | type[PlainSampler]


def gpt2() -> PreTrainedModel:
    """Its products are transformers' own Conv1D."""
    settings = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=256, eos_token_id=EOS)
    return lively(GPT2LMHeadModel(settings), std=0.1)


def with_adapters() -> PreTrainedModel:
    policy = policy_of(llama())
    add_lora(policy, LoraSettings(rank=4), 0)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            if "lora_B" in name:
                parameter += 0.1 * torch.randn_like(parameter)
    return policy.model


KINDS: dict[str, Any] = {**MODELS, "gpt2": gpt2}
ALL = [*KINDS, pytest.param("adapters", marks=needs_peft)]


def made(name: str) -> PreTrainedModel:
    return with_adapters() if name == "adapters" else KINDS[name]()


def drawn(model: PreTrainedModel, kind: Kind = TorchSampler, **how: Any) -> dict[tuple[int, int], Completion]:
    sampler = kind(model, TOKENIZER, SOME_EOS, rows=6, autocast=how.pop("autocast", BFLOAT16))
    found = sampler.sample(requests_of(PROMPTS), 3, SamplingParams(14), seed=seeded(), step=1)
    return {(each.request, each.sample): each.completion for each in found}


@pytest.mark.parametrize("kind", [TorchSampler, PlainSampler])
@pytest.mark.parametrize("name", ALL)
def test_the_copy_draws_what_autocast_alone_draws(name: str, kind: Kind, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(name)
    assert Lowering(model, BFLOAT16)() is not model
    monkeypatch.setattr(LlamaStep, "fits", staticmethod(lambda model: False))
    ours = drawn(model, kind)
    monkeypatch.setattr(Lowering, "__call__", lambda self: self.model)
    assert drawn(model, kind) == ours  # ids, log-probs and all


@pytest.mark.parametrize("name", ALL)
def test_only_matrices_are_copied(name: str) -> None:
    """Two bytes a number for the weights of products; all else, tied embeddings too, is the model's own storage."""
    model = made(name)
    copied = lowered(model, torch.bfloat16)
    own = {p.data_ptr() for p in (*model.parameters(), *model.buffers())}
    fresh = {n: p for n, p in copied.named_parameters(remove_duplicate=False) if p.data_ptr() not in own}
    products = [m for m in model.modules() if isinstance(m, nn.Linear) or type(m).__name__ == "Conv1D"]
    assert {p.dtype for p in fresh.values()} == {torch.bfloat16}
    assert sum(p.numel() for p in fresh.values()) == sum(m.weight.numel() for m in products)
    assert copied.get_input_embeddings().weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert not any(p.requires_grad for p in fresh.values())
    assert {p.dtype for p in model.parameters()} == {torch.float32}  # the model is as it was


def test_the_next_call_has_the_weights_that_have_moved() -> None:
    model, fresh = qwen(), qwen(seed=1)
    sampler = TorchSampler(model, TOKENIZER, SOME_EOS, autocast=BFLOAT16)
    requests, params = requests_of(PROMPTS), SamplingParams(12)
    before = list(sampler.sample(requests, 2, params, seed=0, step=0))
    for parameter, other in zip(model.parameters(), fresh.parameters(), strict=True):
        parameter.data = other.data.clone()  # by whatever means, even one that torch does not count
    after = list(sampler.sample(requests, 2, params, seed=0, step=0))
    assert before != after
    expected = TorchSampler(fresh, TOKENIZER, SOME_EOS, autocast=BFLOAT16).sample(requests, 2, params, seed=0, step=0)
    assert after == list(expected)


def test_there_is_none_of_what_is_in_its_precision() -> None:
    low = qwen().to(torch.bfloat16)
    assert Lowering(low, BFLOAT16)() is low
    model = qwen()
    assert TorchSampler(model, TOKENIZER, SOME_EOS).lower() is model
    assert PlainSampler(model, TOKENIZER, SOME_EOS).lower() is model


def test_where_memory_is_short_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    model = llama()
    size = sum(p.nbytes for p in lowered(model, torch.bfloat16).parameters() if p.dtype == torch.bfloat16)
    ours = drawn(model)
    monkeypatch.setattr(lowered_module, "free_memory", lambda device: 4 * size)
    assert Lowering(model, BFLOAT16)() is not model
    monkeypatch.setattr(lowered_module, "free_memory", lambda device: 4 * size - 1)
    assert Lowering(model, BFLOAT16)() is model
    assert drawn(model) == ours


def test_where_memory_runs_out_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise torch.OutOfMemoryError

    model = llama()
    monkeypatch.setattr(lowered_module, "lowered", full)
    assert Lowering(model, BFLOAT16)() is model


def test_where_its_bits_are_others_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that computes some product in float32, whatever autocast says."""
    model: Any = llama()
    inner = type(model.lm_head).forward

    def in_float32(self: nn.Linear, x: torch.Tensor) -> torch.Tensor:
        if self is not model.lm_head and self.out_features != VOCABULARY:
            return inner(self, x)
        with torch.autocast("cpu", enabled=False):
            return nn.functional.linear(x.float(), self.weight.float())

    monkeypatch.setattr(nn.Linear, "forward", in_float32)
    lower = Lowering(model, BFLOAT16)
    assert lower() is model
    assert lower() is model


def test_free_memory_is_told_in_bytes() -> None:
    free = lowered_module.free_memory(torch.device("cpu"))
    assert free is None or 1 << 20 < free < 1 << 50
