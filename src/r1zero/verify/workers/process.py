"""One grading process as its parent sees it: start, send a task, read replies without blocking, kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from enum import Enum, auto
from typing import IO, Any

from r1zero.types import Outcome, Verdict
from r1zero.verify.workers import inside, lifeline

START_LIMIT_S = 120.0
"""Seconds a worker's imports may take: about 1 on a free core, far more on a machine that is paging."""

_PATIENCE_S = 0.25
"""Our grader keeps its own limit without dying of it (`worker._in_child`); only if it is late is it killed."""


class Failure(Enum):
    """How a worker ended without a reply."""

    DIED = auto()
    OVERDUE = auto()


class WorkerProcess:
    """A running `r1zero.verify.workers.worker`. OSError if it cannot be started."""

    def __init__(
        self, timeout_s: float, memory_mb: int, reward: str | None = None, options: Mapping[str, Any] | None = None
    ) -> None:
        # -P: a sympy.py or random.py in the working directory must not be imported in place of the real one.
        limits = [str(timeout_s), str(START_LIMIT_S), str(memory_mb), str(os.getpid()), *([reward] if reward else [])]
        limits += [json.dumps(dict(options))] if reward and options is not None else []
        # A fixed hash seed, because sympy walks sets: the same pair gets the same verdict in every run.
        # A session of its own, so that Ctrl-C reaches the parent alone, and all of it can be ended at once.
        reading, self._lifeline = lifeline.make()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "r1zero.verify.workers.worker", *limits],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                pass_fds=(reading,),
                start_new_session=True,
                env=os.environ | {"PYTHONHASHSEED": "0", inside.MARK: "1", lifeline.VARIABLE: str(reading)},
            )
        except BaseException:
            lifeline.release(self._lifeline)
            raise
        finally:
            os.close(reading)
        os.set_blocking(self.output.fileno(), False)
        self._timeout_s = timeout_s
        self._patience_s = 0.0 if reward else _PATIENCE_S
        self._buffer = b""
        self.served = 0
        """How many tasks it has been given."""
        self._begun = time.monotonic()
        self.started = False
        self.asks: list[str] | None = None
        """What its reward reads of a response; None: everything."""
        self.failed_because = ""
        """What it said when it could not start."""
        self.deadline: float | None = self._begun + START_LIMIT_S
        """When it is overdue, on the monotonic clock; None while idle."""
        self.busy_s = 0.0
        """Seconds of its last task, up to its reply or its end."""

    @property
    def output(self) -> IO[bytes]:
        """The pipe to wait on."""
        assert self._process.stdout is not None
        return self._process.stdout

    @property
    def idle(self) -> bool:
        """Ready for a task."""
        return self.started and self.deadline is None

    def send(self, told: Mapping[str, Any]) -> bool:
        """Hand it a task. False if it had died before and so never saw the task."""
        assert self._process.stdin is not None
        self.served += 1
        line = json.dumps({"id": self.served, **told}, default=str) + "\n"
        self._begun = time.monotonic()
        self.deadline = self._begun + self._timeout_s + self._patience_s
        try:
            # An idle worker reads its input to the end of the line before it does anything else, so this ends.
            self._process.stdin.write(line.encode("ascii"))
        except BrokenPipeError:
            return False
        return True

    def read(self) -> Verdict | Failure | None:
        """Return the event that its output holds: a reply, its end, or None when the line is not whole yet.

        A reply is about one gold alternative; the first of all says that it is ready.
        """
        chunk = self.output.read()
        if chunk is None:
            return None
        self._buffer += chunk
        if not self._buffer.endswith(b"\n"):
            return None if chunk else Failure.DIED
        line, self._buffer = self._buffer, b""
        self.busy_s = time.monotonic() - self._begun
        self.deadline = None
        if not self.started:
            self.started = line.startswith(b"ready")
            self.asks = json.loads(line[5:]) if self.started and line[5:].strip() else None
            self.failed_because = "" if self.started else line.decode("ascii", "replace").strip()
            return Verdict(Outcome.UNGRADED, rule="ready") if self.started else Failure.DIED
        try:
            reply = json.loads(line)
            if reply["id"] != self.served:
                return Failure.DIED
            columns = reply.get("columns", {})
            return Verdict(Outcome(reply["outcome"]), rule=reply["rule"], score=reply["score"], columns=columns)
        except (ValueError, KeyError, TypeError):  # not our protocol: it cannot be trusted any more
            return Failure.DIED

    def kill(self) -> int:
        """End it and whatever it started, and reap it; its exit status, negative for a signal."""
        if self._process.returncode is None:  # not reaped: its id is still its own, and a child may outlive it
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a session of its own
            self._process.kill()
        status = self._process.wait()
        self._close_pipes()
        return status

    def forget(self) -> None:
        """Let go of it without ending it: it belongs to the process that this one was forked from."""
        self._process.returncode = 0
        self._close_pipes()

    def _close_pipes(self) -> None:
        lifeline.release(self._lifeline)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def end(self, failure: Failure) -> Verdict:
        """Kill it if it still runs; what its end says about the task it had."""
        self.busy_s = time.monotonic() - self._begun
        by_its_own_alarm = failure is Failure.DIED and self.kill() == -signal.SIGALRM
        if failure is Failure.OVERDUE or by_its_own_alarm:
            self.kill()
            return Verdict(Outcome.TIMEOUT, rule=f"killed after {self._timeout_s:g} s")
        return Verdict(Outcome.UNGRADED, rule="worker died")
