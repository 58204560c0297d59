"""What stands in a row: columns by dotted names, and values as plain JSON has them."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, time
from decimal import Decimal
from itertools import islice
from typing import Any, Final

Row = Mapping[str, object]


class _Missing:
    """What a column holds that a row does not have: not even nothing."""


MISSING: Final = _Missing()
_LOOKED_AT = 1000  # rows in which columns of columns are looked for, to name them


def value_at(row: Row, name: str) -> object:
    """Return what a column holds, `MISSING` where there is none: `reward_model.ground_truth` is the column of that
    name, or what stands under `ground_truth` in the object that `reward_model` holds."""
    if name in row:
        return row[name]
    for i, letter in enumerate(name):
        if letter == "." and isinstance(inner := row.get(name[:i]), Mapping):
            found = value_at(inner, name[i + 1 :])
            if found is not MISSING:
                return found
    return MISSING


def has_column(rows: Sequence[Row], columns: Sequence[str], name: str) -> bool:
    """Tell whether a table has a column of that name, dotted or not."""
    return name in columns or ("." in name and any(value_at(row, name) is not MISSING for row in rows))


def all_names(rows: Sequence[Row], columns: Sequence[str]) -> list[str]:
    """List a table's columns, and behind those that hold objects, what these hold, as dotted names."""
    names = dict.fromkeys(columns)
    inner: dict[str, dict[str, None]] = {}
    for row in islice(rows, _LOOKED_AT):
        for name, value in row.items():
            if isinstance(value, Mapping):
                inner.setdefault(name, {}).update(dict.fromkeys(f"{name}.{key}" for key in value))
    return [each for name in names for each in (name, *inner.get(name, ()))]


def native(value: object) -> object:
    """Return a cell with numpy's scalars and arrays, in which other programs hold rows, as Python's own."""
    if isinstance(value, Mapping):
        return {key: native(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [native(each) for each in value]
    if type(value).__module__ == "numpy":
        return _array(value) if type(value).__name__ == "ndarray" else _scalar(value)
    return value


def _array(value: Any) -> object:
    """Return an array as lists, each of its numbers as it would be alone."""
    return [native(each) for each in value] if value.ndim else native(value[()])


def _scalar(value: object) -> object:
    """Return a number as Python's: of a narrow float the shortest decimal, as everywhere."""
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, float):
        return float(str(value))
    return float(value) if isinstance(value, float) else value.item()  # type: ignore[attr-defined]


def plain(value: object) -> object:
    """Return a cell as JSON holds it: dates as text, decimals as numbers, what is no number as nothing.

    Raises:
        ValueError: it holds bytes, or something else that JSON has no form for; the message is its kind.
    """
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float | Decimal):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    raise ValueError(type(value).__name__)


def numeral(text: str) -> object:
    """Return a cell of a file that has no kinds as the number it is, where it is written as Python writes that: `142.0`
    and `6.022e+23` are numbers, `007` and `1.50` texts."""
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:  # of int, thousands of digits too
            continue
        if math.isfinite(value) and str(value) == text:
            return value
    return text


def further(rows: Sequence[Row], but: frozenset[str]) -> Iterator[tuple[dict[str, object], dict[str, str]]]:
    """Yield every row's further columns as plain values, and the kinds of those left out, by their names."""
    for row in rows:
        kept: dict[str, object] = {}
        left_out: dict[str, str] = {}
        for name, value in row.items():
            if name not in but:
                try:
                    kept[name] = plain(value)
                except (ValueError, RecursionError) as error:
                    left_out[name] = str(error) if isinstance(error, ValueError) else "too deep a nesting"
        yield kept, left_out
