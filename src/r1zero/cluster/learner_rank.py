"""One rank of the learner: what an actor of the cluster does. The same `Learner` as in one process, sharded."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import ray.util
import torch
import torch.distributed as dist

from r1zero import config
from r1zero.cluster.fsdp import FsdpRanks
from r1zero.config import Recipe
from r1zero.learner.build import make_learner, restore
from r1zero.metrics import Tally
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.device import check_attention, pick_autocast
from r1zero.policy.load import Policy, load_blank, recipe_policy
from r1zero.policy.lora import add_lora
from r1zero.policy.reference import load_reference
from r1zero.policy.sharded import full_weights, has_shards, save_shards
from r1zero.runs.checkpoints import Checkpoint

_PATIENCE = timedelta(minutes=30)  # of one collective: a rank may be loading a large model


class LearnerRank:
    """Rank `rank` of `count`. `join` before anything else; every method that computes is called on all ranks."""

    def __init__(self, rank: int, count: int):
        self.rank, self.count = rank, count

    def address(self) -> str:
        """Tell where the ranks can meet, if this is the first."""
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = probe.getsockname()[1]
        return f"tcp://{ray.util.get_node_ip_address()}:{port}"

    def join(self, address: str, recipe: Recipe, checkpoint: Checkpoint | None) -> dict[str, Any]:
        """Meet the others and build the learner; what the driver wants to know of it."""
        torch.set_num_threads(recipe.train.threads or 1)  # of the CPU that Ray has given it
        gpu = torch.cuda.is_available() and recipe.model.device != "cpu"
        device = torch.device("cuda", 0) if gpu else torch.device("cpu")
        backend = "nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, init_method=address, rank=self.rank, world_size=self.count, timeout=_PATIENCE)
        objective = recipe_objective(recipe)
        policy = self._policy(recipe.model, recipe, device, checkpoint)
        add_lora(policy, recipe.lora, recipe.train.seed)
        reference = load_reference(recipe, objective, lambda settings: self._policy(settings, recipe, device))
        self.learner = make_learner(recipe, policy, objective, reference, FsdpRanks(device))
        if checkpoint:
            restore(self.learner, checkpoint)
        self.sent = policy.engine_dtype if recipe.sampling.engine == "vllm" and recipe.lora is None else torch.float32
        return {"exact": policy.exact, "updates": self.learner.updates}

    def _policy(
        self, model: config.ModelSettings, recipe: Recipe, device: torch.device, checkpoint: Checkpoint | None = None
    ) -> Policy:
        """Return the model on the CPU: on rank 0 with its weights, which the others get when it is sharded."""
        check_attention(model.attention, device)
        on_gpus_alone = model.attention == "flash_attention_2"
        update = {"device": "cpu", "attention": "sdpa" if on_gpus_alone else model.attention}
        loaded = model.model_copy(update=update)  # on the CPU: whole, a model might not fit on a rank's GPU
        if self.rank == 0:
            whole = None if checkpoint is None or has_shards(checkpoint.path) else checkpoint  # shards come later
            policy = recipe_policy(loaded, recipe.learner.autocast, whole)
        else:
            policy = load_blank(loaded.path, revision=loaded.revision, attention=loaded.attention)
            policy.model.to_empty(device="cpu")  # memory that nobody touches is none
            policy.model.tie_weights()  # each has memory of its own now
        if on_gpus_alone:
            policy.model.set_attn_implementation(model.attention)
        return replace(policy, autocast=pick_autocast(recipe.learner.autocast, device))

    def learn(self, trajectories: Sequence[Trajectory], step: int) -> Tally:
        """Take the steps on a rollout batch; this rank's part of the numbers."""
        tally = Tally()
        self.learner.learn(trajectories, step, tally)
        return tally

    def updates(self) -> int:
        """Return optimiser steps taken since the run began."""
        return self.learner.updates

    def logprobs(self, trajectories: Sequence[Trajectory], reference: bool) -> list[list[float]]:
        """Return log-probs of this rank's share of the responses; the other rows are empty."""
        return self.learner.logprobs(trajectories, reference=reference)

    def weights(self) -> dict[str, torch.Tensor]:
        """Return all that is trained, from rank 0 and as the engines keep it; nothing from the others."""
        found = {name: each.to(self.sent) for name, each in full_weights(self.learner.policy.model).items()}
        torch.cuda.empty_cache()  # an engine may have the rest of this GPU now
        return found

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside what `save` writes."""
        state = self.learner.state()
        return {key: state[key] for key in ("updates", "schedule")}

    def save(self, folder: Path) -> None:
        """Write this rank's shards, and on rank 0 what goes with them."""
        policy = self.learner.policy
        save_shards(folder, policy.model, self.learner.optimiser.adam)
        if self.rank == 0:
            policy.model.config.save_pretrained(folder)
            for adapter in getattr(policy.model, "peft_config", {}).values():
                adapter.save_pretrained(folder)
            if policy.model.generation_config is not None:
                policy.model.generation_config.save_pretrained(folder)
            policy.tokenizer.save_pretrained(folder)

    def peak_memory(self) -> int:
        """Return peak memory of this rank in bytes."""
        return self.learner.peak_memory()
