"""`r1zero pretrain`."""

from __future__ import annotations

from pathlib import Path

from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

from r1zero.cli.app import FromStep, Overrides, RecipePath, app
from r1zero.cli.console import bar, make_console, say
from r1zero.cli.settings import HelpWithSettings


@app.command(help_formatter=HelpWithSettings(pretrain=True))
def pretrain(
    recipe: RecipePath,
    /,
    *overrides: Overrides,
    out: Path | None = None,
    resume: bool = False,
    from_step: FromStep = None,
) -> None:
    """Pretrain a model, or continue a model's pretraining, on texts or question–answer pairs.

    Any setting of the recipe, below, can be given as --section.key VALUE.

    Parameters
    ----------
    recipe
        A TOML recipe, or the name alone of one that comes with r1zero (`r1zero recipe list`), whatever lies here under
        that name (./NAME is a path); or, with --resume, a run directory to continue with the recipe it has.
    out
        The run directory; runs/RECIPE by default.
    resume
        Continue from the last checkpoint (from the start where there is none); --resume STEP from the one of that
        step, what was made later being kept aside.
    """
    from r1zero.config import parse_overrides
    from r1zero.config.pretrain import PretrainRecipe
    from r1zero.pretrain.run import pretrain_run
    from r1zero.runs.chosen import chosen

    changes = parse_overrides(list(overrides))
    resolved, folder = chosen(PretrainRecipe, recipe, changes, out, resume=resume or from_step is not None)
    console = make_console()
    columns = (TextColumn("pretraining"), BarColumn(), TextColumn("{task.fields[said]}"), TimeRemainingColumn())
    with bar(console, *columns) as progress:
        task = progress.add_task("pretraining", total=None, said="")

        def watch(step: int, total: int, numbers: dict[str, float]) -> None:
            loss, speed = numbers["pretrain/loss"], numbers["speed/tokens_per_second"]
            said = f"step {step}/{total}  loss {loss:.3f}  {speed:,.0f} tok/s"
            if "pretrain/held_out_loss" in numbers:
                said += f"  held out {numbers['pretrain/held_out_loss']:.3f}"
                console.print(said, highlight=False)
            progress.update(task, completed=step, total=total, said=said)

        run = pretrain_run(resolved, folder, resume=resume or from_step is not None, from_step=from_step, watch=watch)
    say(console, f"done: {run.path} (metrics.jsonl, checkpoints/)", whole=True)
