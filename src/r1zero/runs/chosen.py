"""RECIPE or RUN: what `train` and `pretrain` are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from r1zero.config import Section, read_recipe
from r1zero.config.load import SectionT, read_sections
from r1zero.config.shipped import SHIPPED, find, missing, name_of, shipped_name, texts
from r1zero.errors import UserError
from r1zero.runs.run import Run


def chosen(
    kind: type[SectionT], path: Path, overrides: Mapping[str, object], out: Path | None, *, resume: bool
) -> tuple[SectionT, Path]:
    """Return the recipe in the file `path`, or of the run in the folder `path` to resume; and its run directory.

    A name alone is the recipe of the package; with `resume` a run directory of that name comes first, as it always has.

    Raises:
        UserError: it cannot be read, is of another kind, or is a folder and not to be resumed.
    """
    if not is_folder(path, resume=resume):
        return named(kind, path, overrides), out or default_out(path)
    if not resume:
        raise UserError(f"{path} is a directory, not a recipe; to continue the run there, add --resume.")
    return Run.open(path).read_recipe(kind, overrides), out or path


def is_folder(path: Path, *, resume: bool) -> bool:
    """Tell whether a path means a folder, and not a recipe."""
    return path.is_dir() and (find(path) == path or (resume and (path / "run.json").is_file()))


def named(kind: type[SectionT], path: Path, overrides: Mapping[str, object]) -> SectionT:
    """Return the recipe in a file, or of the package by its name. Raises UserError, too, where what a recipe of the
    package names has to be made first.
    """
    own = read_sections(path)
    if "train" in own and "corpus" in own and "corpus" not in kind.model_fields:
        raise UserError(f"{path} is a recipe of pretraining, with a section [corpus]: give it to `r1zero pretrain`.")
    if "train" in own and "questions" in own and "questions" not in kind.model_fields:
        raise UserError(f"{path} is a recipe of training, with a section [questions]: give it to `r1zero train`.")
    recipe = read_recipe(path, kind, overrides)
    check_made(recipe, path)
    return recipe


def missing_of(recipe: Section, path: Path) -> list[str]:
    """Return what a recipe of the package names that has to be made first, and is not here."""
    return missing(recipe.model_dump(mode="json"), read_sections(path)) if shipped_name(path) else []


def check_made(recipe: Section, path: Path) -> None:
    """Raise a UserError where what a recipe of the package names has to be made first: it says how."""
    name = shipped_name(path)
    if name and (places := missing_of(recipe, path)):
        verb = "is" if len(places) == 1 else "are"
        listed = " and ".join(filter(None, (", ".join(places[:-1]), places[-1])))
        raise UserError(f"The recipe {name} names {listed}, which {verb} not here: {SHIPPED[name].first}.")


def default_out(path: Path) -> Path:
    """Return the run directory of a recipe: runs/RECIPE; runs/RECIPE-train where its own inputs lie in runs/RECIPE."""
    out = Path("runs") / name_of(path)
    inside = f"{out.as_posix()}/"
    begun = (out / "run.json").is_file()  # by an older version, which wrote there
    if not begun and shipped_name(path) and any(text.startswith(inside) for text in texts(read_sections(path))):
        return out.with_name(f"{out.name}-train")
    return out
