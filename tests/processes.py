"""Looking at other processes, any of which may end while it is looked at: that is no error, and it is not running."""

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
# What looking at a process raises that has ended meanwhile; the kernel says "no such process" in the middle of a read.
_GONE = (FileNotFoundError, ProcessLookupError, PermissionError)
END_S = 600  # only so that a hang ends; a killed process is gone in no time, but on a busy machine that may be long


@dataclass(frozen=True)
class Process:
    """A process as it was when it was looked at."""

    pid: int
    born: int
    """When it was started, in ticks since the machine was: another one with its number is not it."""
    parent: int
    words: str
    """Its command line, or what it has put in its place."""

    @property
    def runs(self) -> bool:
        """Whether it has not ended, reaped or not."""
        now = look(self.pid)
        return now is not None and now.born == self.born

    def kill(self) -> None:
        """End it by SIGKILL, and return when it has ended."""
        if self.runs:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        wait_ended([self])


def wait_for(look: Callable[[], T | None], what: str, timeout_s: float = END_S) -> T:
    """What `look` finds, as soon as it is not None."""
    begun, end = time.monotonic(), time.monotonic() + timeout_s
    while (found := look()) is None:
        now = time.monotonic()
        assert now < end, f"waited {timeout_s} s for {what}"
        time.sleep(min(0.02, 0.001 + (now - begun) / 20))  # what is waited for needs the core
    return found


def wait_ended(processes: Iterable[Process], timeout_s: float = END_S) -> None:
    """Return when all of them have ended."""
    processes = list(processes)
    wait_for(lambda: not any(each.runs for each in processes) or None, f"the end of {processes}", timeout_s)


def process(pid: int) -> Process:
    """A process that runs."""
    found = look(pid)
    assert found, f"process {pid} has ended"
    return found


def below(pid: int, words: str = "") -> list[Process]:
    """What a process has started, and what that has, and so on, with these words in its command line."""
    found = [each for path in Path("/proc").glob("[0-9]*") if (each := look(int(path.name)))]
    inside = {pid}
    while more := {each.pid for each in found if each.parent in inside} - inside:
        inside |= more
    return [each for each in found if each.pid in inside - {pid} and words in each.words]


def _words(pid: int) -> bytes:
    """A process's command line. In the middle of an exec it has none yet, though whoever started it has gone on."""
    for _ in range(1000):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").replace(b"\0", b" ")
        try:
            Path(f"/proc/{pid}/exe").readlink()
        except OSError:  # nor has one that is ending, or a thread of the kernel
            return words
        if words:
            return words
        time.sleep(0.001)
    return b""


def look(pid: int) -> Process | None:
    """The process of that number; None where it has ended."""
    try:
        # the name is in parentheses, and may hold any character; state, parent and start are fields 3, 4 and 22
        state, parent, *fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        words = _words(pid)
    except _GONE:
        return None
    if state in "ZX":
        return None
    return Process(pid, int(fields[22 - 5]), int(parent), words.decode(errors="replace"))
