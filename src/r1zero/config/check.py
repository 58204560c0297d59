"""Everything that is wrong with a recipe's file at once, with the lines it stands in.

What pydantic knows is told here; what a recipe names (models, sets, objectives), by `r1zero recipe check`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from r1zero.config.load import read_sections, validated
from r1zero.config.overrides import SHORT, as_table
from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.recipe import Recipe
from r1zero.config.sentences import Wrong, sentences
from r1zero.config.shipped import find
from r1zero.errors import UserError


def kind_of_sections(data: Mapping[str, Any]) -> type[Recipe] | type[PretrainRecipe]:
    """Return the kind of recipe that a file's sections are of: a pretraining one has a corpus."""
    return PretrainRecipe if "corpus" in data else Recipe


def read_any(path: Path) -> Recipe | PretrainRecipe:
    """Return a recipe of whatever kind, from a file, by its name, or as a run directory has it. Raises UserError."""
    file = path / "recipe.json" if find(path) == path and path.is_dir() else path
    data = read_sections(file)
    return validated(data, kind_of_sections(data), None, str(file))


def wrong_with(path: Path) -> list[Wrong]:
    """Return everything that is wrong with a recipe's settings by themselves, in the order of its lines."""
    try:
        data = read_sections(path)
    except UserError as error:
        return [Wrong("", str(error))]
    kind: type[BaseModel] = kind_of_sections(data)
    try:
        kind.model_validate(as_table(data))
    except ValidationError as error:
        return sentences(error, str(path), kind)
    try:
        validated(data, kind_of_sections(data), None, str(path))  # what is said beside pydantic
    except UserError as error:
        return [Wrong("", str(error))]
    return []


def lines_of(text: str) -> dict[str, int]:
    """Return in which lines of a TOML file settings stand: dotted key → line, from 1; list items by their index."""
    lines, section, counts, closing = dict[str, int](), "", dict[str, int](), ""
    for number, line in enumerate(text.splitlines(), start=1):
        if closing:
            closing = "" if closing in line else closing
            continue
        if header := re.match(r"\s*\[(\[?)([^\[\]]+)\]", line):
            section = ".".join(part.strip().strip("\"'") for part in header[2].split("."))
            if header[1]:
                section = SHORT.get(section, section)
                counts[section] = counts.get(section, -1) + 1
                section = f"{section}.{counts[section]}"
            lines.setdefault(section, number)
        elif found := re.match(r"""\s*([\w."' -]+?)\s*=(.*)""", line):
            key = ".".join(part.strip().strip("\"'") for part in found[1].split("."))
            lines.setdefault(f"{section}.{key}" if section else key, number)
            closing = next((each for each in ('"""', "'''") if found[2].count(each) == 1), "")
    return lines


def line_of(lines: Mapping[str, int], key: str) -> int | None:
    """Return the line of a setting, or of the nearest thing around it that has one."""
    while key:
        if key in lines:
            return lines[key]
        key = key.rpartition(".")[0]
    return None
