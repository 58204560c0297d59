"""A step's rollout batch: sample, verify, reward, advantage; again with further questions under dynamic sampling.

Legend: P questions, G samples per question.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from r1zero.metrics import Tally
from r1zero.objectives.advantage import varied
from r1zero.objectives.bias_meter import bias_meter
from r1zero.objectives.table import Objective
from r1zero.policy.batch import Trajectory
from r1zero.rollouts.mixture import MixedStream, Stream
from r1zero.rollouts.prompts import Prompt
from r1zero.rollouts.rewards import (
    Truncation,
    answers_of,
    lengths_of,
    observe,
    observe_parts,
    observe_sources,
    observe_textless,
    rewards_of,
    trajectories_of,
)
from r1zero.sampling.protocol import Request, Sampler, SamplingParams
from r1zero.sampling.synced_engine import SyncedEngine
from r1zero.templates import Template
from r1zero.types import Completion, GradingTask, Rollout, Verdict
from r1zero.verify.protocol import VerifierProtocol
from r1zero.verify.working import check_graded

Penalty = Callable[[list[Rollout]], Tensor]
"""What is taken from each response's reward for leaving a reference model: [P, G], in units of reward."""


def reference_penalty(
    rollouts: list[Rollout], logprobs: Callable[[Sequence[Trajectory]], Sequence[Sequence[float]]], coefficient: float
) -> Tensor:
    """Compute β·Σ_t (log π_sampler − log π_ref) of each response, the k1 estimate of the KL divergence, as a `Penalty`.

    `logprobs` gives the reference model's log-probs of each response's tokens.
    """
    shape = (len(rollouts), len(rollouts[0].completions))
    trajectories = trajectories_of(rollouts, torch.zeros(shape))
    surprise = [
        sum(trajectory.sampler_logprobs) - sum(reference)
        for trajectory, reference in zip(trajectories, logprobs(trajectories), strict=True)
    ]
    return coefficient * torch.tensor(surprise).view(shape)


@dataclass(frozen=True, slots=True)
class GradedRollouts:
    """P groups with the rewards of their task, and which of them are evidence."""

    rollouts: list[Rollout]
    rewards_PG: Tensor
    graded_PG: Tensor
    penalties_PG: Tensor
    """What a KL term in the reward takes."""

    @property
    def live_P(self) -> Tensor:  # noqa: N802 - the suffix is the shape
        """Which groups have rewards of their task that differ."""
        return varied(self.rewards_PG, self.graded_PG)[:, 0]

    def __add__(self, other: GradedRollouts) -> GradedRollouts:
        """Return both, in order."""
        return GradedRollouts(
            self.rollouts + other.rollouts,
            torch.cat([self.rewards_PG, other.rewards_PG]),
            torch.cat([self.graded_PG, other.graded_PG]),
            torch.cat([self.penalties_PG, other.penalties_PG]),
        )

    def some(self, groups: Tensor) -> GradedRollouts:
        """Return the groups of these indices."""
        rollouts = [self.rollouts[p] for p in groups.tolist()]
        return GradedRollouts(rollouts, self.rewards_PG[groups], self.graded_PG[groups], self.penalties_PG[groups])


@dataclass(frozen=True, slots=True)
class Batch:
    """What a step learns from."""

    graded: GradedRollouts
    advantages_PG: Tensor

    @property
    def rollouts(self) -> list[Rollout]:
        """The P groups."""
        return self.graded.rollouts

    def trajectories(self) -> list[Trajectory]:
        """Return all P·G responses, in question order."""
        return trajectories_of(self.rollouts, self.advantages_PG, self.graded.graded_PG)

    def columns(self) -> dict[str, list[float]]:
        """Return what is saved beside the rollouts, one number per response."""
        return {"reward": self.graded.rewards_PG.flatten().tolist(), "advantage": self.advantages_PG.flatten().tolist()}


@dataclass(frozen=True, slots=True)
class RolloutCollector:
    """Everything between the question set and the learner.

    With `rounds` above 1, rounds of further questions are drawn until `prompts` groups are live; of what was sampled,
    the first live groups are kept, in order, and where they are too few the first dead ones fill up: a batch always has
    `prompts` groups, so that no weight depends on luck. Live is here what has right and wrong answers.
    """

    stream: Stream
    sampler: Sampler
    verifier: VerifierProtocol
    template: Template
    params: SamplingParams
    objective: Objective
    truncation: Truncation
    penalty: Penalty | None
    prompts: int
    samples: int
    seed: int
    rounds: int = 1
    textless: frozenset[int] = frozenset()
    """Token ids that the model can say and its tokenizer has no text for."""

    def __call__(self, step: int, tally: Tally, progress: Callable[[Completion], None] | None = None) -> Batch:
        """Return the rollout batch of a step; what was sampled on the way is observed."""
        graded = self._round(step, tally, progress)
        for _ in range(self.rounds - 1):
            if self._worth_P(graded).sum() >= self.prompts:
                break
            graded += self._round(step, tally, progress)
        answers = answers_of(graded.rollouts, self.truncation)
        observe(tally, graded.rollouts, graded.rewards_PG, graded.graded_PG, ~graded.live_P, answers)
        observe_parts(tally, graded.rollouts)
        observe_textless(tally, graded.rollouts, self.textless)
        if isinstance(self.stream, MixedStream):
            groups = graded.rollouts, graded.rewards_PG, graded.graded_PG, graded.live_P
            observe_sources(tally, self.stream.names, *groups)
            self.stream.observe(tally)
        tally.add("rollout/groups", len(graded.rollouts))
        # live groups first, then dead ones, each in the order drawn; sorted back, for a batch keeps question order
        dead_P = ~self._worth_P(graded)
        kept = graded.some(torch.argsort(dead_P.int(), stable=True)[: self.prompts].sort().values)
        lengths_PG = lengths_of(kept.rollouts)
        bias = bias_meter(*answers_of(kept.rollouts, self.truncation), lengths_PG, self.objective)
        for key, value in (("bias/length", bias.length), ("bias/difficulty", bias.difficulty)):
            if value is not None:
                tally.add(key, value)
        advantages_PG = self.objective.advantages(kept.rewards_PG, kept.graded_PG, lengths_PG)
        tally.add("rollout/prompts_dropped", self.stream.dropped)
        tally.add("rollout/epoch", self.stream.epoch)
        return Batch(kept, self.objective.penalised(advantages_PG, kept.penalties_PG, kept.graded_PG))

    def _worth_P(self, graded: GradedRollouts) -> Tensor:  # noqa: N802 - the suffix is the shape
        """Tell which groups dynamic sampling draws for: those with right and wrong answers, whatever else is in a
        reward. Of answers that nobody judges, it is rewards that have to differ.
        """
        answers = answers_of(graded.rollouts, self.truncation)
        return torch.where(answers.known_PG.any(dim=1), answers.mixed_P, graded.live_P)

    def state(self) -> dict[str, Any]:
        """Tell where the question set stands."""
        return dict(self.stream.state())

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.stream.restore(state)

    def _round(self, step: int, tally: Tally, progress: Callable[[Completion], None] | None) -> GradedRollouts:
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
        verdicts = [verdict for rollout in rollouts for verdict in rollout.verdicts]
        check_graded(
            verdicts,
            f"step {step}",
            "continue with --resume where it was away for a while; else mend the reward or the golds, and start again "
            "with another --out",
        )
        tally.add("time/sample", sample_seconds)
        tally.add("time/grade", grade_seconds)
        rewards_PG, graded_PG = rewards_of(rollouts, self.truncation)
        penalty_PG = torch.zeros(rewards_PG.shape)
        if self.penalty is not None:
            penalty_PG = self.penalty(rollouts)
            tally.mean_of("rollout/kl_penalty", penalty_PG.flatten().tolist())
        return GradedRollouts(rollouts, rewards_PG, graded_PG, penalty_PG)


@dataclass(frozen=True, slots=True)
class ColocatedCollector:
    """A collector whose engine rests once a batch is there: it may share its GPU with the learner, whose turn it is."""

    collector: RolloutCollector
    engine: SyncedEngine

    def __call__(self, step: int, tally: Tally, progress: Callable[[Completion], None] | None = None) -> Batch:
        """See `RolloutCollector`."""
        batch = self.collector(step, tally, progress)
        self.engine.sleep()
        return batch

    def state(self) -> dict[str, Any]:
        """See `RolloutCollector`."""
        return self.collector.state()

    def restore(self, state: dict[str, Any]) -> None:
        """See `RolloutCollector`."""
        self.collector.restore(state)


class Collected(NamedTuple):
    """Rollouts in the order of their prompts, and the seconds it took to sample and then to wait for verdicts."""

    rollouts: list[Rollout]
    sample_seconds: float
    grade_seconds: float


Graded = tuple[Completion, Verdict]
"""A response and what the verifier found."""
_NOTHING: Mapping[int, Mapping[int, Graded]] = MappingProxyType({})


def collect(
    prompts: Sequence[Prompt],
    sampler: Sampler,
    verifier: VerifierProtocol,
    template: Template,
    params: SamplingParams,
    *,
    samples: int,
    seed: int,
    step: int,
    progress: Callable[[Completion], None] | None = None,
    known: Mapping[int, Mapping[int, Graded]] = _NOTHING,
    keep: Callable[[int, int, Completion, Verdict], None] | None = None,
) -> Collected:
    """Draw `samples` responses to every prompt and grade them all. Groups come back whole, in order.

    A response's place is its prompt and its sample. `known` holds whole groups, whose prompts are not asked again;
    `keep` is given the place of every other response, and the response, as soon as it is graded.
    """
    begin = time.perf_counter()
    graded = {(p, g): found for p, group in known.items() for g, found in group.items()}
    asked = [p for p in range(len(prompts)) if p not in known]
    completions: dict[tuple[int, int], Completion] = {}

    def settle(verdicts: Iterable[tuple[Any, Verdict]]) -> None:
        for (p, g), verdict in verdicts:
            graded[p, g] = completions[p, g], verdict
            if keep is not None:
                keep(p, g, completions[p, g], verdict)

    requests = [Request(prompts[p].key, prompts[p].ids) for p in asked]
    for done in sampler.sample(requests, samples, params, seed=seed, step=step):
        place = asked[done.request], done.sample
        completions[place] = done.completion
        asked_for = prompts[place[0]]
        verifier.submit(
            place, GradingTask.of(asked_for.question, asked_for.text, done.completion, template.answer_format)
        )
        if keep is not None:  # where nothing is kept, verdicts can wait until all is sampled
            settle(verifier.ready())
        if progress is not None:
            progress(done.completion)
    sampled = time.perf_counter()
    settle(verifier.drain())
    rollouts = []
    for p, prompt in enumerate(prompts):
        responses, verdicts = zip(*(graded[p, g] for g in range(samples)), strict=True)
        rollouts.append(Rollout(prompt.question, prompt.text, prompt.ids, responses, verdicts))
    return Collected(rollouts, sampled - begin, time.perf_counter() - sampled)
