"""What a part of a reward is graded by, and the two simplest: a formula, and a view that asks for the answer alone."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from r1zero.types import GradingTask, Outcome, Verdict
from r1zero.verify.protocol import VerifierProtocol


class Grader(VerifierProtocol, Protocol):
    """A verifier of one part of a reward, or of all. `verify` may be called by several threads."""

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """Return the verdicts of whole tasks, in order."""
        ...

    def check(self) -> None:
        """Raise a UserError where it cannot grade at all."""
        ...

    def close(self) -> None:
        """End what it has started."""
        ...


@dataclass
class FormulaGrader:
    """Grades by a pure function of the task, at once; the outcome is right from 1 upwards."""

    rule: str
    score: Callable[[GradingTask], float]

    def __post_init__(self) -> None:
        self._done: deque[tuple[object, Verdict]] = deque()

    def submit(self, key: object, task: GradingTask) -> None:
        """See `Grader`."""
        self._done.append((key, self._grade(task)))

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `Grader`."""
        found = list(self._done)
        self._done.clear()
        return found

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `Grader`."""
        yield from self.ready()

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """See `Grader`."""
        return [self._grade(task) for task in items]

    def check(self) -> None:
        """See `Grader`."""

    def close(self) -> None:
        """See `Grader`."""

    def _grade(self, task: GradingTask) -> Verdict:
        begun = time.perf_counter()
        score = self.score(task)
        return scored(score, self.rule, time.perf_counter() - begun)


def scored(score: float, rule: str, seconds: float = 0.0) -> Verdict:
    """Return the verdict of a number."""
    return Verdict(Outcome.RIGHT if score >= 1 else Outcome.WRONG, rule=rule, seconds=seconds, score=score)


@dataclass(frozen=True, slots=True)
class AnswersOnly:
    """A verifier that is asked to judge answers alone, whatever else its rewards are made of: evaluation's."""

    verifier: VerifierProtocol

    def submit(self, key: object, task: GradingTask) -> None:
        """See `VerifierProtocol`."""
        self.verifier.submit(key, replace(task, answer_only=True))

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `VerifierProtocol`."""
        return self.verifier.ready()

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `VerifierProtocol`."""
        return self.verifier.drain()
