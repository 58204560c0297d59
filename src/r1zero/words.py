"""Numbers in sentences, wherever a user reads them."""

from __future__ import annotations


def plural(count: int, noun: str) -> str:
    """Say a count with its noun: 1 step, 1,200 steps."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
