"""Trying a model out: a few tokens, computed by a way of ours and by the model's own forward pass alone.

What a way of computing does to an architecture is not listed anywhere, and changes from version to version. So nothing
is assumed: what does not agree is not used, or refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel

from r1zero.errors import SettingName, UserError, reason

Told = tuple[tuple[int, ...], tuple[int, ...], Tensor]
"""A prompt, a response, and the log-probs of the response's tokens, in nats, as some way of computing has them."""
Context = Callable[[], AbstractContextManager[object]]
_EXACT, _ROUNDED = 1e-3, 0.25  # nats on average, in float32 and in less: rounding is far below, another function above


@contextmanager
def attempted(name: SettingName, what: str) -> Iterator[None]:
    """Tell in one sentence of `name` that `what`, where running a model's own code fails."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(name, f"{what}: choose another architecture. It said: {_said(error)}") from error


def objection(model: PreTrainedModel, told: Callable[[], Iterable[Told]], context: Context) -> str:
    """Tell what speaks against a way of computing, "" for nothing: it fails, or differs from the model's own pass.

    `context` is the one that `told` computes in, such as autocast.
    """
    exact = context is nullcontext and model.dtype == torch.float32
    try:
        gaps = [gap for prompt, ids, found in told() for gap in _gaps(model, prompt, ids, found, context)]
    except UserError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - whatever a model's own code raises speaks against it
        return f"it fails with {_said(error)}"
    gap = sum(gaps) / len(gaps)
    return "" if gap <= (_EXACT if exact else _ROUNDED) else f"log-probs differ by {gap:.2g} nats a token"


@torch.no_grad()
def _gaps(
    model: PreTrainedModel, prompt: tuple[int, ...], response: tuple[int, ...], found: Tensor, context: Context
) -> list[float]:
    """|ours - own| of each response token; own by one plain pass: no cache, no padding, no company."""
    ids = torch.tensor([[*prompt, *response]], device=model.device)
    with context():
        logits = model(input_ids=ids, use_cache=False).logits[0, len(prompt) - 1 : -1].float()
    own = torch.log_softmax(logits, dim=-1).gather(1, ids[0, len(prompt) :, None])[:, 0]
    return (found.to(own) - own).abs().tolist()


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {reason(error)}"
