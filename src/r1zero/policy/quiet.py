"""What a model must not do in training: compute at random, or move what no text ever reaches."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel


def silence_dropout(model: nn.Module) -> None:
    """Set every dropout and router noise to zero: with them, the learner's policy would not be the one that sampled."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in list(vars(module).items()):  # attention_dropout, layerdrop, jitter_noise, …
            # PhiMoE's router_jitter_noise is a bound that it compares with when it samples, too
            noise = "jitter" in name and not name.startswith("router_")
            if isinstance(value, float) and ("drop" in name or noise):
                setattr(module, name, 0.0)


def still(model: nn.Module) -> None:
    """Have a model compute in training what it computes when it samples: in evaluation mode, all of it.

    Some draw their experts at random in training mode (PhiMoE). Only what computes layers again in the backward pass
    is told that it trains, for it would not do so otherwise.
    """
    model.eval()
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True


def freeze_other_senses(model: PreTrainedModel) -> None:
    """Freeze what text does not go through: towers for images and sounds, which weight decay alone would move."""
    if model.config.get_text_config() is model.config:
        return
    inner = (model.get_decoder(), model.get_input_embeddings(), model.get_output_embeddings())
    moved = {id(p) for part in inner if isinstance(part, nn.Module) for p in part.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in moved:
            parameter.requires_grad = False
