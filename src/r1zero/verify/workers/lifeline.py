"""What ties a worker's life to its parent's: a pipe whose writing end the parent alone holds, and never writes to.

However the parent ends, SIGKILL included, the kernel closes that end, and then kills the worker's whole session: also
while C code of a user's reward runs, and the programs that a reward has started. A signal on the parent's death
(`PR_SET_PDEATHSIG`) would not do: it comes when the *thread* ends that has started the worker.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys

VARIABLE = "R1ZERO_LIFELINE"
"""Tells a worker the number of its reading end."""
_WATCHES = sys.platform == "linux"  # elsewhere workers end by their alarm, or when they look at their parent
_held: set[int] = set()
"""The writing ends of this process."""


def make() -> tuple[int, int]:
    """Return (reading end for a worker, writing end to hold). OSError where no more files can be open."""
    reading, writing = os.pipe()
    _held.add(writing)
    return reading, writing


def release(writing: int) -> None:
    """Let go of a writing end, once or more often: a worker that still holds the other one ends."""
    if writing in _held:
        _held.remove(writing)
        os.close(writing)


def _forget_all() -> None:
    """Close, in a forked child, the ends that belong to its parent: it must not keep orphans alive."""
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_forget_all)


def hold() -> None:
    """Have this process, which leads a session of its own, killed with all of it when its parent ends."""
    told = os.environ.pop(VARIABLE, "")
    if not told or not _WATCHES:
        return
    reading = int(told)
    os.set_inheritable(reading, False)  # it is passed on to forks alone
    fcntl.fcntl(reading, fcntl.F_SETSIG, signal.SIGKILL)  # in place of SIGIO, which can be ignored
    fcntl.fcntl(reading, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(reading, fcntl.F_SETFL, fcntl.fcntl(reading, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([reading], [], [], 0)[0]:  # nothing is ever written: the parent ended before this was set
        os.killpg(0, signal.SIGKILL)
