"""The learner on a cluster, as the loop sees it: every call goes to all ranks, which act together or not at all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from r1zero.cluster.learner_rank import LearnerRank
from r1zero.cluster.ray_session import DEATHS, cause_of, quiet
from r1zero.errors import UserError
from r1zero.metrics import Tally
from r1zero.policy.batch import Trajectory
from r1zero.policy.sharded import has_shards, missing_shards
from r1zero.training.workers import WorkerSpec

_GRACE_S = 5.0  # a rank that dies makes the others fail, and may be seen to have died a little later


class ClusterLearner:
    """Learner ranks in one placement group. A rank that is lost ends the run: the weights are spread over all.

    `join` before anything else: until then the ranks' processes start, beside those of others.
    """

    exact: bool
    """Whether forward passes run in float32 throughout."""
    updates: int

    def __init__(self, job: WorkerSpec, group: PlacementGroup, *, gpus: bool):
        settings, self.calling = job.recipe.cluster, threading.Lock()
        assert settings is not None
        share = 0.5 if settings.share_gpus else 1.0
        actor: Any = ray.remote(LearnerRank)
        self.ranks: list[Any] = [
            actor.options(
                num_cpus=1,
                num_gpus=share if gpus else 0,
                scheduling_strategy=PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank),
            ).remote(rank, settings.learners)
            for rank in range(settings.learners)
        ]
        self.job = job

    def join(self) -> None:
        """Have the ranks meet and load the model."""
        address = self._together([self.ranks[0].address.remote()])[0]
        checkpoint = self.job.checkpoint and replace(self.job.checkpoint, path=self.job.checkpoint.path.resolve())
        facts = self.all("join", address, self.job.recipe, checkpoint)[0]
        self.exact, self.updates = facts["exact"], facts["updates"]

    def learn(self, trajectories: Sequence[Trajectory], step: int, tally: Tally) -> None:
        """See `Learner.learn`. Every rank is given all responses, for the weights, and works on its share."""
        for part in self.all("learn", ray.put(list(trajectories)), step):
            tally.merge(part)
        self.updates = self.all("updates")[0]  # kept here: an engine asks before every batch whether it has moved

    def logprobs(self, trajectories: Sequence[Trajectory], *, reference: bool = False) -> list[list[float]]:
        """See `Learner.logprobs`."""
        return _merged(self.all("logprobs", ray.put(list(trajectories)), reference))

    def weights(self) -> Any:
        """Return a reference to all weights, in the object store of rank 0's node."""
        references = self._call("weights", ())  # not `all`, which would fetch them into this process
        self.all("updates")  # a rank answers in turn: where one has died meanwhile, this says so
        return references[0]

    def state(self) -> dict[str, Any]:
        """See `Learner.state`; the moments are in the shards."""
        return self.all("state")[0]

    def save(self, folder: Path) -> None:
        """Have every rank write its shards.

        Raises:
            UserError: they are not here afterwards, since the ranks wrote them elsewhere.
        """
        self.all("save", folder.resolve())
        if not has_shards(folder) or missing_shards(folder):
            raise UserError(
                f"The ranks' shards are not all in {folder}: ranks wrote to disks of their own; choose an --out on a "
                "file system that all nodes see."
            )

    def peak_memory(self) -> int:
        """Of the rank that took most."""
        return max(self.all("peak_memory"))

    def close(self) -> None:
        """End all ranks."""
        for rank in self.ranks:
            with quiet():
                ray.kill(rank)

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Return what a method returned on every rank."""
        return self._together(self._call(method, arguments))

    def _call(self, method: str, arguments: Sequence[Any]) -> list[Any]:
        with self.calling:  # every rank gets calls in the same order, whoever makes them
            return [getattr(rank, method).remote(*arguments) for rank in self.ranks]

    def _together(self, references: list[Any]) -> list[Any]:
        """Wait for all, or for the first that fails: the others may then wait for it for ever."""
        waiting = list(references)
        while waiting:
            ready, waiting = ray.wait(waiting, num_returns=1)
            try:
                ray.get(ready)
            except (*DEATHS, RayTaskError) as error:
                raise self._lost(error) from None
        return ray.get(references)

    def _lost(self, error: RayError) -> UserError | RayError:
        """Return what to say of a failure: whose death is behind it, if any rank died."""
        if isinstance(error, RayTaskError) and isinstance(error.cause, UserError):
            return UserError(str(error.cause))
        dead = self._dead()
        if not dead and isinstance(error, RayTaskError):
            return error
        who = ", ".join(map(str, dead)) or "?"
        reason = (dead and next(iter(dead.values()))) or cause_of(error)
        return UserError(
            f"Learner rank {who} of {len(self.ranks)} is gone ({reason}), and with it a part of the weights; the run "
            "stands at its last checkpoint: give the same command with --resume."
        )

    def _dead(self) -> dict[int, str]:
        """Tell which ranks have died, and of what."""
        found: dict[int, str] = {}
        # asked of each alone: what takes all ranks waits for the dead one
        pings = {rank.address.remote(): i for i, rank in enumerate(self.ranks)}
        done, _ = ray.wait(list(pings), num_returns=len(pings), timeout=_GRACE_S)
        for ping in done:
            try:
                ray.get(ping)
            except DEATHS as error:
                found[pings[ping]] = cause_of(error)
            except RayTaskError:
                continue
        return found


def _merged(parts: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Rows of which each is filled by one rank and empty on the others."""
    return [next((list(row) for row in rows if len(row)), []) for rows in zip(*parts, strict=True)]
