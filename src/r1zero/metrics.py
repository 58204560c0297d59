"""Every metric a run logs, in one table, and the tally that adds them up as (sum, count).

A mean is a sum over a count until the moment it is written, so nothing is ever a mean of means. `docs/metrics.md` is
this table printed (`python -m r1zero.metrics`); a test holds a real run's log against it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol


class Unread(Protocol):
    """A number that a device may still be computing: a tensor of one element. Reading it waits for it."""

    def item(self) -> float:
        """Return it."""
        ...


class Kind(StrEnum):
    """How observations of a metric combine."""

    MEAN = "mean"
    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Metric:
    """One logged number: what it is, how it combines, which way is better, and what to suspect when it misbehaves."""

    key: str
    meaning: str
    kind: Kind = Kind.MEAN
    better: str = ""
    suspect: str = ""


_METRICS = (
    Metric("rollout/reward", "Mean reward of the graded responses, after the truncation policy; of a list of "
           "rewards their weighted sum.", better="up",
           suspect="Flat at 0: no group is live; look at `rollout/answered` and the template."),
    Metric("rollout/pass_at_1", "Share of graded responses with a right answer, truncated ones included.", better="up",
           suspect="Well above `rollout/reward`: right answers are being cut off."),
    Metric("rollout/pass_at_g", "Share of questions with at least one right answer among their G samples.", better="up",
           suspect="Falls while `pass_at_1` rises: the policy is losing diversity."),
    Metric("rollout/answered", "Share of graded responses that hold an answer in the asked-for format.", better="up",
           suspect="Low: template and model do not fit, or responses are cut off."),
    Metric("rollout/dead_groups", "Share of groups whose rewards are all equal, and which carry no gradient (all "
           "right, all wrong or ungraded; rewards beside the answer's may keep such a group alive).", better="down",
           suspect="Near 1: questions too easy or too hard; raise `rollout.samples`."),
    Metric("rollout/all_right_groups", "Share of groups in which every graded answer earned 1 or more."),
    Metric("rollout/all_wrong_groups", "Share of groups in which no graded answer earned more than 0."),
    Metric("rollout/length", "Response length |o| in tokens, terminator included.",
           suspect="Grows while reward does not: length bias; compare correct and incorrect lengths."),
    Metric("rollout/length_correct", "Length of responses that finished with a right answer."),
    Metric("rollout/length_incorrect", "Length of responses that finished without one.",
           suspect="Grows under `grpo` and not under `dr_grpo`: the 1/|o| bias at work."),
    Metric("rollout/length_truncated", "Length of truncated responses: the budget, or what the context left of it."),
    Metric("rollout/truncated", "Share of responses cut off by the token budget or by the model's context.",
           better="down", suspect="Rising: the budget is too small, or wrong answers are running on."),
    Metric("rollout/cut_by_context", "Share of responses that ended where the model's positions do, before the budget.",
           better="down", suspect="Above 0: prompts and `sampling.max_new_tokens` together exceed the context."),
    Metric("rollout/textless", "Share of responses that hold a token id without a text. Logged where the model has "
           "more embeddings than its tokenizer has tokens.", better="down",
           suspect="Above 0: what is graded is not all that was said; lower the temperature or the learning rate."),
    Metric("rollout/surprisal", "Mean −log π of sampled tokens under the sampling distribution, in nats; its "
           "expectation is the policy's entropy.", suspect="Falls to 0: the policy has collapsed to one response."),
    Metric("rollout/tokens", "Response tokens sampled in this step.", Kind.SUM),
    Metric("rollout/responses", "Responses sampled in this step: P·G, or more under dynamic sampling.", Kind.SUM),
    Metric("rollout/prompt_length", "Prompt length in tokens."),
    Metric("rollout/ungraded", "Responses whose reward nobody knows (gold unusable, a grader failed): outside every "
           "baseline.", Kind.SUM, "down", "Above 0: look for the rule in the saved rollouts."),
    Metric("rollout/timeouts", "Responses whose grading was killed at its time limit: outside every baseline.",
           Kind.SUM, "down", "Rising: the policy has learnt to write answers that hang the grader."),
    Metric("rollout/prompts_dropped", "Questions passed over since the run began because their prompt exceeds "
           "`questions.max_prompt_tokens` or fills the model's positions.", Kind.LAST, "down"),
    Metric("rollout/epoch", "Passes over the question set so far (0.5: half of the first).", Kind.LAST),
    Metric("rollout/staleness", "Updates that the policy was ahead of the weights that drew the batch. Logged with "
           "`rollout.max_staleness`.", Kind.MAX),
    Metric("rollout/groups", "Groups sampled in this step: P, or more under dynamic sampling.", Kind.SUM),
    Metric("rollout/kl_penalty", "Mean KL penalty of a response, Σ_t β·(log π − log π_ref), taken from its advantage."),
    Metric("bias/length", "Length bias: slope of the log of a token's gradient weight (beside Dr. GRPO's) on log |o|, "
           "over live responses, by what their answers earn. 0 for `dr_grpo`, −1 for `grpo`.", Kind.LAST,
           suspect="Below 0: wrong answers are punished the less the longer they are."),
    Metric("bias/difficulty", "Difficulty bias: the slope on the log of sqrt(p(1 − p)) of its question. 0 for "
           "`dr_grpo`, −1 for `grpo`, whose std favours very easy and very hard questions.", Kind.LAST),
    Metric("learn/live_responses", "Share of responses with a non-zero advantage: the ones that carry gradient.",
           better="up"),
    Metric("learn/entropy", "Exact entropy of the policy's next-token distribution, in nats, over live responses.",
           suspect="Falls to 0 early: learning rate too high."),
    Metric("learn/logprob_gap", "Mean |log π_learner − log π_sampler| over live tokens, in nats.", better="down",
           suspect="Above 1e-4 in fp32: the sampler does not run the learner's weights, temperature or template."),
    Metric("learn/logprob_gap_max", "Largest such difference.", Kind.MAX, "down"),
    Metric("learn/ratio_mean", "Mean ratio ρ = π_θ / π_old over live tokens and updates. Logged when a rollout batch "
           "serves several updates; on-policy it is 1 by construction."),
    Metric("learn/ratio_max", "Largest ratio.", Kind.MAX, suspect="Far above 1 + ε: updates too large."),
    Metric("learn/ratio_min", "Smallest ratio.", Kind.MIN),
    Metric("learn/clip_fraction", "Share of live tokens whose gradient the clip range stopped. Not applicable "
           "on-policy, where it is not logged.", suspect="Above 0.2: fewer updates or a lower learning rate."),
    Metric("learn/kl_old", "Mean of (ρ − 1) − log ρ: how far the policy moved from the one that sampled, in nats."),
    Metric("learn/kl_reference", "Mean of log π − log π_ref of sampled tokens (k1), in nats. Logged with a KL term in "
           "the loss or in a critic's returns.", suspect="Grows without end: raise `objective.kl_coefficient`."),
    Metric("learn/importance_capped", "Share of tokens whose π_old / π_sampler exceeds `objective.importance_cap`."),
    Metric("learn/value_loss", "Clipped value loss of the critic, mean over tokens and updates.", better="down"),
    Metric("learn/explained_variance", "1 − Var(R − V) / Var(R) over tokens, before the update: 1 is a perfect critic, "
           "0 a constant one.", Kind.LAST, "up", "Stays at 0 or below: raise `critic.learning_rate`."),
    Metric("learn/gain", "Surrogate objective Σ w·gain of the update: its gradient trains, its value means little.",
           suspect="Below 0 on-policy: Σ w·|o|·Â, so wrong answers are longer than right ones where all tokens weigh "
           "the same (Dr. GRPO); under weights of 1/|o| (GRPO) it is 0."),
    Metric("learn/grad_norm", "Gradient norm before clipping, mean over the step's updates.",
           suspect="Always above `learner.max_grad_norm`: clipping sets the step size."),
    Metric("learn/grad_norm_max", "Largest of them.", Kind.MAX),
    Metric("learn/learning_rate", "Learning rate of the step's last update.", Kind.LAST),
    Metric("learn/updates", "Optimiser steps taken since the run began.", Kind.LAST),
    Metric("time/sample", "Seconds spent sampling (grading runs beside it).", Kind.SUM),
    Metric("time/grade", "Seconds spent waiting for verdicts after the last response was sampled.", Kind.SUM,
           suspect="Not small: raise `verifier.workers`."),
    Metric("time/learn", "Seconds spent in the learner.", Kind.SUM),
    Metric("time/evaluate", "Seconds spent evaluating in this step.", Kind.SUM),
    Metric("time/save", "Seconds spent writing rollouts and the previous checkpoint.", Kind.SUM),
    Metric("time/step", "Seconds of the whole step.", Kind.SUM),
    Metric("speed/sample_tokens_per_second", "Response tokens sampled per second of sampling.", Kind.LAST, "up"),
    Metric("speed/tokens_per_second", "Response tokens per second of the whole step.", Kind.LAST, "up"),
    Metric("memory/peak_mib", "Peak memory in MiB: of the GPU where there is one, of the process otherwise.", Kind.MAX,
           "down"),
)  # fmt: skip

METRICS = {metric.key: metric for metric in _METRICS}

_PARTS = (
    Metric("reward/{name}", "Mean of one reward of a list (`[[reward]]`), unweighted and before the truncation policy, "
           "over the responses that it graded.",
           suspect="Rises while `rollout/pass_at_1` falls: the policy earns by form what it loses by answers."),
    Metric("reward/{name}/ungraded", "Responses that it could not grade.", Kind.SUM, "down",
           "Above 0: look for its rule in the saved rollouts."),
    Metric("reward/{name}/timeouts", "Responses on which it was stopped at its time limit.", Kind.SUM, "down"),
    Metric("reward/{name}.{column}", "Mean of a further number that it returned beside its score."),
)  # fmt: skip
_SOURCE_METRICS = (
    Metric("source/{source}/share", "Share of the step's groups that are of this source.", better="",
           suspect="Far from its weight over many steps: under dynamic sampling, its groups are dead."),
    Metric("source/{source}/reward", "Mean reward of its graded responses, after the truncation policy.", better="up"),
    Metric("source/{source}/pass_at_1", "Share of its graded responses with a right answer.", better="up"),
    Metric("source/{source}/answered", "Share of its graded responses that hold an answer in the asked-for format.",
           better="up"),
    Metric("source/{source}/dead_groups", "Share of its groups whose rewards are all equal.", better="down",
           suspect="Near 1: it is too easy or too hard to teach anything; lower its weight, or filter it."),
    Metric("source/{source}/length", "Response length |o| in tokens, of its responses."),
    Metric("source/{source}/truncated", "Share of its responses cut off by the budget or the context.", better="down"),
    Metric("source/{source}/ungraded", "Its responses that nobody could grade, timeouts included.", Kind.SUM, "down"),
    Metric("source/{source}/epoch", "Passes over this source so far.", Kind.LAST),
    Metric("source/{source}/prompts_dropped", "Its questions passed over since the run began, as `rollout/prompts_"
           "dropped`.", Kind.LAST, "down"),
)  # fmt: skip
_PATTERNS = [
    (re.compile(re.escape(metric.key).replace(r"\{name\}", r"[\w-]+").replace(r"\{column\}", r"[\w-]+")
                .replace(r"\{source\}", r".+")), metric)
    for metric in (*_PARTS, *_SOURCE_METRICS)
]  # fmt: skip
"""Metrics whose keys hold names that a recipe gives."""


def metric_of(key: str) -> Metric:
    """Return the metric of a key, also where a recipe has named it. Raises KeyError for none of the table."""
    if key in METRICS:
        return METRICS[key]
    for pattern, metric in _PATTERNS:
        if pattern.fullmatch(key):
            return replace(metric, key=key)
    raise KeyError(key)


def source_key(source: str, name: str) -> str:
    """Return the key of a source's metric."""
    return f"source/{source}/{name}"


EVALUATION_METRICS = {
    "eval/{set}/accuracy": "Share of responses graded right; mean over questions of their samples' share. Ungraded "
    "responses count as not right here.",
    "eval/{set}/accuracy_low": "Lower end of the accuracy's 95 % interval (Wilson, over questions).",
    "eval/{set}/accuracy_high": "Upper end of it.",
    "eval/{set}/pass_at_n": "pass@n: share of questions with a right answer among their n samples; of several samples.",
    "eval/{set}/length": "Mean response length in tokens.",
    "eval/{set}/length_correct": "Mean length of right, finished responses.",
    "eval/{set}/length_incorrect": "Mean length of finished responses that are not right.",
    "eval/{set}/truncated": "Share of responses cut off by the token budget or by the model's context.",
    "eval/{set}/cut_by_context": "Share of responses that ended where the model's positions do, before the budget.",
    "eval/{set}/answered": "Share of responses with an answer in the asked-for format.",
    "eval/{set}/ungraded": "Responses nobody could grade, timeouts included.",
    "eval/average": "Unweighted mean of the sets' accuracies (the paper's average).",
}


class Tally:
    """Adds up observations of known metrics and gives the numbers to log."""

    def __init__(self) -> None:
        self._totals: dict[str, tuple[float, float]] = {}
        self._unread: list[tuple[str, Unread, float]] = []

    def add(self, key: str, value: float | Unread, count: float = 1.0) -> None:
        """Add an observation: for a MEAN, `value` is a sum over `count` things; otherwise `count` is ignored.

        What a device has yet to compute is read when the tally is asked for numbers.
        Raises KeyError for a metric that is not in the table.
        """
        kind = metric_of(key).kind
        if not isinstance(value, float | int):
            self._unread.append((key, value, count))
            return
        if key in self._totals:
            total, n = self._totals[key]
            count += n
            if kind in (Kind.MEAN, Kind.SUM):
                value += total
            elif kind is Kind.MAX:
                value = max(total, value)
            elif kind is Kind.MIN:
                value = min(total, value)
        self._totals[key] = (value, count)

    def mean_of(self, key: str, values: Iterable[float]) -> None:
        """Add every value of a MEAN; none at all leaves the metric unlogged rather than 0."""
        if numbers := list(values):
            self.add(key, float(sum(numbers)), len(numbers))

    def sum_of(self, key: str) -> tuple[float, float]:
        """Sum and count of what a MEAN has been given; zeros where it has been given nothing."""
        self._read()
        return self._totals.get(key, (0.0, 0.0))

    def merge(self, other: Tally) -> None:
        """Add what another tally holds: another rank's, say."""
        for key, (value, count) in other.state().items():
            self.add(key, value, count)

    def state(self) -> dict[str, tuple[float, float]]:
        """Return what it holds, as plain values."""
        self._read()
        return dict(self._totals)

    @classmethod
    def restored(cls, state: dict[str, tuple[float, float]]) -> Tally:
        """From `state()`."""
        tally = cls()
        tally._totals = {key: (value, count) for key, (value, count) in state.items()}
        return tally

    def result(self) -> dict[str, float]:
        """Return the numbers to log, in the table's order, those that a recipe named last; means of nothing are left
        out.
        """
        self._read()
        numbers: dict[str, float] = {}
        for key in [*METRICS, *(key for key in self._totals if key not in METRICS)]:
            if key in self._totals:
                total, count = self._totals[key]
                if metric_of(key).kind is not Kind.MEAN:
                    numbers[key] = total
                elif count:
                    numbers[key] = total / count
        return numbers

    def __getstate__(self) -> dict[str, Any]:
        """Return what another process is sent: plain values."""
        return {"_totals": self.state(), "_unread": []}

    def _read(self) -> None:
        unread, self._unread = self._unread, []
        for key, value, count in unread:
            self.add(key, value.item(), count)


def markdown() -> str:
    """Return the table as the page `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Every number a run writes to `metrics.jsonl` and to trackers. Means are sums over counts, never means of",
        "means; a metric that does not apply to a step is left out of it, not written as 0. This page is printed from",
        "the table in `src/r1zero/metrics.py` by `python -m r1zero.metrics > docs/metrics.md`.",
        "",
        "| key | what it is | combines by | better | if it misbehaves |",
        "|---|---|---|---|---|",
    ]
    lines += map(_line, (*_METRICS, *_PARTS))
    lines += ["", "## Sources", ""]
    lines += ["Of every `{source}` of a recipe with several `[[questions]]`, by the name that `run.json` gives it.", ""]
    lines += ["| key | what it is | combines by | better | if it misbehaves |", "|---|---|---|---|---|"]
    lines += map(_line, _SOURCE_METRICS)
    lines += ["", "## Evaluation", "", "`evaluations.jsonl` and trackers, for every `{set}` evaluated.", ""]
    lines += ["| key | what it is |", "|---|---|"]
    lines += [f"| `{key}` | {_cell(meaning)} |" for key, meaning in EVALUATION_METRICS.items()]
    return "\n".join(lines) + "\n"


def _line(m: Metric) -> str:
    return f"| `{m.key}` | {_cell(m.meaning)} | {m.kind} | {m.better} | {_cell(m.suspect)} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(), end="")
