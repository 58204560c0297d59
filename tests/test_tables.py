"""Logs and saved responses as Arrow tables: every column of any row, numbers of one kind, and none lost."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet

from r1zero.runs.rollout_rows import ROLLOUT_COLUMNS, rollout_table
from r1zero.runs.tables import responses_of, table_of
from r1zero.types import Completion, Outcome, Question, Rollout, Stop, Verdict


def test_a_column_that_any_row_has_is_there_and_numbers_are_of_one_kind() -> None:
    table = table_of([{"step": 0, "a": 1}, {"step": 1, "b": "x", "a": 2.5}, {"step": 2, "a": None}])
    assert table.column_names == ["step", "a", "b"]
    assert table["a"].to_pylist() == [1.0, 2.5, None]
    assert (table["step"].type, table["a"].type) == (pa.int64(), pa.float64())
    assert table["b"].to_pylist() == [None, "x", None]
    assert table_of([]).num_rows == 0
    assert table_of([{"a": 2**53 + 1}, {"a": 0.5}])["a"].to_pylist() == [2.0**53, 0.5]  # which pyarrow refuses


def test_responses_of_several_steps_are_one_table_also_with_those_of_an_older_version(tmp_path: Path) -> None:
    question = Question("set/3", "a?", ("1",), extra={"x": 1})
    rollout = Rollout(question, "a?", (5,), (Completion((1,), (-0.5,), "1", Stop.EOS),), (Verdict(Outcome.RIGHT),))
    table = rollout_table([rollout], {})
    pyarrow.parquet.write_table(table, tmp_path / "new.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["extra", "source"]), tmp_path / "old.parquet")
    found = responses_of([(7, tmp_path / "new.parquet"), (8, tmp_path / "old.parquet")])
    assert found.column_names[0] == "step"
    assert found["step"].to_pylist() == [7, 8]
    assert found["extra"].to_pylist() == ['{"x": 1}', None]


def test_no_responses_are_a_table_of_the_same_columns() -> None:
    assert responses_of([]).column_names == ["step", *ROLLOUT_COLUMNS]
