"""Files that are written whole or not at all, and what to do where one cannot be written.

Parquet files have checksums: of every page, as the format has it, and of the footer, which the format leaves without.
The footer's own stands in its metadata under `r1zero_footer`, behind the file's size, and is that of the footer with
dots in their place. A program that writes the file anew may take them over: its file has another size, so it has no
checksum.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from safetensors import SafetensorError

from r1zero.errors import UserError, reason


def write_text(path: Path, text: str) -> None:
    """Replace a file in one step: a crash leaves the old one or the new one."""
    with replacing(path) as aside, aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet. Raises FileExistsError where something is, also what came this moment."""
    with path.open("x", encoding="utf-8") as file:
        file.write(text)


def write_parquet(path: Path, table: pa.Table, *, resumes: bool = False) -> None:
    """Replace a Parquet file in one step. Raises UserError, as `writing`, when it cannot be written."""
    with writing(path, resumes=resumes):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as aside:
            named = table.replace_schema_metadata({_SEAL: _BLANK})
            pq.write_table(named, aside, compression="zstd", write_page_checksum=True)
            footer = _footer(aside)
            with aside.open("r+b") as file:
                file.seek(-8 - len(footer), os.SEEK_END)
                file.write(footer.replace(_BLANK, _sealed(aside, footer)))


def read_parquet(path: Path, columns: Sequence[str]) -> pa.Table:
    """Read columns of a Parquet file, everything held against its checksums. Raises OSError where it is damaged."""
    stated = (pq.read_metadata(path).metadata or {}).get(_SEAL, b"")  # a file of before has none
    if stated[:_SIZE_DIGITS] == _size(path) and _sealed(path, _footer(path).replace(stated, _BLANK)) != stated:
        raise OSError("its footer is damaged")
    return pq.read_table(path, columns=list(columns), page_checksum_verification=True)


_SEAL, _SIZE_DIGITS = b"r1zero_footer", 16
_BLANK = b"." * (_SIZE_DIGITS + 32)  # not zeros: the length that stands before them is one


def _footer(path: Path) -> bytes:
    """Return what stands before the last 8 bytes of a Parquet file, which are its length and a mark."""
    with path.open("rb") as file:
        file.seek(-8, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-8 - length, os.SEEK_END)
        return file.read(length)


def _size(path: Path) -> bytes:
    return b"%0*x" % (_SIZE_DIGITS, path.stat().st_size)


def _sealed(path: Path, footer: bytes) -> bytes:
    """Return the size and the checksum that a file has, whose footer is this with dots in their place."""
    return _size(path) + hashlib.blake2b(footer, digest_size=16).hexdigest().encode()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write aside; it takes the place of `path` when all went well, and else goes."""
    aside = path.with_name(f".{path.name}.tmp")
    try:
        aside.unlink(
            missing_ok=True
        )  # of a crash; or a link, in a folder from elsewhere, that would be written through
        yield aside
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path, *, resumes: bool = False) -> Iterator[None]:
    """Where writing `path` fails: a UserError with the reason and the remedy (for a run, to resume it)."""
    try:
        yield
    except (OSError, SafetensorError) as error:  # weights on a full disk are the latter
        why = (error.strerror if isinstance(error, OSError) else None) or reason(error)
        raise UserError(
            f"{path} cannot be written ({why}); {remedy(error)} and give the same command again"
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


def told_apart(paths: Sequence[str]) -> dict[str, list[str]]:
    """Return the last parts of every path, as few as tell all apart: `step-16`, or `b`, `checkpoints`, `step-16`.

    Spellings of one path (`a`, `a/`, `./a`) are not told apart.
    """
    parts = {path: os.path.normpath(path).split("/") for path in paths}
    different, count = len({tuple(part) for part in parts.values()}), 1
    while len({tuple(part[-count:]) for part in parts.values()}) < different:
        count += 1
    return {path: part[-count:] for path, part in parts.items()}


def stems_apart(files: Sequence[str]) -> dict[str, str]:
    """Return how files of which several have one stem are called: by as much of their paths as tells them apart."""
    stems = Counter(Path(file).stem for file in dict.fromkeys(files))
    twice = told_apart([file for file in dict.fromkeys(files) if stems[Path(file).stem] > 1])
    return {file: "/".join([*parts[:-1], Path(file).stem]) for file, parts in twice.items()}
