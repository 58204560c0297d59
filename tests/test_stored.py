"""A loaded model has the weights of its files, whatever its class does with them on the way."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM, PreTrainedModel, YoutuConfig

from helpers import TOKENIZER, VOCABULARY, llama
from r1zero.errors import UserError
from r1zero.policy.load import load_policy
from r1zero.policy.stored import check_stored

SMALL = {
    "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
    "num_attention_heads": 4, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip
WHOLE = {"missing_keys": (), "mismatched_keys": (), "unexpected_keys": ()}


def youtu() -> PreTrainedModel:
    """Return a model whose class sets the padding token's embedding to zero, after it has been read."""
    sizes = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 12}
    model = AutoModelForCausalLM.from_config(YoutuConfig(**SMALL, **sizes, num_key_value_heads=4))
    torch.nn.init.ones_(model.get_input_embeddings().weight)
    return model


def mixtral() -> PreTrainedModel:
    """Return a model whose files have its experts one by one."""
    return MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=2, num_key_value_heads=2))


def saved(folder: Path, model: PreTrainedModel) -> Path:
    model.save_pretrained(folder)
    TOKENIZER.save_pretrained(folder)
    return folder


def edit(folder: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_a_class_overwrites_is_read_again(tmp_path: Path, dtype: torch.dtype) -> None:
    model = youtu().to(dtype)
    policy = load_policy(str(saved(tmp_path, model)), device="cpu")
    found = policy.model.state_dict()
    assert all(torch.equal(found[name], weights.float()) for name, weights in model.state_dict().items())
    assert policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight


def test_of_the_model_beneath_adapters_too(tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = youtu()
    saved(tmp_path / "base", model)
    model.name_or_path = str(tmp_path / "base")
    settings = peft.LoraConfig(r=2, target_modules=["o_proj"])
    peft.get_peft_model(model, settings).save_pretrained(tmp_path / "adapters")
    TOKENIZER.save_pretrained(tmp_path / "adapters")
    policy = load_policy(str(tmp_path / "adapters"), device="cpu")
    assert policy.model.get_input_embeddings().weight.eq(1).all()


def test_other_weights_than_the_files_are_refused(tmp_path: Path) -> None:
    model = mixtral()
    saved(tmp_path, model)
    check_stored(model, WHOLE, str(tmp_path), None)
    with torch.no_grad():
        model.model.layers[1].mlp.experts.down_proj[1, 3, 5] += 1e-3
    with pytest.raises(UserError, match=r"other weights than its files hold \(model.layers.1.*experts.1.w2.weight\)"):
        check_stored(model, WHOLE, str(tmp_path), None)


def test_weights_in_several_files_are_all_compared(tmp_path: Path) -> None:
    model = llama()
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    for name, weights in list(model.state_dict().items()):
        before = weights.flatten()[-1].clone()
        weights.flatten()[-1] = before + 1
        check_stored(model, WHOLE, str(tmp_path), None)
        assert weights.flatten()[-1] == before, name


@pytest.mark.parametrize("beside", ["model.layers.0.mlp.up_proj.bias", "model.layers.0.self_attn.q_proj.lora_A.weight"])
def test_weights_that_a_config_does_not_ask_for_are_refused(tmp_path: Path, beside: str) -> None:
    saved(tmp_path, llama())
    edit(tmp_path, lambda tensors: tensors.update({beside: torch.ones(4)}))
    with pytest.raises(UserError, match=rf"holds weights that its config.json does not ask for \({beside}"):
        load_policy(str(tmp_path), device="cpu")


def test_a_layer_that_is_left_out_is_told(tmp_path: Path) -> None:
    saved(tmp_path, llama())
    settings = json.loads((tmp_path / "config.json").read_text())
    layers = settings["num_hidden_layers"]
    (tmp_path / "config.json").write_text(json.dumps({**settings, "num_hidden_layers": layers - 1}))
    with pytest.raises(UserError, match=rf"does not ask for \(model\.layers\.{layers - 1}\."):
        load_policy(str(tmp_path), device="cpu")
    # layers that predict further tokens stand there, too
    further = {"num_hidden_layers": layers - 1, "num_nextn_predict_layers": 1}
    (tmp_path / "config.json").write_text(json.dumps({**settings, **further}))
    load_policy(str(tmp_path), device="cpu")


def test_what_is_not_the_models_may_lie_beside_it(tmp_path: Path) -> None:
    saved(tmp_path, llama())
    names = ("score.weight", "v_head.summary.bias", "visual.blocks.0.weight", "model.layers.0.self_attn.masked_bias")
    edit(tmp_path, lambda tensors: tensors.update({name: torch.ones(4) for name in names}))
    load_policy(str(tmp_path), device="cpu")
