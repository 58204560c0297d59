"""`r1zero train`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.cli.app import Flag, FromStep, Overrides, RecipePath, app, at_least
from r1zero.cli.console import make_console, say
from r1zero.cli.settings import HelpWithSettings

if TYPE_CHECKING:
    from rich.console import Console

    from r1zero.config import Recipe


@app.command(help_formatter=HelpWithSettings())
def train(
    recipe: RecipePath,
    /,
    *overrides: Overrides,
    out: Path | None = None,
    resume: bool = False,
    from_step: FromStep = None,
    data_dir: Path | None = None,
    every: int = 1,
    rehearse: Flag = False,
) -> None:
    """Train by a recipe, e.g. `r1zero train demo --train.seed 1`.

    Any setting of the recipe, below, can be given as --section.key VALUE.

    Parameters
    ----------
    recipe
        A TOML recipe, or the name alone of one that comes with r1zero (`r1zero recipe list`), whatever lies here under
        that name (./NAME is a path); or, with --resume, a run directory to continue with the recipe it has.
    out
        The run directory; runs/RECIPE by default (runs/demo-train for demo, whose inputs lie in runs/demo).
    resume
        Continue from the last checkpoint (from the start where there is none); --resume STEP from the one of that
        step, what was made later being kept aside.
    data_dir
        A folder to look for question sets in; the environment's R1ZERO_DATA is looked at next.
    every
        Print every Nth step.
    rehearse
        Run the recipe with stand-ins, to see within a minute that everything that it names is there and fits: a tiny
        random model of the same class, a few rows of each set, two steps. Below runs/rehearsal, or in OUT.
    """
    from r1zero.config import Recipe, parse_overrides
    from r1zero.rewards.judge import bills
    from r1zero.runs.chosen import chosen, is_folder
    from r1zero.runs.maker import accept, foreign_reward
    from r1zero.runs.run import Run
    from r1zero.training.progress import RichView
    from r1zero.training.train import train as run_training

    at_least(1, "every", every, "prints no step")
    changes = parse_overrides(list(overrides))
    if data_dir is not None:
        changes["questions.data_dir"] = str(data_dir)
    console = make_console()
    if rehearse:
        _rehearse(console, chosen(Recipe, recipe, changes, out, resume=False)[0], recipe, out, resume)
        return
    resumed = resume or from_step is not None
    resolved, folder = chosen(Recipe, recipe, changes, out, resume=resumed)
    foreign = ""
    if is_folder(recipe, resume=resumed) and not {"verifier.reward", "reward"} & changes.keys():
        foreign = foreign_reward(Run.open(recipe), resolved)
        if foreign:
            for note in foreign.splitlines():
                say(console, f"note {note}", style="yellow")
    with RichView(console, every) as view:
        run = run_training(resolved, folder, resume=resumed, from_step=from_step, view=view)
    if foreign:
        accept(run, foreign)
    for bill in bills(run.path):
        say(console, bill, whole=True)
    say(console, f"done: {run.path} (metrics.jsonl, rollouts/, checkpoints/)", whole=True)


def _rehearse(console: Console, recipe: Recipe, file: Path, out: Path | None, resume: bool) -> None:
    from r1zero.config.shipped import name_of
    from r1zero.rehearsal.stage import rehearsal_of
    from r1zero.training.progress import RichView
    from r1zero.training.train import train as run_training

    folder = (out or Path("runs") / "rehearsal" / name_of(file)).resolve()
    rehearsed, notes = rehearsal_of(recipe, folder, resume=resume)
    for note in notes:
        say(console, f"note {note}", style="yellow")
    with RichView(console) as view:
        run = run_training(rehearsed, folder / "run", resume=resume, view=view)
    say(console, f"rehearsed to the last step with stand-ins, whose numbers mean nothing: {run.path}", whole=True)
