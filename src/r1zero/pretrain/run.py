"""`r1zero pretrain`: next-token training in a run directory, resumable to the bit like reinforcement learning."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import AutoConfig, AutoModelForCausalLM

from r1zero import checkpoints
from r1zero.assemble import newest_checkpoint, set_threads
from r1zero.config import validated
from r1zero.errors import UserError
from r1zero.learner import learning_rate_factor
from r1zero.policy.load import (
    Policy,
    check_head,
    find_eos_ids,
    load_policy,
    load_tokenizer,
    pick_autocast,
    pick_device,
    silence_dropout,
)
from r1zero.policy.logprobs import response_logprobs
from r1zero.pretrain.corpus import Documents, Packed, Packer, held_out, open_corpus
from r1zero.pretrain.recipe import PretrainRecipe
from r1zero.runs import Run, write_text
from r1zero.sinks import check_sinks, open_sinks

METRICS = {
    "pretrain/loss": "Mean −log π of the step's target tokens, in nats.",
    "pretrain/held_out_loss": "The same over the held-out documents (`evaluation.documents`).",
    "pretrain/grad_norm": "Gradient norm before clipping.",
    "pretrain/learning_rate": "Learning rate of the step.",
    "pretrain/tokens": "Target tokens of the step.",
    "pretrain/epoch": "Passes over the corpus so far; 0 of a stream.",
    "time/step": "Seconds of the step.",
    "speed/tokens_per_second": "Tokens a second.",
}
Watch = Callable[[int, int, dict[str, float]], None]
"""Called with (step, all steps, the step's numbers)."""


class Pretrainer:
    """Everything that a pretraining run moves: policy, optimiser, schedule, and its place in the corpus."""

    def __init__(self, recipe: PretrainRecipe, policy: Policy, packer: Packer, total: int):
        self.recipe, self.policy, self.packer, self.total = recipe, policy, packer, total
        settings = recipe.learner
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimiser = torch.optim.AdamW(
            self.parameters,
            lr=settings.learning_rate,
            betas=settings.betas,
            eps=settings.eps,
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.schedule = LambdaLR(self.optimiser, lambda step: learning_rate_factor(step, settings, total))
        if settings.gradient_checkpointing:
            policy.model.gradient_checkpointing_enable({"use_reentrant": False})

    def step(self) -> dict[str, float]:
        """One optimiser step; returns its numbers. Raises UserError when the gradient is not finite."""
        settings = self.recipe.learner
        packed = self.packer.next(settings.rows)
        self.policy.model.train()
        self.optimiser.zero_grad(set_to_none=True)
        total = sum(
            self._loss(packed.part(slice(at, at + settings.micro_rows)), packed.targets)
            for at in range(0, settings.rows, settings.micro_rows)
        )
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, settings.max_grad_norm).item()
        if not math.isfinite(norm):
            raise UserError(
                "The gradient is not finite, so the weights were left as they are; lower learner.learning_rate and "
                "continue from the last checkpoint with --resume."
            )
        rate = float(self.schedule.get_last_lr()[0])
        self.optimiser.step()
        self.schedule.step()
        return {
            "pretrain/loss": total,
            "pretrain/grad_norm": norm,
            "pretrain/learning_rate": rate,
            "pretrain/tokens": packed.targets,
            "pretrain/epoch": self.packer.documents.epoch,
        }

    def _loss(self, packed: Packed, targets: int) -> float:
        logprobs_N, _ = response_logprobs(self.policy, packed.micro_batch(self.policy.device), 1.0)
        loss = -logprobs_N.sum() / targets
        loss.backward()
        return loss.item()

    @torch.no_grad()
    def held_out_loss(self, documents: list[Packed]) -> float:
        """Mean −log π over the documents' tokens, in nats."""
        self.policy.model.eval()
        total = sum(
            -response_logprobs(self.policy, each.micro_batch(self.policy.device), 1.0)[0].sum().item()
            for each in documents
        )
        return total / sum(each.targets for each in documents)

    def state(self) -> dict[str, Any]:
        """Everything but the weights."""
        parts = {"optimiser": self.optimiser.state_dict(), "schedule": self.schedule.state_dict()}
        return parts | {"packer": self.packer.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from `state()`."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.packer.restore(state["packer"])


def pretrain_run(recipe: PretrainRecipe, out: Path, *, resume: bool = False, watch: Watch | None = None) -> Run:
    """Run a pretraining recipe in the directory `out`; killed and resumed, it ends with the same bits.

    Raises:
        UserError: anything the user has to mend, in one sentence.
    """
    existing = Run.find(out, resume=resume)
    check_sinks(recipe.log.sinks)
    checkpoint, _ = newest_checkpoint(out / "checkpoints") if existing else (None, [])
    threads = set_threads(recipe.train.threads)
    rows = open_corpus(recipe.corpus)
    policy = load_policy(str(checkpoint.path), device=recipe.model.device) if checkpoint else begin(recipe)
    own = policy.tokenizer.eos_token_id
    eos = own if isinstance(own, int) else policy.eos_ids[0]
    kept = recipe.evaluation.documents
    documents = Documents(rows, recipe.corpus, policy.encode, eos, seed=recipe.train.seed, held_out=kept)
    packer = Packer(documents, recipe.learner.sequence_length)
    total = recipe.train.steps or steps_of(recipe, documents)
    trainer = Pretrainer(recipe, policy, packer, total)
    if checkpoint:
        trainer.restore(checkpoint.state())
    if existing:
        check_same(existing, recipe)
    facts = {"parameters": sum(p.numel() for p in trainer.parameters), "steps": total, "threads": threads}
    run = existing or Run.create(out, recipe, facts | {"device": str(policy.device)})
    unseen = held_out(documents, kept, recipe.learner.sequence_length) if kept else []
    with run.locked():
        begun = checkpoint.step if checkpoint else 0
        run.rewind(begun if checkpoint else -1)
        sinks = open_sinks(
            recipe.log.sinks,
            run_dir=run.path,
            run_name=run.path.name,
            project=recipe.log.project,
            config=recipe.model_dump(mode="json"),
        )
        try:
            for step in range(begun + 1, total + 1):
                started = time.perf_counter()
                numbers = trainer.step()
                if unseen and (step == total or step % recipe.evaluation.every == 0):
                    numbers["pretrain/held_out_loss"] = trainer.held_out_loss(unseen)
                numbers["time/step"] = time.perf_counter() - started
                numbers["speed/tokens_per_second"] = numbers["pretrain/tokens"] / numbers["time/step"]
                run.log("metrics", {"step": step} | numbers)
                for sink in sinks:
                    sink.log(step, numbers)
                if watch is not None:
                    watch(step, total, numbers)
                if step == total or step % recipe.checkpoint.every == 0:
                    checkpoints.save(out / "checkpoints", step, policy, trainer.state(), None)
                    checkpoints.prune(out / "checkpoints", recipe.checkpoint.keep_last, keep_best=False)
        finally:
            for sink in sinks:
                sink.close()
    return run


def begin(recipe: PretrainRecipe) -> Policy:
    """The model that the run starts from."""
    settings = recipe.model
    if not settings.from_scratch:
        return load_policy(
            settings.path,
            revision=settings.revision,
            device=settings.device,
            attention=settings.attention,
            autocast=recipe.learner.autocast,
        )
    device = pick_device(settings.device)
    try:
        config = AutoConfig.from_pretrained(settings.path, revision=settings.revision)
        tokenizer = load_tokenizer(settings.path, settings.revision)
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.path = {settings.path!r} holds no config and tokenizer to start from ({reason})."
        ) from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=settings.attention).float()
    nn.Module.to(model, device)
    silence_dropout(model)
    check_head(model)
    autocast = pick_autocast(recipe.learner.autocast, device)
    return Policy(model, tokenizer, find_eos_ids(model, tokenizer, settings.path), autocast)


def steps_of(recipe: PretrainRecipe, documents: Documents) -> int:
    """Optimiser steps of `train.epochs` passes: every token is counted once, which reads the corpus once."""
    counter = Documents(
        documents.rows,
        recipe.corpus,
        documents.encode,
        documents.eos,
        seed=recipe.train.seed,
        held_out=recipe.evaluation.documents,
    )
    tokens = 0
    while counter.epoch < 1:
        tokens += len(counter.next())
    per_step = recipe.learner.sequence_length * recipe.learner.rows
    return max(1, math.floor(tokens * (recipe.train.epochs or 1) / per_step))


def check_same(run: Run, recipe: PretrainRecipe) -> None:
    """Refuse to continue another run. Raises UserError naming what differs."""
    import json

    path = run.path / "recipe.json"
    try:
        old = validated(json.loads(path.read_text(encoding="utf-8")), PretrainRecipe, None, str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); start another run with another --out.") from None
    before, now = old.model_dump(mode="json"), recipe.model_dump(mode="json")
    changed = [
        f"{section}.{key}"
        for section in now
        for key in now[section]
        if before[section].get(key) != now[section][key] and (section, key) not in _MAY_CHANGE
    ]
    if changed:
        raise UserError(
            f"{run.path} was started with other settings of {', '.join(changed)}; resume it with the recipe it has, or "
            "start another run with another --out."
        )
    write_text(path, json.dumps(now, indent=2, ensure_ascii=False) + "\n")


_MAY_CHANGE = {
    ("checkpoint", "every"),
    ("checkpoint", "keep_last"),
    ("log", "sinks"),
    ("log", "project"),
    ("model", "device"),
}
