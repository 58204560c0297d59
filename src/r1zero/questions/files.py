"""Reading tables: files, `save_to_disk` folders and Hub data sets.

Parquet and Arrow files are read with pyarrow: nothing is copied into a cache. What `datasets` alone can read (its own
saved folders, the Hub) is read with it, and it is imported only then.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.errors import SettingName, UserError, reading, regular
from r1zero.hub import reached_or_offline
from r1zero.questions.catalogue import Entry
from r1zero.questions.cells import Row
from r1zero.questions.rows import RawTable
from r1zero.questions.text_files import cause, read_csv, read_json, read_jsonl

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, DatasetDict

STORED = (".jsonl", ".parquet")
"""How files of a data folder end that are found by a catalogue name."""

_SPLIT = SettingName("questions.split")
_SAVED_MARKS = ("dataset_info.json", "dataset_dict.json")


@dataclass(frozen=True, slots=True)
class Split:
    """Which split to read: `stated` by the user is binding, `preferred` is taken where a set has several."""

    stated: str | None = None
    preferred: str | None = None

    def choose(self, available: Sequence[str], source: str) -> str:
        """Return the stated split, else the only one, else the preferred one.

        Raises:
            UserError: the stated split does not exist, or several exist and none is stated or preferred.
        """
        if self.stated is not None and self.stated not in available:
            held = f"but {source} holds only {', '.join(available)}"
            raise UserError(_SPLIT, f" is {self.stated!r}, {held}: name one of these")
        choice = self.stated or (available[0] if len(available) == 1 else self.preferred)
        if choice is None or choice not in available:
            raise UserError(f"{source} holds the splits {', '.join(available)}: name one with ", _SPLIT)
        return choice


def is_saved_folder(path: Path) -> bool:
    """Tell whether `datasets` saved this folder (`Dataset.save_to_disk` or `DatasetDict.save_to_disk`)."""
    return any((path / mark).is_file() for mark in _SAVED_MARKS)


def find_file(folder: Path, entry: Entry) -> Path | None:
    """Tell where `folder` keeps a catalogue set: the first of its stems that is a file or a saved folder there."""
    for stem in entry.files:
        for suffix in STORED:
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return path
        if is_saved_folder(folder / stem):
            return folder / stem
    return None


def read_parquet(path: Path) -> RawTable:
    """Return a Parquet file, but for columns of bytes.

    Raises:
        UserError: the file is no readable Parquet.
    """
    import pyarrow.parquet

    try:
        names, unread = _readable(pyarrow.parquet.read_schema(path), str(path))
        rows = _python_rows(pyarrow.parquet.read_table(path, columns=names, page_checksum_verification=True))
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise UserError(f"{path} is not a readable Parquet file ({cause(error)}): write it again") from error
    return RawTable(str(path), (*names, *unread), rows, unread)


def read_arrow(path: Path) -> RawTable:
    """Return an Arrow file, as a stream (what `datasets` writes) or with a footer, but for columns of bytes.

    Raises:
        UserError: the file is no readable Arrow.
    """
    import pyarrow
    import pyarrow.ipc

    try:
        with pyarrow.OSFile(str(path)) as file:
            is_file = file.read(6) == b"ARROW1"
            file.seek(0)
            table = (pyarrow.ipc.open_file if is_file else pyarrow.ipc.open_stream)(file).read_all()
            names, unread = _readable(table.schema, str(path))
            rows = _python_rows(table.select(names))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} is not a readable Arrow file ({cause(error)}): write it again") from error
    return RawTable(str(path), (*names, *unread), rows, unread)


def _readable(schema: pyarrow.Schema, source: str) -> tuple[list[str], tuple[str, ...]]:
    """Return the columns to read, and those of bytes (images, sounds), which are never decoded. Raises UserError where
    two have one name, of which a row could hold but one.
    """
    if twice := next((name for name in schema.names if schema.names.count(name) > 1), None):
        raise UserError(f"{source} has more than one column {twice!r}: keep one of them")
    unread = tuple(field.name for field in schema if "binary" in str(field.type))
    return [name for name in schema.names if name not in unread], unread


def _python_rows(table: pyarrow.Table) -> list[Row]:
    """Return a table's rows. Numbers of 16 and 32 bits become the shortest decimals that read back as them: the 0.1 of
    such a column is 0.1, and not 0.10000000149011612."""
    import numpy as np
    import pyarrow.types as kinds

    def exact(value: object, kind: pyarrow.DataType) -> object:
        if value is None:
            return None
        if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
            return [exact(item, kind.value_type) for item in value]  # type: ignore[union-attr]
        if kinds.is_struct(kind):
            return {field.name: exact(value[field.name], field.type) for field in kind}  # type: ignore[index]
        narrow = {"float": np.float32, "halffloat": np.float16}.get(str(kind))
        return value if narrow is None else float(str(narrow(value)))

    rows = table.to_pylist()
    for field in table.schema:
        if "float" in str(field.type):
            for row in rows:
                row[field.name] = exact(row[field.name], field.type)
    return rows


def read_saved(path: Path, split: Split) -> RawTable:
    """Return a folder that `datasets` saved: one data set, or a dictionary of splits.

    Raises:
        UserError: the folder is damaged, or the split to read is not clear or not there.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a readable saved data set ({cause(error)}): save it again") from error
    return from_dataset(loaded, str(path), split)


def from_dataset(loaded: Dataset | DatasetDict, source: str, split: Split) -> RawTable:
    """Return a data set of `datasets`, or a split of one, but for columns of bytes. Raises UserError as above."""
    import datasets

    if isinstance(loaded, datasets.DatasetDict):
        chosen = split.choose([str(name) for name in loaded], source)
        loaded, source = loaded[chosen], f"{source} (split {chosen})"
    elif split.stated is not None and split.stated != str(loaded.split):
        # a set without splits: the whole of it is what its own split name says, if it has one
        Split(split.stated).choose([str(loaded.split or "one set without splits")], source)
    names, unread = _readable(loaded.features.arrow_schema, source)
    rows = _python_rows(loaded.select_columns(names).with_format("arrow")[:])
    return RawTable(source, (*names, *unread), rows, unread)


def from_table(table: pyarrow.Table, source: str) -> RawTable:
    """Return an Arrow table, but for columns of bytes."""
    names, unread = _readable(table.schema, source)
    return RawTable(source, (*names, *unread), _python_rows(table.select(names)), unread)


READERS: Mapping[str, Callable[[Path], RawTable]] = {
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
    ".json": read_json,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".arrow": read_arrow,
}
SUFFIXES = tuple(READERS)
"""How files end that can be read."""


def read_path(path: Path, split: Split) -> RawTable:
    """Return a file or saved folder, by its kind.

    Raises:
        UserError: it is of no kind that can be read, or is damaged.
    """
    if path.is_dir():
        if is_saved_folder(path):
            return read_saved(path, split)
        raise UserError(
            f"{path} is a folder that datasets.save_to_disk did not write: set ",
            SettingName("questions.name"),
            f" to one of the files in it ({', '.join(SUFFIXES)})",
        )
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} is of no kind that is read ({', '.join(SUFFIXES)}): convert it to one of these")
    if split.stated is not None:
        raise UserError(_SPLIT, f" is {split.stated!r}, but the file {path} has no splits: remove the setting")
    with reading(path, "write it to a file"):
        regular(path)
    return READERS[path.suffix](path)


def read_hub(name: str, split: Split, options: Mapping[str, str | None], remedy: tuple[str, ...]) -> RawTable:
    """Return a data set of the Hub, or of its local cache. `options` holds `config` and `revision`, if any.

    Raises:
        UserError: it cannot be had (no network, no such set, no such split); the sentence ends with `remedy`.
    """
    import datasets
    from datasets.exceptions import DatasetsError

    # Errors of the Hub's HTTP client, whichever library it is: they pass through `datasets` while files are fetched.
    from huggingface_hub.errors import HTTPError  # pyright: ignore[reportPrivateImportUsage]

    only = split.stated or split.preferred
    remedy = ("check ", _SPLIT, ", or ", *remedy) if split.stated else remedy
    with reached_or_offline() as unreached:
        try:
            loaded = datasets.load_dataset(name, options.get("config"), split=only, revision=options.get("revision"))
        except (OSError, ValueError, DatasetsError, HTTPError) as error:
            why = unreached or cause(error)
            raise UserError(f"the Hub data set {name!r} could not be loaded ({why}): ", *remedy) from error
    if not isinstance(loaded, datasets.Dataset | datasets.DatasetDict):
        raise UserError(f"the Hub data set {name!r} can only be streamed: ", *remedy)
    if isinstance(loaded, datasets.Dataset):
        return from_dataset(loaded, f"{name} (split {only}) on the Hub", Split())
    return from_dataset(loaded, f"{name} on the Hub", split)
