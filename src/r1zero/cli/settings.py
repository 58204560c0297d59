"""`r1zero settings`."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cyclopts.help import DefaultFormatter

from r1zero.cli.app import Flag, Json, app
from r1zero.cli.console import make_console, print_json, say
from r1zero.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.console import Console, ConsoleOptions

    from r1zero.config.settings import Setting

_WIDE = 150
"""Columns from which on the table has room for what settings mean."""
_NAME, _DEFAULT = 33, 14


@app.command
def settings(*words: str, pretrain: Flag = False, json_: Json = False) -> None:
    """List the settings of a recipe: name, type, default, bounds, meaning; with WORDS those that have them all.

    Each can be given to `train` and `pretrain` as --section.key VALUE. The column `resuming` says what --resume may
    change: free; from there on; same elsewhere (another place where the same lies); fixed.

    Parameters
    ----------
    words
        Words, or parts of words, in a setting's name or meaning, such as `schedule` or `learner`.
    pretrain
        Those of a pretraining recipe.
    json_
        Print them as JSON.
    """
    from r1zero.config.settings import settings_of

    every = settings_of(kind_of(pretrain))
    found = matching(every, words)
    if not found:
        raise UserError(_nothing(words, every, pretrain))
    if json_:
        print_json([_row(each) for each in found])
        return
    console = make_console()
    if console.width >= _WIDE:
        heads = ("setting", "type", "default", "bounds", "resuming", "meaning")
        rows = [(s.key, s.type, s.default, s.bounds, s.resuming, s.meaning) for s in found]
        console.print(_left(heads, rows))
        return
    for each in found:
        for line in _lines(each, console.width):
            say(console, line, whole=True)


def kind_of(pretrain: bool) -> type[BaseModel]:
    """Return the kind of recipe that is meant."""
    from r1zero.config import Recipe
    from r1zero.config.pretrain import PretrainRecipe

    return PretrainRecipe if pretrain else Recipe


def matching(every: Sequence[Setting], words: Sequence[str]) -> list[Setting]:
    """Return the settings with all words in their names or meanings, in any case; - and _ are as good as a blank."""
    wanted = [_folded(each) for each in words]
    return [each for each in every if all(word in _folded(f"{each.key} {each.meaning}") for word in wanted)]


def _folded(text: str) -> str:
    return text.casefold().replace("-", " ").replace("_", " ").removeprefix("  ").strip()


def _nothing(words: Sequence[str], every: Sequence[Setting], pretrain: bool) -> str:
    """Tell that no setting has these words, and what was perhaps meant."""
    parts = dict.fromkeys(part for each in every for part in (*each.key.split("."), each.key))
    hint = "".join(did_you_mean(word.removeprefix("--"), parts) for word in words if not matching(every, [word]))
    other = "leave --pretrain out" if pretrain else "add --pretrain"
    there = matching(_every(not pretrain), words)
    hint = f"{other}: pretraining recipes have " if there and not pretrain else hint
    hint = f"{other}: training recipes have " if there and pretrain else hint
    remedy = f"{hint}{', '.join(each.key for each in there[:3])}" if there else hint
    command = f"r1zero settings{' --pretrain' if pretrain else ''}"
    shown = " and ".join(map(repr, words))
    return f"No setting has {shown} in its name or meaning; {remedy or ''}{'. ' if there else ''}`{command}` lists all."


def _every(pretrain: bool) -> Sequence[Setting]:
    from r1zero.config.settings import settings_of

    return settings_of(kind_of(pretrain))


def _row(setting: Setting) -> dict[str, Any]:
    names = ("key", "type", "default", "bounds", "resuming", "meaning")
    return {name: getattr(setting, name) for name in names}


def _left(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Any:
    """Make a table of texts, all columns to the left."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("setting", "default"), overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _lines(setting: Setting, width: int) -> Iterator[str]:
    """Tell of a setting in lines of a narrow terminal: what it may be, and below what it means."""
    from r1zero.config.settings import REQUIRED, UNSET

    default = setting.default if setting.default in (REQUIRED, UNSET) else f"default {setting.default}"
    facts = "; ".join(filter(None, (setting.type, setting.bounds, default, f"resuming: {setting.resuming}")))
    yield setting.key
    for text in filter(None, (facts, setting.meaning)):
        yield from textwrap.wrap(text, max(40, width - 4), initial_indent="    ", subsequent_indent="    ")


class HelpWithSettings:
    """Prints a command's help as cyclopts does, and below its options every setting of its recipe, in short."""

    def __init__(self, *, pretrain: bool = False):
        self._plain, self._pretrain = DefaultFormatter(), pretrain

    def render_usage(self, console: Console, options: ConsoleOptions, usage: Any) -> None:
        """Print the usage line."""
        self._plain.render_usage(console, options, usage)

    def render_description(self, console: Console, options: ConsoleOptions, description: Any) -> None:
        """Print what the command does."""
        self._plain.render_description(console, options, description)

    def __call__(self, console: Console, options: ConsoleOptions, panel: Any) -> None:
        """Print a panel, and the settings behind that of the options, which is the last."""
        self._plain(console, options, panel)
        if panel.title == "Parameters":
            for line in short_lines(self._pretrain, min(console.width, 120)):
                console.print(line, markup=False, highlight=False, soft_wrap=True)


def short_lines(pretrain: bool, width: int) -> Iterator[str]:
    """Tell every setting's name, default and type, by section, in lines of that many columns."""
    from r1zero.config.settings import by_section

    command = "r1zero settings --pretrain" if pretrain else "r1zero settings"
    yield "Settings of the recipe, with their defaults and types, as --section.key VALUE."
    yield f"`{command} WORD` says what each means."
    for section, rows in by_section(kind_of(pretrain)):
        if section.is_list:
            continue
        yield ""
        yield f"[{section.key}]" + (" may be left out" if section.default == "unset" else "")
        for each in rows:
            kind = f"{each.type}{', ' if each.bounds else ''}{each.bounds}"
            if each.is_list:
                kind += ": " + ", ".join(_keys(kind_of(pretrain), each.key))
            head = f"  --{each.key:<{_NAME}} {each.default:<{_DEFAULT}} "
            first, *rest = textwrap.wrap(kind, max(20, width - len(head))) or [""]
            yield f"{head}{first}".rstrip()
            yield from (" " * len(head) + line for line in rest)


def _keys(kind: type[BaseModel], key: str) -> list[str]:
    """Return the names of the settings of the tables in a list."""
    from r1zero.config.settings import settings_of

    return [each.key.rpartition(".")[2] for each in settings_of(kind) if each.section == f"{key.removesuffix('[]')}[]"]
