"""Standard output and error of a command: what cannot be written ends nothing, what a terminal obeys is ours.

A stream that cannot be written (a pipe whose reader left, a full disk) is said once and then dropped, for a run is
worth more than its lines. Characters that its encoding lacks, and control characters in what is printed, are spelled
\\uXXXX; `make_console` alone writes a terminal's own codes, around text that it has spelled out.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from r1zero.errors import shown, spelled

_FREE = re.compile(r"(\x1b\[[0-9;]*m|\r)")  # colours and the bars of libraries: nothing moves but the line itself
_SPELLED = "r1zero.spelled"


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return spelled(error.object[error.start : error.end]), error.end


codecs.register_error(_SPELLED, _spell)


class OutputStream(io.TextIOWrapper):
    """A standard stream that is written as long as it can be."""

    def __init__(self, stream: io.TextIOWrapper, name: str):
        super().__init__(
            stream.buffer,
            encoding=stream.encoding,
            errors=_SPELLED,
            newline="",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self.name_told = name
        self.lost: OSError | None = None
        """Why it is not written any more."""

    def write(self, text: str) -> int:
        """Write a text without what a terminal obeys."""
        parts = _FREE.split(text)
        return self.write_styled("".join(part if i % 2 else shown(part) for i, part in enumerate(parts)))

    def write_styled(self, text: str) -> int:
        """Write a text of which every code is ours."""
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        """Write what was held back, as far as anything can be written."""
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def _drop(self, error: OSError) -> None:
        """Send this and all that follows nowhere, what other code writes to the same descriptor too."""
        if self.lost:
            return
        self.lost = error
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        if self is not sys.stderr and sys.stderr is not None:
            print(
                f"r1zero: {self.name_told} cannot be written ({error.strerror}); what is printed from here on is "
                "dropped, and the command goes on.",
                file=sys.stderr,
            )


class _Styled:
    """A stream for consoles, which spell out texts by themselves."""

    def __init__(self, stream: OutputStream):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_styled(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def styled(stream: Any) -> Any:
    """Return a stream as a console writes to it."""
    return _Styled(stream) if isinstance(stream, OutputStream) else stream


def loss(stream: Any) -> str:
    """Tell why a stream is not written any more; nothing where it is, or where its reader wanted no more."""
    error = stream.lost if isinstance(stream, OutputStream) else None
    return "" if error is None or isinstance(error, BrokenPipeError) else error.strerror or str(error)


@contextmanager
def steady_output() -> Iterator[None]:
    """Have standard output and error as `OutputStream`s for a while."""
    _open_missing()
    before = sys.stdout, sys.stderr
    made = [_made(sys.stdout, "standard output"), _made(sys.stderr, "standard error")]
    sys.stdout, sys.stderr = made
    try:
        yield
    finally:
        for stream in made:
            stream.flush()
        sys.stdout, sys.stderr = before
        for stream in made:
            if isinstance(stream, OutputStream):
                stream.detach()  # else it would close the descriptor at its end


def _made(stream: Any, name: str) -> Any:
    return OutputStream(stream, name) if isinstance(stream, io.TextIOWrapper) else stream


def _open_missing() -> None:
    """Open what was closed (`>&-`), before a file of ours gets its number and what is printed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            nowhere = Path(os.devnull).open("r" if number == 0 else "w", encoding="utf-8")  # noqa: SIM115  to the end
            setattr(sys, name, nowhere)
