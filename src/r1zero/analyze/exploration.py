"""Does sampling reach right answers, so that reinforcement learning has something to reinforce (section 2.2, Fig. 3
middle)?

Legend: Q questions, n samples of each, c of them right; G the group size of a training to come.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from r1zero.analyze.responses import ModelResponses
from r1zero.statistics import Estimate, clustered, pass_at_k


@dataclass(frozen=True, slots=True)
class Live:
    """The expected share of groups of G with both right and wrong answers: only those have an advantage."""

    group_size: int
    share: Estimate
    method: str
    plug_in: float
    """1 − p^G − (1−p)^G at p = c/n: too low from few samples, where c = 0 and c = n look hopeless and perfect."""


@dataclass(frozen=True, slots=True)
class ExplorationRow:
    """Exploration at one temperature, with 95 % intervals over questions."""

    temperature: float
    questions: int
    samples: int
    pass_at: dict[int, Estimate]
    """pass@k, unbiased, for every k up to n."""
    never_solved: Estimate
    """Share of questions without a right answer among the n."""
    live: Live
    truncated: float
    tokens: float


def live_groups(counts: Sequence[tuple[int, int]], group_size: int, questions: Sequence[str] | None = None) -> Live:
    """Compute the expected share of live groups over questions with (n, c).

    E[1 − p^G − (1−p)^G] has the unbiased estimator 1 − C(c,G)/C(n,G) − C(n−c,G)/C(n,G) for G ≤ n: the chance that G of
    the n samples, drawn without replacement, are neither all right nor all wrong. For G > n nothing is unbiased, and
    the plug-in p = c/n is given, a lower bound in expectation. `questions` says what each asks, where some may ask the
    same.
    """
    unbiased = all(group_size <= n for n, _ in counts)
    plug_in = [1 - (c / n) ** group_size - (1 - c / n) ** group_size for n, c in counts]
    values = [mixed(n, c, group_size) for n, c in counts] if unbiased else plug_in
    method = "unbiased" if unbiased else f"plug-in, as {group_size} is more than the samples"
    return Live(group_size, clustered(values, questions), method, math.fsum(plug_in) / len(plug_in))


def mixed(n: int, c: int, g: int) -> float:
    """Return the chance that g of n samples, c right, drawn without replacement, are not all alike (n ≥ g ≥ 1)."""
    return max(0.0, 1 - (math.comb(c, g) + math.comb(n - c, g)) / math.comb(n, g))


def analyse(cell: ModelResponses, group_size: int) -> ExplorationRow:
    """Return exploration of one cell."""
    n = cell.samples
    rights = [group.right for group in cell.groups]
    replies = cell.replies
    return ExplorationRow(
        cell.temperature,
        len(rights),
        n,
        {k: clustered([pass_at_k(n, c, k) for c in rights], cell.questions) for k in range(1, n + 1)},
        clustered([float(c == 0) for c in rights], cell.questions),
        live_groups([(n, c) for c in rights], group_size, cell.questions),
        sum(reply.truncated for reply in replies) / len(replies),
        sum(reply.tokens for reply in replies) / len(replies),
    )


@dataclass(frozen=True, slots=True)
class Signal:
    """Whether training would learn from such groups, in a word and a sentence."""

    word: str
    sentence: str


_SIGNALS = (
    (0.5, "strong", "most groups hold right and wrong answers, and so an advantage"),
    (0.2, "good", "a fair share of the groups has an advantage"),
    (0.05, "weak", "most groups have no advantage: draw more samples a question, take easier questions, or leave dead "
     "groups out (rollout.dynamic)"),
)  # fmt: skip


def signal(live: Live, never_solved: float) -> Signal:
    """Return what the live share says; where it says no, whether questions are too hard or too easy."""
    share = live.share.value
    for bound, word, sentence in _SIGNALS:
        if share >= bound:
            return Signal(word, sentence)
    never, always = never_solved, 1 - never_solved  # hardly a question is in between
    if min(never, always) > 0.2:
        return Signal("none", f"{never:.0%} of the questions are never solved and nearly all others always: draw from "
                      "those in between, or leave dead groups out (rollout.dynamic)")  # fmt: skip
    if never > always:
        return Signal("none", "hardly a question is ever solved: pretrain on the domain (`r1zero pretrain`), take "
                      "easier questions, or another template")  # fmt: skip
    return Signal("none", "nearly every question is always solved: take harder questions")
