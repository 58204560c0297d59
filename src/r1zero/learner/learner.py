"""The learner: a rollout batch → optimiser steps.

    weights on the whole step → micro-batches → log-probs → surrogate → backward → clip → step

Everything that normalises is fixed before the split into micro-batches; the loss is a plain sum from there. Legend: N
response tokens of a micro-batch.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from r1zero import config
from r1zero.errors import UserError
from r1zero.learner.critic import Critic
from r1zero.learner.experience import Experience, concat, token_advantages, whitened
from r1zero.learner.optimiser import Optimiser
from r1zero.learner.ranks import Pass, Ranks
from r1zero.learner.value_head import ValueHead
from r1zero.metrics import Tally
from r1zero.objectives.table import Objective
from r1zero.policy.batch import MicroBatch, Trajectory
from r1zero.policy.device import to_device
from r1zero.policy.layouts import passes
from r1zero.policy.load import Policy, checkpoint_layers
from r1zero.policy.logprobs import Scorer
from r1zero.policy.quiet import still

_HUGE = 1e6  # advantages: far below what overflows float32, far above what any reward needs


class Learner:
    """Owns the optimiser and its schedule; moves the policy's weights.

    `temperature` is the one that sampled, `seed` decides how a rollout batch is dealt into updates, `total_updates`
    is the length of a decaying schedule. `reference` is the model of a KL term, `critic` the settings of a value head
    where the objective has one. Of several `ranks`, each is given all responses and works on its share.
    """

    def __init__(
        self,
        policy: Policy,
        objective: Objective,
        settings: config.LearnerSettings,
        *,
        temperature: float,
        seed: int,
        total_updates: int,
        max_logprob_gap: float | None = None,
        reference: Policy | None = None,
        critic: config.CriticSettings | None = None,
        ranks: Ranks | None = None,
    ):
        self.ranks = ranks or Ranks()
        self.scorer = self.ranks.shard(Scorer(policy))
        self.reference = reference and self.ranks.shard(Scorer(reference))
        self.policy, self.objective, self.settings = policy, objective, settings
        self.temperature, self.seed = temperature, seed
        self.max_logprob_gap = max_logprob_gap or (1e-4 if policy.exact else 0.1)
        self.parameters = [p for p in policy.model.parameters() if p.requires_grad]
        self.optimiser = Optimiser(self.parameters, settings, total_updates)
        self.updates = 0
        self.critic = Critic(policy, critic or config.CriticSettings(), seed) if objective.critic else None
        if settings.gradient_checkpointing:
            checkpoint_layers(policy.model)

    def learn(self, trajectories: Sequence[Trajectory], step: int, tally: Tally) -> None:
        """Take `settings.updates` optimiser steps on one rollout batch, each on an equal share of its responses.

        One update is on-policy: the old log-probs are the new ones. Several follow the paper: responses are dealt in an
        order that is a pure function of (seed, step), and π_old is recomputed by the learner before the first.
        """
        still(self.policy.model)
        tally.add("learn/live_responses", sum(t.advantage != 0 for t in trajectories), len(trajectories))
        experience = self.hold(trajectories, tally)
        if self.settings.updates == 1:
            self._update(trajectories, experience, self.ranks.partition(trajectories), tally)
        else:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
            order = torch.randperm(len(trajectories), generator=generator).tolist()
            size = len(trajectories) // self.settings.updates
            own = set(self.ranks.partition(trajectories))
            for start in range(0, len(order), size):
                chosen = order[start : start + size]
                mine = [k for k, i in enumerate(chosen) if i in own]
                self._update([trajectories[i] for i in chosen], experience.of(chosen), mine, tally)
        tally.add("learn/updates", self.updates)

    @torch.no_grad()
    def hold(self, trajectories: Sequence[Trajectory], tally: Tally) -> Experience:
        """Compute what the updates on this rollout batch hold fixed, with the weights as they are now."""
        old = reference = advantages = values = returns = None
        indices = self._learnt_from(trajectories, self.ranks.partition(trajectories))
        if self.settings.updates > 1 or self.critic:
            old, values = self._scores(self.scorer, trajectories, indices, self.critic and self.critic.head)
            self._observe_gaps(trajectories, old, tally)
        if self.reference is not None and (self.objective.in_loss or self.critic):
            reference, _ = self._scores(self.reference, trajectories, indices)
        if self.critic and values is not None and old is not None:
            advantages, returns = token_advantages(self.objective, trajectories, values, old, reference)
            advantages = whitened(self.objective, advantages, self.ranks.all_reduce_sum)
            self.critic.observe(values, returns, tally)
            if reference is not None:  # charged token by token in the returns
                for now, before in zip(old, reference, strict=True):
                    if now is not None and before is not None:
                        _observe(tally, "learn/kl_reference", now - before)
        return Experience(
            old=old if self.settings.updates > 1 else None,
            reference=reference if self.objective.in_loss else None,
            advantages=advantages,
            values=values if self.critic else None,
            returns=returns,
        )

    def gradient(
        self,
        trajectories: Sequence[Trajectory],
        experience: Experience,
        tally: Tally,
        share: Sequence[int] | None = None,
    ) -> None:
        """Add the gradient of the objective on one optimiser step's responses to the parameters' `.grad`.

        `trajectories` are *all* responses of the step, for the weights; `share` are the indices of those to work on
        here (all by default): the gradients of any partition into shares add up to the whole one. Responses with zero
        advantage are skipped where their gradient is exactly zero; the weights have already counted them. No pass waits
        for what a device has yet to compute: numbers are read when all passes are under way.
        """
        device, objective = self.policy.device, self.objective
        # Weights are worked out here, on the whole step, and never on a micro-batch or a rank's share: that is what
        # makes the gradient the same however the step is cut.
        weights = self._weights(trajectories)
        advantages = to_device(torch.tensor([t.advantage for t in trajectories]), device)
        gains: list[Tensor] = []
        indices = self._learnt_from(trajectories, range(len(trajectories)) if share is None else share)
        for (batch, prompts), real in self.ranks.pad_passes(self._passes(self.policy, trajectories, indices)):
            states_NH, logprobs_N, entropies_N = self.scorer(batch, prompts, self.temperature, objective.entropy != 0)
            if not real:
                (0 * logprobs_N.sum()).backward()  # every rank takes part in gathering weights and adding gradients
                continue
            sampler_N = _sampler_logprobs(batch, trajectories, device)
            old_N = logprobs_N.detach() if experience.old is None else concat(batch, experience.old)
            ratios_N = objective.ratios(logprobs_N - old_N, batch.response_N)
            own = experience.advantages
            advantages_N = concat(batch, own) if own else advantages[batch.response_N]
            reference_N = concat(batch, experience.reference) if experience.reference else old_N
            # a KL term stands at its own token, even where the surrogate's ratio is the whole response's
            divergence_N = objective.divergence(logprobs_N, reference_N, (logprobs_N - old_N).exp())
            mismatch_N = (old_N - sampler_N).exp()
            gains_N = objective.token_gains(ratios_N, advantages_N, mismatch_N, divergence_N, entropies_N)
            gain = (weights[batch.response_N] * gains_N).sum()
            (-gain).backward()
            if self.critic:
                self.critic.learn(states_NH, batch, experience, tally)
            gains.append(gain.detach())
            _observe(tally, "learn/entropy", entropies_N)
            if experience.reference:
                _observe(tally, "learn/kl_reference", logprobs_N - reference_N)
            if objective.importance_cap is not None:
                _observe(tally, "learn/importance_capped", (mismatch_N > objective.importance_cap).float())
            if experience.old is None:
                _observe_gap(tally, logprobs_N.detach(), sampler_N)
            else:
                self._observe_ratios(ratios_N.detach(), advantages_N, tally)
        total = sum((each.item() for each in gains), 0.0)
        tally.add("learn/gain", total, float(self.ranks.first))  # the ranks' parts add up to one gain

    def logprobs(self, trajectories: Sequence[Trajectory], *, reference: bool = False) -> list[list[float]]:
        """Return log-probs of each response's tokens under the policy, or under the reference model.

        Of several ranks, each gives those of its share and leaves the other rows empty.
        """
        scorer = self.reference if reference else self.scorer
        if scorer is None:
            raise ValueError("this learner has no reference model")
        indices = [i for i in self.ranks.partition(trajectories) if trajectories[i].length]
        found, _ = self._scores(scorer, trajectories, indices)
        return [[] if each is None else each.tolist() for each in found]

    def save(self, folder: Path) -> None:
        """Write the policy as a Hugging Face folder."""
        self.policy.save(folder)

    def peak_memory(self) -> int:
        """Return peak memory in bytes: allocated on the GPU, or resident in this process."""
        if self.policy.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.policy.device)
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    def state(self) -> dict[str, Any]:
        """Return everything but the weights that the next update depends on."""
        return {
            **self.optimiser.state(),
            "updates": self.updates,
            "critic": self.critic and self.critic.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.optimiser.restore(state)
        self.updates = state["updates"]
        if self.critic:
            self.critic.restore(state["critic"])

    def _update(
        self, trajectories: Sequence[Trajectory], experience: Experience, share: Sequence[int], tally: Tally
    ) -> None:
        self.optimiser.zero_grad()
        self.gradient(trajectories, experience, tally, share)
        self._check_gap(tally)  # after the pass that computes log-probs; nothing has moved yet
        for parameter in self.parameters:  # a step without live responses has a gradient too: zero
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        rate, norm = self.optimiser.step(self.updates + 1, _huge_rewards(trajectories))
        if self.critic:
            self.critic.step()
        self.updates += 1
        tally.add("learn/learning_rate", rate)
        tally.add("learn/grad_norm", norm)
        tally.add("learn/grad_norm_max", norm)

    def _weights(self, trajectories: Sequence[Trajectory]) -> Tensor:
        """Return w_N of one optimiser step's responses."""
        lengths, live = [t.length for t in trajectories], [t.advantage != 0 for t in trajectories]
        questions = [t.prompt_ids if t.group is None else t.group for t in trajectories]
        index = {question: p for p, question in enumerate(dict.fromkeys(questions))}
        groups = [index[question] for question in questions]
        told = (to_device(torch.tensor(each), self.policy.device) for each in (lengths, live, groups))
        return self.objective.response_weights(*told)

    def _learnt_from(self, trajectories: Sequence[Trajectory], share: Sequence[int]) -> list[int]:
        """Return the indices that have a gradient."""
        known = [i for i in share if trajectories[i].counts and trajectories[i].length]
        return known if self.objective.every_response_counts else [i for i in known if trajectories[i].advantage != 0]

    def _passes(self, policy: Policy, trajectories: Sequence[Trajectory], indices: Sequence[int]) -> Iterator[Pass]:
        """Return micro-batches of some trajectories, laid out as `learner.layout` says."""
        return passes(policy, trajectories, indices, self.settings.layout, self.settings.micro_tokens)

    @torch.no_grad()
    def _scores(
        self, scorer: Scorer, trajectories: Sequence[Trajectory], indices: Sequence[int], head: ValueHead | None = None
    ) -> tuple[list[Tensor | None], list[Tensor | None]]:
        """Return log-probs of each response's tokens under a policy, and their states' values under a head (zeros
        without one).
        """
        logprobs: list[Tensor | None] = [None] * len(trajectories)
        values: list[Tensor | None] = [None] * len(trajectories)
        for (batch, prompts), real in self.ranks.pad_passes(self._passes(scorer.policy, trajectories, indices)):
            states_NH, logprobs_N, _ = scorer(batch, prompts, self.temperature)
            if not real:
                continue
            values_N = torch.zeros_like(logprobs_N) if head is None else head(states_NH)
            sizes = [trajectories[i].length for i in batch.responses]
            for i, logp, value in zip(batch.responses, logprobs_N.split(sizes), values_N.split(sizes), strict=True):
                logprobs[i], values[i] = logp, value
        return logprobs, values

    def _observe_gaps(self, trajectories: Sequence[Trajectory], old: Sequence[Tensor | None], tally: Tally) -> None:
        """Check before several updates that the sampler is the policy."""
        for trajectory, logprobs in zip(trajectories, old, strict=True):
            if logprobs is not None:
                _observe_gap(tally, logprobs, to_device(torch.tensor(trajectory.sampler_logprobs), logprobs.device))
        self._check_gap(tally)

    def _check_gap(self, tally: Tally) -> None:
        """Stop before anything is trained on a batch whose sampler was not the policy."""
        total, count = self.ranks.all_reduce_sum(tally.sum_of("learn/logprob_gap"))
        gap = total / count if count else 0.0
        if not gap <= self.max_logprob_gap:
            raise UserError(
                f"The sampler's log-probs differ from the learner's by {gap:.2g} nats a token (train.max_logprob_gap = "
                f"{self.max_logprob_gap:g}): they are not the same policy, so nothing was trained on this batch; "
                "raise train.max_logprob_gap only if the difference is known to be rounding."
            )

    def _observe_ratios(self, ratios_N: Tensor, advantages_N: Tensor, tally: Tally) -> None:
        _observe(tally, "learn/ratio_mean", ratios_N)
        tally.add("learn/ratio_max", ratios_N.max())
        tally.add("learn/ratio_min", ratios_N.min())
        _observe(tally, "learn/clip_fraction", self.objective.at_bound(ratios_N, advantages_N))
        _observe(tally, "learn/kl_old", ratios_N - 1 - ratios_N.log())


def _huge_rewards(trajectories: Sequence[Trajectory]) -> str:
    """Say what to do where it is rewards that no gradient could be finite with; nothing where they are of a size."""
    largest = max((abs(t.advantage) for t in trajectories), default=0.0)
    if largest < _HUGE:  # not so of nan
        return ""
    return (
        f"its responses have advantages up to {largest:.2g}, so it is the rewards that are too large: have "
        "verifier.reward, or the rewards of [[reward]] by their weights, return numbers between -1 and 1, and start "
        "another run with another --out."
    )


def _sampler_logprobs(batch: MicroBatch, trajectories: Sequence[Trajectory], device: torch.device) -> Tensor:
    return to_device(torch.tensor([x for i in batch.responses for x in trajectories[i].sampler_logprobs]), device)


def _observe_gap(tally: Tally, logprobs_N: Tensor, sampler_N: Tensor) -> None:
    """Hold the learner's log-probs against the sampler's on the same tokens and weights."""
    gap_N = (logprobs_N - sampler_N).abs()
    _observe(tally, "learn/logprob_gap", gap_N)
    tally.add("learn/logprob_gap_max", gap_N.max())


def _observe(tally: Tally, key: str, values_N: Tensor) -> None:
    tally.add(key, values_N.detach().double().sum(), values_N.numel())
