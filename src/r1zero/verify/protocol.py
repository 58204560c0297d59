"""What the loop asks of a verifier, wherever its processes are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from r1zero.types import GradingTask, Verdict


@runtime_checkable
class VerifierProtocol(Protocol):
    """`r1zero.verify.Verifier`, pools of them on a cluster, or graders whose verdicts are parts of one reward."""

    def submit(self, key: object, task: GradingTask) -> None:
        """Take in one response; its verdict comes from `ready` or `drain` under `key`."""
        ...

    def ready(self) -> list[tuple[object, Verdict]]:
        """Return the verdicts that are there by now, each once."""
        ...

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """Return every verdict still owed, as it is reached."""
        ...
