"""Reading tables: JSON Lines, Parquet, `save_to_disk` folders and Hub data sets.

JSON Lines are read with the standard library, not through `datasets`: an answer column may hold a string in one row, a
number in the next and a list in a third, which one Arrow column cannot; a malformed line can be named by its number;
and nothing is copied into a cache. Parquet is read with pyarrow for the last reason. What `datasets` alone can read
(its own saved folders, the Hub) is read with it, and it is imported only then.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.errors import SettingName, UserError, first_line, reading, regular
from r1zero.hub import reached_or_offline
from r1zero.questions.catalogue import Entry
from r1zero.questions.rows import LEVEL_COLUMNS, Columns, RawTable, Row, column_names

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset, DatasetDict

SUFFIXES = (".jsonl", ".parquet")

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
        for suffix in SUFFIXES:
            path = folder / f"{stem}{suffix}"
            if path.is_file():
                return path
        if is_saved_folder(folder / stem):
            return folder / stem
    return None


def _cause(error: BaseException) -> str:
    """Return the first line of an error's message, short enough to stand inside a sentence."""
    line = first_line(error).rstrip(".:")
    return f"{line[:197]}..." if len(line) > 200 else line


def _wanted(columns: Columns, available: Sequence[str]) -> list[str]:
    """Return the columns that may be needed, so that images, solutions and the like are never decoded."""
    asked = {columns.question, columns.answer, *columns.question_candidates, *columns.answer_candidates, *LEVEL_COLUMNS}
    return [name for name in available if name in asked]


def read_jsonl(path: Path) -> RawTable:
    """Return a JSON Lines file: one object a line; blank lines are skipped.

    Raises:
        UserError: the file is no UTF-8, or a line is no JSON object; the sentence names the line.
    """
    rows: list[Row] = []
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_json_object(line, f"{path}, line {number},"))
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({_cause(error)}): save it as UTF-8 JSON Lines") from error
    return RawTable(str(path), column_names(rows), rows)


def _json_object(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where} is not JSON ({error.msg} at column {error.colno}): every line must be one JSON object"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise UserError(f"{where} cannot be read ({_cause(error)}): remove or mend it") from error
    if not isinstance(row, dict):
        raise UserError(
            f"{where} is a {type(row).__name__}, not an object: "
            'write one object a line, such as {"question": "...", "answer": "..."}'
        )
    return row


def read_parquet(path: Path, columns: Columns) -> RawTable:
    """Return a Parquet file, of which only the columns that may be needed are read.

    Raises:
        UserError: the file is no readable Parquet.
    """
    import pyarrow.parquet

    try:
        names = pyarrow.parquet.read_schema(path).names
        rows = _python_rows(
            pyarrow.parquet.read_table(path, columns=_wanted(columns, names), page_checksum_verification=True)
        )
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise UserError(f"{path} is not a readable Parquet file ({_cause(error)}): write it again") from error
    return RawTable(str(path), tuple(names), rows)


def _python_rows(table: pyarrow.Table) -> list[Row]:
    """Return a table's rows. Numbers of 16 and 32 bits become the shortest decimals that read back as them: the 0.1 of
    such a column is 0.1, and not 0.10000000149011612."""
    import numpy as np
    import pyarrow.types as kinds

    def exact(value: object, kind: pyarrow.DataType) -> object:
        if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
            return None if value is None else [exact(item, kind.value_type) for item in value]  # type: ignore[union-attr]
        narrow = {"float": np.float32, "halffloat": np.float16}.get(str(kind))
        return value if narrow is None or value is None else float(str(narrow(value)))

    rows = table.to_pylist()
    for field in table.schema:
        if "float" in str(field.type):
            for row in rows:
                row[field.name] = exact(row[field.name], field.type)
    return rows


def read_saved(path: Path, columns: Columns, split: Split) -> RawTable:
    """Return a folder that `datasets` saved: one data set, or a dictionary of splits.

    Raises:
        UserError: the folder is damaged, or the split to read is not clear or not there.
    """
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a readable saved data set ({_cause(error)}): save it again") from error
    return _from_dataset(loaded, str(path), columns, split)


def _from_dataset(loaded: Dataset | DatasetDict, source: str, columns: Columns, split: Split) -> RawTable:
    import datasets

    if isinstance(loaded, datasets.DatasetDict):
        chosen = split.choose([str(name) for name in loaded], source)
        loaded, source = loaded[chosen], f"{source} (split {chosen})"
    elif split.stated is not None and split.stated != str(loaded.split):
        # a set without splits: the whole of it is what its own split name says, if it has one
        Split(split.stated).choose([str(loaded.split or "one set without splits")], source)
    names = loaded.column_names
    rows = _python_rows(loaded.select_columns(_wanted(columns, names)).with_format("arrow")[:])
    return RawTable(source, tuple(names), rows)


def read_path(path: Path, columns: Columns, split: Split) -> RawTable:
    """Return a file or saved folder, by its kind.

    Raises:
        UserError: it is of no kind that can be read, or is damaged.
    """
    if path.is_dir():
        if is_saved_folder(path):
            return read_saved(path, columns, split)
        raise UserError(
            f"{path} is a folder that datasets.save_to_disk did not write: set ",
            SettingName("questions.name"),
            f" to one of the files in it ({' or '.join(SUFFIXES)})",
        )
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} is neither {' nor '.join(SUFFIXES)}: convert it to one of these")
    if split.stated is not None:
        raise UserError(_SPLIT, f" is {split.stated!r}, but the file {path} has no splits: remove the setting")
    with reading(path, "write it to a file"):
        regular(path)
    return read_jsonl(path) if path.suffix == ".jsonl" else read_parquet(path, columns)


def read_hub(
    name: str, columns: Columns, split: Split, options: Mapping[str, str | None], remedy: tuple[str, ...]
) -> RawTable:
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
            cause = unreached or _cause(error)
            raise UserError(f"the Hub data set {name!r} could not be loaded ({cause}): ", *remedy) from error
    if not isinstance(loaded, datasets.Dataset | datasets.DatasetDict):
        raise UserError(f"the Hub data set {name!r} can only be streamed: ", *remedy)
    if isinstance(loaded, datasets.Dataset):
        return _from_dataset(loaded, f"{name} (split {only}) on the Hub", columns, Split())
    return _from_dataset(loaded, f"{name} on the Hub", columns, split)
