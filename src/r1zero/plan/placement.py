"""Who works in a run, and on how many devices."""

from __future__ import annotations

from dataclasses import dataclass

from r1zero.config import Recipe
from r1zero.plan.machine import Machine


@dataclass(frozen=True, slots=True)
class Staff:
    """The learner's ranks and the sampler's replicas of a recipe."""

    learners: int
    samplers: int
    spread: int
    """GPUs that one sampler is spread over."""
    engine: bool
    """Whether samplers are vLLM engines."""
    own: bool
    """Whether samplers have weights of their own, instead of the learner's."""
    together: bool
    """Whether samplers stand on the learners' devices."""
    ahead: bool
    """Whether samplers draw while learners learn."""
    crowded: bool
    """Whether all stand on one CPU, and share its cores."""

    @property
    def sleeps(self) -> bool:
        """Whether samplers give back their memory while learners learn: engines do on GPUs."""
        return self.engine and not self.ahead and not self.crowded

    @property
    def overlaps(self) -> bool:
        """Whether sampling and learning take time only once."""
        return self.ahead and not self.together and not self.crowded


def staff_of(recipe: Recipe, machine: Machine) -> Staff:
    """Without a `[cluster]` section: one learner, and one sampler on its device."""
    cluster, engine = recipe.cluster, recipe.sampling.engine == "vllm"
    return Staff(
        learners=cluster.learners if cluster else 1,
        samplers=cluster.samplers if cluster else 1,
        spread=recipe.sampling.tensor_parallel if engine else 1,
        engine=engine,
        own=engine or cluster is not None,
        together=cluster is None or cluster.share_gpus,
        ahead=recipe.rollout.max_staleness > 0,
        crowded=not machine.gpu,
    )
