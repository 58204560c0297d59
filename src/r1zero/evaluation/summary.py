"""What one question set's graded responses come to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.statistics import Estimate, clustered, majority, pass_at_k, standard_error
from r1zero.types import Completion, Fate, Outcome, Rollout, Stop, Verdict
from r1zero.verify.votes import same_answers

RATES: tuple[str, ...] = (*Outcome, Fate.TRUNCATED)
"""The shares of an evaluation: its outcome is each response's, but `truncated` where it is cut off and not right."""


@dataclass(frozen=True, slots=True)
class SetResult:
    """One question set's outcome. Accuracies and shares are in [0, 1]; lengths in tokens, None of nothing."""

    name: str
    questions: int
    """Rows that were asked."""
    different: int
    """Different questions among them: a question asked by several rows is one piece of evidence."""
    samples: int
    accuracy: float
    """avg@n: the mean over questions of their samples' share of right answers."""
    accuracy_low: float
    accuracy_high: float
    standard_error: float
    length: float
    length_correct: float | None
    length_incorrect: float | None
    truncated: float
    cut_by_context: float
    answered: float
    ungraded: int
    """Responses that nobody could grade, timeouts included."""
    rates: dict[str, float]
    pass_at: dict[int, Estimate]
    """pass@k for every k up to the number of samples."""
    majority: Estimate | None
    """maj@n; None of one sample."""
    within: dict[int, float]
    """Accuracy if only responses that end within so many tokens counted: the same samples, cut again."""
    sample_seconds: float
    tokens: int
    notes: tuple[str, ...] = ()
    """What a reader must know of its questions: rows left out, golds that cannot be graded."""

    def numbers(self) -> dict[str, float]:
        """Return the result under the keys of `metrics.EVALUATION_METRICS`; what does not apply is left out."""
        names = ("accuracy", "accuracy_low", "accuracy_high", "length", "length_correct", "length_incorrect")
        names += ("truncated", "cut_by_context", "answered", "ungraded")
        values = {f"eval/{self.name}/{name}": getattr(self, name) for name in names}
        if self.samples > 1:
            values[f"eval/{self.name}/pass_at_n"] = self.pass_at[self.samples].value
        return {key: value for key, value in values.items() if value is not None}


def summarise(name: str, rollouts: Sequence[Rollout], seconds: float = 0.0, notes: tuple[str, ...] = ()) -> SetResult:
    """Return the numbers of one set's graded responses. A response that nobody could grade counts as not right."""
    pairs = [(c, v) for r in rollouts for c, v in zip(r.completions, r.verdicts, strict=True)]
    fated = [(c.length, Fate.of(v.outcome, c.truncated)) for c, v in pairs]
    n = len(rollouts[0].verdicts)
    rights = [sum(v.right for v in r.verdicts) for r in rollouts]
    shares = [right / n for right in rights]
    asked = [r.question.asked for r in rollouts]
    accuracy = clustered(shares, asked)
    votes = [
        majority(same_answers([None if v.right else v.extracted for v in r.verdicts]), [v.right for v in r.verdicts])
        for r in (rollouts if n > 1 else ())
    ]
    return SetResult(
        name=name,
        questions=len(rollouts),
        different=len(set(asked)),
        samples=n,
        accuracy=accuracy.value,
        accuracy_low=accuracy.low,
        accuracy_high=accuracy.high,
        standard_error=standard_error(shares, asked),
        length=sum(c.length for c, _ in pairs) / len(pairs),
        length_correct=mean([length for length, fate in fated if fate is Fate.CORRECT]),
        length_incorrect=mean([length for length, fate in fated if fate not in (Fate.CORRECT, Fate.TRUNCATED)]),
        truncated=sum(fate is Fate.TRUNCATED for _, fate in fated) / len(pairs),
        cut_by_context=sum(c.stop is Stop.CONTEXT for c, _ in pairs) / len(pairs),
        answered=sum(v.outcome is not Outcome.NO_ANSWER for _, v in pairs) / len(pairs),
        ungraded=sum(not v.graded for _, v in pairs),
        rates={rate: sum(rate_of(c, v) == rate for c, v in pairs) / len(pairs) for rate in RATES},
        pass_at={k: clustered([pass_at_k(n, right, k) for right in rights], asked) for k in range(1, n + 1)},
        majority=clustered(votes, asked) if n > 1 else None,
        within=_within(pairs),
        sample_seconds=seconds,
        tokens=sum(c.length for c, _ in pairs),
        notes=notes,
    )


def rate_of(completion: Completion, verdict: Verdict) -> str:
    """Tell which of `RATES` a response is."""
    return Fate.TRUNCATED if completion.truncated and not verdict.right else verdict.outcome


def average(results: Sequence[SetResult]) -> float | None:
    """Return the unweighted mean of the sets' accuracies (the paper's average), None of nothing."""
    return mean([result.accuracy for result in results])


def average_error(results: Sequence[SetResult]) -> float:
    """Return the standard error of that average: the sets' errors are independent."""
    return sum(result.standard_error**2 for result in results) ** 0.5 / max(len(results), 1)


def mean(values: Sequence[float]) -> float | None:
    """Return the mean, None of nothing."""
    return sum(values) / len(values) if values else None


def _within(pairs: Sequence[tuple[Completion, Verdict]]) -> dict[int, float]:
    """At powers of two from 16 up to the first that holds every response."""
    longest = max(c.length for c, _ in pairs)
    budgets = [16]
    while budgets[-1] < longest:
        budgets.append(budgets[-1] * 2)
    return {b: sum(v.right and c.length <= b for c, v in pairs) / len(pairs) for b in budgets}
