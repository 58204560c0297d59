"""Tiny random models in place of real ones: of the same class, tokenizer kind, EOS list, positions and head.

Of the paper's models the facts are at hand (`r1zero.policy.known`); another's are read from its folder or the Hub, and
its own tokenizer is kept.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, GenerationConfig, PretrainedConfig

from r1zero.errors import SettingName, UserError, reason
from r1zero.hub import reached_or_offline
from r1zero.policy.known import KnownModel, known_model, model_config
from r1zero.policy.load import check_place
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.runs.files import write_text, writing

_MERGED = 1024  # tokens of a trained vocabulary: a question has about as many as with the real one
_PADDING = 64  # embeddings without a token, where the real model has some
_SMALL = 200 * 2**20  # a folder of fewer bytes of weights is its own stand-in
_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_LATENT = {"q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8}
_EXPERTS = {"moe_intermediate_size": 16, "first_k_dense_replace": 1, "n_routed_experts": 8, "num_experts_per_tok": 2,
            "n_group": 2, "topk_group": 1}  # fmt: skip
_WHERE_THERE = {**_LATENT, **_EXPERTS}
"""Sizes that only some models have: DeepSeek's latent attention and experts."""
_EOS_TIMES = 45.0
"""How much larger than others' an EOS token's logits are, so that in one of twelve contexts it wins: about half of all
responses of eight tokens end, the others are cut."""
_WORDS = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_CHATS = {
    "deepseek": "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}{{ '<｜User｜>' + m['content'] }}"
    "{% elif m['role'] == 'assistant' %}{{ '<｜Assistant｜>' + m['content'] + eos_token }}{% else %}{{ m['content'] }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜><think>\n' }}{% endif %}",
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "llama3": "{{ bos_token }}{% for m in messages %}{{ '<|start_header_id|>' + m['role'] + '<|end_header_id|>\n\n' + "
    "m['content'] + '<|eot_id|>' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}",
}


def stands_for_itself(path: str) -> bool:
    """Tell whether a model is a local folder so small that a rehearsal takes it as it is."""
    weights = [file.stat().st_size for file in Path(path).glob("*.safetensors")] if Path(path).is_dir() else []
    return 0 < sum(weights) < _SMALL


def make_stand_in(path: str, revision: str | None, texts: Iterable[str], folder: Path) -> None:
    """Write a stand-in for a model into a folder; `texts` are what its vocabulary is made from.

    Raises:
        UserError: there is no such model, or it cannot be made small.
    """
    known = known_model(path, revision)
    aside = folder.with_name(f".{folder.name}.tmp")
    with writing(folder):
        aside.mkdir(parents=True, exist_ok=True)
        if known is not None:
            config, eos = _of_known(known, texts, aside)
        else:
            config, eos = _of_folder(path, revision, aside)
        _save(config, eos, path, aside)
        aside.replace(folder)  # whole or not at all: a killed rehearsal goes on with what it finds


def _of_known(known: KnownModel, texts: Iterable[str], folder: Path) -> tuple[PretrainedConfig, list[int]]:
    """Write the tokenizer; returns the tiny config, and the ids that end a response."""
    facts = known.tokenizer
    tokenizer = _tokenizer(facts, texts)
    write_text(folder / "tokenizer.json", tokenizer.to_str())
    settings: dict[str, Any] = {
        "tokenizer_class": facts["class"],
        "bos_token": facts["bos"],
        "eos_token": facts["eos"],
        "add_bos_token": facts["opens_with_bos"],
        "model_max_length": known.config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
    }
    if facts["chat_template"]:
        settings["chat_template"] = _CHATS[facts["chat_template"]]
    write_text(folder / "tokenizer_config.json", json.dumps(settings, indent=1, ensure_ascii=False))
    padded = known.config["vocab_size"] > max(facts["tokens"].values()) + len(facts["tokens"])
    grouped = known.config["num_key_value_heads"] < known.config["num_attention_heads"]
    made = tokenizer.get_vocab()
    ids = {old: made[token] for token, old in facts["tokens"].items()}
    config = known.make_config(
        **_SIZES,
        **{name: size for name, size in _WHERE_THERE.items() if known.config.get(name) is not None},
        num_key_value_heads=2 if grouped else 4,
        vocab_size=tokenizer.get_vocab_size() + (_PADDING if padded else 0),
        **{name: _renamed(known.config[name], ids) for name in ("bos_token_id", "eos_token_id")},
    )
    return config, [ids[old] for old in known.generation_eos]


def _renamed(value: Any, ids: Mapping[int, int]) -> Any:
    return [ids[each] for each in value] if isinstance(value, list) else ids[value]


def _tokenizer(facts: Mapping[str, Any], texts: Iterable[str]) -> Tokenizer:
    """Return a byte-level tokenizer with the real one's marks, merged from texts."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(_WORDS), behavior="isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        texts, trainers.BpeTrainer(vocab_size=_MERGED, initial_alphabet=alphabet, show_progress=False)
    )
    made.add_special_tokens([AddedToken(token, special=True) for token in facts["tokens"]])
    if facts["opens_with_bos"]:
        bos = facts["bos"]
        made.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, made.token_to_id(bos))]
        )
    return made


def _of_folder(path: str, revision: str | None, folder: Path) -> tuple[PretrainedConfig, list[int] | None]:
    """Write the tokenizer as it is; returns the model's config made tiny, and the ids that end a response if stated."""
    check_place(path, revision)
    with reached_or_offline() as unreached:
        try:
            config, tokenizer = model_config(path, revision), load_tokenizer(path, revision)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(
                SettingName("model.path"),
                f" = {path!r} has no config and tokenizer to make a stand-in from ({unreached or reason(error)}); give "
                "a model folder, or a Hub name that this machine can reach.",
            ) from None
        try:
            stated = GenerationConfig.from_pretrained(path, revision=revision or "main").eos_token_id
        except (OSError, ValueError):  # not every model has one
            stated = None
    tokenizer.save_pretrained(folder)
    text, kept = config.get_text_config(), config.get_text_config().to_dict()
    grouped = (kept.get("num_key_value_heads") or 0) < (kept.get("num_attention_heads") or 0)
    sizes = {**_SIZES, **_WHERE_THERE, "num_key_value_heads": 2 if grouped else 4, "head_dim": 8}
    for name, size in sizes.items():
        if kept.get(name) is not None:
            setattr(text, name, size)
    if kept.get("layer_types"):
        text.layer_types = kept["layer_types"][: _SIZES["num_hidden_layers"]]
    return config, [stated] if isinstance(stated, int) else stated


def _save(config: PretrainedConfig, eos: list[int] | None, path: str, folder: Path) -> None:
    """Write a model with random weights, the same every time. Raises UserError where the config makes none."""
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, dtype=torch.float32, trust_remote_code=False)
    except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
        raise UserError(
            SettingName("model.path"),
            f" = {path!r} cannot be made small ({reason(error)}); rehearse with a small model of its kind "
            "(--model.path FOLDER).",
        ) from None
    if eos is not None:
        with torch.no_grad():
            model.get_output_embeddings().weight[eos] *= _EOS_TIMES
        model.generation_config = GenerationConfig(eos_token_id=eos, bos_token_id=config.get_text_config().bos_token_id)
    model.save_pretrained(folder)
