"""Reasoning-gym's own scorers as a reward: the answer of a response against the entry that its question came from.

A scorer is other people's code, and may run long: it is called in the verifier's killable processes (`make_scorer`).
Questions that are no entry, as benchmarks have them, are the verifier's.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from r1zero.errors import UserError
from r1zero.types import GradingTask, Outcome, Verdict
from r1zero.verify import Verifier, extract

PACKAGE = "reasoning_gym"
SCORE = "r1zero.rewards.gym:make_scorer"


def entry_of(task: GradingTask) -> dict[str, Any] | None:
    """Return the entry of reasoning-gym that a question came from, None of another's."""
    found = task.extra.get("entry", task.extra)
    found = _parsed(found)
    metadata = _parsed(found.get("metadata")) if isinstance(found, Mapping) else None
    if not isinstance(metadata, Mapping) or "source_dataset" not in metadata:
        return None
    golds = [task.gold] if isinstance(task.gold, str) else list(task.gold)
    return {"question": task.question, "answer": golds[0] if golds else None} | dict(found) | {"metadata": metadata}


def _parsed(value: object) -> Any:
    """Return what a column holds, which may be JSON."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return None


def make_scorer(package: str) -> Callable[[str, Mapping[str, Any]], float]:
    """Return a reward by the scorers of `package`, imported now: of an answer, and the entry in its row's `extra`."""
    scorer = cache(importlib.import_module(package).get_score_answer_fn)

    def score(response: str, extra: Mapping[str, Any]) -> float:
        entry = extra["entry"]
        return float(scorer(entry["metadata"]["source_dataset"])(response, entry))

    return score


class GymGrader:
    """Scores answers from 0 to 1, each in a process that may be killed; what is no entry goes to the plain verifier.
    `limits` are a verifier's.
    """

    def __init__(self, name: str, workers: int, timeout_s: float, memory_mb: int):
        limits = workers, timeout_s, memory_mb
        self.scorers, self.plain = Verifier(*limits, SCORE, {"package": PACKAGE}, name), Verifier(*limits)
        self._done: deque[tuple[object, Verdict]] = deque()
        self._answers: dict[object, str] = {}

    def submit(self, key: object, task: GradingTask) -> None:
        """See `Grader`."""
        entry = entry_of(task)
        answer = extract(task.response, task.answer_format) if entry is not None else None
        if entry is None:
            self.plain.submit(key, task)
        elif answer is None:
            self._done.append((key, _no_answer()))
        else:
            self._answers[key] = answer
            self.scorers.submit(key, _asked(task, answer, entry))

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `Grader`."""
        return self._taken([*self.plain.ready(), *self.scorers.ready()])

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `Grader`."""
        yield from self._taken([*self.plain.drain(), *self.scorers.drain()])

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """See `Grader`."""
        return [self._one(task) for task in items]

    def check(self) -> None:
        """See `Grader`."""
        if importlib.util.find_spec(PACKAGE) is None:
            raise UserError(
                'The reward use = "reasoning_gym" needs the package reasoning-gym, which is not installed here: '
                "pip install reasoning-gym."
            )
        self.scorers.check()

    def close(self) -> None:
        """See `Grader`."""
        self.scorers.close()
        self.plain.close()

    def _one(self, task: GradingTask) -> Verdict:
        entry = entry_of(task)
        if entry is None:
            return self.plain.verify([task])[0]
        answer = extract(task.response, task.answer_format)
        if answer is None:
            return _no_answer()
        return replace(self.scorers.verify([_asked(task, answer, entry)])[0], extracted=answer)

    def _taken(self, found: list[tuple[object, Verdict]]) -> list[tuple[object, Verdict]]:
        done = [*self._done, *((key, replace(v, extracted=self._answers.pop(key, v.extracted))) for key, v in found)]
        self._done.clear()
        return done


def _asked(task: GradingTask, answer: str, entry: Mapping[str, Any]) -> GradingTask:
    return replace(task, response=answer, extra={"entry": entry})


def _no_answer() -> Verdict:
    return Verdict(Outcome.NO_ANSWER, rule="no answer")
