"""The parts of a run that do the work and may live elsewhere: learner, sampler and verifier.

Without a `[cluster]` section all are in this process, with vLLM's engine in one beside it; with one they are on a Ray
cluster (`r1zero.cluster`). The loop sees no difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.learner.build import make_learner, restore
from r1zero.metrics import Tally
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy
from r1zero.policy.place import ADAPTER
from r1zero.policy.reference import load_reference
from r1zero.rewards.open import RewardSource, open_rewards
from r1zero.runs.checkpoints import Checkpoint
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, Sampler, SamplingParams
from r1zero.sampling.synced_engine import Engine, SyncedEngine
from r1zero.sampling.vllm import optional_module, vllm_module
from r1zero.verify.protocol import VerifierProtocol
from r1zero.verify.workers.pool import open_verifier


class LearnerProtocol(Protocol):
    """What the loop asks of a learner."""

    @property
    def updates(self) -> int:
        """Optimiser steps taken since the run began."""
        ...

    def learn(self, trajectories: Sequence[Trajectory], step: int, tally: Tally) -> None:
        """Learn from a rollout batch."""
        ...

    def logprobs(self, trajectories: Sequence[Trajectory], *, reference: bool = False) -> list[list[float]]:
        """Return log-probs of each response's tokens under the policy, or under the reference model."""
        ...

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds beside what `save` writes."""
        ...

    def save(self, folder: Path) -> None:
        """Write the policy into a checkpoint's folder."""
        ...

    def peak_memory(self) -> int:
        """Return peak memory in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class WorkerSpec:
    """What a run's workers are to work on.

    `context` is the longest prompt and response together, in tokens; `probe` are prompts to hold an engine against the
    learner on.
    """

    recipe: Recipe
    policy: Policy
    objective: Objective
    checkpoint: Checkpoint | None
    context: int
    probe: tuple[Request, ...]
    rewards: tuple[RewardSource, ...] = ()
    """The parts of the reward, where it is a list; of the recipe, or given as callables."""
    out: Path | None = None
    """The run's directory."""

    @property
    def params(self) -> SamplingParams:
        """How to draw, but for the template's stop strings."""
        sampling = self.recipe.sampling
        return SamplingParams(sampling.max_new_tokens, sampling.temperature, positions=self.policy.positions)

    def synced(self, engine: Engine, learner: LearnerProtocol, exact: bool) -> SyncedEngine:
        """Return the engine, brought up to date with this learner; `exact`: both compute in float32."""
        return SyncedEngine(
            engine,
            lambda: learner.updates,
            learner.logprobs,
            self.probe,
            self.params,
            self.recipe.train.max_logprob_gap or (1e-4 if exact else 0.1),
            self.recipe.sampling.check_every,
        )


@dataclass(frozen=True, slots=True)
class Workers:
    """`sampler` is the one `engine` brings up to date where the sampler has weights of its own."""

    learner: LearnerProtocol
    sampler: Sampler
    verifier: VerifierProtocol
    engine: SyncedEngine | None


def check_apart(recipe: Recipe) -> None:
    """Raise a UserError where weights that live elsewhere, or go there, would not be those of the model."""
    where = "The section [cluster]" if recipe.cluster else 'sampling.engine = "vllm"'
    apart = recipe.cluster is not None or recipe.sampling.engine == "vllm"
    if apart and (Path(recipe.model.path) / ADAPTER).exists():
        raise UserError(
            f"{where} takes a whole model, and model.path = {recipe.model.path!r} holds adapters alone; merge them "
            "into a model folder with peft first, or train on in one process with the embedded sampler."
        )


@contextmanager
def open_workers(spec: WorkerSpec) -> Iterator[Workers]:
    """The parts of a spec, at work until the context ends.

    Raises:
        UserError: something that the recipe asks for is missing here.
    """
    recipe = spec.recipe
    if recipe.cluster is not None:
        launch = optional_module("r1zero.cluster.launch", "ray", "The section [cluster] needs")
        with launch.open_workers(spec) as workers:
            yield workers
        return
    learner = make_learner(recipe, spec.policy, spec.objective, load_reference(recipe, spec.objective))
    if spec.checkpoint:
        restore(learner, spec.checkpoint)
    with _open_verifier(spec) as verifier, _open_sampler(spec, learner) as sampler:
        yield Workers(learner, sampler, verifier, sampler if isinstance(sampler, SyncedEngine) else None)


def _open_verifier(spec: WorkerSpec) -> AbstractContextManager[VerifierProtocol]:
    settings = spec.recipe.verifier
    if spec.rewards:
        return open_rewards(spec.rewards, settings, spec.recipe.sampling.max_new_tokens, spec.out)
    return open_verifier(settings.workers, settings.timeout_s, settings.memory_mb, settings.reward)


def _open_sampler(spec: WorkerSpec, learner: LearnerProtocol) -> AbstractContextManager[Sampler]:
    if spec.recipe.sampling.engine == "vllm":
        return _synced_vllm(spec, learner)
    return nullcontext(make_sampler(spec.policy, spec.recipe.sampling.batch_rows))


@contextmanager
def _synced_vllm(spec: WorkerSpec, learner: LearnerProtocol) -> Iterator[SyncedEngine]:
    vllm = vllm_module()
    device = spec.policy.device
    transfer = vllm.own_transfer(spec.policy, spec.recipe)
    turns = not spec.recipe.rollout.max_staleness  # ahead, it samples while the learner learns
    with closing(vllm.make_sampler(spec.recipe, spec.policy, transfer, spec.context, device, sleeps=turns)) as engine:
        yield spec.synced(engine, learner, spec.policy.exact)
