"""A function of this process as a reward, such as a notebook's: what cannot be imported anywhere else.

It runs in a thread, one response at a time, with a deadline. A thread cannot be killed: one that hangs is left behind,
its response is a timeout, and a new thread takes over. After `MOST_HANGING` of them the run stops. Functions of a file
are better off in the verifier's killable processes.
"""

from __future__ import annotations

import inspect
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from r1zero.errors import UserError
from r1zero.rewards.waiting import Waiting
from r1zero.sources import source_hash
from r1zero.types import GradingTask, Outcome, Verdict
from r1zero.verify.workers.calling import caller, fields_of
from r1zero.verify.workers.custom_reward import Columns, Judgement, Reward
from r1zero.verify.workers.worker import reward_safely

MOST_HANGING = 8
"""How many threads may hang before a run is stopped."""


def qualified_name(function: Callable[..., Any]) -> str:
    """Return a callable's module and name."""
    named = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def identity(function: Callable[..., Any]) -> str:
    """Return what a run records of a callable: its qualified name, and 16 hex digits of what it says (`sources`)."""
    return f"{qualified_name(function)} {source_hash(function)}"


@dataclass(slots=True, eq=False)
class _Thread:
    """A thread at work: which response it is at, and since when."""

    busy: tuple[object, float] | None = None


class LocalGrader(Waiting):
    """Grades by a callable of this process. For one caller at a time."""

    def __init__(
        self, name: str, function: Callable[..., Any], timeout_s: float = 2.0, options: Mapping[str, Any] | None = None
    ):
        super().__init__()
        self.name, self.timeout_s = name, timeout_s
        try:
            self._reward = Reward(name, caller(function, dict(options or {}), name))
        except TypeError as error:
            raise UserError(f"reward {name!r} cannot be called: {error}.") from None
        self._tasks: queue.SimpleQueue[tuple[object, GradingTask] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        self.hanging = 0
        """Threads that were left behind."""

    def submit(self, key: object, task: GradingTask) -> None:
        """See `Grader`."""
        self._pending += 1
        self._tasks.put((key, task))
        if self._thread is None:
            self._start()

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `Grader`. Raises UserError when too many threads hang."""
        self._leave_overdue()
        return super().ready()

    def verify(self, items: Sequence[GradingTask]) -> list[Verdict]:
        """See `Grader`; for one thread, and with nothing else submitted."""
        for place, task in enumerate(items):
            self.submit(place, task)
        found = dict(self.drain())
        return [found[place] for place in range(len(items))]

    def check(self) -> None:
        """See `Grader`: it is here."""

    def close(self) -> None:
        """Let the thread end; one that hangs goes on until this process ends."""
        if self._thread is not None:
            self._tasks.put(None)

    def _start(self) -> None:
        thread = self._thread = _Thread()
        threading.Thread(target=self._serve, args=(thread,), name=f"reward {self.name}", daemon=True).start()

    def _leave_overdue(self) -> None:
        """Leave the thread behind if its response is overdue, and start another."""
        with self._lock:
            thread = self._thread
            busy = thread.busy if thread is not None else None
            if busy is None or time.monotonic() <= busy[1] + self.timeout_s:
                return
            self._thread = None  # whatever it comes to later, nobody waits for it
        self.hanging += 1
        rule = f"left behind after {self.timeout_s:g} s"
        self._done.append((busy[0], Verdict(Outcome.TIMEOUT, rule=rule, seconds=self.timeout_s)))
        if self.hanging >= MOST_HANGING:
            raise UserError(
                f"reward {self.name!r} hung {self.hanging} times, each for over verifier.timeout_s = "
                f"{self.timeout_s:g} s, in threads that nobody can end: mend it, raise verifier.timeout_s, or put it "
                "into a file and name it as FILE.py:FUNCTION, which runs in processes that are killed."
            )
        self._start()

    def _graded(self, task: GradingTask) -> tuple[Judgement, Columns]:
        try:
            return reward_safely(self._reward, fields_of(task))
        except (SystemExit, KeyboardInterrupt) as error:  # which would end this thread, and nobody would know
            return ("ungraded", f"grader failed: {type(error).__name__}", None), {}

    def _serve(self, thread: _Thread) -> None:
        while (item := self._tasks.get()) is not None:
            key, task = item
            begun = time.monotonic()
            thread.busy = key, begun
            (outcome, rule, score), columns = self._graded(task)
            verdict = Verdict(Outcome(outcome), rule=rule, score=score, columns=columns)
            with self._lock:
                if thread is not self._thread:  # left behind
                    return
                thread.busy = None
                self._done.append((key, replace(verdict, seconds=time.monotonic() - begun)))
