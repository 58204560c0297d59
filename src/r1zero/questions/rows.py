"""Rows of a table → questions: which columns, what counts as a gold answer, and what is left out (and counted).

A gold answer may be a string, a number (142.0 is "142"; 6.022e23 is written out) or a list of accepted alternatives;
white space around it is removed. A row without an answer or without a question is left out under a named reason, never
in silence.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from r1zero.errors import SettingName, UserError
from r1zero.questions.catalogue import ANSWER_COLUMNS, QUESTION_COLUMNS
from r1zero.types import Question, is_text

LEVEL_COLUMNS = ("level", "difficulty")

NO_ANSWER = "no answer"
NO_QUESTION = "no question"

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Columns:
    """What to read from a table: a stated name is binding; otherwise the first candidate that exists is taken."""

    question: str | None = None
    answer: str | None = None
    question_candidates: tuple[str, ...] = QUESTION_COLUMNS
    answer_candidates: tuple[str, ...] = ANSWER_COLUMNS
    marker: str | None = None
    answers_are_floats: bool = False


@dataclass(frozen=True, slots=True)
class RawTable:
    """Rows as they were read, the names of all their columns, and where they came from (for messages)."""

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Row]


def format_number(value: int | float | Decimal) -> str:
    """Return the shortest decimal that reads back as the value: 142.0 → "142", 1e-07 → "0.0000001", 6.022e23 →
    "602200000000000000000000", never an exponent."""
    text = str(value) if isinstance(value, int) else format(Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _pick(table: RawTable, role: str, stated: str | None, candidates: Sequence[str]) -> str:
    found = [name for name in ([stated] if stated else candidates) if name in table.columns]
    if found:
        return found[0]
    wanted = f"no column {stated!r}" if stated else f"no {role} column (looked for {', '.join(candidates)})"
    raise UserError(
        f"{table.source} has {wanted}: set ",
        SettingName(f"questions.{role}_column"),
        f" to one of its columns: {', '.join(table.columns)}",
    )


def _scalar(value: object, where: str) -> str:
    """Return one alternative as text, "" for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value):
        return format_number(value)
    raise UserError(
        f"{where} holds {value!r}, but a gold answer is a string, a number or a list of these: "
        "mend the row or name another column with ",
        SettingName("questions.answer_column"),
    )


def gold_answers(value: object, where: str = "the answer", columns: Columns | None = None) -> tuple[str, ...]:
    """Return the accepted alternatives in a cell, in order, without blanks and repeats; () when it holds no answer.

    Raises:
        UserError: the cell (or an element of its list) is a truth value, an infinity or an object.
    """
    columns = columns or Columns()
    golds = [_scalar(item, where) for item in (value if isinstance(value, list | tuple) else [value])]
    if columns.marker is not None:
        golds = [gold.rpartition(columns.marker)[2].strip() for gold in golds]
    if columns.answers_are_floats:
        golds = [re.sub(r"^(-?\d+)\.0$", r"\1", gold) for gold in golds]
    return tuple(dict.fromkeys(gold for gold in golds if gold))


def _level(row: Row, column: str | None) -> str | None:
    value = row.get(column) if column else None
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return format_number(value)
    return None


def _text(row: Row, column: str, where: str) -> str:
    """Return the question exactly as stored (white space included: a prompt is bytes), "" for a missing one."""
    value = row.get(column)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UserError(
            f"{where} holds a {type(value).__name__}, but a question is a string: name another column with ",
            SettingName("questions.question_column"),
        )
    return value if value.strip() else ""


def read_questions(set_name: str, table: RawTable, columns: Columns) -> tuple[tuple[Question, ...], dict[str, int]]:
    """Return all usable questions of a table, with the number of rows left out for each reason.

    A question's id is `set_name/row`, counted from 0 over all rows of the table, so leaving rows out renames nothing.

    Raises:
        UserError: the table is empty, a column is missing, a cell has a type that cannot be read, or no row is usable.
    """
    if not table.rows:
        raise UserError(
            f"{table.source} holds no rows: set ", SettingName("questions.name"), " to a set with questions"
        )
    question_column = _pick(table, "question", columns.question, columns.question_candidates)
    answer_column = _pick(table, "answer", columns.answer, columns.answer_candidates)
    level_column = next((name for name in LEVEL_COLUMNS if name in table.columns), None)

    questions: list[Question] = []
    dropped: Counter[str] = Counter()
    for number, row in enumerate(table.rows):
        where = f"{table.source}, row {number}, column"
        text = _text(row, question_column, f"{where} {question_column!r}")
        golds = gold_answers(row.get(answer_column), f"{where} {answer_column!r}", columns)
        if not text or not golds:
            dropped[NO_ANSWER if text else NO_QUESTION] += 1
            continue
        question = Question(f"{set_name}/{number}", text, golds, _level(row, level_column))
        if not all(map(is_text, (text, question.level or "", *golds))):
            raise UserError(
                f"question {question.id} ({table.source}, row {number}) holds half a character (a lone surrogate such "
                "as \\ud800), which is not text: mend the row"
            )
        questions.append(question)
    if not questions:
        raise UserError(
            f"none of the {len(table.rows)} rows of {table.source} has both a question in {question_column!r} and an "
            f"answer in {answer_column!r}: name other columns with ",
            SettingName("questions.question_column"),
            " and ",
            SettingName("questions.answer_column"),
            f" (it has: {', '.join(table.columns)})",
        )
    return tuple(questions), dict(dropped)


def column_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return every key that occurs, in order of first appearance."""
    return tuple(dict.fromkeys(key for row in rows for key in row))
