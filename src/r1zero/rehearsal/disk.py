"""Whether the real runs' checkpoints have room where they will be written."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from r1zero.config import Recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.plan.machine import GIB
from r1zero.plan.model_size import parameters_of

_BYTES = 12  # of a parameter in a checkpoint: its float32 weight and AdamW's two moments


def disk_note(recipes: Mapping[str, Recipe | PretrainRecipe], out: Path) -> str:
    """Tell when what the runs will keep does not fit on the disk of `out`; "" when it does, or nobody knows.

    Raises:
        UserError: no such model.
    """
    sizes = {name: kept_bytes(recipe) for name, recipe in recipes.items()}
    needed = sum(sizes.values())
    place = out.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    if needed <= free:
        return ""
    largest = max(sizes, key=lambda name: sizes[name])
    whose = f", {largest}'s {sizes[largest] / GIB:,.0f} GiB among them" if len(sizes) > 1 else ""
    return (
        f"checkpoints will take up to {needed / GIB:,.0f} GiB{whose}, and {free / GIB:,.0f} GiB are free in {place}: "
        "write elsewhere (--out), or keep fewer (checkpoint.keep_last, checkpoint.keep_best)"
    )


def kept_bytes(recipe: Recipe | PretrainRecipe) -> int:
    """Return bytes of the checkpoints that a run holds at its most: those kept, and the one that is written."""
    if isinstance(recipe, Recipe) and recipe.lora is not None:
        return 0  # adapters are small
    best = isinstance(recipe, Recipe) and recipe.checkpoint.keep_best
    kept = recipe.checkpoint.keep_last + best + 1
    return kept * _BYTES * _parameters(recipe.model.path, recipe.model.revision)


_parameters = cache(parameters_of)
