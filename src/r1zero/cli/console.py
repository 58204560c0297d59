"""Where commands print: a terminal is as wide as it is, a file or a pipe as wide as what is printed.

Texts may be anybody's: a response, a name, another program's error. Every console shows the characters that a terminal
obeys, or hides, by their numbers.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, ConsoleRenderable, Group, RenderHook, RenderResult
from rich.markup import escape
from rich.progress import Progress, ProgressColumn, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from r1zero.cli.output import loss, styled
from r1zero.errors import UserError, plural, shown

if TYPE_CHECKING:
    from r1zero.types import Completion

_UNFOLDED = 1_000_000
"""Columns of what has no width: more than any table has."""


def make_console(*, stderr: bool = False) -> Console:
    """Make the console of a command.

    On a terminal it is rich's own. Elsewhere (a pipe, a file, the log of a CI) a message is one line, however long,
    a table takes the width that it needs, lines end where their text ends, and nothing moves; FORCE_COLOR colours that
    and changes nothing else. COLUMNS is a width that somebody has asked for: tables keep to it, messages do not.
    """
    stream = sys.stderr if stderr else sys.stdout
    if stream.isatty():
        console = Console(file=styled(stream), stderr=stderr)
        console.push_render_hook(_Shown())
        return console
    columns = os.environ.get("COLUMNS", "")
    width = int(columns) if columns.isdecimal() else 0
    console = Console(
        file=styled(stream), stderr=stderr, width=width or _UNFOLDED, soft_wrap=True, force_interactive=False
    )
    console.push_render_hook(_Unpadded())
    console.push_render_hook(_Shown())
    return console


class _Shown(RenderHook):
    """Spells out what a terminal obeys, in everything that is printed; codes that rich makes are no texts."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Spelled(each) for each in renderables]


class _Spelled:
    def __init__(self, inner: ConsoleRenderable):
        self.inner = inner

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)


class _Unpadded(RenderHook):
    """Takes the blanks from the ends of a table's lines, which would be folded where the lines are read."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Stripped(each) if isinstance(each, Table | Group) else each for each in renderables]


class _Stripped:
    def __init__(self, table: ConsoleRenderable):
        self.table = table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for line in Segment.split_lines(console.render(self.table, options)):
            while line and not line[-1].text.strip():
                line.pop()
            if line:
                line[-1] = Segment(line[-1].text.rstrip(), line[-1].style)
            yield from line
            yield Segment.line()


def say(console: Console, text: str, *, whole: bool = False, style: str | None = None) -> None:
    """Print a text as it is; `whole` without line breaks, so that a path in it can be copied."""
    console.print(shown(text), style=style, markup=False, highlight=False, soft_wrap=whole or None)


def say_notes(notes: Sequence[str]) -> None:
    """Print what a user should know beside a result: to standard error, which no program reads as one."""
    console = make_console(stderr=True)
    for note in notes:
        say(console, f"note {note}", style="yellow")


def print_json(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a JSON list of objects, for a program to read. Raises UserError where it cannot read all of it."""
    print(json.dumps(rows, indent=2, ensure_ascii=False), flush=True)
    if why := loss(sys.stdout):
        raise UserError(f"the JSON cannot be written to standard output ({why}); send it elsewhere.")


def bar(console: Console, *columns: ProgressColumn) -> Progress:
    """Make a line that moves while work is under way, and is gone afterwards."""
    return Progress(*columns, console=console, transient=True, disable=not console.is_interactive)


def titled(title: str, table: Table) -> Group:
    """Put a title above a table: a line of its own, for a table folds its own title at its width."""
    return Group(Text(title, "table.title"), table)


def plain_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], left: int = 0) -> Group:
    """Make a table of texts: the column `left` to the left, numbers to the right."""
    table = Table()
    for i, heading in enumerate(headings):
        justify, overflow = (
            ("left", "fold") if i == left else ("right", "ellipsis")
        )  # a digit on the next line misleads
        table.add_column(escape(shown(heading)), justify=justify, overflow=overflow)
    for row in rows:
        table.add_row(*(escape(shown(cell)) for cell in row))
    return titled(title, table)


@contextmanager
def response_counter(console: Console) -> Iterator[Callable[[Completion], None]]:
    """Count responses and their tokens as they finish, in one line."""
    with bar(console, TextColumn("evaluating: {task.fields[said]}"), TimeElapsedColumn()) as progress:
        task, responses, tokens = progress.add_task("evaluate", total=None, said=""), 0, 0

        def count(completion: Completion) -> None:
            nonlocal responses, tokens
            responses, tokens = responses + 1, tokens + completion.length
            progress.update(task, said=f"{plural(responses, 'response')}, {plural(tokens, 'token')}")

        yield count
