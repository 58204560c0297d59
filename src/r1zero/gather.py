"""A step's rollout batch: sample, verify, reward, advantage; again with further questions under dynamic sampling.

Legend: P questions, G samples per question.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from r1zero.held import token_scores
from r1zero.metrics import Tally
from r1zero.objectives.meter import bias_meter
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy
from r1zero.rewards import Truncation, lengths_of, observe, rewards_of, trajectories_of
from r1zero.rollout import PromptStream, collect
from r1zero.sampling import Sampler, SamplingParams
from r1zero.templates import Template
from r1zero.types import Completion, Rollout
from r1zero.verify import Verifier


class Penalty(Protocol):
    """What is taken from a response's reward for leaving a reference model."""

    def __call__(self, rollouts: list[Rollout]) -> Tensor:
        """Penalties [P, G]."""
        ...


def no_penalty(rollouts: list[Rollout]) -> Tensor:
    """Nothing is taken."""
    return torch.zeros(len(rollouts), len(rollouts[0].completions))


@dataclass(frozen=True, slots=True)
class ReferencePenalty:
    """β·Σ_t (log π_sampler − log π_ref) of each response: the k1 estimate of the KL divergence, in the reward."""

    reference: Policy
    coefficient: float
    temperature: float
    layout: str
    micro_tokens: int

    def __call__(self, rollouts: list[Rollout]) -> Tensor:
        """Penalties [P, G], in units of reward."""
        shape = (len(rollouts), len(rollouts[0].completions))
        trajectories = trajectories_of(rollouts, torch.zeros(shape))
        logprobs, _ = token_scores(
            self.reference,
            trajectories,
            range(len(trajectories)),
            self.temperature,
            layout=self.layout,
            budget=self.micro_tokens,
        )
        surprise = [
            sum(trajectory.sampler_logprobs) - (0.0 if reference is None else reference.sum().item())
            for trajectory, reference in zip(trajectories, logprobs, strict=True)
        ]
        return self.coefficient * torch.tensor(surprise).view(shape)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from: P groups with the rewards of their task, and which of them are evidence."""

    rollouts: list[Rollout]
    rewards_PG: Tensor
    graded_PG: Tensor
    penalties_PG: Tensor
    """What a KL term in the reward takes."""
    advantages_PG: Tensor

    def trajectories(self) -> list[Trajectory]:
        """All P·G responses, in question order."""
        return trajectories_of(self.rollouts, self.advantages_PG, self.graded_PG)

    def columns(self) -> dict[str, list[float]]:
        """What is saved beside the rollouts, one number per response."""
        return {"reward": self.rewards_PG.flatten().tolist(), "advantage": self.advantages_PG.flatten().tolist()}


@dataclass(frozen=True, slots=True)
class Gatherer:
    """Everything between the question set and the learner.

    With `rounds` above 1, rounds of further questions are drawn until `prompts` groups are live; of what was sampled,
    the first live groups are kept, in order, and where they are too few the first dead ones fill up: a batch always
    has `prompts` groups, so that no weight depends on luck.
    """

    stream: PromptStream
    sampler: Sampler
    verifier: Verifier
    template: Template
    params: SamplingParams
    objective: Objective
    truncation: Truncation
    penalty: Penalty
    prompts: int
    samples: int
    seed: int
    rounds: int = 1

    def __call__(self, step: int, tally: Tally, progress: Callable[[Completion], None] | None = None) -> Batch:
        """The rollout batch of a step; what was sampled on the way is observed."""
        batch = self._round(step, tally, progress)
        for _ in range(self.rounds - 1):
            if _live(batch).sum() >= self.prompts:
                break
            batch = _joined(self.objective, batch, self._round(step, tally, progress))
        observe(tally, batch.rollouts, batch.rewards_PG, batch.graded_PG, ~_live(batch))
        tally.add("rollout/groups", len(batch.rollouts))
        order = torch.argsort((~_live(batch)).int(), stable=True)[: self.prompts].sort().values
        kept = _some(self.objective, batch, order)
        bias = bias_meter(kept.rewards_PG, kept.graded_PG, lengths_of(kept.rollouts), self.objective)
        for key, value in (("bias/length", bias.length), ("bias/difficulty", bias.difficulty)):
            if value is not None:
                tally.add(key, value)
        return kept

    def _round(self, step: int, tally: Tally, progress: Callable[[Completion], None] | None) -> Batch:
        rollouts, sample_seconds, grade_seconds = collect(
            self.stream.next(self.prompts),
            self.sampler,
            self.verifier,
            self.template,
            self.params,
            samples=self.samples,
            seed=self.seed,
            step=step,
            progress=progress,
        )
        tally.add("time/sample", sample_seconds)
        tally.add("time/grade", grade_seconds)
        rewards_PG, graded_PG = rewards_of(rollouts, self.truncation)
        penalty_PG = self.penalty(rollouts)
        if self.penalty is not no_penalty:
            tally.mean_of("rollout/kl_penalty", penalty_PG.flatten().tolist())
        return _batch(self.objective, rollouts, rewards_PG, graded_PG, penalty_PG)


def _batch(
    objective: Objective, rollouts: list[Rollout], rewards_PG: Tensor, graded_PG: Tensor, penalties_PG: Tensor
) -> Batch:
    advantages_PG = objective.advantages(rewards_PG, graded_PG, lengths_of(rollouts))
    advantages_PG = objective.penalised(advantages_PG, penalties_PG, graded_PG)
    return Batch(rollouts, rewards_PG, graded_PG, penalties_PG, advantages_PG)


def _joined(objective: Objective, first: Batch, second: Batch) -> Batch:
    return _batch(
        objective,
        first.rollouts + second.rollouts,
        torch.cat([first.rewards_PG, second.rewards_PG]),
        torch.cat([first.graded_PG, second.graded_PG]),
        torch.cat([first.penalties_PG, second.penalties_PG]),
    )


def _some(objective: Objective, batch: Batch, groups: Tensor) -> Batch:
    """Some groups of a batch; advantages that look at the whole batch are those of the groups kept."""
    rollouts = [batch.rollouts[p] for p in groups.tolist()]
    return _batch(objective, rollouts, batch.rewards_PG[groups], batch.graded_PG[groups], batch.penalties_PG[groups])


def _live(batch: Batch) -> Tensor:
    """Which groups have rewards of their task that differ, [P]."""
    high_P = torch.where(batch.graded_PG, batch.rewards_PG, -torch.inf).amax(dim=1)
    low_P = torch.where(batch.graded_PG, batch.rewards_PG, torch.inf).amin(dim=1)
    return high_P > low_P
