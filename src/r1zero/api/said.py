"""What a run says to a program: notes by `logging`, and sentences that name parameters, not a command's options."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from r1zero.errors import UserError
from r1zero.training.watch import View

if TYPE_CHECKING:
    from r1zero.config import Recipe
    from r1zero.training.setup import RunSetup

logger = logging.getLogger("r1zero")

_PARAMETERS = tuple(
    (re.compile(rf"(?<![\w/.-]){option}"), parameter)  # an option is no part of a file's name
    for option, parameter in (
        (r"--resume (\d+|STEP)\b", r"from_step=\1"),
        (r"--resume\b", "resume=True"),
        (r"--out\b", "out="),
        (r"--([a-z_]+(?:\.\w+)+)(?: VALUE)?", r'**{"\1": …}'),
    )
)
_DATA_DIR = "--data-dir"


class Telling(View):
    """Tells a program the notes of a run as it begins, as the command prints them."""

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """See `View`."""
        tell(parts.notes)


def tell(notes: Sequence[str]) -> None:
    """Tell notes by the logger `r1zero`, whose warnings Python prints where a program has not said otherwise."""
    for note in notes:
        logger.warning("%s", note)


@contextmanager
def said(data_dir: str = '**{"questions.data_dir": …}', files: Mapping[str, str] | None = None) -> Iterator[None]:
    """Where a sentence names options, it names parameters; and for `files` that hold what was given, what they hold."""
    try:
        yield
    except UserError as error:
        error.args = (in_python(str(error), data_dir, files or {}),)
        raise


def in_python(sentence: str, data_dir: str, files: Mapping[str, str]) -> str:
    """Return a sentence as a program reads it; whole commands, in backticks, stay what they are."""
    parts = sentence.split("`")
    for i in range(0, len(parts), 2):
        for option, parameter in _PARAMETERS:
            parts[i] = option.sub(parameter, parts[i])
        parts[i] = parts[i].replace(_DATA_DIR, data_dir)
        for file, held in files.items():
            parts[i] = parts[i].replace(file, held)
    return "`".join(parts)
