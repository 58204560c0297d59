"""Does a training set hold a benchmark's questions? Exact matches after normalising, and shared 13-grams of words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from r1zero.types import Question

GRAM = 13
"""Words in a row that two unrelated questions hardly share (Brown et al. 2020, App. C)."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A benchmark's question that the training set holds: word for word (`exact`), or a run of words of it."""

    question: Question
    trained_on: str
    exact: bool
    shared: str


def words(text: str) -> list[str]:
    """Lower-case words and numbers; LaTeX commands, punctuation and white space do not matter."""
    return re.findall(r"[a-z0-9]+", text.lower())


def overlaps(training: Iterable[Question], benchmark: Sequence[Question], gram: int = GRAM) -> list[Overlap]:
    """The benchmark's questions that the training set holds, in their order.

    A question shorter than `gram` words is compared as a whole only.
    """
    whole: dict[tuple[str, ...], list[int]] = {}
    grams: dict[tuple[str, ...], list[int]] = {}
    for index, question in enumerate(benchmark):
        tokens = tuple(words(question.text))
        whole.setdefault(tokens, []).append(index)
        for at in range(len(tokens) - gram + 1):
            grams.setdefault(tokens[at : at + gram], []).append(index)
    found: dict[int, Overlap] = {}
    for question in training:
        tokens = tuple(words(question.text))
        for index in whole.get(tokens, []):
            found[index] = Overlap(benchmark[index], question.id, exact=True, shared=question.text)
        for at in range(len(tokens) - gram + 1):
            for index in grams.get(tokens[at : at + gram], []):
                shared = " ".join(tokens[at : at + gram])
                found.setdefault(index, Overlap(benchmark[index], question.id, exact=False, shared=shared))
    return [found[index] for index in sorted(found)]
