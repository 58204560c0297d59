"""The one exception for a user's mistake, the words that sentences to users are made of, and the boundary behind which
files that may hold anything are read.

The command line prints the sentence and exits non-zero.
"""

from __future__ import annotations

import difflib
import errno
import json
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


class SettingName(str):
    """The name of a setting, as a part of a sentence that others may have to tell of a setting called otherwise."""

    __slots__ = ()


class UserError(Exception):
    """Something the user can mend. The message is one sentence that names the setting (or file) and the remedy.

    Given in parts, it remembers which of them name a setting: `UserError(SettingName("questions.split"), " is …")`.
    """

    def __str__(self) -> str:
        return "".join(map(str, self.args))

    def renamed(self, name: Callable[[str], str]) -> UserError:
        """Return the same error, every setting called `name(setting)`: for what the user wrote under another name."""
        return type(self)(*(name(part) if isinstance(part, SettingName) else part for part in self.args))


HIDDEN = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff"
    "\U000e0000-\U000e007f"
)
"""Of a pattern's character class: control, zero-width, direction and tag characters: a terminal obeys or hides them."""
_HIDDEN = re.compile(f"[{HIDDEN}]")


def shown(text: str) -> str:
    """Return a text as it can be shown anywhere: what a terminal would obey, or nobody would see, as \\uXXXX."""
    return _HIDDEN.sub(lambda found: spelled(found[0]), text)


def spelled(text: str) -> str:
    """Return every character as \\uXXXX, two of them for those beyond U+FFFF, as JSON has it too."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in zip(units[::2], units[1::2], strict=True))


def reason(error: BaseException, most: int | None = 200) -> str:
    """Tell on one line, of at most `most` characters, what another program's error says."""
    return " ".join(str(error).split())[:most] or type(error).__name__


def first_line(error: BaseException) -> str:
    """Tell the first line alone, where what follows is for developers."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def did_you_mean(
    name: str, known: Iterable[str], most: int = 1, cutoff: float = 0.6, show: Callable[[str], str] = str
) -> str:
    """Ask for the known names that are nearest, with a blank behind; say nothing where none is near."""
    close = difflib.get_close_matches(name, list(known), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(map(show, close))}? " if close else ""


def plural(count: int, noun: str) -> str:
    """Say a count with its noun: 1 step, 1,200 steps."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


class NotAFileError(OSError):
    """A pipe, a device or a socket stands where a file should be: reading it waits for ever, or has no end."""


def regular(path: Path) -> Path:
    """Return the path of a file that can be read to its end, through links too.

    Raises:
        NotAFileError: something else is there.
        OSError: nothing is there, or it cannot be looked at.
    """
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a folder, opening it tells
        raise NotAFileError(errno.EINVAL, "it is a pipe or a device, not a regular file")
    return path


UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What taking a file for what it is not can raise: it cannot be opened, or holds something else than was expected."""


@contextmanager
def reading(path: Path, remedy: str) -> Iterator[None]:
    """Where reading `path`, or making something of what it holds, fails: a UserError that names it, with the remedy."""
    try:
        yield
    except UNREADABLE as error:
        raise UserError(f"{path} cannot be read ({unreadable(error)}): {remedy}.") from None


def unreadable(error: BaseException) -> str:
    """Tell in a few words why something could not be read."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, KeyError):
        return f"it lacks {reason(error)}"
    return (isinstance(error, OSError) and error.strerror) or reason(error)


def parsed(text: str) -> Any:
    """Return what JSON says. ValueError, and nothing else, where it is not JSON, however it is not."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError(unreadable(error)) from None
