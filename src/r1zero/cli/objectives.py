"""`r1zero objectives`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from r1zero.cli.app import app
from r1zero.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from r1zero.objectives.table import Objective

GROUP_SIZE = 4


@app.command
def objectives(
    *names: str, constant: float = 1.0, json_: Annotated[bool, Parameter(name="--json", negative=())] = False
) -> None:
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
    from rich.markup import escape

    from r1zero.cli.console import make_console
    from r1zero.objectives.table import pick_rows

    if not 0 < constant < float("inf"):
        raise UserError(f"--constant {constant:g} cannot divide a sum; give the token budget, say.")
    rows = measured(pick_rows(names), constant)
    if json_:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return
    console = make_console()
    for row in rows:
        numbers = f"length {slope(row['length_bias'])}  difficulty {slope(row['difficulty_bias'])}"
        console.print(
            f"[bold]{escape(row['objective'])}[/]  {row['hash']}  {numbers}  bias {share(row['relative_bias'])}"
        )
        console.print(f"    {row['formula']}", markup=False, highlight=False)
        if row["note"]:
            console.print(f"    {row['note']}", markup=False, highlight=False, style="dim")


def measured(rows: Iterable[Objective], constant: float) -> list[dict[str, Any]]:
    """What is listed of each row."""
    from dataclasses import replace

    import torch

    from r1zero.objectives.bias_meter import bias_meter
    from r1zero.objectives.example_batch import example_batch
    from r1zero.objectives.expected_gradient import Audit
    from r1zero.objectives.toy_mdp import Mdp

    torch.set_num_threads(1)  # small operations by the thousand: two threads would wait for each other
    batch, mdp = example_batch(), Mdp()
    audit = Audit(mdp, GROUP_SIZE, mdp.policy())
    listed = []
    for row in rows:
        objective = replace(row, constant=constant)
        bias = bias_meter(*batch, objective)
        listed.append(
            {
                "objective": row.name,
                "hash": objective.hash,
                "formula": objective.formula,
                "note": row.note,
                "length_bias": bias.length,
                "difficulty_bias": bias.difficulty,
                "relative_bias": audit.measure(row).relative_bias,
            }
        )
    return listed


def slope(value: float | None) -> str:
    """A slope for people: two digits, no negative zero."""
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"


def share(value: float) -> str:
    """A relative bias for people."""
    if value < 1e-9:
        return "none"
    return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"
