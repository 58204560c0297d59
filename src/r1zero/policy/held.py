"""A model object of a program's own as a policy, for as long as it is asked; it is given back as it was."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.policy.device import pick_autocast
from r1zero.policy.head import check_head
from r1zero.policy.load import Policy, find_eos_ids
from r1zero.policy.vocabulary import check_tokenizer


@contextmanager
def held(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, autocast: str = "auto") -> Iterator[Policy]:
    """A policy of a model object where it is, in evaluation mode until the context ends.

    Raises:
        UserError: it is no language model that can be sampled from, or does not go with the tokenizer.
    """
    name = type(model).__name__
    modes = [(module, module.training) for module in model.modules()]
    try:
        check_tokenizer(tokenizer, model, name)
        check_head(model)
        eos_ids = find_eos_ids(model, tokenizer, model.config.name_or_path or name)
        model.eval()
        own = autocast if model.dtype == torch.float32 else "off"
        yield Policy(model, tokenizer, eos_ids, pick_autocast(own, model.device))
    finally:
        for module, training in modes:
            module.training = training


def weights_hash(model: PreTrainedModel) -> str:
    """Return 12 hex digits of a model's weights and their names."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:12]
