"""One sampler replica: what an actor of the cluster does. An engine with weights of its own, asked piece by piece."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import ray.actor
import torch
from torch import Tensor

from r1zero.config import Recipe
from r1zero.policy.load import recipe_policy
from r1zero.policy.lora import add_lora
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.synced_engine import EngineLostError
from r1zero.sampling.vllm import vllm_module

_PIECE_S = 0.05  # responses that finish within this go back together


class TorchReplica:
    """The embedded sampler on a model of its own; `VllmReplica` is the other engine of a replica."""

    def __init__(self, recipe: Recipe, context: int):
        del context  # its caches grow as needed
        self.policy = recipe_policy(recipe.model, recipe.learner.autocast, None)
        add_lora(self.policy, recipe.lora, recipe.train.seed)
        self.sample = make_sampler(self.policy, recipe.sampling.batch_rows).sample

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over these weights, all that is trained."""
        self.policy.model.load_state_dict(dict(weights), strict=False)

    def sleep(self) -> None:
        """Give memory back: caches are gone with the last response, and torch keeps what they took."""
        torch.cuda.empty_cache()


@contextmanager
def _ending_with_its_engine() -> Iterator[None]:
    """An actor whose engine is lost ends, too: a new replica is made, with an engine of its own."""
    try:
        yield
    except EngineLostError:
        ray.actor.exit_actor()


class SamplerReplica:
    """Draws what it is asked to `begin`, in pieces that `more` gives; `open` and `load` come first."""

    def __init__(self, recipe: Recipe, context: int):
        self.recipe, self.context = recipe, context
        self.running: Iterator[Sampled] = iter(())

    def here(self) -> None:
        """Do nothing: being called shows that it has a place."""

    def open(self) -> None:
        """Start the engine."""
        torch.set_num_threads(self.recipe.train.threads or 1)
        vllm = self.recipe.sampling.engine == "vllm"
        self.engine = (vllm_module().VllmReplica if vllm else TorchReplica)(self.recipe, self.context)

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Take over these weights."""
        with _ending_with_its_engine():
            self.engine.load(weights)

    def sleep(self) -> None:
        """Have the engine give memory back; weights must come before the next response."""
        with _ending_with_its_engine():
            self.engine.sleep()

    def begin(self, requests: Sequence[Request], samples: int, params: SamplingParams, seed: int, step: int) -> None:
        """Start to draw."""
        self.running = self.engine.sample(requests, samples, params, seed=seed, step=step)

    def more(self) -> list[Sampled]:
        """Return the next responses that are finished; none when there are no more."""
        found: list[Sampled] = []
        end = time.monotonic() + _PIECE_S
        with _ending_with_its_engine():
            for each in self.running:
                found.append(each)
                if time.monotonic() >= end:
                    break
        return found
