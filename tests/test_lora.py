"""Adapters: they start as nothing, train alone, and come back from a checkpoint bit for bit."""

import importlib.util
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from helpers import needs_peft
from r1zero.config import LoraSettings
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.plan.model_size import shape_of
from r1zero.policy.load import load_policy
from r1zero.policy.lora import add_lora
from r1zero.pretrain.run import pretrain_run
from r1zero.training.train import train
from tiny_runs import random_model, start, sums_of, taught_model, tiny_recipe, write_recipe

pytestmark = needs_peft
IDS = torch.tensor([[5, 9, 14, 7, 30]])


def logits(policy_path: str) -> Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(policy_path).eval()(IDS).logits


def adapters(run: Path) -> dict[str, Tensor]:
    [last] = sorted((run / "checkpoints").glob("step-*"))[-1:]
    return load_file(last / "adapter_model.safetensors")


def lora_run(out: Path, changes: Mapping[str, object] | None = None, *, resume: bool = False) -> Path:
    train(tiny_recipe({"lora.rank": 4, "learner.learning_rate": 1e-2, **(changes or {})}), out, resume=resume)
    return out


def test_fresh_adapters_change_no_bit_and_depend_on_the_seed_alone() -> None:
    plain = load_policy(str(random_model()), device="cpu")
    made = []
    for seed in (1, 1, 2):
        policy = load_policy(str(random_model()), device="cpu")
        add_lora(policy, LoraSettings(rank=4), seed)
        with torch.no_grad():
            assert torch.equal(policy.model(IDS).logits, plain.model(IDS).logits)
        made.append({name: p.detach() for name, p in policy.model.named_parameters() if p.requires_grad})
        torch.rand(1)  # the state of torch's own generator is nothing to it
    assert len(made[0]) == 2 * 7 * 2  # A and B of seven layers in each of two blocks
    assert all(torch.equal(made[0][name], made[1][name]) for name in made[0])
    assert any(not torch.equal(made[0][name], made[2][name]) for name in made[0])


def test_only_adapters_are_trained_and_a_checkpoint_is_read_by_transformers_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(taught_model().parent)  # a relative path, which the checkpoint makes absolute
    run = lora_run(tmp_path / "run", {"model.path": f"./{taught_model().name}"})
    [last] = sorted((run / "checkpoints").glob("step-*"))[-1:]
    assert not (last / "model.safetensors").exists()
    assert any(tensor.abs().max() > 0 for name, tensor in adapters(run).items() if "lora_B" in name)
    monkeypatch.chdir(tmp_path)
    policy = load_policy(str(last), device="cpu")
    assert torch.equal(policy.model(IDS).logits, logits(str(last)))
    assert not torch.equal(logits(str(last)), logits(str(taught_model())))
    for name, parameter in policy.model.named_parameters():
        if "lora_" not in name:
            original = load_policy(str(taught_model()), device="cpu").model.get_parameter(
                name.replace(".base_layer", "")
            )
            assert torch.equal(parameter, original), name
    start("evaluate", last, "-b", "arithmetic", "--limit", "4", "--template", "no", cwd=tmp_path).done()


def test_a_run_that_goes_on_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = lora_run(tmp_path / "whole", {"train.steps": 4})
    cut = lora_run(tmp_path / "cut", {"train.steps": 2})
    lora_run(cut, {"train.steps": 4}, resume=True)
    assert sums_of(whole / "checkpoints/step-000004") == sums_of(cut / "checkpoints/step-000004")


def test_every_layout_has_the_same_gradient(tmp_path: Path) -> None:
    # with Adam's own eps of 1e-8 a weight whose gradient is all rounding would move by the whole learning rate
    steady = {"train.steps": 1, "learner.eps": 1e-3}
    runs = {
        layout: adapters(lora_run(tmp_path / layout, steady | {"learner.layout": layout}))
        for layout in ("padded", "packed", "shared")
    }
    again = lora_run(tmp_path / "again", steady | {"learner.gradient_checkpointing": True})
    runs["checkpointed"] = adapters(again)
    moved = [found.abs().max() for name, found in runs["padded"].items() if "lora_B" in name]
    assert max(moved) > 1e-3  # they start at 0, and may go 1e-2 at most
    for name, expected in runs["padded"].items():
        for layout, found in runs.items():
            assert torch.allclose(found[name], expected, atol=1e-5), (layout, name)


def test_a_reference_is_the_model_without_adapters(tmp_path: Path) -> None:
    run = lora_run(tmp_path / "run", {"objective.kl": "k3", "objective.kl_coefficient": 0.1, "train.steps": 2})
    rows = (run / "metrics.jsonl").read_text().splitlines()
    assert '"learn/kl_reference": 0.0' in rows[0].replace("-0.0", "0.0")
    assert '"learn/kl_reference": 0.0,' not in rows[1]


def test_the_plan_counts_what_is_trained() -> None:
    shape = shape_of(str(random_model()), None, "sdpa", nullcontext, lora=LoraSettings(rank=4))
    policy = load_policy(str(random_model()), device="cpu")
    add_lora(policy, LoraSettings(rank=4), 0)
    assert shape.trained == sum(p.numel() for p in policy.model.parameters() if p.requires_grad)
    model: Any = load_policy(str(random_model()), device="cpu").model
    linear = [
        layer for name, layer in model.named_modules() if isinstance(layer, torch.nn.Linear) and "head" not in name
    ]
    by_hand = sum(4 * (layer.in_features + layer.out_features) for layer in linear)
    assert shape.trained == by_hand
    assert shape.parameters == sum(p.numel() for p in model.parameters()) + by_hand


def test_adapters_are_not_left_behind(tmp_path: Path) -> None:
    run = lora_run(tmp_path / "run", {"train.steps": 1})
    [last] = sorted((run / "checkpoints").glob("step-*"))[-1:]
    with pytest.raises(UserError, match=r"model\.path holds adapters.*add the section \[lora\]"):
        train(tiny_recipe({"model.path": str(last)}), tmp_path / "other")
    with pytest.raises(UserError, match=r"lora\.rank = 8 .* are not those of the adapters"):
        train(tiny_recipe({"model.path": str(last), "lora.rank": 8}), tmp_path / "other")
    assert not (tmp_path / "other").exists()
    on = lora_run(tmp_path / "on", {"model.path": str(last), "train.steps": 1})
    assert adapters(on).keys() == adapters(run).keys()
    corpus = tmp_path / "text.jsonl"
    corpus.write_text('{"text": "1 + 1 = 2"}\n' * 8)
    recipe = PretrainRecipe.model_validate(
        {
            "model": {"path": str(last), "device": "cpu"},
            "corpus": {"name": str(corpus), "text_column": "text"},
            "train": {"steps": 1},
        }
    )
    with pytest.raises(UserError, match="holds adapters"):
        pretrain_run(recipe, tmp_path / "pretrained")


def test_layers_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"lora\.targets = \['nowhere'\] does not fit the model"):
        train(tiny_recipe({"lora.rank": 2, "lora.targets": ["nowhere"]}), tmp_path / "run")
    command = start("train", write_recipe(tmp_path / "mine.toml", more="\n[lora]\nrank = 0\n"), cwd=tmp_path)
    assert command.wait() == 2
    assert "lora.rank" in command.err


def test_without_peft_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = lora_run(tmp_path / "run", {"train.steps": 0})
    assert not list((run / "checkpoints").glob("*"))
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else find(name, *rest))
    with pytest.raises(UserError, match=r'needs the package peft.*pip install "r1zero\[lora\]"'):
        train(tiny_recipe({"lora.rank": 2}), tmp_path / "other")
