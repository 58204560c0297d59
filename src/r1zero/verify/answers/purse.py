"""What comparing two answers may cost: the caller's process computes it, and nobody could kill that."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

PURSE = 150_000
"""Units of work, a microsecond or two each, that one comparison may cost in all."""

_here = threading.local()


class TooLargeError(Exception):
    """To compute it would take too much time or memory. The text is at fault, not the reader."""


@contextmanager
def tab(units: int) -> Iterator[None]:
    """Let all purses that this thread opens inside cost no more than so many units together."""
    before, _here.tab = getattr(_here, "tab", None), units
    try:
        yield
    finally:
        _here.tab = before


def exhausted() -> bool:
    """Tell whether a tab is open and spent."""
    left = getattr(_here, "tab", None)
    return left is not None and left <= 0


@contextmanager
def purse(units: int = PURSE) -> Iterator[None]:
    """Let all that this thread computes inside be paid from so many units. TooLargeError when they are spent."""
    before, _here.left = getattr(_here, "left", None), units
    try:
        yield
    finally:
        _here.left = before


def spend(units: int) -> None:
    """Pay from the purse of this thread, if one is open, and from its tab."""
    owed = getattr(_here, "tab", None)
    if owed is not None:
        _here.tab = owed - units
        if owed < units:
            raise TooLargeError("too many operations in all")
    left = getattr(_here, "left", None)
    if left is not None:
        _here.left = left - units
        if left < units:
            raise TooLargeError("too many operations")
