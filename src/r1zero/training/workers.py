"""The parts of a run that do the work and may live elsewhere: learner, sampler and verifier.

Without a `[cluster]` section all are in this process, with vLLM's engine in one beside it; with one they are on a Ray
cluster (`r1zero.cluster`). The loop sees no difference.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.learner.build import make_learner, restore
from r1zero.metrics import Tally
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import ADAPTER, Policy
from r1zero.policy.reference import load_reference
from r1zero.runs.checkpoints import Checkpoint
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams
from r1zero.sampling.synced_engine import Engine, Synced
from r1zero.verify.protocol import Grading
from r1zero.verify.workers.pool import open_verifier


class Learning(Protocol):
    """What the loop asks of a learner."""

    @property
    def updates(self) -> int:
        """Optimiser steps taken since the run began."""
        ...

    def learn(self, trajectories: Sequence[Trajectory], step: int, tally: Tally) -> None:
        """Learn from a rollout batch."""
        ...

    def logprobs(self, trajectories: Sequence[Trajectory], *, reference: bool = False) -> list[list[float]]:
        """Log-probs of each response's tokens under the policy, or under the reference model."""
        ...

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds beside what `save` writes."""
        ...

    def save(self, folder: Path) -> None:
        """Write the policy into a checkpoint's folder."""
        ...

    def peak_memory(self) -> int:
        """Peak memory in bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Job:
    """What a crew is to work on.

    `context` is the longest prompt and response together, in tokens; `probe` are prompts to hold an engine against the
    learner on.
    """

    recipe: Recipe
    policy: Policy
    objective: Objective
    checkpoint: Checkpoint | None
    context: int
    probe: tuple[Request, ...]

    def synced(self, engine: Engine, learner: Learning, exact: bool) -> Synced:
        """The engine, brought up to date with this learner; `exact`: both compute in float32."""
        params = SamplingParams(self.recipe.sampling.max_new_tokens, self.recipe.sampling.temperature)

        def score(found: Sequence[tuple[tuple[int, ...], Sampled]]) -> list[list[float]]:
            return learner.logprobs(
                [Trajectory(prompt, each.completion.token_ids, each.completion.logprobs, 0.0) for prompt, each in found]
            )

        return Synced(
            engine,
            lambda: learner.updates,
            score,
            self.probe,
            params,
            self.recipe.train.max_logprob_gap or (1e-4 if exact else 0.1),
            self.recipe.sampling.check_every,
        )


@dataclass(frozen=True, slots=True)
class Crew:
    """`sampler` is the one `engine` brings up to date where the sampler has weights of its own."""

    learner: Learning
    sampler: Sampler
    verifier: Grading
    engine: Synced | None


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
def open_crew(job: Job) -> Iterator[Crew]:
    """The parts of a job, at work until the context ends.

    Raises:
        UserError: something that the recipe asks for is missing here.
    """
    recipe = job.recipe
    if recipe.cluster is not None:
        with _module("ray", "ray", "The section [cluster] needs", "r1zero.cluster.launch").open_crew(job) as crew:
            yield crew
        return
    learner = make_learner(recipe, job.policy, job.objective, load_reference(recipe, job.objective))
    if job.checkpoint:
        restore(learner, job.checkpoint)
    with open_verifier(recipe.verifier) as verifier, _open_sampler(job, learner) as sampler:
        yield Crew(learner, sampler, verifier, sampler if isinstance(sampler, Synced) else None)


def _open_sampler(job: Job, learner: Learning) -> AbstractContextManager[Sampler]:
    return _synced_vllm(job, learner) if job.recipe.sampling.engine == "vllm" else _embedded(job)


@contextmanager
def _embedded(job: Job) -> Iterator[Sampler]:
    yield make_sampler(job.policy, job.recipe.sampling.batch_rows)


@contextmanager
def _synced_vllm(job: Job, learner: Learning) -> Iterator[Synced]:
    vllm = vllm_module()
    device = job.policy.device
    transfer = vllm.own_transfer(job.policy, job.recipe)
    turns = not job.recipe.rollout.max_staleness  # ahead, it samples while the learner learns
    with closing(vllm.make_sampler(job.recipe, job.policy, transfer, job.context, device, sleeps=turns)) as engine:
        yield job.synced(engine, learner, job.policy.exact)


def vllm_module() -> Any:
    """`r1zero.sampling.vllm.build`. Raises UserError where vLLM is not installed."""
    return _module("vllm", "vllm", 'sampling.engine = "vllm" needs', "r1zero.sampling.vllm.build")


def _module(package: str, extra: str, what: str, name: str) -> Any:
    if importlib.util.find_spec(package) is None:
        raise UserError(f'{what} the package {package}, which is not installed; run `pip install "r1zero[{extra}]"`.')
    return importlib.import_module(name)
