"""`r1zero audit`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from r1zero.cli.app import Json, RecipePath, app, several
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.objectives.table import Objective
    from r1zero.runs.run import Run


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class AuditOptions:
    """How to audit the formulas exactly, and what to audit in their place."""

    group_sizes: Annotated[tuple[int, ...], several("--group-sizes")] = (2, 4, 8)
    """Samples per question, 2 to 10."""
    off_policy: bool = False
    """Audit at a policy some way ahead of the one that sampled."""
    run: Path | None = None
    """A run directory: the bias meter on its saved rollouts, step by step."""
    step: int | None = None
    """With --run: replay this step, and compare the gradients that the objectives would have taken from it."""
    invariance: RecipePath | None = None
    """A recipe: certify that micro-batches, order, layout and processes do not change its gradient."""


_DEFAULT = AuditOptions()


@app.command
def audit(
    *objectives: str,
    options: AuditOptions = _DEFAULT,
    out: Path | None = None,
    json_: Json = False,
) -> None:
    """Measure how objectives are biased: exactly, on a task small enough to list every batch that can be drawn.

    For each objective and group size, the expectation of its gradient is held against the true gradient ∇J: relative
    bias after the best scaling, cosine, that scale, and how a response's weight goes with its length and with its
    question's difficulty. With --run, --step or --invariance it is your own run, step or recipe that is measured.

    Parameters
    ----------
    objectives
        Rows of `r1zero objectives`; all by default, in a replay the presets.
    out
        Write pictures into this folder, as PNG and SVG.
    json_
        Print the numbers as JSON.
    """
    from r1zero.objectives.table import PRESETS, TABLE, pick_rows
    from r1zero.runs.files import writing
    from r1zero.runs.run import Run

    exactly = options.group_sizes != _DEFAULT.group_sizes or options.off_policy
    if exactly and (options.run is not None or options.invariance is not None):
        raise UserError("--group-sizes and --off-policy belong to the exact audit; leave --run and --invariance out.")
    if out is not None and options.invariance is not None:
        raise UserError("--invariance draws no picture; leave --out out.")
    if out is not None:
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
    if options.step is not None and options.run is None:
        raise UserError(f"--step {options.step} belongs to a run; name its directory with --run.")
    if options.invariance is not None:
        if options.run is not None or objectives:
            raise UserError("--invariance audits the objective of its recipe; leave other objectives and --run out.")
        _invariance(options.invariance, json_)
    elif options.run is None:
        _exact(pick_rows(objectives, TABLE), options, out, json_)
    else:
        rows = pick_rows(objectives, {} if options.step is None else PRESETS)
        run = Run.open(options.run)
        rows = _beside_its_own(run, rows)
        if options.step is None:
            _meter(run, rows, out, json_)
        else:
            _replay(run, options.step, rows, out, json_)


def _exact(rows: list[Objective], options: AuditOptions, out: Path | None, as_json: bool) -> None:
    import torch

    from r1zero.cli import audit_views as views
    from r1zero.objectives.expected_gradient import Audit
    from r1zero.objectives.toy_mdp import Mdp, ahead

    torch.set_num_threads(1)  # small operations by the thousand: two threads would wait for each other
    if not options.group_sizes:
        raise UserError("--group-sizes names no size; give sizes from 2 to 10.")
    for size in options.group_sizes:
        if not 2 <= size <= 10:
            raise UserError(
                f"--group-sizes {size} cannot be audited: a group of one has no baseline, and beyond 10 there are too "
                "many batches to list; give sizes from 2 to 10."
            )
    mdp = Mdp()
    old = mdp.policy()
    new = ahead(mdp, old) if options.off_policy else old
    measures = []
    with views.progress("auditing", len(rows) * len(options.group_sizes)) as advance:
        for size in sorted(set(options.group_sizes)):
            audit = Audit(mdp, size, new, old if options.off_policy else None)
            for row in rows:
                measures.append(audit.measure(row))
                advance()
    if as_json:
        views.as_json(measures)
    else:
        views.exact_table(measures, rows)
    if out is not None:
        views.exact_pictures(mdp, rows, measures, out, off_policy=options.off_policy)


def _meter(run: Run, rows: list[Objective], out: Path | None, as_json: bool) -> None:
    from r1zero.audit.saved_step import read_meter
    from r1zero.cli import audit_views as views

    readings = list(read_meter(run, rows))
    if as_json:
        views.meter_json(readings)
    else:
        views.meter_table(readings, len(rows))
    if out is not None:
        views.meter_pictures(readings, run.path, out)


def _beside_its_own(run: Run, rows: list[Objective]) -> list[Objective]:
    """Return the run's objective, and the others with its constant."""
    from dataclasses import replace

    from r1zero.objectives.from_recipe import recipe_objective

    own = recipe_objective(run.recipe)
    return [own, *(replace(row, constant=own.constant) for row in rows if row.name != own.name)]


def _replay(run: Run, step: int, rows: list[Objective], out: Path | None, as_json: bool) -> None:
    from r1zero.audit.replay import replay
    from r1zero.cli import audit_views as views
    from r1zero.policy.device import set_threads

    playable = [row for row in rows if not row.critic]
    set_threads(run.recipe.train.threads)
    result = replay(run, step, playable)
    if as_json:
        views.as_json(result.rows)
    else:
        views.replay_table(result, [row.name for row in rows if row.critic])
    if out is not None:
        views.replay_pictures(result, playable, out)


def _invariance(recipe: Path, as_json: bool) -> None:
    from r1zero.audit.invariance import certify
    from r1zero.cli import audit_views as views
    from r1zero.cli.console import say_notes
    from r1zero.config import Recipe
    from r1zero.policy.device import set_threads
    from r1zero.runs.chosen import named

    resolved = named(Recipe, recipe, {})
    set_threads(resolved.train.threads)
    if not views.invariance(certify(resolved, tell=say_notes), as_json):
        raise SystemExit(1)
