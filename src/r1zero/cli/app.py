"""The program `r1zero`; each command stands in a module of its own beside this one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, Parameter, Token

from r1zero import __version__
from r1zero.errors import UserError
from r1zero.types import is_text

app = App(
    name="r1zero",
    version=__version__,
    help="Reinforcement learning with verified rewards straight from a base language model.",
    suppress_keyboard_interrupt=False,  # `main` says what an interrupt means
)

FROM_STEP = "--resume-from"
Overrides = Annotated[str, Parameter(allow_leading_hyphen=True, show=False)]
"""Settings of a recipe, as --section.key VALUE."""
FromStep = Annotated[int | None, Parameter(name=FROM_STEP, show=False)]
"""What --resume STEP becomes."""
Flag = Annotated[bool, Parameter(negative=())]
Where = Annotated[str | None, Parameter(allow_leading_hyphen=True)]
"""A filter of rows (`questions/where.py`), which may begin with a negative number."""
Json = Annotated[bool, Parameter(name="--json", negative=())]


def _recipe_path(kind: Any, tokens: Sequence[Token]) -> Path:
    from r1zero.config.shipped import path_of

    return path_of(tokens[0].value)


RecipePath = Annotated[Path, Parameter(converter=_recipe_path)]
"""A recipe's file, or the name alone of one that comes with the package."""


def several(*names: str) -> Parameter:
    """Make a setting that takes several values in a row."""
    return Parameter(name=list(names), consume_multiple=True, negative=())


def at_least(least: int, option: str, value: int | None, wrong: str) -> None:
    """Raise a UserError for an option whose value is given and too small; `wrong` says what it would do or be."""
    if value is not None and value < least:
        raise UserError(f"--{option} {value} {wrong}; give {least} or more.")


def changed(*given: tuple[Any, Any]) -> list[str]:
    """Return the options that are not as by default, in the order of the groups, each given beside its defaults."""
    return [
        f"--{field.name.replace('_', '-')}"
        for group, default in given
        for field in fields(group)
        if getattr(group, field.name) != getattr(default, field.name)
    ]


def with_steps(words: Iterable[str]) -> list[str]:
    """Return a command line whose `--resume STEP` and `--resume=STEP` are one option with a value; --resume alone, a
    switch, stays. UserError for a word that is not text: no file of ours could hold the name.
    """
    found: list[str] = []
    for word in words:
        if not is_text(word):
            raise UserError(f"{word!r} is not valid UTF-8: rename that file or folder.")
        name, equals, value = word.partition("=")
        if name == "--resume" and equals and value.isascii() and value.isdigit():
            found += [FROM_STEP, value]
        elif found[-1:] == ["--resume"] and word.isascii() and word.isdigit():
            found[-1:] = [FROM_STEP, word]
        else:
            found.append(word)
    return found
