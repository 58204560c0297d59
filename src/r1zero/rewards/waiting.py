"""What graders have in common whose verdicts come from threads of this process."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator

from r1zero.types import Verdict

_LOOK_S = 0.005
"""How long to wait between two looks at what is done."""


class Waiting:
    """The half of a `Grader` that waits: threads put verdicts into `_done`, of `_pending` tasks."""

    def __init__(self) -> None:
        self._done: deque[tuple[object, Verdict]] = deque()
        self._pending = 0

    def ready(self) -> list[tuple[object, Verdict]]:
        """See `Grader`."""
        found = [self._done.popleft() for _ in range(len(self._done))]
        self._pending -= len(found)
        return found

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """See `Grader`. Raises as `ready`."""
        while self._pending:
            found = self.ready()
            yield from found
            if not found:
                time.sleep(_LOOK_S)
