"""What is printed: never obeyed by a terminal where it is not ours, and never worth a run."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from r1zero.cli.console import make_console, plain_table, print_json, say
from r1zero.cli.output import OutputStream, steady_output
from r1zero.errors import shown
from r1zero.runs.run import Run
from test_console import Screen, environment
from tiny_runs import Hold, start, trained, untimed, write_recipe

# a title, a clipboard, a cleared screen, a rewritten line, a bell, a C1 code, a reversed line, an invisible tag
HOSTILE = "a\x1b]0;owned\x07b\x1b]52;c;cm0=\x1b\\c\x1b[2Jd\re\x08f\x9bAg\u202etxt.exe\u2066h\u200bi\U000e0041j\x7fk"
FORBIDDEN = ("\x1b]", "\x1b[2J", "\x07", "\x08", "\x9b", "\u202e", "\u2066", "\u200b", "\U000e0041", "\x7f")


def assert_harmless(text: str) -> None:
    found = [each for each in FORBIDDEN if each in text]
    assert not found, repr(text)
    assert "owned" in text
    assert "txt.exe" in text


@pytest.mark.parametrize("stream", [Screen, io.StringIO])
@pytest.mark.parametrize("way", ["say", "table", "title", "print", "text", "own table"])
def test_a_console_shows_what_a_terminal_would_obey(
    stream: type[io.StringIO], way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "400")
    own = Table()
    own.add_row(HOSTILE)
    with redirect_stdout(stream()) as screen:
        console = make_console()
        if way == "say":
            say(console, HOSTILE)
        elif way == "table":
            console.print(plain_table("t", ["h"], [[HOSTILE]]))
        elif way == "title":
            console.print(plain_table(HOSTILE, [HOSTILE], [["c"]]))
        else:
            console.print({"print": HOSTILE, "text": Text(HOSTILE), "own table": own}[way], markup=False)
    assert_harmless(screen.getvalue())


def test_colours_are_still_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    with redirect_stdout(Screen()) as screen:
        make_console().print("[bold]x[/]")
    assert "\x1b[1mx" in screen.getvalue()


def test_json_for_a_program_stays_json() -> None:
    rows = [{"answer": HOSTILE, "letter": "é", "half": "\ud800"}]
    for encoding in ("utf-8", "ascii", "latin-1"):
        raw = io.BytesIO()
        inner = io.TextIOWrapper(raw, encoding=encoding)
        stream = OutputStream(inner, "it")
        with redirect_stdout(stream):
            print_json(rows)
        text = raw.getvalue().decode(encoding)
        assert_harmless(text)
        assert json.loads(text) == rows
        stream.detach()
        inner.detach()


def test_hidden_characters_are_spelled_as_json_spells_them() -> None:
    assert shown("a\x1b\u202e\U000e0041\n\té") == "a\\u001b\\u202e\\udb40\\udc41\n\té"


def test_other_codes_are_shown_and_libraries_keep_colours_and_bars() -> None:
    raw = io.BytesIO()
    inner = io.TextIOWrapper(raw, encoding="utf-8")
    stream = OutputStream(inner, "it")
    stream.write("\x1b[36mpid\x1b[0m \r50%\x1b[1A\x1b]0;owned\x07")
    stream.flush()
    assert raw.getvalue() == b"\x1b[36mpid\x1b[0m \r50%\\u001b[1A\\u001b]0;owned\\u0007"
    stream.detach()
    inner.detach()


def test_streams_are_given_back(capfd: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with steady_output():
        print("inside")
    print("outside")
    assert (sys.stdout, sys.stderr) == before
    assert "inside" in capfd.readouterr().out


COMMAND = [sys.executable, "-m", "r1zero"]
DROPPED = "what is printed from here on is dropped, and the command goes on.\n"


@pytest.mark.parametrize("shell", ["{train} <&- >&- 2>&-", "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {train} >out"])
def test_a_shell_without_streams_or_letters_ends_no_run(tmp_path: Path, shell: str) -> None:
    """What an interpreter makes of them when it starts."""
    write_recipe(tmp_path / "r.toml")
    train = " ".join([*COMMAND, "train", "r.toml", "--out", "run"])
    done = subprocess.run(
        ["bash", "-c", shell.format(train=train)], cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert untimed(Run.open(tmp_path / "run").read("metrics")) == untimed(trained().read("metrics"))
    if (tmp_path / "out").exists():
        assert "min(\\u03c1\\u00b7\\u00c2" in (tmp_path / "out").read_text(encoding="ascii")


def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_output_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    write_recipe(tmp_path / "r.toml")
    words = ("train", "r.toml", "--out")
    full = start(*words, "full", cwd=tmp_path, out=Path("/dev/full"))
    left = start(*words, "left", cwd=tmp_path, out=pipe(tmp_path))
    with (tmp_path / "pipe").open(encoding="utf-8") as reader:  # which leaves after a line
        assert reader.readline()
    for command, why in ((full, "No space left on device"), (left, "Broken pipe")):
        command.done()
        assert command.err == f"r1zero: standard output cannot be written ({why}); {DROPPED}"
    for name in ("full", "left"):
        assert untimed(Run.open(tmp_path / name).read("metrics")) == untimed(trained().read("metrics"))


def test_json_that_a_program_cannot_read_is_an_error_and_a_reader_that_left_is_none(tmp_path: Path) -> None:
    words = ("objectives", "dr_grpo", "--json")
    command = start(*words, out=Path("/dev/full"))
    assert command.wait() == 2
    assert "the JSON cannot be written to standard output (No space left on device)" in command.err
    command = start(*words, out=pipe(tmp_path), hold=Hold("r1zero.cli:_run"))
    with (tmp_path / "pipe").open(encoding="utf-8"):
        command.held()
    command.go()
    assert (command.wait(), command.err.count("\n")) == (0, 1)


def test_an_error_that_quotes_a_name_is_harmless(tmp_path: Path) -> None:
    command = start("train", f"{HOSTILE}.toml".replace("/", ""), cwd=tmp_path)
    assert command.wait() == 2
    assert_harmless(command.err)


def test_a_traceback_of_ours_is_harmless() -> None:
    code = f"from r1zero import cli\ndef app(*_, **__): raise RuntimeError({HOSTILE!r})\ncli.app = app\ncli.main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment())
    assert done.returncode == 1
    assert_harmless(done.stderr.decode())


@pytest.mark.parametrize("first", ["os.kill(os.getpid(), signal.SIGINT); time.sleep(600)", "pass"])
def test_a_second_interrupt_while_the_interpreter_ends_is_quiet(first: str) -> None:
    """After an interrupt, or after a command that is done."""
    code = f"""
import atexit, os, signal, time
from r1zero import cli

def app(*_, **__):
    {first}

@atexit.register
def end():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(600)

cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("\n") == (first != "pass")
    assert "Traceback" not in done.stderr
