"""What a run made after the step that it goes on from, where it will not make the same again: moved, never lost.

aside-001/   metrics.jsonl, evaluations.jsonl, rollouts/, evaluations/, checkpoints/: of the later steps, as they were
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from r1zero.runs import checkpoints
from r1zero.runs.files import write_text, writing
from r1zero.runs.run import Run
from r1zero.runs.steps import by_step, step_of


def set_aside(run: Run, step: int) -> str | None:
    """Move what a run made after `step` into a folder of its own; return a note that says so, None where there is none.

    Checkpoints go first, the newest before the others: wherever this is cut short, the run is whole up to its newest
    checkpoint, and what is later than `step` goes when it is asked for again.

    Raises:
        UserError: it cannot be written there.
    """
    later = {name: [row for row in run.read(name) if row["step"] > step] for name in ("metrics", "evaluations")}
    paths = list(_paths(run.path, step))
    if not paths and not any(later.values()):
        return None
    folder = _free(run.path)
    with writing(folder, resumes=True):
        for path in paths:
            target = folder / path.relative_to(run.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.rename(target)
        for name, rows in later.items():
            if rows:
                folder.mkdir(exist_ok=True)
                write_text(
                    folder / f"{name}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
                )
    made = [row["step"] for rows in later.values() for row in rows]
    made += [n for path in paths if (n := step_of(path)) is not None]
    steps = f"step {max(made)}" if max(made) == step + 1 else f"steps {step + 1} to {max(made)}"
    return f"went back to step {max(step, 0)}: what {steps} had made is kept in {folder.name}"


def _paths(run: Path, step: int) -> Iterator[Path]:
    """Yield what has a file or a folder of its own, checkpoints from the newest on."""
    yield from (path for path in reversed(checkpoints.steps(run / "checkpoints")) if checkpoints.number(path) > step)
    for pattern in ("rollouts/*.parquet", "evaluations/step-*/"):
        yield from (path for number, path in by_step(run.glob(pattern)) if number > step)


def _free(run: Path) -> Path:
    taken = {path.name for path in run.glob("aside-*")}
    return next(run / name for count in range(1, len(taken) + 2) if (name := f"aside-{count:03d}") not in taken)
