"""Learner ranks, sampler replicas and verifier pools on a Ray cluster, placed and supervised by Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray.util.placement_group import PlacementGroup
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from r1zero.cluster.learner import ClusterLearner
from r1zero.cluster.ray_session import connected, placed
from r1zero.cluster.sampler import ClusterSampler
from r1zero.cluster.verifier import ClusterVerifier
from r1zero.config import Recipe, RewardSettings
from r1zero.errors import UserError
from r1zero.rewards.open import RewardSource
from r1zero.training.workers import Workers, WorkerSpec
from r1zero.verify.workers.custom_reward import check_reward, located


@contextmanager
def open_workers(spec: WorkerSpec) -> Iterator[Workers]:
    """See `r1zero.training.workers.open_workers`; everything ends with the context.

    Raises:
        UserError: no such cluster, too small a one, or what any of its actors has to say.
    """
    recipe, settings = spec.recipe, spec.recipe.cluster
    budget = recipe.sampling.max_new_tokens
    assert settings is not None
    if spec.objective.functions:
        raise UserError(
            f"The objective {spec.objective.name} has parts that are functions, which learn in one process only; leave "
            "out the section [cluster], or take an objective of the table."
        )
    if spec.objective.critic:
        raise UserError(
            f'objective.name = "{spec.objective.name}" has a critic, which learns in one process only; leave out the '
            "section [cluster], or take an objective without a critic."
        )
    if recipe.verifier.reward is not None:
        check_reward(recipe.verifier.reward)
    rewards = tuple(map(_checked, spec.rewards))
    spec = replace(spec, recipe=_located(recipe), rewards=rewards)
    with (
        connected(recipe) as gpus,
        placed(settings, gpus=gpus) as group,
        closing(ClusterLearner(spec, group, gpus=gpus)) as learner,
        closing(ClusterSampler(spec, learner, _places(spec.recipe, group, gpus=gpus))) as engine,
        closing(ClusterVerifier(spec.recipe.verifier, settings.verifiers, rewards, budget)) as verifier,
    ):
        # Until here processes only start, side by side. Learners load first: an engine that shares their GPUs measures
        # what memory is left when it opens.
        learner.join()
        engine.open()
        sampler = spec.synced(engine, learner, learner.exact)
        yield Workers(learner, sampler, verifier, sampler)


def _checked(reward: RewardSource) -> RewardSettings:
    """Return a part of the reward with a whole path: actors work elsewhere. Raises UserError."""
    if not isinstance(reward, RewardSettings):
        raise UserError(
            "A reward that is a Python object runs in this process, and the section [cluster] grades elsewhere; put it "
            "into a file and name it as FILE.py:FUNCTION."
        )
    if reward.code is None:
        return reward
    check_reward(reward.code, reward.called)
    return reward.model_copy(update={"use": located(reward.code), "name": reward.called})


def _located(recipe: Recipe) -> Recipe:
    """Return the recipe with whole paths: actors work elsewhere."""

    def whole(path: str | None) -> str | None:
        return str(Path(path).resolve()) if path is not None and Path(path).exists() else path

    model = recipe.model.model_copy(update={"path": whole(recipe.model.path)})
    objective = recipe.objective.model_copy(update={"reference": whole(recipe.objective.reference)})
    reward = recipe.verifier.reward
    verifier = recipe.verifier.model_copy(update={"reward": reward and located(reward)})
    return recipe.model_copy(update={"model": model, "objective": objective, "verifier": verifier})


def _places(recipe: Recipe, group: PlacementGroup, *, gpus: bool) -> list[dict[str, Any]]:
    """Return the resources of each sampler replica: GPUs of its own, or half of a learner's."""
    settings = recipe.cluster
    assert settings is not None
    if not settings.share_gpus:
        each = {
            "num_cpus": 1,
            "num_gpus": recipe.sampling.tensor_parallel if gpus else 0,
            "scheduling_strategy": "SPREAD",
        }
        return [each] * settings.samplers
    return [
        {
            "num_cpus": 1,
            "num_gpus": 0.5 if gpus else 0,
            "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=i),
        }
        for i in range(settings.samplers)
    ]
