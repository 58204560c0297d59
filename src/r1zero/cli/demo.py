"""`r1zero demo`."""

from __future__ import annotations

from pathlib import Path

from r1zero.cli.app import Flag, app, at_least
from r1zero.cli.console import make_console


@app.command
def demo(
    *,
    out: Path = Path("runs/demo"),
    objectives: tuple[str, ...] = ("dr_grpo", "grpo"),
    seed: int = 0,
    steps: int | None = None,
    from_scratch: Flag = False,
    workers: int = 2,
) -> None:
    """Train a tiny base model with GRPO and Dr. GRPO side by side, and see what becomes of wrong answers' lengths.

    The paper's figure 5 in miniature, for one seed: a page, a picture, and one sentence at the end. The base model
    comes with r1zero.

    Parameters
    ----------
    out
        Where everything goes. Finished parts found there are kept, an interrupted one continues.
    objectives
        Objectives to train with, one run each.
    seed
        Seed of the runs.
    steps
        Steps of each run; as many as lengths take to part, by default. With more, finished runs go on.
    from_scratch
        Pretrain the base model first, with the same seed, instead of taking the one that comes with r1zero.
    workers
        How many runs side by side, each with one thread.
    """
    at_least(1, "workers", workers, "does nothing")
    at_least(1, "steps", steps, "trains nothing")

    from r1zero.paper.demo import run_demo

    changes = {} if steps is None else {"train.steps": steps}
    console = make_console()
    run_demo(out, objectives, seed, console, from_scratch=from_scratch, workers=workers, changes=changes)
