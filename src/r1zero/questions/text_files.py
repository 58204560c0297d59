"""Reading JSON, JSON Lines, CSV and TSV, with the standard library: an answer column may hold a string in one row, a
number in the next and a list in a third, and a malformed line can be named by its number."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from r1zero.errors import UserError, first_line
from r1zero.questions.catalogue import QUESTION_COLUMNS
from r1zero.questions.cells import Row
from r1zero.questions.rows import RawTable, column_names

_LONGEST_CELL = 64 * 2**20
_SHOWN = 'such as [{"question": "...", "answer": "..."}]'


def cause(error: BaseException) -> str:
    """Return the first line of an error's message, short enough to stand inside a sentence."""
    line = first_line(error).rstrip(".:")
    return f"{line[:197]}..." if len(line) > 200 else line


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[TextIO]:
    try:
        with path.open(encoding="utf-8-sig", newline="" if kind in ("CSV", "TSV") else None) as file:
            yield file
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 ({cause(error)}): save it as UTF-8 {kind}") from error


def read_jsonl(path: Path) -> RawTable:
    """Return a JSON Lines file: one object a line; blank lines are skipped.

    Raises:
        UserError: the file is no UTF-8, or a line is no JSON object; the sentence names the line.
    """
    rows: list[Row] = []
    with _opened(path, "JSON Lines") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                rows.append(_json_object(line, f"{path}, line {number},"))
    return RawTable(str(path), column_names(rows), rows)


def _json_object(line: str, where: str) -> Row:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(
            f"{where} is not JSON ({error.msg} at column {error.colno}): every line must be one JSON object"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, brackets without end
        raise UserError(f"{where} cannot be read ({cause(error)}): remove or mend it") from error
    if not isinstance(row, dict):
        raise UserError(
            f"{where} is a {type(row).__name__}, not an object: "
            'write one object a line, such as {"question": "...", "answer": "..."}'
        )
    return row


def read_json(path: Path) -> RawTable:
    """Return a JSON file: a list of objects, or an object that holds one such list, under whatever name; or the lines
    of JSON Lines, which many call `.json` too.

    Raises:
        UserError: it is none of these; the sentence says what it is.
    """
    with _opened(path, "JSON") as file:
        text = file.read()
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        if error.msg == "Extra data":  # further lines
            return read_jsonl(path)
        where = f"line {error.lineno}, column {error.colno}"
        raise UserError(f"{path} is not JSON ({error.msg} in {where}): write a list of objects, {_SHOWN}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({cause(error)}): write a list of objects, {_SHOWN}") from error
    rows = _listed(data, path)
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(f"{path}, row {number}, is a {type(row).__name__}, not an object: write {_SHOWN}")
    return RawTable(str(path), column_names(rows), rows)


def _listed(data: object, path: Path) -> list[Row]:
    if isinstance(data, list):
        return data
    if not isinstance(data, dict):
        raise UserError(f"{path} holds a {type(data).__name__}, not a list of objects: write {_SHOWN}")
    lists = {name: value for name, value in data.items() if isinstance(value, list) and _has_objects(value)}
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists:
        raise UserError(f"{path} holds the lists {', '.join(lists)}: write the one that is meant as a file of its own")
    if data and (_asks(data) or not any(isinstance(value, list | Mapping) for value in data.values())):
        return [data]  # JSON Lines of one line
    raise UserError(f"{path} holds an object without a list of objects: write {_SHOWN}")


def _asks(row: Mapping[str, object]) -> bool:
    """Tell whether an object is a row by itself: a column of questions holds a text or turns."""
    asked = [row.get(name) for name in QUESTION_COLUMNS]
    return any(isinstance(each, str) or (isinstance(each, list) and _are_turns(each)) for each in asked)


def _are_turns(value: list[object]) -> bool:
    return bool(value) and all(isinstance(each, dict) and "role" in each for each in value)


def _has_objects(value: list[object]) -> bool:
    """Tell whether a list may be a table's rows, and not one row's turns."""
    return bool(value) and all(isinstance(each, dict) for each in value) and not _are_turns(value)


def read_csv(path: Path) -> RawTable:
    """Return a CSV or TSV file, whose first line names the columns; a cell written as a number is one.

    Raises:
        UserError: it has no header, a name stands in it twice, or a row has more cells than it; the line is named.
    """
    kind = path.suffix[1:].upper()
    csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_CELL))
    rows: list[Row] = []
    with _opened(path, kind) as file:
        lines = csv.reader(file, "excel" if kind == "CSV" else "excel-tab", strict=True)
        try:
            names = _header(next(lines, []), path)
            for cells in lines:
                if len(cells) > len(names):
                    raise UserError(
                        f"{path}, line {lines.line_num}, has {len(cells)} cells, and the first line names {len(names)} "
                        "columns: put cells that hold commas, tabs or quotes into double quotes"
                    )
                if cells:
                    rows.append(dict(zip(names, cells, strict=False)))
        except csv.Error as error:
            raise UserError(f"{path}, line {lines.line_num}, is not {kind} ({cause(error)}): mend its quotes") from None
    return RawTable(str(path), tuple(names), rows, of_texts=True)


def _header(names: list[str], path: Path) -> list[str]:
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(f"{path} names the column {twice[0]!r} more than once in its first line: keep one of them")
    return names
