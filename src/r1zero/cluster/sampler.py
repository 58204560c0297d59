"""Sampler replicas on a cluster, as the loop sees them: one engine.

Questions are dealt to the replicas, and what is finished comes back at once. A replica that dies is replaced: the new
one is given the same weights and draws what the old one still owed. Its noise is a pure function of what it is for, so
the responses are those that would have come, and none comes twice.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
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


@dataclass(slots=True)
class _Share:
    """What one replica has to draw: indices of requests."""

    requests: list[int]
    deaths: int = 0


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
        for i, (opened, load) in enumerate(loads):
            try:
                outcome(opened)
                outcome(load)
            except DEATHS as error:
                self.revive(i, _Share([]), error)

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
        shares = [_Share(order[i :: len(self.replicas)]) for i in range(len(self.replicas))]
        drawing = _Drawing(self, requests, samples, (params, seed, step), shares)
        for i in range(len(shares)):
            drawing.begin(i)
        while drawing.pieces:
            yield from drawing.next()
        if len(drawing.done) != len(requests) * samples:
            raise RuntimeError(f"{len(requests) * samples - len(drawing.done)} responses were lost")

    def close(self) -> None:
        """End all replicas."""
        for replica in self.replicas:
            with quiet():
                ray.kill(replica)

    def revive(self, i: int, share: _Share, error: RayError) -> None:
        """Start a new replica in the place of one that died, with the weights it had.

        Raises:
            UserError: it has died too often.
        """
        share.deaths += 1
        if share.deaths > _DEATHS:
            raise UserError(
                f"Sampler replica {i} died {share.deaths} times while drawing one batch ({cause_of(error)}); what it "
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
            self.revive(i, share, again)

    def _start(self, i: int) -> Any:
        actor: Any = ray.remote(SamplerReplica).options(**self.options[i])
        replica = actor.remote(self.job.recipe, self.job.context)
        self.placed[i] = replica.here.remote()
        return replica


@dataclass(slots=True)
class _Drawing:
    """One call of `sample`: which replica draws what, and what has come."""

    sampler: ClusterSampler
    requests: Sequence[Request]
    samples: int
    how: tuple[SamplingParams, int, int]
    shares: list[_Share]
    pieces: dict[Any, int] = field(default_factory=dict)
    """Who is asked for its next responses, by the reference of the call."""
    done: set[tuple[int, int]] = field(default_factory=set)

    def begin(self, i: int) -> None:
        """Have a replica draw those of its requests that lack responses."""
        share = self.shares[i]
        share.requests = [r for r in share.requests if any((r, g) not in self.done for g in range(self.samples))]
        if share.requests:
            replica = self.sampler.replicas[i]
            replica.begin.remote([self.requests[r] for r in share.requests], self.samples, *self.how)
            self.pieces[replica.more.remote()] = i

    def next(self) -> list[Sampled]:
        """Return what the first replica to answer has finished, without what another gave before it died."""
        [reference], _ = ray.wait(list(self.pieces), num_returns=1)
        i = self.pieces.pop(reference)
        share = self.shares[i]
        try:
            found: list[Sampled] = outcome(reference)
        except DEATHS as error:
            self.sampler.revive(i, share, error)
            self.begin(i)
            return []
        if found:  # an empty piece is the last
            self.pieces[self.sampler.replicas[i].more.remote()] = i
        fresh = [Sampled(share.requests[each.request], each.sample, each.completion) for each in found]
        fresh = [each for each in fresh if (each.request, each.sample) not in self.done]
        self.done |= {(each.request, each.sample) for each in fresh}
        return fresh
