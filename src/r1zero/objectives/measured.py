"""What is told of an objective beside its formula: how it weighs responses, and how its gradient is biased."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from r1zero.objectives.bias_meter import bias_meter
from r1zero.objectives.example_batch import example_batch
from r1zero.objectives.expected_gradient import Audit
from r1zero.objectives.table import Objective
from r1zero.objectives.toy_mdp import Mdp

GROUP_SIZE = 4


def measured(rows: Iterable[Objective], constant: float) -> list[dict[str, Any]]:
    """Describe each row, and measure its biases on the example batch and on the task that can be enumerated."""
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
    """Return a slope for people: two digits, no negative zero."""
    return "–" if value is None else f"{round(value, 2) + 0.0:.2f}"


def share(value: float) -> str:
    """Return a relative bias for people."""
    if value < 1e-9:
        return "none"
    return f"{100 * value:.2g} %" if value < 0.995 else f"{100 * value:.0f} %"
