"""`r1zero objectives`."""

from __future__ import annotations

from rich.markup import escape

from r1zero.cli.app import Json, app
from r1zero.cli.console import make_console, print_json, say
from r1zero.errors import UserError


@app.command
def objectives(*names: str, constant: float = 1.0, json_: Json = False) -> None:
    """List the objectives: formula, hash, and how each weighs responses by length and by difficulty.

    Length and difficulty are the bias meter's slopes on a made-up rollout batch: 0 is unbiased, −1 is GRPO. The last
    number is the exact relative bias of the expected gradient with groups of 4, which `r1zero audit` takes apart: it
    also shows what a denominator that differs from step to step does.

    Parameters
    ----------
    names
        Rows to list; all by default.
    constant
        C of the rows that have one. A run takes its token budget, and its hash is of that.
    json_
        Print the rows as JSON.
    """
    import torch

    from r1zero.objectives.measured import measured, share, slope
    from r1zero.objectives.table import pick_rows

    if not 0 < constant < float("inf"):
        raise UserError(f"--constant {constant:g} cannot divide a sum; give the token budget, say.")
    torch.set_num_threads(1)  # small operations by the thousand: two threads would wait for each other
    rows = measured(pick_rows(names), constant)
    if json_:
        print_json(rows)
        return
    console = make_console()
    for row in rows:
        numbers = f"length {slope(row['length_bias'])}  difficulty {slope(row['difficulty_bias'])}"
        console.print(
            f"[bold]{escape(row['objective'])}[/]  {row['hash']}  {numbers}  bias {share(row['relative_bias'])}"
        )
        say(console, f"    {row['formula']}")
        if row["note"]:
            say(console, f"    {row['note']}", style="dim")
