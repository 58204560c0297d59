"""`r1zero demo`."""

from __future__ import annotations

from pathlib import Path

from r1zero.cli.app import app
from r1zero.cli.console import make_console


@app.command
def demo(*, out: Path = Path("runs/demo"), objectives: tuple[str, ...] = ("dr_grpo", "grpo"), seed: int = 0) -> None:
    """Pretrain a tiny base model, train it with each objective on built-in arithmetic, and write a page about it.

    Parameters
    ----------
    out
        Where everything goes. Finished parts found there are kept, an interrupted one continues.
    objectives
        Objectives to train with, one run each.
    seed
        Seed of the runs.
    """
    from r1zero.demo import run_demo

    run_demo(out, objectives, seed, make_console())
