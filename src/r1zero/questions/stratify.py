"""Questions of every difficulty in equal numbers, the same on every machine."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable

from r1zero.types import Question


def equal_levels(questions: Iterable[Question], count: int, seed: int = 0) -> list[Question]:
    """Return `count` questions, as equal a number of every level as there are, or any of a set without levels.

    The paper took 500 of MATH's training questions, 100 a level. Which ones is decided by a hash of (seed, id): the
    same on every machine, and a larger count of the same seed holds the smaller.
    """
    order: dict[str, int] = {}
    by_level: dict[str, list[Question]] = defaultdict(list)
    for place, question in enumerate(questions):
        order[question.id] = place
        by_level[question.level or ""].append(question)
    for level in by_level.values():
        level.sort(key=lambda question: hashlib.sha256(f"{seed}/{question.id}".encode()).digest())
    unlabelled = by_level.pop("", [])
    chosen: list[Question] = []
    depth = 0
    while len(chosen) < count and any(depth < len(level) for level in by_level.values()):
        row = [by_level[level][depth] for level in sorted(by_level) if depth < len(by_level[level])]
        chosen += row[: count - len(chosen)]
        depth += 1
    chosen += unlabelled[: count - len(chosen)]
    return sorted(chosen, key=lambda question: order[question.id])
