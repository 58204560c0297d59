"""Loading a policy: a causal language model, its tokenizer, every way it can end, and where it runs."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import pickle
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from packaging.version import Version
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.integrations.peft import MIN_PEFT_VERSION
from transformers.utils import logging as hf_logging

from r1zero import config
from r1zero.errors import SettingName, UserError, reason
from r1zero.hub import reached_or_offline
from r1zero.policy.adapters import find_base, load_with_base, name_base
from r1zero.policy.device import check_attention, pick_autocast, pick_device
from r1zero.policy.fingerprint import named_base
from r1zero.policy.head import check_head
from r1zero.policy.place import ADAPTER, LOADER_ERRORS, check_language_model, check_place
from r1zero.policy.quiet import freeze_other_senses, silence_dropout
from r1zero.policy.sharded import has_shards, load_shards
from r1zero.policy.stored import check_stored
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.policy.vocabulary import check_tokenizer
from r1zero.runs import checkpoints

_PATH = SettingName("model.path")
_ATTENTIONS = ("sdpa", "eager")  # what may stand in for another that does not fit

hf_logging.disable_progress_bar()  # bars of a second that hide our own lines


@dataclass(frozen=True, slots=True)
class Policy:
    """A model with what sampling and learning need to know of it."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    eos_ids: tuple[int, ...]
    """Every token that ends a response: the generation config's list, the config's and the tokenizer's own."""
    autocast: Callable[[], AbstractContextManager[object]]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.device

    @property
    def positions(self) -> int | None:
        """How many tokens the model computes as it was made to, prompt and response together; None: it does not say."""
        return find_positions(self.model.config.get_text_config())

    @property
    def size(self) -> int:
        """The number of parameters."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def exact(self) -> bool:
        """Whether forward passes run in float32 throughout."""
        return self.autocast is nullcontext and self.model.dtype == torch.float32

    @property
    def engine_dtype(self) -> torch.dtype:
        """In what an engine of this policy computes, and so keeps its weights."""
        return torch.float32 if self.exact else torch.bfloat16

    def encode(self, prompt: str) -> tuple[int, ...]:
        """Return token ids of a rendered prompt. A tokenizer that opens texts with BOS does so exactly once."""
        return encode_prompt(self.tokenizer, prompt)

    def save(self, folder: Path) -> None:
        """Write model (or its adapters alone) and tokenizer as a Hugging Face folder."""
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def find_positions(settings: PretrainedConfig) -> int | None:
    """See `Policy.positions`.

    Beyond `original_max_position_embeddings`, the angles of `longrope` and `dynamic` are those of the longest row of
    a batch: what a response is would depend on its company, and on where it ends itself.
    """
    stated: int | None = getattr(settings, "max_position_embeddings", None)
    ropes = getattr(settings, "rope_parameters", None) or {}
    bounds = [
        # of `dynamic`, it is what the config has as its positions, where it says nothing else
        rope.get("original_max_position_embeddings") or getattr(settings, "original_max_position_embeddings", stated)
        for rope in (ropes, *ropes.values())
        if isinstance(rope, dict) and rope.get("rope_type") in ("longrope", "dynamic")
    ]
    return min((bound for bound in (*bounds, stated) if bound is not None), default=None)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> tuple[int, ...]:
    """See `Policy.encode`."""
    bos, bos_id = tokenizer.bos_token, tokenizer.bos_token_id
    if not isinstance(bos, str) or not isinstance(bos_id, int) or tokenizer("").input_ids[:1] != [bos_id]:
        return tuple(tokenizer.encode(prompt, add_special_tokens=False))
    return (bos_id, *tokenizer.encode(prompt.removeprefix(bos), add_special_tokens=False))


def load_policy(
    path: str,
    *,
    revision: str | None = None,
    device: str = "auto",
    attention: str = "sdpa",
    autocast: str = "auto",
    dtype: torch.dtype = torch.float32,
    beside: config.ModelSettings | None = None,
) -> Policy:
    """Load a model folder or Hub name with its tokenizer, dropout off. Adapters are loaded beside the model that they
    name, or `beside` another place of it.

    Raises:
        UserError: nothing loadable there, a sealed folder that is damaged, other weights than its files hold, no EOS
            token, or an output head that chunked log-probs cannot reproduce.
    """
    where = pick_device(device)
    check_place(path, revision)
    base = find_base(Path(path), beside)
    _check_sealed(Path(path), base)
    if (Path(path) / ADAPTER).exists():
        check_peft(f"The adapters at {path} need")
    check_attention(attention, where)
    with nullcontext("") if Path(path).exists() else reached_or_offline() as unreached:
        try:
            tokenizer = load_tokenizer(path, revision)
            if has_shards(Path(path)):
                model = _load_sharded(Path(path), attention, dtype, base)
            elif base is not None:
                model, report = load_with_base(Path(path), base, attention, dtype)
                check_stored(model, report, path, None, beneath=base)
            else:
                model = _load_files(path, revision, attention, dtype)
        except LOADER_ERRORS as error:
            raise _unloadable(path, attention, error, unreached, revision) from None
    nn.Module.to(model, where)
    silence_dropout(model)
    freeze_other_senses(model)
    check_tokenizer(tokenizer, model, path)
    check_head(model)
    return Policy(model, tokenizer, find_eos_ids(model, tokenizer, path, revision), pick_autocast(autocast, where))


def _load_files(path: str, revision: str | None, attention: str, dtype: torch.dtype) -> PreTrainedModel:
    """Return the model of a folder or Hub name, with the weights of its files and no others."""
    if not (Path(path) / ADAPTER).exists():
        check_language_model(AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False), path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        path,
        revision=revision,
        dtype=dtype,
        attn_implementation=attention,
        output_loading_info=True,
        trust_remote_code=False,
    )
    model, report = loaded
    check_stored(model, report, path, revision)
    return model


def _load_sharded(
    folder: Path, attention: str, dtype: torch.dtype, base: config.ModelSettings | None
) -> PreTrainedModel:
    """The model of a sharded checkpoint: whole, or its adapters beside the weights of the model that they name."""
    if not (folder / ADAPTER).exists():
        settings = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        model = AutoModelForCausalLM.from_config(
            settings, dtype=dtype, attn_implementation=attention, trust_remote_code=False
        )
    else:
        import peft

        adapters = peft.PeftConfig.from_pretrained(str(folder))
        named = (base.path, base.revision) if base else (str(adapters.base_model_name_or_path), None)
        model = _load_files(*named, attention, dtype)
        model.add_adapter(adapters)
        if base is not None:
            name_base(model, base.path)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    with suppress(OSError, ValueError):  # not every folder has one
        model.generation_config = GenerationConfig.from_pretrained(folder)
    load_shards(folder, model)
    return model


def load_blank(path: str, *, revision: str | None = None, attention: str = "sdpa") -> Policy:
    """Return what is known of a model without its weights: its layers, its tokenizer and how its responses end.

    Raises:
        UserError: like `load_policy`.
    """
    check_place(path, revision)
    with nullcontext("") if Path(path).exists() else reached_or_offline() as unreached:
        try:
            tokenizer = load_tokenizer(path, revision)
            settings = AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
            check_language_model(settings, path)
            with torch.device("meta"):
                model = AutoModelForCausalLM.from_config(
                    settings, dtype=torch.float32, attn_implementation=attention, trust_remote_code=False
                )
        except LOADER_ERRORS as error:
            raise _unloadable(path, attention, error, unreached, revision) from None
    silence_dropout(model)
    freeze_other_senses(model)
    with suppress(OSError, ValueError):  # not every folder has one
        model.generation_config = GenerationConfig.from_pretrained(path, revision=revision or "main")
    return Policy(model, tokenizer, find_eos_ids(model, tokenizer, path, revision), nullcontext)


def check_peft(what: str) -> None:
    """Raise a UserError where peft is not installed, or too old for transformers; `what` needs it."""
    if importlib.util.find_spec("peft") is None:
        raise UserError(f'{what} the package peft, which is not installed; run `pip install "r1zero[lora]"`.')
    installed, beside = importlib.metadata.version("peft"), Version(transformers.__version__)
    if Version(installed) < Version(MIN_PEFT_VERSION):
        raise UserError(
            f"{what} peft {MIN_PEFT_VERSION} or newer beside transformers {beside}, and {installed} is installed; run "
            f'`pip install "peft>={MIN_PEFT_VERSION}"`, or, until there is one, '
            f'`pip install "transformers<{beside.major}.{beside.minor}"`.'
        )


def checkpoint_layers(model: PreTrainedModel) -> None:
    """Have a model compute its layers' insides again in a backward pass, instead of keeping them."""
    # transformers 5.23 gave the method this name, and 5.24 warns of the old one
    enable: Any = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError:
        raise UserError(
            f"learner.gradient_checkpointing = true is not for {model.config.model_type} models; write false."
        ) from None


def _unloadable(path: str, attention: str, error: Exception, unreached: str, revision: str | None = None) -> UserError:
    """Return what is wrong with a model that the loader refused; `unreached` says why the Hub did not answer, if so."""
    said = reason(error, 300)
    if "scaled_dot_product_attention" in said or "attn_implementation" in said or "attention implementation" in said:
        others = [f'"{each}"' for each in _ATTENTIONS if each != attention and _builds(path, revision, each)]
        if others:
            return UserError(
                SettingName("model.attention"),
                f" = {attention!r} does not fit the model at ",
                _PATH,
                f" = {path!r}; write {' or '.join(others)}.",
            )
    if isinstance(error, pickle.UnpicklingError):
        return UserError(
            _PATH,
            f" = {path!r} holds a file of weights that is damaged, or holds more than weights, which is never run; "
            "give a folder whose weights are in model.safetensors.",
        )
    if "trust_remote_code" in str(error):
        return UserError(
            _PATH,
            f" = {path!r} is not a model of an architecture that transformers has: it brings Python code of its own, "
            "which is never run; give one whose architecture is among transformers' own.",
        )
    hint = "" if Path(path).exists() else " (no such local folder either)"
    return UserError(
        _PATH,
        f" = {path!r} cannot be loaded{hint}; give a folder with config.json, model.safetensors and a "
        f"tokenizer, or a Hub name that this machine can reach. The loader said: {unreached or said}",
    )


def _builds(path: str, revision: str | None, attention: str) -> bool:
    """Tell whether a model's class takes an attention."""
    try:
        settings = AutoConfig.from_pretrained(path, revision=revision)
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(settings, attn_implementation=attention)
    except LOADER_ERRORS:
        return False
    return True


def _check_sealed(folder: Path, base: config.ModelSettings | None) -> None:
    """Ask the seals of a model folder, and of the one that its adapters belong to. Raises UserError."""
    checkpoints.check_sealed(folder)
    if named := base.path if base else named_base(folder):
        check_place(named)
        checkpoints.check_sealed(Path(named))


def find_eos_ids(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str, revision: str | None = None
) -> tuple[int, ...]:
    """Return all end-of-sequence ids, from every place that states one; an id that is only its class's default counts
    not.
    """
    ids: set[int] = set()
    sources = (tokenizer, model.config, model.generation_config) if _states_eos(path, revision) else (tokenizer,)
    for source in sources:
        entry = getattr(source, "eos_token_id", None)
        entries = list(entry) if isinstance(entry, list | tuple) else [entry] if entry is not None else []
        if strange := [each for each in entries if type(each) is not int]:
            raise UserError(
                f"eos_token_id of the model at {path} holds {strange[0]!r:.60}, which is not a token's id: write "
                "numbers in its config.json and generation_config.json."
            )
        ids |= set(entries)
    # some tokenizer classes make up an EOS token that the model has no output for
    ids = {i for i in ids if 0 <= i < model.config.get_text_config().vocab_size}
    if not ids:
        raise UserError(
            f"Neither the model nor the tokenizer at {path} names an EOS token, so no response could ever end; set "
            "eos_token in tokenizer_config.json or eos_token_id in generation_config.json."
        )
    return tuple(sorted(ids))


def _states_eos(path: str, revision: str | None) -> bool:
    """Tell whether the model's files name an EOS id: Llama's config class has one of its own where they do not."""
    try:
        raw, _ = PretrainedConfig.get_config_dict(path, revision=revision or "main")
    except (OSError, ValueError):  # a model that was never saved
        return True
    if "eos_token_id" in {**raw, **(raw.get("text_config") or {})}:
        return True
    try:
        return GenerationConfig.from_pretrained(path, revision=revision or "main").eos_token_id is not None
    except (OSError, ValueError):
        return False


def recipe_policy(settings: config.ModelSettings, autocast: str, checkpoint: checkpoints.Checkpoint | None) -> Policy:
    """Return the model of a recipe, or of the checkpoint that its run goes on from."""
    return load_policy(
        str(checkpoint.path) if checkpoint else settings.path,
        revision=None if checkpoint else settings.revision,
        device=settings.device,
        attention=settings.attention,
        autocast=autocast,
        beside=settings if checkpoint else None,
    )
