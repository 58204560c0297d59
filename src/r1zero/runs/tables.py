"""What a run holds as Arrow tables, which pandas, polars and DuckDB take: a row a step, a row a response."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from r1zero.runs.rollout_rows import ROLLOUT_COLUMNS, read_table


def table_of(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """Return rows of a log as a table with all columns that any of them has, in the order in which they come up."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {}
    for name in names:
        values = [row.get(name) for row in rows]
        kinds = {type(value) for value in values if value is not None}
        if kinds == {int, float}:  # a number is written as it is: 1 and 1.5 are of one column
            values = [None if value is None else float(value) for value in values]
        columns[name] = pa.array(values)
    return pa.table(columns)


def responses_of(files: Iterable[tuple[int, Path]]) -> pa.Table:
    """Return the saved responses of (step, file) as one table, `step` first.

    Raises:
        RolloutFileError: one of the files cannot be read.
    """
    tables = []
    for step, path in files:
        table = read_table(path)
        tables.append(table.add_column(0, "step", pa.array([step] * table.num_rows, pa.int64())))
    if not tables:
        return pa.table({"step": pa.array([], pa.int64())} | {name: pa.array([]) for name in ROLLOUT_COLUMNS})
    return pa.concat_tables(tables, promote_options="permissive")
