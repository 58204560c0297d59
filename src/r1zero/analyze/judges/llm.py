"""Judges: the rules (`rules`), a language model behind any OpenAI-compatible endpoint, and how far two of them agree.

A language model is asked side by side, retried with back-off, and never paid twice for the same question: answers are
kept on disk under a hash of model and conversation. Its answers are read strictly; what cannot be read, or was refused,
is counted apart and never becomes a class.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from r1zero.analyze.judges.rubrics import Item, Judgement, Rubric
from r1zero.endpoint import JUDGE_KEY, Client, Endpoint, RefusedError, Store, content_key, read_answer
from r1zero.errors import plural


class Judge(Protocol):
    """Says which class of its rubric each response is."""

    name: str
    """Who judges, as every output says it."""

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """Return a judgement of every response, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """Money per million tokens, in whatever currency."""

    prompt: float
    answer: float


@dataclass(frozen=True, slots=True)
class Bill:
    """What a language model's judgements took: requests of this call, and the tokens of all answers that they stand
    on, those from the store included, which were paid for before.
    """

    asked: int
    stored: int
    retried: int
    refused: int
    unparsable: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None

    def __str__(self) -> str:
        cost = "" if self.cost is None else f", cost {self.cost:.4f}"
        return (
            f"The judge was asked {plural(self.asked, 'time')} ({plural(self.stored, 'answer')} from disk, "
            f"{self.retried:,} retried, {self.refused:,} refused, {self.unparsable:,} unreadable); all its answers "
            f"took {self.prompt_tokens:,} + {self.answer_tokens:,} tokens{cost}."
        )


class LLMJudge:
    """A language model as judge, at temperature 0."""

    def __init__(self, rubric: Rubric, client: Client, model: str, *, workers: int = 16, price: Price | None = None):
        self.rubric, self.client, self.model = rubric, client, model
        self.name = f"LLM judge {model}"
        self.workers, self.price = workers, price
        self._known: set[str] = set()  # what was counted already: a response may be judged at several steps

    def judge(self, items: Sequence[Item]) -> list[Judgement]:
        """See `Judge`. Equal responses to equal questions are asked once.

        Raises:
            UserError: the endpoint does not answer; what it has answered so far is kept.
        """
        unique = list(dict.fromkeys(items))
        found: dict[Item, Judgement] = {}
        for index, judgement in self.client.each(unique, self._ask, self.workers):
            found[unique[index]] = judgement
        return [found[item] for item in items]

    def _ask(self, item: Item) -> Judgement:
        body = {
            "model": self.model,
            "messages": self.rubric.messages(item),
            "temperature": 0,
            "max_tokens": self.rubric.max_tokens,
        }
        key = content_key("chat", body)
        try:
            answer = self.client.ask("/chat/completions", body, key, read_answer)
        except RefusedError as error:
            return Judgement(None, str(error), refused=True)
        label = self.rubric.parse(answer.text)
        if key not in self._known:
            self._known.add(key)
            self.client.count("prompt tokens", answer.prompt_tokens)
            self.client.count("answer tokens", answer.answer_tokens)
            self.client.count("unparsable", label is None)
        return Judgement(label, answer.text)

    def bill(self) -> Bill:
        """Return what all judgements through this client took, those of the other rubric included."""
        counts = self.client.counts
        prompt, answer = counts["prompt tokens"], counts["answer tokens"]
        cost = None if self.price is None else (prompt * self.price.prompt + answer * self.price.answer) / 1e6
        return Bill(counts["asked"], counts["stored"], counts["retried"], counts["refused"], counts["unparsable"],
                    prompt, answer, cost)  # fmt: skip


def connect_judge(address: str, *, kept: Path | None, patience_s: float) -> Client:
    """Return a client of the endpoint that the user gave as --judge; what it answers is kept in the file `kept`.

    Raises:
        UserError: that is no address, or the file cannot be opened.
    """
    endpoint = Endpoint(address, "--judge", JUDGE_KEY, os.environ.get(JUDGE_KEY), patience_s=patience_s)
    return Client(endpoint, Store(kept))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two judges agree on the responses that both have judged. `table` holds (first, second) → count."""

    first: str
    second: str
    judged: int
    share: float | None
    kappa: float | None
    table: dict[str, int]

    def sentence(self, where: str) -> str:
        """Say it of the responses of `where`."""
        if self.share is None:
            said = f"judged no response readably, so that its agreement with {self.second} is unknown"
            return f"{self.first} {said} ({where})."
        kappa = "undefined (one class only)" if self.kappa is None else f"{self.kappa:.2f}"
        said = f"agree on {100 * self.share:.1f} % of {plural(self.judged, 'response')}, Cohen's kappa {kappa}"
        return f"{self.first} and {self.second} {said} ({where})."


def beside_rules(judge: Judge, rules: Judge, items: Sequence[Item], labels: Sequence[int | None]) -> Agreement | None:
    """Return how a judge's classes of some responses agree with the rules'; None of the rules themselves."""
    if judge.name == rules.name:
        return None
    return agreement((judge.name, rules.name), labels, [j.label for j in rules.judge(items)])


def agreement(names: tuple[str, str], first: Sequence[int | None], second: Sequence[int | None]) -> Agreement:
    """Return share and Cohen's kappa (1960): (p_o − p_e) / (1 − p_e), where p_e is what chance gives.

    Kappa is None where nothing was judged by both, or where both always say the same one class (p_e = 1).
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    table = {f"{a}/{b}": count for (a, b), count in sorted(Counter(pairs).items())}
    n = len(pairs)
    if not n:
        return Agreement(*names, 0, None, None, table)
    ones, twos = Counter(a for a, _ in pairs), Counter(b for _, b in pairs)
    observed = sum(a == b for a, b in pairs) / n
    chance = sum(ones[label] * twos[label] for label in ones) / n**2
    kappa = (observed - chance) / (1 - chance) if chance < 1 else None
    return Agreement(*names, n, observed, kappa, table)
