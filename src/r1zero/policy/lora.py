"""LoRA (Hu et al. 2021): small matrices beside the frozen weights of linear layers, W x + (α/r)·B A x, by peft.

They are never merged into the weights: merging and unmerging again wears the weights away. A checkpoint holds the
matrices alone and names the model that they belong to; transformers and peft read it as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from r1zero import config
from r1zero.errors import UserError, reason
from r1zero.policy.load import Policy, check_peft


def add_lora(policy: Policy, settings: config.LoraSettings | None, seed: int) -> None:
    """Train adapters beside a policy's linear layers: those that it was loaded with, or fresh ones.

    Fresh ones change nothing at first (B = 0). Without settings there must be none.

    Raises:
        UserError: peft is missing, there are no such layers, or the policy has adapters that are not these.
    """
    model = policy.model
    if settings is None:
        if model._hf_peft_config_loaded:
            raise UserError(
                "model.path holds adapters, and training its weights would leave those behind; add the section [lora] "
                "with their rank to go on with them, or merge them into a model folder with peft first."
            )
        return
    check_peft("The section [lora] needs")
    if model._hf_peft_config_loaded:
        _check_same(model, settings)
    else:
        _add(model, settings, seed)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def _check_same(model: Any, settings: config.LoraSettings) -> None:
    found = model.peft_config[model.active_adapters()[0]]
    if (found.r, found.lora_alpha) != (settings.rank, settings.alpha):
        raise UserError(
            f"lora.rank = {settings.rank} and lora.alpha = {settings.alpha:g} are not those of the adapters at "
            f"model.path ({found.r} and {found.lora_alpha:g}); write theirs, or give the model without them."
        )


def _add(model: Any, settings: config.LoraSettings, seed: int) -> None:
    import peft

    folder = Path(model.name_or_path)
    if folder.exists():  # a checkpoint names it, and may be read from anywhere
        model.name_or_path = str(folder.resolve())
    chosen = peft.LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # pyright: ignore[reportArgumentType] - any number does
        target_modules=list(settings.targets) or "all-linear",
        exclude_modules=_unfit(model) or None,
        task_type="CAUSAL_LM",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            model.add_adapter(chosen)
        except ValueError as error:
            raise UserError(
                f"lora.targets = {list(settings.targets)} does not fit the model; name linear layers of it, such as "
                f'"q_proj", or leave it out for all. peft said: {reason(error)}'
            ) from None


def _unfit(model: Any) -> list[str]:
    """Name linear layers that are to have no adapters: those that give more than a product (PhiMoE's routers), and
    those that no text goes through.
    """
    linear = ((name, part) for name, part in model.named_modules() if isinstance(part, nn.Linear))
    return [name for name, part in linear if type(part) is not nn.Linear or not part.weight.requires_grad]
