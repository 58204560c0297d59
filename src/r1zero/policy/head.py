"""The output head: from hidden states to logits, with what model families do to them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from r1zero.errors import SettingName, UserError
from r1zero.policy.forward import hidden_states
from r1zero.policy.probe import attempted

_PATH = SettingName("model.path")


def head_logits(model: PreTrainedModel, hidden: Tensor) -> Tensor:
    """Return the output head on last hidden states, with the scalings that model families apply to their logits."""
    config = model.config.get_text_config()
    head: nn.Module = model.get_output_embeddings()  # pyright: ignore[reportAssignmentType]
    logits = head(hidden)
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if multiplier := getattr(config, "lm_head_multiplier", None):  # Falcon-H1
        logits = logits * multiplier
    if divisor := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / divisor
    cap = getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None)
    if cap:  # Gemma, RecurrentGemma
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.no_grad()
def check_head(model: PreTrainedModel) -> None:
    """Make sure that `head_logits` of the hidden states are the model's own logits, on a few tokens.

    Raises:
        UserError: they are not, or the model cannot be run at all.
    """
    kind = model.config.model_type
    ids = (torch.arange(4, device=model.device) % model.config.get_text_config().vocab_size)[None]
    model.eval()
    with attempted(_PATH, f" names a {kind} model that fails on a line of text"):
        own = model(input_ids=ids, use_cache=False).logits
    if not own.isfinite().all():
        _check_finite(model, own)
    with attempted(_PATH, f" names a {kind} model whose hidden states cannot be had apart from its output head"):
        ours = head_logits(model, hidden_states(model, ids, use_cache=False))
    if own.shape != ours.shape or not torch.allclose(own.float(), ours.float(), rtol=1e-3, atol=1e-3):
        raise UserError(
            _PATH,
            f" names a {kind} model whose output head this version cannot compute in "
            "chunks (its logits differ from hidden states times lm_head); choose another architecture.",
        )


def _check_finite(model: PreTrainedModel, logits: Tensor) -> None:
    """Raise a UserError for weights that are no numbers, or that make none."""
    torn = next((name for name, weights in model.named_parameters() if not weights.isfinite().all()), None)
    if torn is None and not logits.isnan().any():
        return  # -inf, of tokens that the model never says
    where = f" ({torn})" if torn else ""
    raise UserError(
        _PATH,
        f" names a model whose {'weights' if torn else 'logits'} are not finite{where}: it is damaged, or its training "
        "went astray; give another model, and of a run an older checkpoint (--resume STEP to train on).",
    )
