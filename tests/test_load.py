"""Loading: every way a response can end, BOS exactly once, dropout off, and what is refused in one sentence."""

import json
import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import (
    BartConfig,
    BloomConfig,
    BloomForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    LlavaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2VLConfig,
    T5Config,
    ViTConfig,
)

from helpers import EOS, TOKENIZER, VOCABULARY, gemma2, llama, mistral, policy_of, qwen
from r1zero.errors import UserError
from r1zero.plan.model_size import shape_of
from r1zero.policy.device import pick_autocast, pick_device
from r1zero.policy.load import (
    Policy,
    check_head,
    check_peft,
    find_eos_ids,
    load_blank,
    load_policy,
    silence_dropout,
)
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.policy.tokenizer import load_tokenizer


def saved(folder: Path, model=None, tokenizer=None) -> Path:
    (model or qwen()).save_pretrained(folder)
    (tokenizer or TOKENIZER).save_pretrained(folder)
    return folder


def edit(path: Path, **changes: object) -> None:
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, **changes}))


# -- a folder


def test_an_ordinary_folder(tmp_path: Path) -> None:
    model = qwen()
    policy = load_policy(str(saved(tmp_path, model)), device="cpu")
    assert policy.eos_ids == (EOS,)
    assert policy.exact
    assert policy.device == torch.device("cpu")
    ids = torch.tensor([[5, 6, 7]])
    with torch.no_grad():
        assert torch.equal(policy.model(input_ids=ids).logits, model(input_ids=ids).logits)


def test_a_missing_folder_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.path = .*nowhere' does not exist; give a model folder or a Hub name"):
        load_policy(str(tmp_path / "nowhere"), device="cpu")
    with pytest.raises(UserError, match=r"model.path = 'nowhere' cannot be loaded \(no such local folder either\)"):
        load_policy("nowhere", device="cpu")


def test_a_folder_without_a_model_is_one_sentence(tmp_path: Path) -> None:
    TOKENIZER.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is not a model folder \(it has no config.json\); give a folder that has one"):
        load_policy(str(tmp_path), device="cpu")
    (tmp_path / "checkpoints" / "step-000003").mkdir(parents=True)
    with pytest.raises(UserError, match=r"did you mean its checkpoint .*step-000003\?"):
        load_policy(str(tmp_path), device="cpu")


def test_weights_that_are_missing_are_never_made_up(tmp_path: Path) -> None:
    folder = saved(tmp_path, tiny_model(TOKENIZER, width=32, layers=2, heads=2))
    edit(folder / "config.json", num_hidden_layers=3, layer_types=["full_attention"] * 3)
    with pytest.raises(UserError, match=r"lacks weights that its config.json asks for \(.*layers.2"):
        load_policy(str(tmp_path), device="cpu")


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json"])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    (saved(tmp_path) / name).unlink()
    make(tmp_path / name)
    says = rf"holds {name}, which is a (folder|pipe or a device) and not a file; put the file there"
    for ask in (load_policy, load_blank, lambda path: shape_of(path, None, "sdpa", nullcontext)):
        with pytest.raises(UserError, match=says):
            ask(str(tmp_path))


def test_a_model_is_a_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model")
    with pytest.raises(UserError, match="is not a folder; give the folder that holds"):
        load_policy(str(tmp_path / "model"))


@pytest.mark.parametrize("change", [{"hidden_size": "wide"}, {"num_hidden_layers": 3}, {"rope_parameters": 5}])
def test_a_config_of_wrong_types_is_one_sentence(tmp_path: Path, change: dict[str, object]) -> None:
    edit(saved(tmp_path) / "config.json", **change)
    for ask in (load_policy, load_blank, lambda path: shape_of(path, None, "sdpa", nullcontext)):
        with pytest.raises(
            UserError, match=r"model.path = .*(cannot be loaded|no readable config.json|cannot be count)"
        ):
            ask(str(tmp_path))


def test_a_revision_of_a_local_folder_is_not_ignored(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.revision = 'v2' is for Hub names, and model\.path = .* is a local"):
        load_policy(str(saved(tmp_path)), revision="v2", device="cpu")


def test_flash_attention_that_is_not_here_is_blamed_on_the_attention(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r'^model\.attention = "flash_attention_2" needs a GPU and the package flash-'):
        load_policy(str(saved(tmp_path)), device="cpu", attention="flash_attention_2")


def test_an_attention_that_a_model_cannot_do_is_blamed_on_the_attention(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    with pytest.raises(UserError, match=r"^model\.attention = 'nonsense' does not fit the model at model\.path"):
        load_policy(str(folder), device="cpu", attention="nonsense")


def test_positions_are_the_models_own() -> None:
    assert policy_of(qwen()).positions == 4096
    bloom = BloomForCausalLM(BloomConfig(vocab_size=VOCABULARY, hidden_size=8, n_layer=1, n_head=2))
    assert policy_of(bloom).positions is None  # its attention has no bound


@pytest.mark.parametrize("name", ["cuda:99", "nonsense"])
def test_an_absent_device_is_one_sentence(name: str) -> None:
    with pytest.raises(UserError, match=rf'model.device = \'{name}\' is not usable here .*; write "auto" or "cpu"'):
        pick_device(name)


def test_autocast() -> None:
    cpu = torch.device("cpu")
    assert pick_autocast("auto", cpu) is nullcontext
    assert pick_autocast("off", torch.device("cuda")) is nullcontext
    with pick_autocast("bfloat16", cpu)():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    assert not Policy(qwen(), TOKENIZER, (EOS,), pick_autocast("bfloat16", cpu)).exact


# -- EOS


def test_eos_ids_are_united_from_tokenizer_config_and_generation_config(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    edit(folder / "config.json", eos_token_id=[7, 5])
    edit(folder / "generation_config.json", eos_token_id=[9, 5])
    assert load_policy(str(folder), device="cpu").eos_ids == (EOS, 5, 7, 9)  # `<eos>` is the tokenizer's own


def test_eos_in_one_place_is_enough() -> None:
    model, bare = qwen(), character_tokenizer()
    bare.eos_token = None
    model.config.eos_token_id = model.generation_config.eos_token_id = None
    for change in ("config", "generation_config"):
        getattr(model, change).eos_token_id = 4
        assert find_eos_ids(model, bare, "here") == (4,)
        getattr(model, change).eos_token_id = None
    assert find_eos_ids(model, character_tokenizer(), "here") == (EOS,)


def test_an_eos_id_of_zero_is_an_eos_id() -> None:
    model, bare = qwen(), character_tokenizer()
    bare.eos_token = None
    model.generation_config.eos_token_id = None
    model.config.eos_token_id = 0
    assert find_eos_ids(model, bare, "here") == (0,)


def test_no_eos_anywhere_is_one_sentence(tmp_path: Path) -> None:
    bare = character_tokenizer()
    bare.eos_token = None
    folder = saved(tmp_path, tokenizer=bare)
    edit(folder / "config.json", eos_token_id=None)
    edit(folder / "generation_config.json", eos_token_id=None)
    with pytest.raises(UserError, match=r"Neither the model nor the tokenizer at .* names an EOS token"):
        load_policy(str(folder), device="cpu")


# -- BOS


def opening_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer that opens every text with `<s>`, as Llama's and Gemma's do; `<s>` in a text is the token too."""
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    bos = tokenizer.convert_tokens_to_ids("<s>")
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", bos)])
    return tokenizer


def test_bos_exactly_once() -> None:
    tokenizer = opening_tokenizer()
    bos = tokenizer.bos_token_id
    assert tokenizer("ab").input_ids[0] == bos  # the set-up itself
    assert tokenizer("<s>ab").input_ids[:2] == [bos, bos]
    policy = Policy(qwen(), tokenizer, (EOS,), nullcontext)
    a, b = TOKENIZER.encode("ab", add_special_tokens=False)
    assert policy.encode("ab") == (bos, a, b)
    assert policy.encode("<s>ab") == (bos, a, b)  # a chat template that writes it out


def test_a_tokenizer_that_does_not_open_texts_is_left_alone() -> None:
    a, b = TOKENIZER.encode("ab", add_special_tokens=False)
    assert policy_of(qwen()).encode("ab") == (a, b)
    # it has a BOS token, but adds none
    tokenizer = character_tokenizer()
    tokenizer.add_special_tokens({"bos_token": "<s>"})
    assert Policy(qwen(), tokenizer, (EOS,), nullcontext).encode("ab") == (a, b)


# -- heads and dropout


@pytest.mark.parametrize("make", [qwen, llama, mistral, gemma2])
def test_known_heads_pass(make) -> None:
    check_head(make())


class ScaledLlama(LlamaForCausalLM):
    """A Llama that doubles its logits outside the head: log-probs computed in chunks would be wrong in silence."""

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = output.logits * 2
        return output


def test_a_head_of_its_own_is_refused() -> None:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2
    )
    with pytest.raises(UserError, match=r"llama model whose output head this version cannot compute"):
        check_head(ScaledLlama(config))


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "lm_head.weight"])
def test_weights_that_are_no_numbers_are_called_so(name: str, value: float) -> None:
    model = llama()
    with torch.no_grad():
        model.get_parameter(name)[3, 2] = value
    sentence = (
        rf"model whose weights are not finite \({name}\): it is damaged, or its training went astray; give another"
    )
    with pytest.raises(UserError, match=sentence):
        check_head(model)


def test_tokens_that_a_model_never_says_are_no_damage() -> None:
    class Silent(LlamaForCausalLM):
        def __init__(self, config: LlamaConfig):
            super().__init__(config)
            self.lm_head.register_forward_hook(
                lambda module, given, made: made.index_fill(-1, torch.tensor([0]), -math.inf)
            )

    check_head(Silent(llama().config))


def test_a_models_dropout_is_silenced(tmp_path: Path) -> None:
    model = llama()
    model.config.attention_dropout = 0.5
    folder = saved(tmp_path, model)
    policy = load_policy(str(folder), device="cpu")
    ids = torch.tensor([[5, 6, 7, 8]])
    policy.model.train()
    with torch.no_grad():
        noisy = policy.model(input_ids=ids).logits
        policy.model.eval()
        assert torch.equal(noisy, policy.model(input_ids=ids).logits)


def test_dropout_in_every_form() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention_dropout = 0.1
            self.dropout = 0.2
            self.activation_dropout = 0.3
            self.layerdrop = 0.6
            self.resid_dropout = nn.Dropout(0.4)

    model = nn.Sequential(nn.Linear(2, 2), Attention(), nn.Dropout(0.5))
    silence_dropout(model)
    attention = model[1]
    assert (attention.attention_dropout, attention.dropout) == (0.0, 0.0)
    assert (attention.activation_dropout, attention.layerdrop) == (0.0, 0.0)
    assert (attention.resid_dropout.p, model[2].p) == (0.0, 0.0)


@pytest.mark.parametrize("make", [qwen, llama])
def test_an_eos_id_that_only_a_class_has_is_none(tmp_path: Path, make) -> None:
    """Such a run would never end a response.

    Where the files name none, Qwen2's tokenizer class makes up a token that the model cannot sample, and LlamaConfig's
    default is 2, here the unknown token.
    """
    saved(tmp_path, make())
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        settings = json.loads((tmp_path / name).read_text())
        (tmp_path / name).write_text(json.dumps({k: v for k, v in settings.items() if not k.startswith("eos")}))
    with pytest.raises(UserError, match="names an EOS token"):
        load_policy(str(tmp_path), device="cpu")


@pytest.mark.parametrize("make", ["qwen2", "llama"])
def test_a_tokenizer_is_the_one_that_was_saved(tmp_path: Path, make: str) -> None:
    """transformers takes Qwen2's tokenizer for every folder of that type: the spaces of this one's texts were lost."""
    shape = {"vocab_size": len(TOKENIZER), "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    shape |= {"num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 1}
    model = Qwen2ForCausalLM(Qwen2Config(**shape)) if make == "qwen2" else LlamaForCausalLM(LlamaConfig(**shape))
    text = "What is 7 + 5?\n 12"
    assert load_policy(str(saved(tmp_path, model)), device="cpu").encode(text) == tuple(TOKENIZER.encode(text))
    assert TOKENIZER.decode(TOKENIZER.encode(text)) == text


def test_a_byte_level_tokenizer_that_is_called_llamas_keeps_its_spaces(tmp_path: Path) -> None:
    """DeepSeek-Math's folder says LlamaTokenizerFast, of which transformers makes SentencePiece's: no space is left."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    marks = ["<s>", "</s>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(["What is 7 + 5 ?\n 12"] * 9, trainers.BpeTrainer(
        vocab_size=280, initial_alphabet=letters, special_tokens=marks, show_progress=False))  # fmt: skip
    made.save(str(tmp_path / "tokenizer.json"))
    named = {"tokenizer_class": "LlamaTokenizerFast", "bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(named))
    LlamaConfig(hidden_size=16, num_attention_heads=2).save_pretrained(tmp_path)
    text = "What  is 7 + 5?\n\n 12"
    found = load_tokenizer(str(tmp_path))
    assert found.encode(text, add_special_tokens=False) == made.encode(text, add_special_tokens=False).ids
    assert found.decode(found.encode(text), skip_special_tokens=True) == text
    found.save_pretrained(tmp_path / "checkpoint")  # and so does a run's checkpoint
    assert load_tokenizer(str(tmp_path / "checkpoint")).encode(text) == found.encode(text)


def test_a_peft_that_is_too_old_for_transformers_is_said_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.setattr("r1zero.policy.load.MIN_PEFT_VERSION", "99.1")
    with pytest.raises(
        UserError, match=r'Adapters need peft 99\.1 or newer beside transformers .* run `pip install "peft>=99\.1"`, or'
    ):
        check_peft("Adapters need")


# -- what is no causal language model

MINIATURE = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (Qwen2VLConfig(text_config=MINIATURE), "a qwen2_vl model, which takes more than text in"),
        (LlavaConfig(text_config={"model_type": "llama", **MINIATURE}), "a llava model, which takes more than text in"),
        (ViTConfig(**MINIATURE), "a vit model, of which transformers has no causal language model"),
        (BartConfig(d_model=32), "a bart model, which has an encoder beside the decoder"),
        (T5Config(d_model=32), "a t5 model, which has an encoder beside the decoder"),
    ],
)
def test_models_that_do_not_go_on_with_text_are_called_what_they_are(
    tmp_path: Path, settings: PretrainedConfig, says: str
) -> None:
    settings.save_pretrained(tmp_path)
    TOKENIZER.save_pretrained(tmp_path)
    for ask in (load_policy, load_blank, lambda path: shape_of(path, None, "sdpa", nullcontext)):
        with pytest.raises(UserError, match=rf"is {says}.*; give a causal language model of text"):
            ask(str(tmp_path))
