"""The steps that files of a run are named after."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def step_of(path: Path) -> int | None:
    """Return the step that a rollout file or an evaluation's folder belongs to; None for another."""
    match = re.fullmatch(r"step-(\d+)(?:\.parquet)?", path.name)
    return int(match[1]) if match else None


def by_step(paths: Iterable[Path]) -> list[tuple[int, Path]]:
    """Return (step, path) of those that belong to a step, in order."""
    return sorted((step, path) for path in paths if (step := step_of(path)) is not None)
