"""Whom to ask: a model that fits here, in this process or in an engine beside it, or one that a server holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from transformers import PreTrainedTokenizerBase

from r1zero.endpoint import Client, Endpoint, Store
from r1zero.errors import SettingName, UserError, plural, reason
from r1zero.hub import reached_or_offline
from r1zero.policy.device import pick_autocast, pick_device, set_threads
from r1zero.policy.load import Policy, encode_prompt, load_blank, load_policy
from r1zero.policy.place import ADAPTER, LOADER_ERRORS, check_files, check_place
from r1zero.policy.sharded import has_shards
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.policy.vocabulary import check_ids, check_tokenizer, textless_ids
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import Encode, PreparedSet
from r1zero.runs.checkpoints import check_sealed
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Sampler
from r1zero.sampling.server import ServerSampler
from r1zero.sampling.standing_engine import StandingEngine
from r1zero.sampling.vllm import USE_TORCH, VLLM, vllm_module
from r1zero.templates import Template

ENGINE_MEMORY = 0.9
"""The share of a device that an engine takes which nobody learns beside."""
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
    engine: Literal["torch", "vllm", "server"] = "torch"
    """What draws its responses: the embedded sampler, an engine beside this process, or a server."""
    begin: Callable[[Sequence[PreparedSet], int], None] = lambda prepared, max_new_tokens: None
    """Called before anything is kept: it gets ready for these questions and so many tokens of a response."""
    close: Callable[[], None] = lambda: None
    """Called when nothing is asked any more."""

    def prepare(self, sets: Sequence[QuestionSet], template: Template) -> tuple[PreparedSet, ...]:
        """Prepare the sets as it is asked them."""
        self.encode(template.ask(sets[0][0]))
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


def held(policy: Policy, name: str, *, rows: int) -> EvaluatedModel:
    """Return a model object of a program's own, as a policy."""
    sampler, textless = make_sampler(policy, rows), textless_ids(policy.tokenizer, policy.model)
    return EvaluatedModel(
        name, sampler, policy.encode, policy.tokenizer, policy.size, lambda: policy.positions, list, textless
    )


def beside(
    model: str,
    *,
    rows: int,
    device: str = "auto",
    precision: Literal["float32", "bfloat16"] = "float32",
    memory: float = ENGINE_MEMORY,
    tensor_parallel: int = 1,
) -> EvaluatedModel:
    """Return a model folder or Hub name in a vLLM engine, which reads the weights itself: none are in this process.

    `memory` is the share of each of `tensor_parallel` GPUs that it takes, or of a CPU's memory at most.

    Raises:
        UserError: vLLM is not installed or does not take the model, or there is no whole model.
    """
    vllm, where = vllm_module(), pick_device(device)
    blank = replace(_blank(model), autocast=pick_autocast("bfloat16" if precision == "bfloat16" else "auto", where))
    engine: StandingEngine = vllm.standing_engine(
        model, blank, where, rows=rows, memory=memory, tensor_parallel=tensor_parallel
    )

    def begin(prepared: Sequence[PreparedSet], max_new_tokens: int) -> None:
        check_ids((prompt.ids for each in prepared for prompt in each.prompts), blank.model, blank.tokenizer)
        context = max(each.longest for each in prepared) + max_new_tokens
        engine.reach(min(context, blank.positions or context))

    return EvaluatedModel(
        model, engine, blank.encode, blank.tokenizer, blank.size, lambda: blank.positions, list,
        textless_ids(blank.tokenizer, blank.model), "vllm", begin, engine.close,
    )  # fmt: skip


def _blank(model: str) -> Policy:
    """Return what is known of a model whose files an engine can read. Raises UserError where it cannot."""
    folder = Path(model)
    check_place(model)
    check_sealed(folder)
    if (folder / ADAPTER).exists():
        raise UserError(
            VLLM, f" takes a whole model, and {model} holds adapters alone; merge them into a model folder with peft "
            "first, or use ", USE_TORCH, ".",
        )  # fmt: skip
    if has_shards(folder):
        raise UserError(
            VLLM, f" cannot read the shards in {model}; make a model folder of them (`r1zero export {model} FOLDER`) "
            "and give that, or use ", USE_TORCH, ".",
        )  # fmt: skip
    blank = load_blank(model)
    check_tokenizer(blank.tokenizer, blank.model, model)
    return blank


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

    return EvaluatedModel(model, sampler, encode, loaded, None, lambda: sampler.positions, notes, engine="server")


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
