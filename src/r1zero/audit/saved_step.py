"""A saved step of a run, as the learner saw it. Legend: P questions, G samples per question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from r1zero.errors import UserError
from r1zero.objectives.bias_meter import Bias, bias_meter
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.rollouts.rewards import Answers, Truncation, answers_of, lengths_of, rewards_of, trajectories_of
from r1zero.runs.rollout_rows import ROLLOUT_COLUMNS, Row, read_rows, reading, rollouts_of
from r1zero.runs.run import Run
from r1zero.runs.steps import by_step
from r1zero.types import Outcome, RewardPart, Rollout, Verdict


@dataclass(frozen=True, slots=True)
class SavedStep:
    """The responses of one rollout batch, with what they earned."""

    number: int
    rewards_PG: Float[Tensor, "P G"]
    graded_PG: Bool[Tensor, "P G"]
    """Which rewards are evidence."""
    lengths_PG: Int[Tensor, "P G"]
    answers: Answers
    """What the answers alone earned: the same, unless the reward is a list."""
    responses: tuple[Trajectory, ...]
    """In question order, their advantages 0 as yet."""

    def trajectories(self, objective: Objective) -> list[Trajectory]:
        """Return the same responses with the advantages that an objective gives them."""
        advantages_PG = objective.advantages(self.rewards_PG, self.graded_PG, self.lengths_PG)
        advantages = advantages_PG.flatten().tolist()
        return [replace(r, advantage=advantage) for r, advantage in zip(self.responses, advantages, strict=True)]

    def bias(self, objective: Objective) -> Bias:
        """Return the bias meter's reading, all responses of the batch in one optimiser step."""
        return bias_meter(*self.answers, self.lengths_PG, objective)


def saved_steps(run: Run) -> list[int]:
    """Return the steps whose rollouts were saved. Raises UserError when there are none."""
    steps = [step for step, _ in by_step((run.path / "rollouts").glob("*.parquet"))]
    if not steps:
        raise UserError(f"{run.path} has no saved rollouts to audit; train with log.rollouts_every = 1 to keep them.")
    return steps


def read_step(run: Run, number: int) -> SavedStep:
    """Return a saved step. Raises UserError when it is not there, or is not whole groups."""
    with reading(path := run.rollout_file(number)):
        parts = run.facts.get("rewards", [])
        rows = read_rows(path, (*ROLLOUT_COLUMNS, "reward"), [f"reward/{part['name']}" for part in parts])
        rollouts = _with_parts(rollouts_of(rows), rows, parts)
    samples = range(len(rows) // max(1, len(rollouts)))
    if not rows or [row["sample"] for row in rows] != [*samples] * len(rollouts):
        raise UserError(f"The rollouts of step {number} in {run.path} are damaged; choose another --step.")
    rewards_PG = torch.tensor([row["reward"] for row in rows]).view(len(rollouts), -1)
    settings = run.recipe.objective
    truncation = Truncation(settings.truncation, settings.truncation_penalty or 0.0)
    _, graded_PG = rewards_of(rollouts, truncation)
    answers = answers_of(rollouts, truncation) if parts else Answers(rewards_PG, graded_PG)
    responses = trajectories_of(rollouts, torch.zeros_like(rewards_PG), graded_PG)
    return SavedStep(number, rewards_PG, graded_PG, lengths_of(rollouts), answers, tuple(responses))


def _with_parts(rollouts: list[Rollout], rows: Sequence[Row], parts: Sequence[Mapping[str, Any]]) -> list[Rollout]:
    """Return rollouts with the parts of a list of rewards, as far as their columns tell."""
    if not parts:
        return rollouts
    told = iter(rows)
    return [
        replace(each, verdicts=tuple(_whole(verdict, next(told), parts) for verdict in each.verdicts))
        for each in rollouts
    ]


def _whole(verdict: Verdict, row: Row, parts: Sequence[Mapping[str, Any]]) -> Verdict:
    found = []
    for part in parts:
        value = row.get(f"reward/{part['name']}")
        outcome = Outcome.UNGRADED if value is None else Outcome.RIGHT if value >= 1 else Outcome.WRONG
        found.append(RewardPart(part["name"], Verdict(outcome, score=value), part["weight"], part["answers"]))
    score = next((part.verdict.score for part in found if part.answers), None)
    return replace(verdict, score=score, parts=tuple(found))


def read_meter(run: Run, objectives: list[Objective]) -> Iterator[tuple[int, Objective, Bias]]:
    """Yield the bias meter on every saved step, for each objective."""
    for number in saved_steps(run):
        step = read_step(run, number)
        for objective in objectives:
            yield number, objective, step.bias(objective)
