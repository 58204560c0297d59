"""Sampler replicas on a cluster, as the loop sees them: one engine.

Questions are dealt to the replicas, and what is finished comes back at once. A replica that dies is replaced: the new
one is given the same weights and draws what the old one still owed. Its noise is a pure function of what it is for, so
the responses are those that would have come, and none comes twice.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from r1zero.cluster.learner import ClusterLearner
from r1zero.cluster.ray_session import DEATHS, cause_of, outcome, placed_in_time, quiet
from r1zero.cluster.sampler_replica import SamplerReplica
from r1zero.errors import UserError
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.training.workers import WorkerSpec

_DEATHS = 3  # of one replica in one batch: then something is wrong that a new one does not mend
log = logging.getLogger(__name__)


class ClusterSampler:
    """`options` are the resources of replica i: where Ray is to place it."""

    def __init__(self, job: WorkerSpec, learner: ClusterLearner, options: Sequence[dict[str, Any]]):
        self.job, self.learner, self.options = job, learner, options
        self.weights: Any = None
        self.placed: dict[int, Any] = {}
        self.opened: dict[int, Any] = {}
        self.replicas = [self._start(i) for i in range(len(options))]

    def open(self) -> None:
        """Start the engines. Whoever shares a GPU with them must have taken its memory by now: they measure theirs."""
        for i, replica in enumerate(self.replicas):
            self.opened[i] = replica.open.remote()

    def update_weights(self) -> None:
        """See `Engine`: the learner's weights, through the object store."""
        self.weights = None  # the object store need not hold both
        self.weights = self.learner.weights()
        for i, placed in self.placed.items():
            placed_in_time(placed, f"sampler replica {i}")
        loads = [(self.opened[i], replica.load.remote(self.weights)) for i, replica in enumerate(self.replicas)]
        deaths = Counter[int]()
        for i, (opened, load) in enumerate(loads):
            try:
                outcome(opened)
                outcome(load)
            except DEATHS as error:
                self._revive(i, deaths, error)

    def sleep(self) -> None:
        """See `Engine`. One that has died is missed at the next sync."""
        settings = self.job.recipe.cluster
        if settings is not None and settings.share_gpus:
            for reference in [replica.sleep.remote() for replica in self.replicas]:
                with suppress(*DEATHS):
                    outcome(reference)

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`."""
        order = sorted(range(len(requests)), key=lambda r: -len(requests[r].prompt_ids))
        shares = [order[i :: len(self.replicas)] for i in range(len(self.replicas))]  # of each replica
        done: set[tuple[int, int]] = set()
        deaths = Counter[int]()
        pieces: dict[Any, int] = {}  # who is asked for its next responses, by the reference of the call

        def begin(i: int) -> None:
            """Have a replica draw those of its requests that lack responses."""
            shares[i] = [r for r in shares[i] if any((r, g) not in done for g in range(samples))]
            if shares[i]:
                replica = self.replicas[i]
                replica.begin.remote([requests[r] for r in shares[i]], samples, params, seed, step)
                pieces[replica.more.remote()] = i

        for i in range(len(shares)):
            begin(i)
        while pieces:
            [reference], _ = ray.wait(list(pieces), num_returns=1)
            i = pieces.pop(reference)
            try:
                found: list[Sampled] = outcome(reference)
            except DEATHS as error:
                self._revive(i, deaths, error)
                begin(i)
                continue
            if found:  # an empty piece is the last
                pieces[self.replicas[i].more.remote()] = i
            for each in found:
                place = shares[i][each.request], each.sample
                if place not in done:  # another gave it before it died
                    done.add(place)
                    yield Sampled(*place, each.completion)
        if len(done) != len(requests) * samples:
            raise RuntimeError(f"{len(requests) * samples - len(done)} responses were lost")

    def close(self) -> None:
        """End all replicas."""
        for replica in self.replicas:
            with quiet():
                ray.kill(replica)

    def _revive(self, i: int, deaths: Counter[int], error: RayError) -> None:
        """Start a new replica in the place of one that died, with the weights it had.

        Raises:
            UserError: it has died too often.
        """
        deaths[i] += 1
        if deaths[i] > _DEATHS:
            raise UserError(
                f"Sampler replica {i} died {deaths[i]} times while drawing one batch ({cause_of(error)}); what it "
                "said is in the logs of its node (session_latest/logs/worker-*); lower sampling.batch_rows or "
                'sampling.memory if it ran out of memory, or use sampling.engine = "torch", and continue with --resume.'
            )
        log.warning("Sampler replica %d died (%s) and is replaced.", i, cause_of(error))
        self.replicas[i] = replica = self._start(i)
        try:
            placed_in_time(self.placed[i], f"sampler replica {i}")
            self.opened[i] = replica.open.remote()
            outcome(self.opened[i])
            outcome(replica.load.remote(self.weights))
        except DEATHS as again:
            self._revive(i, deaths, again)

    def _start(self, i: int) -> Any:
        actor: Any = ray.remote(SamplerReplica).options(**self.options[i])
        replica = actor.remote(self.job.recipe, self.job.context)
        self.placed[i] = replica.here.remote()
        return replica
