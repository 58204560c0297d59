"""Verifier pools on the cluster's CPUs, as the loop sees them: one verifier.

Ray runs a call again on a pool that died: grading twice gives the same verdict.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from typing import Any

import ray

from r1zero import config
from r1zero.cluster.ray_session import DEATHS, outcome, placed_in_time, quiet
from r1zero.rewards.composite import Rewards
from r1zero.rewards.open import make_rewards
from r1zero.types import GradingTask, Outcome, Verdict
from r1zero.verify import Verifier

_RETRIES = 3  # of a response whose pool dies
_HEALTH = "health"  # calls that do not wait behind responses
_LOOK_S = 60.0  # without a verdict: then pools are asked whether they are there


class VerifierPool:
    """An actor with grading processes of its own, which it kills and replaces like any `Verifier`."""

    def __init__(
        self,
        settings: config.VerifierSettings,
        rewards: tuple[config.RewardSettings, ...] = (),
        max_new_tokens: int = 1,
    ):
        self.settings, self.opening = settings, threading.Lock()
        self.rewards, self.max_new_tokens = rewards, max_new_tokens
        self.made: Verifier | Rewards | None = None

    @ray.method(concurrency_group=_HEALTH)
    def here(self) -> None:
        """Do nothing: being called shows that it has a place."""

    @property
    def verifier(self) -> Verifier | Rewards:
        """The grading processes, made by the first call: what an actor's constructor raises is not told."""
        settings = self.settings
        with self.opening:
            if self.made is None and self.rewards:
                self.made = make_rewards(self.rewards, settings, self.max_new_tokens)
            elif self.made is None:
                self.made = Verifier(settings.workers, settings.timeout_s, settings.memory_mb, settings.reward)
            return self.made

    def check(self) -> None:
        """Raise a UserError where a user's own reward function, or a part of a list of rewards, cannot grade."""
        self.verifier.check()

    def grade(self, task: GradingTask) -> Verdict:
        """Return the verdict on a response. Called by several threads at once."""
        [verdict] = self.verifier.verify([task])
        return verdict


def _verdict(reference: Any) -> Verdict:
    """Return what a pool found; nobody knows where it died of the same response time and again."""
    try:
        return outcome(reference)
    except DEATHS:
        return Verdict(Outcome.UNGRADED, rule="the verifier's pool died")


class ClusterVerifier:
    """Deals responses to the pools in turn; verdicts come back in the order they are reached."""

    def __init__(
        self,
        settings: config.VerifierSettings,
        pools: int,
        rewards: tuple[config.RewardSettings, ...] = (),
        max_new_tokens: int = 1,
    ):
        remote: Any = ray.remote
        actor = remote(concurrency_groups={_HEALTH: 1})(VerifierPool).options(
            num_cpus=1,
            scheduling_strategy="SPREAD",
            max_concurrency=2 * settings.workers,
            max_restarts=-1,
            max_task_retries=_RETRIES,
        )
        self.pools = [actor.remote(settings, rewards, max_new_tokens) for _ in range(pools)]
        self.turn = itertools.cycle(self.pools)
        self.owed: dict[Any, object] = {}
        self._check_places()
        if settings.reward is not None or rewards:
            for found in [pool.check.remote() for pool in self.pools]:  # each node has files of its own
                outcome(found)

    def submit(self, key: object, task: GradingTask) -> None:
        """See `Verifier.submit`."""
        self.owed[next(self.turn).grade.remote(task)] = key

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `Verifier.ready`."""
        done, _ = ray.wait(list(self.owed), num_returns=len(self.owed), timeout=0) if self.owed else ([], [])
        return [(self.owed.pop(reference), _verdict(reference)) for reference in done]

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `Verifier.drain`."""
        while self.owed:
            done, _ = ray.wait(list(self.owed), num_returns=1, timeout=_LOOK_S)
            if not done:
                self._check_places()
            for reference in done:
                yield self.owed.pop(reference), _verdict(reference)

    def _check_places(self) -> None:
        for i, here in enumerate([pool.here.remote() for pool in self.pools]):
            placed_in_time(here, f"verifier pool {i}")

    def close(self) -> None:
        """End all pools."""
        for pool in self.pools:
            with quiet():
                ray.kill(pool)
