"""A sharded checkpoint as one Hugging Face folder (model.safetensors, or the adapters alone)."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from r1zero.errors import UserError
from r1zero.policy.load import ADAPTER, check_peft, load_tokenizer
from r1zero.policy.shards import has_shards, load_shards
from r1zero.runs import remedy


def export(checkpoint: Path, out: Path) -> None:
    """Write the model of a sharded checkpoint to `out`, whole or not at all. In memory it is there once, in float32.

    Raises:
        UserError: it is not one, `out` holds something, or it cannot be written.
    """
    if not has_shards(checkpoint):
        raise UserError(
            f"{checkpoint} is no sharded checkpoint; give a folder like RUN/checkpoints/step-000016 of a run with the "
            "section [cluster] (others are model folders as they are)."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something already; give a folder that does not exist yet.")
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(checkpoint), dtype=torch.float32)
    if (checkpoint / ADAPTER).exists():
        check_peft(f"The adapters at {checkpoint} need")
        import peft

        settings = peft.PeftConfig.from_pretrained(str(checkpoint))
        model.name_or_path = str(settings.base_model_name_or_path)
        model.add_adapter(settings)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_("lora_" in name)
    load_shards(checkpoint, model)
    aside = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        model.save_pretrained(aside)
        load_tokenizer(str(checkpoint)).save_pretrained(aside)
        generation = checkpoint / "generation_config.json"
        if generation.exists():
            shutil.copy(generation, aside)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(f"{out} cannot be written ({error.strerror}): {remedy(error)}.") from None
