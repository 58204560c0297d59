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
    """A benchmark's question of which the training set holds a run of words, or all."""

    question: Question
    trained_on: str
    """The first training question that shares words with it (the equal one where there is one)."""
    covered: float
    """The share of its words that stand in runs shared with any training question; 1 word for word."""
    exact: bool
    shared: str


def words(text: str) -> list[str]:
    """Return lower-case words and numbers; LaTeX commands, punctuation and white space do not matter."""
    return re.findall(r"[a-z0-9]+", text.lower())


def overlaps(training: Iterable[Question], benchmark: Sequence[Question], gram: int = GRAM) -> list[Overlap]:
    """Return the benchmark's questions that the training set holds, in their order.

    A question shorter than `gram` words is compared as a whole only.
    """
    whole: dict[tuple[str, ...], list[int]] = {}
    grams: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    sizes = []
    for index, question in enumerate(benchmark):
        tokens = tuple(words(question.text))
        sizes.append(len(tokens))
        whole.setdefault(tokens, []).append(index)
        for at in range(len(tokens) - gram + 1):
            grams.setdefault(tokens[at : at + gram], []).append((index, at))
    first: dict[int, tuple[str, str]] = {}
    equal: dict[int, tuple[str, str]] = {}
    covered: dict[int, set[int]] = {}
    for question in training:
        tokens = tuple(words(question.text))
        for index in whole.get(tokens, []):
            equal.setdefault(index, (question.id, question.text))
        for at in range(len(tokens) - gram + 1):
            for index, place in grams.get(tokens[at : at + gram], []):
                first.setdefault(index, (question.id, " ".join(tokens[at : at + gram])))
                covered.setdefault(index, set()).update(range(place, place + gram))
    return [
        Overlap(
            benchmark[index],
            *(equal.get(index) or first[index])[:1],
            covered=1.0 if index in equal else len(covered[index]) / sizes[index],
            exact=index in equal,
            shared=(equal.get(index) or first[index])[1],
        )
        for index in sorted({*first, *equal})
    ]
