"""Files that are written whole or not at all, and what to do where one cannot be written."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from r1zero.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a crash leaves the old one or the new one."""
    with _replacing(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_parquet(path: Path, table: pa.Table, *, resumes: bool = False) -> None:
    """Replace a Parquet file in one step. Raises UserError, as `writing`, when it cannot be written."""
    with writing(path, resumes=resumes):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _replacing(path) as aside:
            pq.write_table(table, aside, compression="zstd")


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A file to write aside; it takes the place of `path` when all went well, and else goes."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, *, resumes: bool = False) -> Iterator[None]:
    """Where writing `path` fails: a UserError with the reason and the remedy (for a run, to resume it)."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be written ({error.strerror or error}); {remedy(error)} and give the same command again"
            f"{' with --resume' if resumes else ''}."
        ) from None


def remedy(error: Exception) -> str:
    """Return what to do about a file that cannot be written, as the beginning of a clause."""
    number = error.errno if isinstance(error, OSError) else None
    said = re.search(r"os error (\d+)", str(error))  # how the writer of safetensors tells it
    if number is None and said:
        number = int(said[1])
    if number in (errno.ENOSPC, errno.EDQUOT, None):  # torch says no more than that a write failed: most often this
        return "make room there"
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "get permission to write there"
    return "mend that"
