"""Tests that can fail: against a margin stated beforehand, with what they could have seen, corrected for their number.

    differs     d > 0         Student's one-sided test; its interval is the one-sided 95 % bound
    stays below d < margin    the same test against the margin
    no different |d| < margin two one-sided tests (TOST, Schuirmann 1987), whose interval is the 90 % one

A test that does not reject shows nothing: it is refuted where its opposite is shown at the same level, and undecided
otherwise. How small a difference it could have seen follows from its power, the noncentral t distribution.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache

import numpy as np

from r1zero.errors import plural
from r1zero.statistics import Z, t_cdf, t_quantile, wilson

ALPHA = 0.05
"""The most that a claim is called seen where it is false, over all claims of a study together."""
POWER = 0.8
"""The chance with which a test "could have seen" a difference."""
_POINTS = 2001  # of Simpson's rule

_erf = np.vectorize(math.erf, otypes=[float])


class Alternative(StrEnum):
    """What a claim says of the true difference d."""

    GREATER = "greater"
    """d > 0."""
    BELOW = "below"
    """d < margin."""
    EQUIVALENT = "equivalent"
    """-margin < d < margin."""


@dataclass(frozen=True, slots=True)
class Margin:
    """The smallest difference that matters, stated before anything is measured, and why it is that one."""

    value: float
    unit: str
    reason: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Independent differences: their mean, its standard error, how many, and of what each is one."""

    mean: float
    error: float
    n: int
    of: str = "seed"


def of_seeds(differences: Sequence[float]) -> Sample | None:
    """Return the sample of one difference a seed; None of fewer than two, or where one is no number."""
    n = len(differences)
    if n < 2 or not all(map(math.isfinite, differences)):
        return None
    mean = math.fsum(differences) / n
    return Sample(mean, math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n), n)


def of_questions(differences: Sequence[float], scale: float = 100.0) -> Sample | None:
    """Return the sample of one difference a question, each in [-1, 1], in points; None of fewer than two.

    Questions that all differ alike vary by nothing and prove no error of 0: theirs is that of Wilson's interval.
    """
    found = of_seeds([scale * each for each in differences])
    if found is None:
        return None
    low, high = wilson(0.0, found.n)
    return replace(found, error=found.error or scale * (high - low) / (2 * Z), of="independent question")


@dataclass(frozen=True, slots=True)
class Test:
    """One test of one claim."""

    __test__ = False  # no test of pytest's

    sample: Sample
    alternative: Alternative
    margin: Margin
    exact: float | None = None
    """The one-sided p of an exact or permutation test of d > 0, where that stands for Student's."""
    looks: int = 1
    """Of so many tests it is the one that shows most: its p is multiplied by them (Bonferroni)."""

    @property
    def p_value(self) -> float:
        """The most that the claim would come out like this by chance where it is false."""
        if self.alternative is Alternative.GREATER:
            p = self._above(0.0) if self.exact is None else self.exact
        elif self.alternative is Alternative.BELOW:
            p = self._below(self.margin.value)
        else:
            p = max(self._above(-self.margin.value), self._below(self.margin.value))
        return min(1.0, self.looks * p)

    @property
    def refuted(self) -> bool:
        """Whether the opposite is shown: no difference that matters; or one where there should be none."""
        margin = self.margin.value
        if self.alternative is Alternative.GREATER:
            p = self._below(margin)
        elif self.alternative is Alternative.BELOW:
            p = self._above(margin)
        else:
            p = min(self._above(margin), self._below(-margin))
        return p < ALPHA

    def least(self, alpha: float) -> float:
        """Return the smallest true difference that a test at level `alpha` sees with a chance of `POWER`.

        For a claim of no difference it is the smallest margin that such a test shows where the truth is 0. The spread
        is taken to be the one that was seen.
        """
        standardised = _tost_margin if self.alternative is Alternative.EQUIVALENT else detectable
        return self.sample.error * standardised(self.sample.n - 1, alpha) if self.sample.error else 0.0

    def too_few(self, alpha: float) -> str:
        """Say why nothing was decided."""
        least, unit = self.least(alpha), self.margin.unit
        if least <= max(self.margin.value, 0.0):
            return "neither seen nor excluded"
        within = "±" if self.alternative is Alternative.EQUIVALENT else ""
        return (
            f"too few {self.sample.of}s: could not have seen less than {within}{f'{least:.3g} {unit}'.rstrip()} "
            f"(power {100 * POWER:g} %)"
        )

    def stated(self) -> str:
        """Say the margin with its reason."""
        value = f"{self.margin.value:g} {self.margin.unit}".rstrip()
        role = {
            Alternative.GREATER: f"A difference below {value} would not matter",
            Alternative.BELOW: f"Margin {value}",
            Alternative.EQUIVALENT: f"Margin ±{value}",
        }
        return f"{role[self.alternative] if self.margin.value else 'No margin'}: {self.margin.reason}."

    def __str__(self) -> str:
        mean, error, n = self.sample.mean, self.sample.error, self.sample.n
        half = t_quantile(1 - ALPHA, n - 1) * error
        bounds = {
            Alternative.GREATER: f"at least {mean - half:.3g}, one-sided 95 %",
            Alternative.BELOW: f"at most {mean + half:.3g}, one-sided 95 %",
            Alternative.EQUIVALENT: f"{mean - half:.3g} to {mean + half:.3g}, 90 %",
        }
        value = f"{mean:+.3g} {self.margin.unit}".rstrip()
        return f"{value} [{bounds[self.alternative]}] over {plural(n, self.sample.of)}"

    def _above(self, at: float) -> float:
        """Return the p of d > `at`."""
        return _tail(self.sample.mean - at, self.sample)

    def _below(self, at: float) -> float:
        """Return the p of d < `at`."""
        return _tail(at - self.sample.mean, self.sample)


def _tail(excess: float, sample: Sample) -> float:
    """Return P(T ≥ excess / error) of Student's distribution; of no error at all 0, ½ or 1."""
    if sample.error == 0:
        return 0.5 if excess == 0 else float(excess < 0)
    return t_cdf(-excess / sample.error, sample.n - 1)


def weakest(tests: Iterable[Test | None]) -> Test | None:
    """Return that one of several tests by which all of them hold: its p is that of "each is true" (Berger 1982).

    None where one could not be made.
    """
    found = list(tests)
    known = [test for test in found if test is not None]
    return max(known, key=lambda test: test.p_value) if known and len(known) == len(found) else None


def strongest(tests: Sequence[Test]) -> Test | None:
    """Return the test of "one of them is true": the one that shows most, corrected for having looked for it."""
    best = min(tests, key=lambda test: test.p_value, default=None)
    return best and replace(best, looks=best.looks * len(tests))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number m (Holm 1979).

    The ith smallest becomes the largest of (m − j + 1) p₍ⱼ₎ over j ≤ i, at most 1.
    Rejecting those below α rejects a true hypothesis with a chance of at most α, however they hang together.
    """
    corrected, most = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        most = max(most, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = most
    return corrected


def binomial_tail(successes: int, n: int, p: float) -> float:
    """Compute P(X ≥ successes) of n independent tries that succeed with probability p."""
    return min(1.0, math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(successes, n + 1)))


@cache
def detectable(freedom: int, alpha: float) -> float:
    """Return the δ at which a one-sided t-test at `alpha` has `POWER`: P(T > t) = POWER for T noncentral t(δ).

    δ is the true difference in standard errors of the mean.
    """
    t = t_quantile(1 - alpha, freedom)
    return _solved(lambda delta: _over_spread(freedom, lambda u: _normal(delta - t * u)), t)


@cache
def _tost_margin(freedom: int, alpha: float) -> float:
    """Return the margin, in standard errors, that two one-sided tests show with `POWER` where the truth is 0.

    They do where |Z| < margin - t·U, for U the estimated error over the true one.
    """
    t = t_quantile(1 - alpha, freedom)
    return _solved(lambda k: _over_spread(freedom, lambda u: np.maximum(0.0, 2 * _normal(k - t * u) - 1)), t)


def _solved(power: Callable[[float], float], t: float) -> float:
    """Return where a power that rises reaches `POWER`, by bisection."""
    low, high = 0.0, 10.0 + 10.0 * t
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if power(middle) < POWER else (low, middle)
    return high


def _over_spread(freedom: int, value: Callable[[np.ndarray], np.ndarray]) -> float:
    """Return the mean of `value` over U = √(χ²/ν), by Simpson's rule."""
    reach = 12 / math.sqrt(2 * freedom)
    u = np.linspace(max(1e-12, 1 - reach), 1 + reach, _POINTS)
    scale = math.log(2) + freedom / 2 * math.log(freedom / 2) - math.lgamma(freedom / 2)
    density = np.exp(scale + (freedom - 1) * np.log(u) - freedom * u * u / 2)
    weights = np.where(np.arange(_POINTS) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return float((weights * density * value(u)).sum() * (u[1] - u[0]) / 3)


def _normal(x: np.ndarray) -> np.ndarray:
    return 0.5 * (1 + _erf(x / math.sqrt(2)))
