"""`r1zero.measure_bias` and `r1zero.check_invariance`: what an objective, also one of functions, does to its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1zero.api.objects import Objects
from r1zero.api.said import said, tell
from r1zero.api.train import dotted, resolved
from r1zero.audit.invariance import Variation, certify
from r1zero.errors import UserError
from r1zero.objectives.expected_gradient import Audit, Measure
from r1zero.objectives.table import Objective, pick_rows
from r1zero.objectives.toy_mdp import Mdp


def measure_bias(*objectives: str | Objective, group_sizes: Sequence[int] = (2, 4, 8)) -> list[Measure]:
    """Measure exactly how objectives are biased, as `r1zero audit` does: rows by name, or objectives of functions.

    On a task small enough to list every batch that can be drawn; functions must be made of tensor operations, for they
    are called on many batches at once (`torch.func.vmap`), and must not look at the order of a group.

    Raises:
        UserError: a name that is not in the table, a group size out of 2 to 10, or functions of another kind.
    """
    if wrong := [size for size in group_sizes if not isinstance(size, int) or not 2 <= size <= 10]:
        raise UserError(f"group_sizes holds {wrong[0]!r}, which cannot be listed whole: write numbers from 2 to 10.")
    mdp = Mdp()
    rows = [pick_rows([each])[0] if isinstance(each, str) else each for each in objectives]
    return [_measured(Audit(mdp, size, mdp.policy()), row) for size in sorted(set(group_sizes)) for row in rows]


def _measured(audit: Audit, objective: Objective) -> Measure:
    try:
        return audit.measure(objective)
    except RuntimeError as error:
        if not objective.functions:
            raise
        raise UserError(
            f"The objective {objective.name} cannot be audited exactly ({str(error).splitlines()[0]:.200}): make its "
            "functions of tensor operations alone, without `if` or `float()` on values of a tensor."
        ) from error


def check_invariance(
    recipe: Any, *, questions: Any = None, objective: str | Objective | None = None, **settings: Any
) -> list[tuple[Variation, bool]]:
    """Compute one step's gradient however it is cut, laid out and spread; return each way with whether it is the same.

    As `r1zero audit --invariance` does; `recipe`, `questions` (a name or path), `objective` and settings as in `train`.

    Raises:
        UserError: the recipe's model or questions cannot be had.
    """
    if questions is not None and not isinstance(questions, str | Path):
        raise UserError("questions= of check_invariance is a name or a path: save the rows as a file.")
    objects = Objects.of(None, None, questions, objective)
    here = Path()
    with said():
        whole = resolved(recipe, objects.settings(here) | dotted(settings), here, resume=False)
        return list(certify(whole, objects.own, tell))
