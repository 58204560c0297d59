"""A recipe from a file or from nested mappings, checked; whatever is wrong with it is one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from r1zero.config import shipped
from r1zero.config.overrides import as_table, flattened, merge
from r1zero.config.recipe import Recipe
from r1zero.config.sections import Section
from r1zero.config.sentences import sentence
from r1zero.errors import UserError, parsed, regular, unreadable
from r1zero.types import is_text

SectionT = TypeVar("SectionT", bound=Section)


def load_recipe(path: Path | str, overrides: Mapping[str, object] | None = None) -> Recipe:
    """Read the recipe of a training run: a TOML file, a run's recipe.json, or the name of one that comes with r1zero.

    `overrides` are settings by their dotted names, `{"train.seed": 1}`.

    Raises:
        UserError: no such file, not TOML, an unknown key, a value of the wrong kind, or settings that do not fit.
    """
    return read_recipe(path, Recipe, overrides)


def read_recipe(path: Path | str, kind: type[SectionT], overrides: Mapping[str, object] | None = None) -> SectionT:
    """Read a recipe from a TOML file, or a run's recipe.json, and apply dotted overrides ({"train.seed": 1}).

    A name alone, such as `demo`, is the recipe of that name that comes with the package (`r1zero recipe list`).

    Raises:
        UserError: no such file, not TOML, an unknown key, a value of the wrong kind, or settings that do not fit.
    """
    return validated(read_sections(shipped.path_of(path)), kind, overrides, where=str(path))


def read_settings(path: Path) -> dict[str, object]:
    """Return what a TOML file with some of a recipe's sections says, as dotted settings. Raises UserError."""
    return flattened(as_table(read_sections(path)))


def read_sections(path: Path) -> dict[str, Any]:
    """Return the sections of a recipe, a file or a name of the package's, unchecked. Raises UserError."""
    asked, path = path, shipped.find(path)
    try:
        text = regular(path).read_text(encoding="utf-8")
        data = parsed(text) if path.suffix == ".json" else tomllib.loads(text)
    except UnicodeDecodeError:
        raise UserError(f"The recipe {path} is not text; give the path of a TOML file.") from None
    except FileNotFoundError:
        raise shipped.not_there(asked) from None
    except OSError as error:
        raise UserError(
            f"The recipe {path} cannot be read ({unreadable(error)}): give the path of a TOML file."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"The recipe {path} cannot be parsed: {unreadable(error)}.") from None
    if not isinstance(data, dict):
        raise UserError(f"The recipe {path} holds no sections; give the path of a TOML file or of a run.")
    return data


def packaged_recipe(
    name: str, kind: type[SectionT], overrides: Mapping[str, object] | None = None, where: str = ""
) -> SectionT:
    """`read_recipe` for a recipe that comes with the package; `where` is what a sentence calls it."""
    return validated(read_sections(Path(name)), kind, overrides, where or f"the recipe {name}")


def make_recipe(
    data: Mapping[str, Any], overrides: Mapping[str, object] | None = None, where: str = "the recipe"
) -> Recipe:
    """Check a recipe given as nested mappings, overrides applied. Raises UserError like `load_recipe`."""
    return validated(data, Recipe, overrides, where)


def validated(
    data: Mapping[str, Any], kind: type[SectionT], overrides: Mapping[str, object] | None, where: str
) -> SectionT:
    """Return nested mappings with overrides as a recipe of a kind. Raises UserError like `load_recipe`."""
    merged = merge(as_table(data), overrides or {})
    for name, value in flattened(merged).items():
        if isinstance(value, str) and ("\0" in value or not is_text(value)):
            raise UserError(
                f"{where}: {name} = {value[:60]!r} holds what no text and no file's name can; write it without."
            )
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        raise UserError(sentence(error, where, kind)) from None


def checked(section: type[SectionT], data: Mapping[str, Any]) -> SectionT:
    """Return one section of a recipe, checked by itself. Raises UserError like `load_recipe`."""
    return validated(data, section, None, section.__name__.removesuffix("Settings").lower())
