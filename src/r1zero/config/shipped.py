"""The recipes that come with the package, by name.

A name is a word without a folder and without `.toml`: `demo`, `qwen2.5-math-7b`. Wherever a recipe is taken, such a
name is that recipe, whatever lies in the current folder; `./demo` and `demo.toml` are paths.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from r1zero.errors import UserError, did_you_mean

SUFFIXES = (".toml", ".json")
PRETRAIN = "-pretrain"
"""How the names of pretraining recipes end."""
_MADE = ("runs/", "models/")
"""Where shipped recipes name what has to be made first."""


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a recipe asks for beside its file."""

    needs: str
    """The machine, in a few words."""
    first: str = ""
    """What makes what the recipe names below `runs/` and `models/`, as the end of a sentence."""


_PREPARE = "`r1zero recipe prepare {}` makes what is missing"
_SMOLLM2 = (
    "`python scripts/convert_smollm2.py` in a clone of the repository makes it; or give --model.path "
    "HuggingFaceTB/SmolLM2-135M-Instruct, which the Hub has"
)
_GPUS = "GPUs, which `r1zero doctor --recipe` plans, and the Hub"
SHIPPED: Mapping[str, Shipped] = {
    "arithmetic": Shipped("a CPU, a minute", _PREPARE.format("arithmetic")),
    "demo": Shipped("a CPU, minutes", _PREPARE.format("demo")),
    "llama-3.2-3b-finemath-pretrain": Shipped(_GPUS),
    "llama-3.2-3b-numinaqa-pretrain": Shipped(_GPUS),
    "llama-3.2-3b-r1": Shipped(_GPUS),
    "miniature": Shipped("a CPU, minutes", _PREPARE.format("miniature")),
    "miniature-pretrain": Shipped("a CPU, minutes", _PREPARE.format("miniature-pretrain")),
    "qwen2.5-1.5b-r1": Shipped(_GPUS),
    "qwen2.5-7b-r1": Shipped(_GPUS),
    "qwen2.5-math-1.5b": Shipped(_GPUS),
    "qwen2.5-math-7b": Shipped(_GPUS),
    "smollm2-135m-arithmetic": Shipped("a CPU", _SMOLLM2),
    "smollm2-135m-gsm8k": Shipped("a CPU or a GPU", _SMOLLM2),
}


@cache
def folder() -> Path:
    """Return where the recipes of the package lie."""
    return Path(str(resources.files("r1zero") / "recipes"))


def names() -> list[str]:
    """Return the names of all recipes that come with the package."""
    return sorted(name_of(path) for path in folder().glob("*.toml"))


def name_of(path: Path) -> str:
    """Return the name of a recipe's file: without its suffix, of which a model's version number (2.5) is none."""
    return path.stem if path.suffix in SUFFIXES else path.name


def is_name(word: str) -> bool:
    """Tell whether a word can be a recipe's name alone: it names neither a folder nor a file's kind."""
    separators = {"/", os.sep, os.altsep or os.sep}
    return (
        not any(each in word for each in separators) and Path(word).suffix not in SUFFIXES and word not in (".", "..")
    )


def path_of(word: str | Path) -> Path:
    """Return a word as a path that keeps what the word says: `./demo`, which a path shortens, stays no name alone."""
    path = Path(word)
    return Path.cwd() / path if is_name(str(path)) and not is_name(str(word)) else path


def find(path: Path) -> Path:
    """Return the file of a recipe: that of the package for its name alone, and any other path as it is."""
    return folder() / f"{path}.toml" if is_name(str(path)) and str(path) in names() else path


def shipped_name(path: Path) -> str | None:
    """Return the name of the package's recipe that a path means, by its name or as its file; None of any other."""
    file = find(path)
    same = file.suffix == ".toml" and file.stem in names() and file.resolve() == (folder() / file.name).resolve()
    return file.stem if same else None


def not_there(path: Path) -> UserError:
    """Tell that there is no such recipe, and which of the package's may be meant."""
    name = name_of(path)
    if name in names():
        command = "pretrain" if name.endswith(PRETRAIN) else "train"
        remedy = f"the recipe of that name that comes with r1zero is `{name}` alone: `r1zero {command} {name}`"
    elif is_name(str(path)) and (hint := did_you_mean(name, names())):
        remedy = f"{hint}(`r1zero recipe list` names those that come with r1zero)"
    else:
        remedy = "give the path of a TOML file, or a name of `r1zero recipe list`"
    return UserError(f"There is no recipe at {path}; {remedy}.")


def missing(data: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return what a recipe of the package names that has to be made first, and is not here.

    `data` is the recipe as it is to be run, `own` as the package has it: what was set otherwise is somebody else's.
    """
    named = set(texts(own))
    places = dict.fromkeys(text for text in texts(data) if text.startswith(_MADE) and text in named)
    return [place for place in places if not Path(place).exists()]


def texts(value: Any) -> Iterator[str]:
    """Return every text in nested mappings and lists."""
    match value:
        case str():
            yield value
        case Mapping():
            for each in value.values():
                yield from texts(each)
        case list() | tuple():
            for each in value:
                yield from texts(each)
