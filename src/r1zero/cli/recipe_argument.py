"""RECIPE or RUN: what `train` and `pretrain` are given."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from r1zero.config.load import SectionT


def chosen(
    kind: type[SectionT], path: Path, overrides: Mapping[str, object], out: Path | None, *, resume: bool
) -> tuple[SectionT, Path]:
    """Return the recipe in the file `path`, or of the run in the folder `path` to resume; and its run directory.

    Raises:
        UserError: it cannot be read, is of another kind, or is a folder and not to be resumed.
    """
    from r1zero.config import read_recipe
    from r1zero.runs.run import Run

    if not path.is_dir():
        return read_recipe(path, kind, overrides), out or Path("runs") / path.stem
    if not resume:
        raise UserError(f"{path} is a directory, not a recipe; to continue the run there, add --resume.")
    return Run.open(path).read_recipe(kind, overrides), out or path
