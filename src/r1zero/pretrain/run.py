"""`r1zero pretrain`: next-token training in a run directory, resumable to the bit like reinforcement learning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from copy import copy
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError, plural, reason
from r1zero.learner.optimiser import Optimiser
from r1zero.policy.device import pick_device, processor, set_threads
from r1zero.policy.load import (
    Policy,
    check_head,
    checkpoint_layers,
    find_eos_ids,
    recipe_policy,
    silence_dropout,
)
from r1zero.policy.logprobs import response_logprobs
from r1zero.policy.lora import add_lora
from r1zero.policy.place import LOADER_ERRORS, check_language_model, check_place
from r1zero.policy.precision import settled
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.pretrain.corpus import Documents, Packed, Packer, held_out, open_corpus
from r1zero.pretrain.places import content_facts, located
from r1zero.runs import checkpoints, moved
from r1zero.runs.begin import Beginning
from r1zero.runs.exclusive import exclusive
from r1zero.runs.run import Run
from r1zero.trackers import check_sinks, opened

Watch = Callable[[int, int, dict[str, float]], None]
"""Called with (step, all steps, the step's numbers)."""


class Pretrainer:
    """Everything that a pretraining run moves: policy, optimiser, schedule, and its place in the corpus."""

    def __init__(self, recipe: PretrainRecipe, policy: Policy, packer: Packer, total: int, unseen: list[Packed]):
        self.recipe, self.policy, self.packer, self.total, self.unseen = recipe, policy, packer, total, unseen
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimiser = Optimiser(self.parameters, recipe.learner, total)
        self.steps = 0
        if recipe.learner.gradient_checkpointing:
            checkpoint_layers(policy.model)

    def step(self) -> dict[str, float]:
        """Return one optimiser step; returns its numbers. Raises UserError when the gradient is not finite."""
        settings = self.recipe.learner
        packed = self.packer.next(settings.rows)
        self.policy.model.train()
        self.optimiser.zero_grad()
        total = 0.0
        for at in range(0, settings.rows, settings.micro_rows):
            rows = packed.part(slice(at, at + settings.micro_rows)).micro_batch(self.policy.device)
            loss = -response_logprobs(self.policy, rows, 1.0)[0].sum() / packed.targets
            loss.backward()
            total += loss.item()
        rate, norm = self.optimiser.step(self.steps + 1)
        self.steps += 1
        return {
            "pretrain/loss": total,  # mean −log π of the step's target tokens, in nats
            "pretrain/grad_norm": norm,  # before clipping
            "pretrain/learning_rate": rate,
            "pretrain/tokens": packed.targets,
            "pretrain/epoch": self.packer.documents.epoch,  # passes over the corpus so far; 0 of a stream
        }

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Return mean −log π over the tokens of the documents that are held out, in nats."""
        self.policy.model.eval()
        total = sum(
            -response_logprobs(self.policy, each.micro_batch(self.policy.device), 1.0)[0].sum().item()
            for each in self.unseen
        )
        return total / sum(each.targets for each in self.unseen)

    def state(self) -> dict[str, Any]:
        """Return everything but the weights."""
        return self.optimiser.state() | {"packer": self.packer.state(), "steps": self.steps}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.optimiser.restore(state)
        self.steps = state["steps"]
        self.packer.restore(state["packer"])


def pretrain_run(
    recipe: PretrainRecipe,
    out: Path,
    *,
    resume: bool = False,
    from_step: int | None = None,
    watch: Watch | None = None,
) -> Run:
    """Run a pretraining recipe in the directory `out`; killed and resumed, it ends with the same bits. With `resume` it
    goes on from its last checkpoint, or from that of `from_step`.

    Raises:
        UserError: anything the user has to mend, in one sentence.
    """
    with exclusive(out):
        return _pretrain_run(recipe, out, resume, from_step, watch)


def _pretrain_run(recipe: PretrainRecipe, out: Path, resume: bool, from_step: int | None, watch: Watch | None) -> Run:
    beginning = Beginning.find(out, resume=resume, from_step=from_step)
    check_sinks(recipe.log.sinks)
    recipe = located(recipe, beginning)
    checkpoint = beginning.checkpoint
    threads = set_threads(beginning.threads(recipe.train.threads))
    trainer, precision = make_pretrainer(recipe, checkpoint, beginning.autocast(recipe.learner.autocast))
    facts = {
        **precision,
        "parameters": sum(p.numel() for p in trainer.parameters),
        "steps": trainer.total,
        **processor(threads),
        "device": str(trainer.policy.device),
        "places": moved.places(recipe),
        **content_facts(recipe, beginning),
    }
    if trainer.total < beginning.done:
        raise UserError(
            f"The recipe asks for {plural(trainer.total, 'step')}, and {out} has done {beginning.done}; raise its "
            "train.steps or train.epochs, or start another run with another --out."
        )
    notes = beginning.notes(recipe, facts)
    run = beginning.run(recipe, facts)
    with opened(recipe.log, run, recipe) as sinks:
        beginning.go_on(recipe, facts, notes)
        for step in range(beginning.done + 1, trainer.total + 1):
            started, last = time.perf_counter(), step == trainer.total
            numbers = trainer.step()
            if trainer.unseen and (last or step % recipe.evaluation.every == 0):
                numbers["pretrain/held_out_loss"] = trainer.held_out_loss()
            numbers["time/step"] = time.perf_counter() - started
            numbers["speed/tokens_per_second"] = numbers["pretrain/tokens"] / numbers["time/step"]
            run.log("metrics", {"step": step} | numbers)
            for sink in sinks:
                sink.log(step, numbers)
            if watch is not None:
                watch(step, trainer.total, numbers)
            if last or step % recipe.checkpoint.every == 0:
                checkpoints.save(out / "checkpoints", step, trainer.policy.save, trainer.state(), None)
                checkpoints.prune(out / "checkpoints", recipe.checkpoint.keep_last, keep_best=False)
    return run


def make_pretrainer(
    recipe: PretrainRecipe, checkpoint: checkpoints.Checkpoint | None, autocast: str
) -> tuple[Pretrainer, dict[str, str]]:
    """Return model and corpus of a recipe, at its start or where a checkpoint left them, and what the run records of
    the precision that it learns in, which is decided here where it is `auto`.
    """
    rows = open_corpus(recipe.corpus)
    if checkpoint or not recipe.model.from_scratch:
        policy = recipe_policy(recipe.model, autocast, checkpoint)
        add_lora(policy, None, recipe.train.seed)
    else:
        policy = begin(recipe)
    policy, precision = settled(policy, autocast)
    own = policy.tokenizer.eos_token_id
    eos = own if isinstance(own, int) else policy.eos_ids[0]
    kept, length = recipe.evaluation.documents, recipe.learner.sequence_length
    documents = Documents(rows, recipe.corpus, policy.encode, eos, seed=recipe.train.seed, held_out=kept)
    total = recipe.train.steps or steps_of(recipe, documents)
    unseen = held_out(documents, kept, length) if kept else []
    trainer = Pretrainer(recipe, policy, Packer(documents, length), total, unseen)
    if checkpoint:
        trainer.restore(checkpoint.state())
    return trainer, precision


def begin(recipe: PretrainRecipe) -> Policy:
    """Return a new model of the recipe's shape, its weights drawn with the recipe's seed."""
    settings = recipe.model
    device = pick_device(settings.device)
    check_place(settings.path, settings.revision)
    try:
        config = AutoConfig.from_pretrained(settings.path, revision=settings.revision, trust_remote_code=False)
        tokenizer = load_tokenizer(settings.path, settings.revision)
    except LOADER_ERRORS as error:
        raise UserError(
            f"model.path = {settings.path!r} holds no config and tokenizer to start from ({reason(error)})."
        ) from None
    check_language_model(config, settings.path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        model = AutoModelForCausalLM.from_config(
            config, attn_implementation=settings.attention, trust_remote_code=False
        ).float()
    nn.Module.to(model, device)
    silence_dropout(model)
    check_head(model)
    return Policy(model, tokenizer, find_eos_ids(model, tokenizer, settings.path), nullcontext)


def steps_of(recipe: PretrainRecipe, documents: Documents) -> int:
    """Return optimiser steps of `train.epochs` passes: every token is counted once, which reads the corpus once."""
    counter, tokens = copy(documents), 0
    while counter.epoch < 1:
        tokens += len(counter.next())
    per_step = recipe.learner.sequence_length * recipe.learner.rows
    return max(1, math.floor(tokens * (recipe.train.epochs or 1) / per_step))
