"""Whom to ask: a model that fits here, or one that a server holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from r1zero.endpoint import Client, Endpoint, Store
from r1zero.errors import SettingName, UserError, plural, reason
from r1zero.hub import reached_or_offline
from r1zero.policy.device import set_threads
from r1zero.policy.load import encode_prompt, load_policy
from r1zero.policy.place import LOADER_ERRORS, check_files
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.policy.vocabulary import textless_ids
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import Encode, PreparedSet
from r1zero.runs.checkpoints import check_sealed
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Sampler
from r1zero.sampling.server import ServerSampler
from r1zero.templates import Template

SERVER_KEY = "R1ZERO_SERVER_KEY"
"""The environment variable that holds a server's key."""


@dataclass(frozen=True, slots=True)
class EvaluatedModel:
    """A model that can be asked; `positions` tells the most tokens of prompt and response, where that is known: of a
    server, once it has encoded something.
    """

    name: str
    sampler: Sampler
    encode: Encode
    tokenizer: PreTrainedTokenizerBase | None
    parameters: int | None
    positions: Callable[[], int | None]
    notes: Callable[[], list[str]]
    textless: frozenset[int] = frozenset()
    """Token ids that it can say and its tokenizer has no text for, where that is known."""

    def prepare(self, sets: Sequence[QuestionSet], template: Template) -> tuple[PreparedSet, ...]:
        """Prepare the sets as it is asked them."""
        self.encode(template.render(sets[0][0].text))
        return tuple(PreparedSet(each, template, self.encode, self.textless, self.positions()) for each in sets)


def local(
    model: str,
    *,
    rows: int,
    device: str = "auto",
    attention: str = "sdpa",
    precision: Literal["float32", "bfloat16"] = "float32",
) -> EvaluatedModel:
    """Return a model folder or Hub name in this process, its weights in a precision."""
    set_threads(None)
    policy = load_policy(model, device=device, attention=attention, dtype=getattr(torch, precision))
    sampler = make_sampler(policy, rows)
    textless = textless_ids(policy.tokenizer, policy.model)
    return EvaluatedModel(
        model, sampler, policy.encode, policy.tokenizer, policy.size, lambda: policy.positions, list, textless
    )


def served(model: str, client: Client, *, workers: int, tokenizer: str | None) -> EvaluatedModel:
    """Return a model behind a completions endpoint; `tokenizer` names one where the server has none of its own."""
    loaded = _tokenizer(tokenizer) if tokenizer else None
    sampler = ServerSampler(client, model, workers=workers, tokenizer=loaded)
    encode: Encode = sampler.encode if loaded is None else lambda text: encode_prompt(loaded, text)

    def notes() -> list[str]:
        missing = [f"{plural(count, 'response')} {what}" for what, count in sampler.missing.items() if count]
        counts = client.counts
        sent, rest = plural(counts["asked"], "request"), f"{counts['stored']:,} answered from disk"
        asked = f"{sent} sent, {rest}, {counts['retried']:,} retried"
        told = [asked + "".join(f", {text}" for text in missing)]
        if sampler.not_neutral:
            told.append(
                f"the server does not take {', '.join(sampler.not_neutral)}: where its model's generation_config sets "
                "them, responses were drawn under that, and not from the model alone"
            )
        return told

    return EvaluatedModel(model, sampler, encode, loaded, None, lambda: sampler.positions, notes)


def _tokenizer(name: str) -> PreTrainedTokenizerBase:
    check_files(name, SettingName("--tokenizer"))
    check_sealed(Path(name))
    try:
        with reached_or_offline():
            return load_tokenizer(name)
    except LOADER_ERRORS as error:
        raise UserError(
            f"--tokenizer {name} cannot be loaded ({reason(error)}); give a folder or a Hub name."
        ) from None


def connect(address: str, *, requests: Path | None, patience_s: float) -> Client:
    """Return a client of the server that the user gave as --server; what it answers is kept in the file `requests`.

    Raises:
        UserError: that is no address, or the file cannot be opened.
    """
    endpoint = Endpoint(address, "--server", SERVER_KEY, os.environ.get(SERVER_KEY), patience_s=patience_s)
    return Client(endpoint, Store(requests))
