"""`r1zero export`."""

from __future__ import annotations

from pathlib import Path

from r1zero.cli.app import app
from r1zero.cli.console import make_console, say


@app.command
def export(checkpoint: Path, out: Path, /) -> None:
    """Make one Hugging Face folder of a checkpoint that a cluster's ranks wrote in shards.

    Parameters
    ----------
    checkpoint
        A checkpoint, e.g. RUN/checkpoints/step-000016.
    out
        The folder to write; it must not exist yet.
    """
    from r1zero.policy.export import export as write

    write(checkpoint, out)
    say(make_console(), f"written: {out}", whole=True)
