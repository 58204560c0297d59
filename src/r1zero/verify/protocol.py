"""What the loop asks of a verifier, wherever its processes are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol, runtime_checkable

from r1zero.types import AnswerFormat, Verdict


@runtime_checkable
class VerifierProtocol(Protocol):
    """`r1zero.verify.Verifier`, or pools of them on a cluster."""

    def submit(self, key: object, response: str, gold: Sequence[str], answer_format: AnswerFormat) -> None:
        """Take in one response; its verdict comes from `ready` or `drain` under `key`."""
        ...

    def ready(self) -> list[tuple[object, Verdict]]:
        """Return the verdicts that are there by now, each once."""
        ...

    def drain(self) -> Iterator[tuple[object, Verdict]]:
        """Return every verdict still owed, as it is reached."""
        ...
