"""Several graders as one verifier: a response's verdict is there when all of its parts are."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from r1zero.rewards.grader import Grader
from r1zero.types import GradingTask, RewardPart, Verdict

_LOOK_S = 0.002  # between two looks at graders of which none has a verdict yet


@dataclass(frozen=True, slots=True)
class GradedPart:
    """A part of a reward, and what grades it. `answers` marks the one that judges the answer."""

    name: str
    grader: Grader
    weight: float = 1.0
    answers: bool = False


@dataclass(slots=True)
class _Owed:
    key: object
    parts: tuple[GradedPart, ...]
    found: dict[str, Verdict] = field(default_factory=dict)


class Rewards:
    """Grades by every part. The verdict is that of the part which judges the answer, with all of them as its `parts`.

    A task that asks for the answer alone is seen by that part alone, whose own verdict comes back.
    """

    def __init__(self, parts: Sequence[GradedPart]):
        [self._answers] = [part for part in parts if part.answers]
        self.parts = tuple(parts)
        self._owed: dict[int, _Owed] = {}
        self._tickets = itertools.count()

    def submit(self, key: object, task: GradingTask) -> None:
        """See `VerifierProtocol`."""
        ticket = next(self._tickets)
        owed = self._owed[ticket] = _Owed(key, (self._answers,) if task.answer_only else self.parts)
        for part in owed.parts:
            part.grader.submit(ticket, task)

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `VerifierProtocol`."""
        done = []
        for part in self.parts:
            for ticket, verdict in part.grader.ready():
                assert isinstance(ticket, int)
                owed = self._owed[ticket]
                owed.found[part.name] = verdict
                if len(owed.found) == len(owed.parts):
                    del self._owed[ticket]
                    done.append((owed.key, self._verdict(owed.found)))
        return done

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `VerifierProtocol`."""
        while self._owed:
            found = self.ready()
            yield from found
            if not found:  # their processes, threads and servers work on
                time.sleep(_LOOK_S)

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """Return the verdicts of tasks, in order. Any number of threads may call it."""
        found: list[dict[str, Verdict]] = [{} for _ in items]
        for part in self.parts:
            asked = [i for i, task in enumerate(items) if part.answers or not task.answer_only]
            for i, verdict in zip(asked, part.grader.verify([items[i] for i in asked]), strict=True):
                found[i][part.name] = verdict
        return [self._verdict(each) for each in found]

    def _verdict(self, found: dict[str, Verdict]) -> Verdict:
        answer = found[self._answers.name]
        if len(found) < len(self.parts):
            return answer
        parts = tuple(RewardPart(each.name, found[each.name], each.weight, each.answers) for each in self.parts)
        return replace(answer, seconds=sum(each.seconds for each in found.values()), columns={}, parts=parts)

    def check(self) -> None:
        """Raise a UserError where a part cannot grade at all."""
        for part in self.parts:
            part.grader.check()

    def close(self) -> None:
        """End all graders."""
        with ExitStack() as stack:
            for part in self.parts:
                stack.callback(part.grader.close)
