"""`r1zero doctor`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from r1zero.cli.app import Flag, Overrides, RecipePath, app, at_least
from r1zero.cli.console import make_console, say
from r1zero.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from r1zero.config import Recipe


@app.command
def doctor(
    *overrides: Overrides,
    recipe: RecipePath | None = None,
    mean_tokens: int | None = None,
    memory: float | None = None,
    machine: str | None = None,
    best: Flag = False,
) -> None:
    """Say what is installed, which device is used, what is missing, and the command that mends it.

    With --recipe: the memory and the time that its run would need, here or with --machine elsewhere, before anything
    starts. Settings can be given as --section.key VALUE, as for `train`.

    Parameters
    ----------
    recipe
        A training recipe to plan instead: a file, or the name of one that comes with r1zero.
    mean_tokens
        Tokens of a response on average, which the times depend on; a quarter of sampling.max_new_tokens by default.
    memory
        GiB of the device that is planned for; this machine's by default.
    machine
        A GPU to plan for by its data sheet, though it is not here: A100-40GB, A100-80GB, H100-80GB, H200, or GPU-48GB
        for any of so much memory; 8xA100-80GB is eight of them, "here" those that are here.
    best
        With --recipe and --machine NxGPU, such as 8xH100-80GB: the three fastest splits of the run over these GPUs
        that fit (learners, samplers, shared or not, tensor parallel), with what bounds each.
    """
    console = make_console()
    if recipe is None:
        if best or overrides or any(option is not None for option in (mean_tokens, memory, machine)):
            raise UserError(
                "Settings, --mean-tokens, --memory, --machine and --best belong to a plan; add --recipe RECIPE.toml."
            )
        from r1zero.doctor import diagnose, exit_code, render

        checks = diagnose()
        console.print(render(checks))
        sys.exit(exit_code(checks))
    at_least(1, "mean-tokens", mean_tokens, "is not a length")
    if memory is not None and not 0 < memory < 1e6:
        raise UserError(f"--memory {memory:g} is not the memory of a device: give its GiB.")
    from r1zero.config import Recipe, parse_overrides
    from r1zero.plan import make_plan
    from r1zero.plan.context import context_notes, judge_notes
    from r1zero.plan.text import plan_text
    from r1zero.runs.chosen import named

    found = named(Recipe, recipe, parse_overrides(list(overrides)))
    if best:
        if machine is None:
            raise UserError("--best is for a machine; add --machine NxGPU, such as 8xH100-80GB.")
        sys.exit(0 if _tell_best(console, found, machine, memory, mean_tokens) else 1)
    plan = make_plan(found, memory=memory, mean_tokens=mean_tokens, machine=machine)
    say(console, plan_text(plan))
    if machine is not None and (more := _of_all(machine, sum(device.count for device in plan.devices))):
        say(console, more)
    for note in (*judge_notes(found), *context_notes(found)):
        say(console, f"{note}.")
    sys.exit(0 if plan.fits else 1)


def _of_all(machine: str, taken: int) -> str:
    """Tell where a recipe takes other than all GPUs of a machine that was counted. Raises UserError for more."""
    from r1zero.plan.machine import counted_machine

    count, _ = counted_machine(machine)
    if count == 1 or taken == count:  # a name alone is that of each
        return ""
    if taken > count:
        raise UserError(
            f"The section [cluster] takes {taken} GPUs, and --machine {machine} has {count}: add --best for what fits."
        )
    return f"The recipe takes {taken} of {count} GPUs; --best lists the fastest splits over all of them."


def _tell_best(console: Console, recipe: Recipe, machine: str, memory: float | None, mean_tokens: int | None) -> bool:
    """Print the three fastest splits of a run; tell whether there is one."""
    from r1zero.plan.machine import counted_machine
    from r1zero.plan.splits import best_splits, splits_text

    found = best_splits(recipe, machine, memory, mean_tokens)
    count, name = counted_machine(machine)
    say(
        console,
        splits_text(found[:3], recipe.train.steps) or f"No split over {count} × {name} fits: take more of them.",
    )
    return bool(found)
