"""A connection to a Ray cluster, and the one sentence for whatever becomes of it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "15")  # then the head node counts as gone
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # actors without a GPU see what they saw
os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of several that fail alike one is told

import ray
from ray.exceptions import (
    ActorPlacementGroupRemoved,
    ActorUnschedulableError,
    GetTimeoutError,
    NodeDiedError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    RayTaskError,
    WorkerCrashedError,
)
from ray.util.placement_group import PlacementGroup, placement_group, remove_placement_group

from r1zero import config
from r1zero.cluster import watchdog
from r1zero.config import Recipe
from r1zero.errors import UserError, reason

_PLACING_S = 120.0

DEATHS = (
    RayActorError,
    OutOfMemoryError,
    NodeDiedError,
    WorkerCrashedError,
    ActorUnschedulableError,
    ActorPlacementGroupRemoved,
)
"""What Ray raises where an actor has died or can be no more; Ray's memory monitor has one of its own."""


@contextmanager
def connected(recipe: Recipe) -> Iterator[bool]:
    """A Ray cluster for as long as the context lasts; yields whether it has GPUs that the recipe may use.

    A program that is connected to one already stays with that.

    Raises:
        UserError: there is none at the address, or it is too small.
    """
    settings, mine = recipe.cluster, not ray.is_initialized()
    assert settings is not None
    needed = settings.learners + settings.samplers + settings.verifiers  # CPUs, one an actor
    needed_gpus = settings.learners
    if not settings.share_gpus:
        needed_gpus += settings.samplers * recipe.sampling.tensor_parallel
    try:
        if mine:
            _connect(settings, needed)
        there = ray.cluster_resources()
        cpus, gpus = there.get("CPU", 0), there.get("GPU", 0) if recipe.model.device != "cpu" else 0
        if (gpus and gpus < needed_gpus) or cpus < needed:
            raise UserError(
                f"cluster.learners = {settings.learners}, cluster.samplers = {settings.samplers} and cluster.verifiers "
                f"= {settings.verifiers} need {f'{needed_gpus} GPUs and ' if gpus else ''}{needed} CPUs, and the "
                f"cluster at {settings.address} has {f'{gpus:g} and ' if gpus else ''}{cpus:g}; lower them"
                f"{', or set cluster.share_gpus' if gpus and not settings.share_gpus else ''}."
            )
        with _mourned(settings.address):
            yield gpus > 0
    finally:
        if mine:
            ray.shutdown()


def _connect(settings: config.ClusterSettings, cpus: int) -> None:
    local = settings.address == "local"
    options: dict[str, Any] = {"num_cpus": max(cpus, os.cpu_count() or 1)} if local else {}
    try:
        ray.init(
            address=settings.address,
            include_dashboard=False if local else None,
            log_to_driver=False,
            logging_level=logging.ERROR,
            **options,
        )
    except (ConnectionError, RayError, RuntimeError, ValueError, OSError) as error:
        raise UserError(
            f'cluster.address = "{settings.address}" leads to no Ray cluster ({reason(error)}); write "local", or '
            "start one with `ray start --head` and `ray start --address HEAD:6379` on the other nodes."
        ) from None


@contextmanager
def _mourned(address: str) -> Iterator[None]:
    """While the context lasts, somebody is there to say it when the head node takes this process with it."""
    reached = address.removeprefix("ray://") if "://" in address else ray.get_runtime_context().gcs_address
    host, _, port = reached.rpartition(":")
    command = [sys.executable, "-m", watchdog.__name__, host, port, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdin is not None
        try:
            yield
        finally:
            with suppress(OSError):
                process.stdin.write(watchdog.FAREWELL)


@contextmanager
def placed(settings: config.ClusterSettings, *, gpus: bool) -> Iterator[PlacementGroup]:
    """One bundle for every learner, as close together as they get; each with room for a sampler that shares its GPU."""
    bundle = {"CPU": 1.0 + settings.share_gpus, **({"GPU": 1.0} if gpus else {})}
    group = placement_group([bundle] * settings.learners, strategy="PACK")
    try:
        ray.get(group.ready(), timeout=_PLACING_S)
    except GetTimeoutError:
        remove_placement_group(group)
        raise UserError(
            f"No place for cluster.learners = {settings.learners} within {_PLACING_S:.0f} s: other work has the "
            "cluster's GPUs or CPUs; wait for it, or lower cluster.learners."
        ) from None
    try:
        yield group
    finally:
        with quiet():
            remove_placement_group(group)


@contextmanager
def quiet() -> Iterator[None]:
    """Clearing up where the cluster may be gone already."""
    with suppress(RayError, RuntimeError, ConnectionError, ValueError):
        yield


def outcome(reference: Any) -> Any:
    """Return what an actor's method returned. Raises what it raised if that is a UserError, or one of DEATHS if it
    died.
    """
    try:
        return ray.get(reference)
    except RayTaskError as error:
        if isinstance(error.cause, UserError):
            raise UserError(str(error.cause)) from None
        raise


def placed_in_time(reference: Any, who: str) -> None:
    """Wait until an actor has answered for the first time. Raises UserError where it finds no place."""
    ready, _ = ray.wait([reference], timeout=_PLACING_S)
    if not ready:
        raise UserError(
            f"No place for {who} within {_PLACING_S:.0f} s: other work has the cluster's GPUs or CPUs, or a node is "
            "gone; make room, or lower the section [cluster], and continue with --resume."
        )


def cause_of(error: BaseException) -> str:
    """Return what became of an actor, of the pages that Ray says."""
    told = " ".join(str(error).lower().split())
    if "out of memory" in told or "oom killer killed" in told or "memory pressure" in told:
        return "its node ran out of memory"
    if any(words in told for words in ("node has died", "node was terminated", "node is dead")):
        return "its node is gone"
    return "its process was killed or crashed"
