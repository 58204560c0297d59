"""Verdicts → rewards, and what a rollout batch says about itself. Legend: P questions, G samples per question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from r1zero.metrics import Tally, source_key
from r1zero.objectives.advantage import varied
from r1zero.policy.batch import Trajectory
from r1zero.types import Completion, Fate, Outcome, Rollout, Stop, Verdict


@dataclass(frozen=True, slots=True)
class Truncation:
    """What a truncated response earns, and whether its reward is evidence at all. `penalty` is that of `penalise`."""

    policy: str = "reward_zero"
    penalty: float = 0.0

    def reward(self, completion: Completion, verdict: Verdict) -> float:
        """Return r_i of one response. Of a list of rewards the policy concerns the part that judges the answer; others,
        as a price for length, are what they are.
        """
        if not verdict.parts:
            return self.answer(completion, verdict)
        return sum(
            part.weight * (self.answer(completion, part.verdict) if part.answers else part.verdict.reward)
            for part in verdict.parts
            if part.verdict.graded
        )

    def answer(self, completion: Completion, verdict: Verdict) -> float:
        """Return what the answer alone earns."""
        earned = verdict.answer_reward
        return TRUNCATION[self.policy](earned, self.penalty) if completion.truncated else earned

    def counts(self, completion: Completion, verdict: Verdict) -> bool:
        """Tell whether the response enters its group's baseline and the gradient."""
        return verdict.rewarded and not self.masks(completion)

    def masks(self, completion: Completion) -> bool:
        """Tell whether the response is left out for how it ended."""
        return self.policy == "mask_out" and completion.truncated


TRUNCATION: dict[str, Callable[[float, float], float]] = {
    "reward_zero": lambda reward, penalty: 0.0,
    "mask_out": lambda reward, penalty: 0.0,
    "keep": lambda reward, penalty: reward,
    "penalise": lambda reward, penalty: -penalty,
}
"""The reward of a truncated response, from what it would earn otherwise. `reward_zero` is the paper's."""


def rewards_of(rollouts: Sequence[Rollout], truncation: Truncation) -> tuple[Tensor, Tensor]:
    """Return (rewards_PG, graded_PG): rewards, and whether each is evidence: graded, and not masked out."""
    pairs = [list(zip(r.completions, r.verdicts, strict=True)) for r in rollouts]
    rewards = [[truncation.reward(c, v) for c, v in group] for group in pairs]
    graded = [[truncation.counts(c, v) for c, v in group] for group in pairs]
    return torch.tensor(rewards), torch.tensor(graded)


class Answers(NamedTuple):
    """What answers earn, whatever else a reward is made of, and which of them are known."""

    rewards_PG: Tensor
    known_PG: Tensor

    @property
    def mixed_P(self) -> Tensor:  # noqa: N802 - the suffix is the shape
        """Which groups have answers that differ."""
        return varied(self.rewards_PG, self.known_PG)[:, 0]


def answers_of(rollouts: Sequence[Rollout], truncation: Truncation) -> Answers:
    """Return what the answers of rollouts earn, after the truncation policy: their rewards, where there is no list."""
    pairs = [list(zip(r.completions, r.verdicts, strict=True)) for r in rollouts]
    rewards = [[truncation.answer(c, v) for c, v in group] for group in pairs]
    known = [[v.graded and not truncation.masks(c) for c, v in group] for group in pairs]
    return Answers(torch.tensor(rewards), torch.tensor(known))


def lengths_of(rollouts: Sequence[Rollout]) -> Tensor:
    """Return |o|_PG, in tokens."""
    return torch.tensor([[completion.length for completion in rollout.completions] for rollout in rollouts])


def trajectories_of(
    rollouts: Sequence[Rollout], advantages_PG: Tensor, graded_PG: Tensor | None = None
) -> list[Trajectory]:
    """Flatten groups into the learner's trajectories, in question order."""
    graded_PG = torch.ones_like(advantages_PG, dtype=torch.bool) if graded_PG is None else graded_PG
    return [
        Trajectory(rollout.prompt_ids, completion.token_ids, completion.logprobs, advantage, counts, group)
        for group, (rollout, advantages, known) in enumerate(
            zip(rollouts, advantages_PG.tolist(), graded_PG.tolist(), strict=True)
        )
        for completion, advantage, counts in zip(rollout.completions, advantages, known, strict=True)
    ]


def observe_textless(tally: Tally, rollouts: Sequence[Rollout], textless: frozenset[int]) -> None:
    """Count responses with ids that have no text, where a model has such ids."""
    if textless:
        tally.mean_of("rollout/textless", (c.holds(textless) for rollout in rollouts for c in rollout.completions))


def observe_parts(tally: Tally, rollouts: Sequence[Rollout]) -> None:
    """Add what each part of a list of rewards gave, unweighted, and how often it could not be had."""
    for rollout in rollouts:
        for verdict in rollout.verdicts:
            for part in verdict.parts:
                found, key = part.verdict, f"reward/{part.name}"
                tally.mean_of(key, [found.reward] if found.graded else [])
                tally.add(f"{key}/ungraded", found.outcome is Outcome.UNGRADED)
                tally.add(f"{key}/timeouts", found.outcome is Outcome.TIMEOUT)
                for column, value in found.columns.items():
                    tally.mean_of(f"{key}.{column}", [value])


def observe_sources(
    tally: Tally,
    sources: Sequence[str],
    rollouts: Sequence[Rollout],
    rewards_PG: Tensor,
    graded_PG: Tensor,
    live_P: Tensor,
) -> None:
    """Add what a rollout batch says of each source of its questions; of one that it asks nothing of, a share of 0."""
    told = list(zip(rollouts, rewards_PG.tolist(), graded_PG.tolist(), live_P.tolist(), strict=True))
    for source in sources:
        own = [group for group in told if group[0].question.source == source]
        verdicts = [verdict for rollout, *_ in own for verdict in rollout.verdicts]
        completions = [completion for rollout, *_ in own for completion in rollout.completions]
        known = [verdict for verdict in verdicts if verdict.graded]
        rewards = [r for _, group, graded, _ in own for r, counts in zip(group, graded, strict=True) if counts]
        tally.add(source_key(source, "share"), len(own), len(told))
        tally.mean_of(source_key(source, "reward"), rewards)
        tally.mean_of(source_key(source, "pass_at_1"), (v.right for v in known))
        tally.mean_of(source_key(source, "answered"), (v.outcome is not Outcome.NO_ANSWER for v in known))
        tally.mean_of(source_key(source, "dead_groups"), (not live for *_, live in own))
        tally.mean_of(source_key(source, "length"), (c.length for c in completions))
        tally.mean_of(source_key(source, "truncated"), (c.truncated for c in completions))
        tally.add(source_key(source, "ungraded"), len(verdicts) - len(known))


def observe(
    tally: Tally,
    rollouts: Sequence[Rollout],
    rewards_PG: Tensor,
    graded_PG: Tensor,
    dead_P: Tensor,
    answers: Answers | None = None,
) -> None:
    """Add a rollout batch to the tally; `answers` where rewards are more than those."""
    answers_PG, known_PG = answers or (rewards_PG, graded_PG)
    rated = [(c, v) for r in rollouts for c, v in zip(r.completions, r.verdicts, strict=True)]
    known = [(c, v) for c, v in rated if v.graded]
    completions = [completion for completion, _ in rated]
    fated = [(c.length, Fate.of(v.outcome, c.truncated).coarse) for c, v in rated]

    tally.mean_of("rollout/reward", rewards_PG[graded_PG].tolist())
    tally.mean_of("rollout/pass_at_1", (v.right for _, v in known))
    tally.mean_of("rollout/pass_at_g", (any(v.right for v in r.verdicts) for r in rollouts))
    tally.mean_of("rollout/answered", (v.outcome is not Outcome.NO_ANSWER for _, v in known))
    tally.mean_of("rollout/dead_groups", dead_P.tolist())
    some_P = known_PG.any(dim=1)
    tally.mean_of("rollout/all_right_groups", (some_P & ((answers_PG >= 1) | ~known_PG).all(dim=1)).tolist())
    tally.mean_of("rollout/all_wrong_groups", (some_P & ((answers_PG <= 0) | ~known_PG).all(dim=1)).tolist())
    tally.mean_of("rollout/length", (c.length for c in completions))
    for kind in (Fate.CORRECT, Fate.INCORRECT, Fate.TRUNCATED):
        tally.mean_of(f"rollout/length_{kind}", (length for length, fate in fated if fate is kind))
    tally.mean_of("rollout/truncated", (fate is Fate.TRUNCATED for _, fate in fated))
    tally.mean_of("rollout/cut_by_context", (c.stop is Stop.CONTEXT for c in completions))
    tally.add("rollout/surprisal", -sum(sum(c.logprobs) for c in completions), sum(c.length for c in completions))
    tally.add("rollout/tokens", sum(c.length for c in completions))
    tally.add("rollout/responses", len(completions))
    tally.mean_of("rollout/prompt_length", (len(rollout.prompt_ids) for rollout in rollouts))
    tally.add("rollout/ungraded", sum(v.earned is Outcome.UNGRADED for _, v in rated))
    tally.add("rollout/timeouts", sum(v.earned is Outcome.TIMEOUT for _, v in rated))
