"""Where nobody watches, nothing is folded or cropped: a message is a line, a table as wide as it needs to be."""

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import ConsoleRenderable
from rich.table import Table

from r1zero.cli.console import make_console, plain_table, response_counter, titled
from r1zero.doctor import Check, Status, render
from r1zero.errors import plural
from r1zero.types import Completion, Stop

SAYS_WIDTH_OR_COLOUR = ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
PROSE, PATH = "word " * 60 + "end", "/folder" * 40
LONG = "a cell of " + "many words " * 30 + "in all"
ROWS = (("short", "0.5"), (LONG, "0.25"))


class Screen(io.StringIO):
    """A terminal that writes into memory."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that says neither width nor colour."""
    for name in SAYS_WIDTH_OR_COLOUR:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def printed(*what: ConsoleRenderable | str, on: io.StringIO | None = None, **how: Any) -> list[str]:
    """The lines that a command prints: into a pipe, or on the screen that is given."""
    with redirect_stdout(on or io.StringIO()) as stream:
        console = make_console()
        for each in what:
            console.print(each, **how)
    return stream.getvalue().splitlines()


def unstyled(text: str) -> str:
    """A terminal's text without what is not shown."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")]


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in SAYS_WIDTH_OR_COLOUR} | more


def in_file(path: Path, *words: str, **more: str) -> list[str]:
    """The lines that `r1zero WORDS` writes into a file on both of its streams."""
    with path.open("wb") as file:
        command = [sys.executable, "-m", "r1zero", *words]
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment(**more), timeout=60)
    return path.read_text(encoding="utf-8").splitlines()


def on_terminal(columns: int, *words: str) -> list[str]:
    """The lines that `r1zero WORDS` shows on a terminal."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    command = [sys.executable, "-m", "r1zero", *words]
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=environment())
    os.close(its)
    shown = b""
    try:
        while some := os.read(ours, 65536):
            shown += some
    except OSError:  # on Linux, the end of what a terminal shows
        pass
    os.close(ours)
    process.wait(timeout=60)
    return unstyled(shown.decode()).splitlines()


def assert_whole(shown: Sequence[str]) -> None:
    assert not [line for line in shown if line != line.rstrip() or "…" in line or "\x1b" in line]


@pytest.mark.parametrize("text", [PROSE, PATH, f"{PROSE} {PATH}"])
def test_a_message_in_a_pipe_is_one_line(text: str) -> None:
    assert printed(text, f"[bold]{text}[/]", style="dim") == [text, text]


def test_a_table_in_a_pipe_takes_the_width_it_needs_and_no_more() -> None:
    _, *table = printed(plain_table("title", ["what", "n"], ROWS))
    assert cells(table[1]) == ["what", "n"]
    assert [cells(line) for line in table[3:5]] == [list(row) for row in ROWS]
    assert {cell_len(line) for line in table} == {len("│  │  │") + len(LONG) + len("0.25")}
    assert_whole(table)


def test_a_title_is_not_folded_at_the_width_of_its_table() -> None:
    title = "[b]the title of a narrow table"
    assert printed(titled(title, Table("a")))[0] == title
    assert printed(plain_table(title, ["a"], [["b"]]))[0] == title


def test_lines_of_a_table_end_where_their_text_ends() -> None:
    table = render([Check("a", Status.OK, "short"), Check("b", Status.OPTIONAL, LONG, "mend it")])
    assert printed(table) == [
        "what  status    found",
        "a     ok        short",
        f"b     optional  {LONG}",
        "                → mend it",
    ]


def test_columns_that_somebody_asked_for_are_for_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    message, _, *table = printed(PROSE, plain_table("title", ["what", "n"], ROWS))
    assert message == PROSE
    assert {cell_len(line) for line in table} == {60}
    assert " ".join(cells(line)[0] for line in table[4:-1]) == LONG


@pytest.mark.parametrize("columns", ["", "0", "wide", "-1"])
def test_columns_that_are_none_are_not_kept_to(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert cells(printed(plain_table("title", ["what", "n"], ROWS))[5]) == list(ROWS[1])


def test_colours_that_are_forced_fold_and_move_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with redirect_stdout(io.StringIO()) as pipe, response_counter(make_console()) as count:
        count(Completion((1,), (0.0,), "", Stop.EOS))
    assert pipe.getvalue() == ""
    assert printed(f"[bold]{PROSE}[/]", highlight=False) == [f"\x1b[1m{PROSE}\x1b[0m"]


def test_each_stream_is_asked_whether_it_is_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    with redirect_stdout(Screen()) as screen, redirect_stderr(io.StringIO()) as errors:
        make_console(stderr=True).print(PROSE)
        make_console().print(PROSE, highlight=False)
    assert errors.getvalue() == f"{PROSE}\n"
    folded = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert (len(folded), " ".join(folded)) == (4, PROSE)


def test_a_table_fits_a_terminal_and_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    shown = list(map(unstyled, printed(plain_table("title", ["what", "n"], [*ROWS, (PATH, "1")]), on=Screen())))
    assert max(map(cell_len, shown)) == 80
    first = [cells(line)[0] for line in shown[5:-1]]
    assert " ".join(first).startswith(LONG)
    assert "".join(first).endswith(PATH)


def test_a_command_that_mends_stands_on_a_line_of_its_own_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    remedy = 'pip install "r1zero[tensorboard]"'
    shown = printed(render([Check("answer grading", Status.OPTIONAL, LONG, remedy)]), on=Screen())
    assert max(cell_len(unstyled(line)) for line in shown) <= 80
    assert f"→ {remedy}" in [unstyled(line).strip() for line in shown]


def test_a_table_of_a_command_in_a_file_and_on_a_terminal(tmp_path: Path) -> None:
    file, terminal = in_file(tmp_path / "out", "analyze", "--detectors"), on_terminal(80, "analyze", "--detectors")
    name = "reflection: keywords as whole words"
    assert name in [cells(line)[0] for line in file]
    assert len(file) == 13  # title, three lines of headings, eight rows, a border
    assert_whole(file)
    assert name not in [cells(line)[0] for line in terminal]  # folded, and there
    assert name in " ".join(cells(line)[0] for line in terminal)
    assert max(map(cell_len, terminal)) == 80


def test_messages_and_errors_of_a_command_in_a_file_are_one_line_each(tmp_path: Path) -> None:
    gold = "7" * 300
    verdict = in_file(tmp_path / "verdict", "verify", gold, gold)
    assert [line.split()[0] for line in verdict] == ["verdict", "extracted", "rule", "seconds"]
    assert verdict[1] == f"extracted  {gold}"
    assert_whole(verdict)
    (error,) = in_file(tmp_path / "error", "verify", "1", "1", "--file", PATH, FORCE_COLOR="1")
    assert error == "r1zero: --file and GOLD ANSWER were both given; leave one out."


def test_one_of_a_kind_is_no_plural() -> None:
    said = [plural(0, "thread"), plural(1, "thread"), plural(2, "thread"), plural(1_000_000, "question")]
    assert said == ["0 threads", "1 thread", "2 threads", "1,000,000 questions"]
