"""Engines: samplers with weights of their own, which are brought up to date and held against the learner's.

An engine that silently kept old weights, or loaded new ones wrongly, would train on a policy that nobody asked for.
So after its first sync and after every Nth, the log-probs of what it samples are compared with the learner's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Protocol

from r1zero.errors import UserError
from r1zero.policy.batch import Trajectory
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams

_PROBE_STEP = -2  # in the noise; steps count from 0, evaluation is at −1
_PROBE_TOKENS = 32
_ALONE = 4.0  # how many times the tolerance a single response may differ by


class EngineLostError(UserError):
    """The engine's process has ended."""


class Engine(Sampler, Protocol):
    """A sampler that keeps a copy of the policy's weights."""

    def update_weights(self) -> None:
        """Take over the learner's weights as they are now."""
        ...

    def sleep(self) -> None:
        """Give memory back to a learner on the same GPU, if there is one, until the next `update_weights`."""
        ...


@dataclass(slots=True)
class SyncedEngine:
    """An engine that is brought up to date whenever the learner has moved, and checked.

    `version` counts the learner's updates, `score` gives its log-probs of responses' tokens. `probe` are prompts to
    check on, `gap` the mean absolute difference of log-probs, in nats, above which the engine does not run the
    learner's policy.
    """

    engine: Engine
    version: Callable[[], int]
    score: Callable[[Sequence[Trajectory]], Sequence[Sequence[float]]]
    probe: Sequence[Request]
    params: SamplingParams
    gap: float
    every: int = 16
    loaded_version: int | None = field(default=None, init=False)
    """The version of the engine's weights."""
    syncs: int = field(default=0, init=False)

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`."""
        self.update_weights()
        yield from self.engine.sample(requests, samples, params, seed=seed, step=step)

    def update_weights(self) -> None:
        """Give the engine the learner's weights where they have moved since it had them.

        Raises:
            UserError: it says that it has them, and its log-probs say otherwise.
        """
        version = self.version()
        if version == self.loaded_version:
            return
        self.engine.update_weights()
        self.loaded_version = version
        self.syncs += 1
        if (self.syncs - 1) % self.every == 0:
            self._check()

    def sleep(self) -> None:
        """See `Engine`."""
        self.engine.sleep()
        self.loaded_version = None

    def _check(self) -> None:
        params = replace(self.params, max_new_tokens=min(_PROBE_TOKENS, self.params.max_new_tokens))
        drawn = [
            Trajectory(self.probe[each.request].prompt_ids, each.completion.token_ids, each.completion.logprobs, 0.0)
            for each in self.engine.sample(self.probe, 1, params, seed=0, step=_PROBE_STEP)
        ]
        differences = [
            [abs(theirs - our) for theirs, our in zip(each.sampler_logprobs, row, strict=True)]
            for each, row in zip(drawn, self.score(drawn), strict=True)
        ]
        mean = fmean(difference for row in differences for difference in row)
        # one replica of many must not drown in the others; a few tokens alone may differ more than the mean does
        gap = max(mean, *(fmean(row) / _ALONE for row in differences))
        if not gap <= self.gap:
            raise UserError(
                f"After sync {self.syncs} the engine's log-probs differ from the learner's by {gap:.2g} nats a token "
                f"(train.max_logprob_gap = {self.gap:g}): it does not run the learner's weights, so nothing was "
                'trained on what it samples; use sampling.engine = "torch", or another version of the engine.'
            )
