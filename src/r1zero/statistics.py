"""Estimators and intervals, clustered by question: the samples of one question are no independent evidence, and neither
are the rows of a set that ask it again.

Legend: Q questions, n samples of each, c of them right.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import mpmath
import numpy as np

Z = 1.959964
"""Two standard errors or so: 95 %."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value in [0, 1] with its 95 % interval."""

    value: float
    low: float
    high: float


def pass_at_k(n: int, c: int, k: int) -> float:
    """Compute 1 − C(n−c, k) / C(n, k): the chance that k of the n samples, drawn without replacement, hold a right one.

    Unbiased for the chance that k fresh samples do (Chen et al. 2021, "Evaluating Large Language Models Trained on
    Code", eq. 1). ValueError if k > n.
    """
    if not 1 <= k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@{k} of {c} right among {n}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def majority(answers: Sequence[Hashable | None], right: Sequence[bool]) -> float:
    """Compute maj@n of one question: 1 if the most frequent answer is right, 0 if not, a share of 1 where it ties.

    `answers` are one value for all responses that say the same, however they write it; None does not vote. Right
    responses vote together. All-silent is 0.
    """
    spoken = [(answer, ok) for answer, ok in zip(answers, right, strict=True) if ok or answer is not None]
    votes = Counter(("right",) if ok else ("wrong", answer) for answer, ok in spoken)
    if not votes:
        return 0.0
    most = max(votes.values())
    winners = [answer for answer, count in votes.items() if count == most]
    return float(("right",) in winners) / len(winners)


def by_question(values: Sequence[float], questions: Sequence[Hashable] | None) -> list[float]:
    """Return one number per different question, of one per row: equal mean, and the spread that clusters have.

    Rows that ask the same question are one piece of evidence. With as many rows of each this is their mean; of others
    it is the mean of all plus Q/N times a question's summed differences from it, as in the ratio estimator.
    """
    if questions is None or len(set(questions)) == len(values):
        return list(values)
    rows: dict[Hashable, list[float]] = {}
    for value, question in zip(values, questions, strict=True):
        rows.setdefault(question, []).append(value)
    if len({len(each) for each in rows.values()}) == 1:
        return [math.fsum(each) / len(each) for each in rows.values()]
    mean, share = math.fsum(values) / len(values), len(rows) / len(values)
    return [mean + share * math.fsum(value - mean for value in each) for each in rows.values()]


def wilson(p: float, n: float, z: float = Z) -> tuple[float, float]:
    """Compute Wilson's score interval (1927) for a share `p` of `n` questions; z = 1.96 gives 95 %."""
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half))  # p itself is inside, rounding or not


def clustered(values: Sequence[float], questions: Sequence[Hashable] | None = None) -> Estimate:
    """Return the mean of one number in [0, 1] per row, with Wilson's interval for as many questions as it is worth.

    `questions` says what each row asks, where some may ask the same; without it they all differ.

    Questions are the sampling unit: SE² = Var(values) / Q, so that the values weigh as much as p(1−p) / SE² answers of
    0 or 1, never fewer than Q. With one greedy answer each this is Wilson's interval itself.
    """
    p = math.fsum(values) / len(values)
    values = by_question(values, questions)
    q = len(values)
    variance = math.fsum((value - p) ** 2 for value in values) / q
    # no more than 25-fold: from few questions a small variance may be luck
    worth = min(max(p * (1 - p) / variance, 1.0), 25.0) * q if variance > 0 else q
    return Estimate(p, *wilson(p, worth))


def standard_error(values: Sequence[float], questions: Sequence[Hashable] | None = None) -> float:
    """Return the standard error of the mean of one number per row; `questions` as for `clustered`.

    Where all are alike, as where every answer is wrong, they vary by nothing and prove nothing: then it is the one that
    Wilson's interval stands for, its half divided by 1.96.
    """
    values = by_question(values, questions)
    q, p = len(values), math.fsum(values) / len(values)
    error = math.sqrt(math.fsum((value - p) ** 2 for value in values)) / q
    low, high = wilson(p, q)
    return error or (high - low) / (2 * Z)


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models on the same questions: the mean difference (second − first), its 95 % interval, and a p-value."""

    questions: int
    difference: float
    low: float
    high: float
    p_value: float
    test: str


def paired(
    first: Sequence[float],
    second: Sequence[float],
    questions: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    draws: int = 100_000,
) -> Paired:
    """Compare two models by one number per row; `questions` as for `clustered`.

    The p-value is two-sided, of the sign-flip permutation test, where each question's difference is as likely to have
    come out the other way: exact for 0/1 answers (McNemar's test) and for up to 16 differing questions, else by `draws`
    random flips. The interval is Student's, of the questions' differences, which lie between -1 and 1; one question
    alone leaves it whole.
    """
    rows = np.array(second, dtype=float) - np.array(first, dtype=float)
    differences = np.array(by_question(rows.tolist(), questions))
    q, mean = len(differences), float(differences.mean())
    half = t_quantile(0.975, q - 1) * float(differences.std(ddof=1) / math.sqrt(q)) if q > 1 else 2.0
    moved = differences[differences != 0]
    p_value, test = _sign_flip(moved, seed, draws)
    return Paired(q, mean, max(-1.0, mean - half), min(1.0, mean + half), p_value, test)


def _sign_flip(moved: np.ndarray, seed: int, draws: int) -> tuple[float, str]:
    n = len(moved)
    if n == 0:
        return 1.0, "no question differs"
    observed = abs(moved.sum()) - 1e-12
    if np.all(np.abs(moved) == 1):
        more = max(int((moved > 0).sum()), int((moved < 0).sum()))
        tail = sum(math.comb(n, k) for k in range(more, n + 1)) / 2**n
        return min(1.0, 2 * tail), "exact (McNemar)"
    if n <= 16:
        signs = np.array(list(itertools.product((1, -1), repeat=n)))
        return float((np.abs(signs @ moved) >= observed).mean()), "exact (all sign flips)"
    rng = np.random.default_rng(seed)
    hits, batch = 0, 10_000
    for _ in range(draws // batch):
        hits += int((np.abs(rng.choice((-1, 1), size=(batch, n)) @ moved) >= observed).sum())
    return (hits + 1) / (draws // batch * batch + 1), f"{draws // batch * batch} random sign flips"


def t_cdf(t: float, freedom: int) -> float:
    """Compute P(T ≤ t) of Student's distribution."""
    tail = float(mpmath.betainc(freedom / 2, 0.5, 0, freedom / (freedom + t * t), regularized=True)) / 2
    return 1 - tail if t > 0 else tail


@cache
def t_quantile(p: float, freedom: int) -> float:
    """Return the t with P(T ≤ t) = p, for p above ½: by bisection."""
    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, freedom) < p else (low, middle)
    return high
