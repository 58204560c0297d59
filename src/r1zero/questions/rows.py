"""Rows of a table → questions: which columns, what counts as a gold answer, and what is left out (and counted).

A question is a text or a conversation. A gold answer may be a string, a number (142.0 is "142"; 6.022e23 is written
out) or a list of accepted alternatives; white space around it is removed. A row without an answer or without a
question, or one that a filter does not take, is left out under a named reason, never in silence. Every further column
is kept as `extra`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, TypeGuard

from r1zero.errors import SettingName, UserError, plural
from r1zero.questions.catalogue import ANSWER_COLUMNS, QUESTION_COLUMNS
from r1zero.questions.cells import MISSING, Row, all_names, further, has_column, numeral, value_at
from r1zero.questions.turns import Conversation, read_turns
from r1zero.questions.where import Where
from r1zero.types import Question, is_text

LEVEL_COLUMNS = ("level", "difficulty")

NO_ANSWER = "no answer"
NO_QUESTION = "no question"


@dataclass(frozen=True, slots=True)
class Columns:
    """What to read from a table: a stated name is binding; otherwise the first candidate that exists is taken. `where`
    says of which rows."""

    question: str | None = None
    answer: str | None = None
    question_candidates: tuple[str, ...] = QUESTION_COLUMNS
    answer_candidates: tuple[str, ...] = ANSWER_COLUMNS
    marker: str | None = None
    answers_are_floats: bool = False
    where: Where | None = None
    gold_needed: bool = True
    """Whether a set without any answer column is refused: not where a reward of the user's own needs none."""


@dataclass(frozen=True, slots=True)
class RawTable:
    """Rows as they were read, the names of all their columns, and where they came from (for messages).

    `unread` are columns whose bytes were not read; `of_texts` says that the file knows no numbers, only their texts.
    """

    source: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    unread: tuple[str, ...] = ()
    of_texts: bool = False


class ReadRows(NamedTuple):
    """A table's questions, how many rows were left out for each reason, and what else a user should know."""

    questions: tuple[Question, ...]
    dropped: dict[str, int]
    notes: tuple[str, ...]


def format_number(value: int | float | Decimal) -> str:
    """Return the shortest decimal that reads back as the value: 142.0 → "142", 1e-07 → "0.0000001", 6.022e23 →
    "602200000000000000000000", never an exponent."""
    text = str(value) if isinstance(value, int) else format(Decimal(str(value)), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _pick(table: RawTable, role: str, stated: str | None, candidates: Sequence[str]) -> list[str]:
    """Return the column that is stated, or the candidates that exist. Raises UserError where there are none."""
    asked = [stated] if stated else candidates
    if found := [name for name in asked if has_column(table.rows, table.columns, name)]:
        return found
    wanted = f"no column {stated!r}" if stated else f"no {role} column (looked for {', '.join(candidates)})"
    names = all_names(table.rows, table.columns)
    solved = role == "answer" and not stated and "solution" in names
    raise UserError(
        f"{table.source} has {wanted}: set ",
        SettingName(f"questions.{role}_column"),
        f" to one of its columns: {', '.join(names)}",
        " (of solution, the last box or marked final answer is taken)" if solved else "",
    )


def _scalar(value: object, where: str) -> str:
    """Return one alternative as text, "" for a missing one."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, str):
        return value.strip()
    if _is_finite(value):
        return format_number(value)
    raise UserError(
        f"{where} holds {value!r}, but a gold answer is a string, a number or a list of these: "
        "mend the row or name another column with ",
        SettingName("questions.answer_column"),
    )


def _is_finite(value: object) -> TypeGuard[int | float | Decimal]:
    """Tell a number: of whole ones any, also those that are too large for a float."""
    return (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float | Decimal) and math.isfinite(value)
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
    return format_number(value) if _is_finite(value) else None


def _asked(row: Row, column: str, where: str) -> Conversation:
    """Return the question exactly as stored (white space included: a prompt is bytes), no turns where it is missing."""
    value = value_at(row, column)
    if isinstance(value, list | tuple):
        return read_turns(value, where)
    if value is None or value is MISSING or value == "":
        return Conversation(())
    if not isinstance(value, str):
        raise UserError(
            f"{where} holds a {type(value).__name__}, but a question is a string or a list of turns: name another "
            "column with ",
            SettingName("questions.question_column"),
        )
    return Conversation((("user", value),))


@dataclass(frozen=True, slots=True)
class _Reader:
    """What is read of every row: of each role the first of its columns that the row has."""

    table: RawTable
    columns: Columns
    asked: tuple[str, ...]
    golds: tuple[str, ...]

    @property
    def level(self) -> str | None:
        return next((name for name in LEVEL_COLUMNS if name in self.table.columns), None)

    def rows(self) -> Iterator[tuple[int, Row, Row, dict[str, object], dict[str, str]]]:
        """Yield every row with its number: as it stands, with its numbers, and its further columns."""
        rows = self.table.rows
        typed = [_typed(row) for row in rows] if self.table.of_texts else rows
        used = frozenset((*self.asked, *self.golds))
        for number, (row, known, (extra, left_out)) in enumerate(zip(rows, typed, further(typed, used), strict=True)):
            yield number, row, known, extra, left_out

    def question(self, row: Row, number: int) -> Conversation:
        column = _held(row, self.asked)
        return _asked(row, column, f"{self.table.source}, row {number}, column {column!r}")

    def answers(self, row: Row, number: int) -> tuple[str, ...]:
        if not self.golds:
            return ()
        column = _held(row, self.golds)
        value = value_at(row, column)
        where = f"{self.table.source}, row {number}, column {column!r}"
        return () if value is MISSING else gold_answers(value, where, self.columns)

    def left_out(self, row: Row) -> str:
        """Tell why the filter does not take a row, "" where it does."""
        where = self.columns.where
        holds = where is None or where(row)
        if where is None or holds:
            return ""
        return f"not where {where.text}" if holds is False else untold(where)


def untold(where: Where) -> str:
    """Return the reason for leaving out rows of which a filter says nothing."""
    return f"where {where.text} cannot be told: a column is missing, empty or of another kind"


def _held(row: Row, columns: Sequence[str]) -> str:
    return next((name for name in columns if value_at(row, name) not in (MISSING, None, "")), columns[0])


def _typed(row: Row) -> Row:
    return {name: numeral(cell) if isinstance(cell, str) else cell for name, cell in row.items()}


def read_questions(set_name: str, table: RawTable, columns: Columns) -> ReadRows:
    """Return all usable questions of a table, with the number of rows left out for each reason.

    A question's id is `set_name/row`, counted from 0 over all rows of the table, so leaving rows out renames nothing.
    Where no column is stated, the first candidate is taken; candidates row by row where that gives no question at all.

    Raises:
        UserError: the table is empty, a column is missing, a cell has a type that cannot be read, or no row is usable.
    """
    if not table.rows:
        raise UserError(
            f"{table.source} holds no rows: set ", SettingName("questions.name"), " to a set with questions"
        )
    asked = _pick(table, "question", columns.question, columns.question_candidates)
    golds = _gold_columns(table, columns)
    if columns.where is not None:
        _check_columns(table, columns.where)
    read = _read(set_name, _Reader(table, columns, (asked[0],), tuple(golds[:1])))
    if not read.questions and len(asked) + len(golds) > 2:
        read = _read(set_name, _Reader(table, columns, tuple(asked), tuple(golds)))
    if not read.questions:
        raise _none_usable(table, columns, asked[0], next(iter(golds), ""), read.dropped)
    return read


def _gold_columns(table: RawTable, columns: Columns) -> list[str]:
    """Return the columns of answers, none where there is none and none is needed. Raises UserError like `_pick`."""
    stated = columns.gold_needed or columns.answer is not None
    if not stated and not any(has_column(table.rows, table.columns, name) for name in columns.answer_candidates):
        return []
    return _pick(table, "answer", columns.answer, columns.answer_candidates)


def _read(set_name: str, reader: _Reader) -> ReadRows:
    questions: list[Question] = []
    dropped: Counter[str] = Counter()
    notes: Counter[str] = Counter(dict.fromkeys(map(unplain, reader.table.unread), 0))
    for number, row, known, extra, unkept in reader.rows():
        if reason := reader.left_out(known):
            dropped[reason] += 1
            continue
        asked, golds = reader.question(row, number), reader.answers(known, number)
        text = asked.text
        if not text.strip() or (reader.golds and not golds):
            dropped[NO_ANSWER if text.strip() else NO_QUESTION] += 1
            continue
        notes.update(unplain(name, kind) for name, kind in unkept.items())
        notes[_ANSWERED] += asked.answered
        level = _level(known, reader.level)
        question = Question(f"{set_name}/{number}", text, golds, level, extra, asked.more_than_text)
        _check_text(question, f"{reader.table.source}, row {number}")
        questions.append(question)
    if not notes[_ANSWERED]:
        del notes[_ANSWERED]
    counted = {note: f" ({plural(count, 'row')})" if count else "" for note, count in notes.items()}
    told = [f"{set_name}: {note}{count}" for note, count in counted.items()]
    if not reader.golds:
        told.append(f"{set_name}: it has no column of answers, so nothing tells right from wrong but your own reward")
    return ReadRows(tuple(questions), dict(dropped), tuple(told))


_ANSWERED = "an assistant's turn at the end was taken off the question, which it answers"


def unplain(name: str, kind: str = "bytes") -> str:
    """Tell of a column that is not kept, and what it holds."""
    return f"the column {name} holds {kind}, which neither rewards nor saved responses are given"


def _check_text(question: Question, where: str) -> None:
    texts = (question.text, question.level or "", *question.gold, *(text for _, text in question.turns))
    if not all(map(is_text, texts)):
        raise UserError(
            f"question {question.id} ({where}) holds half a character (a lone surrogate such as \\ud800), which is not "
            "text: mend the row"
        )


def _check_columns(table: RawTable, where: Where) -> None:
    """Refuse a filter by a column that no row has. Raises UserError."""
    for name in where.columns:
        if not has_column(table.rows, table.columns, name) or name in table.unread:
            raise UserError(
                SettingName("questions.where"),
                f" = {where.text!r} reads the column {name!r}, which {table.source} does not have: name one of "
                f"{', '.join(all_names(table.rows, table.columns))}",
            )


def _none_usable(table: RawTable, columns: Columns, asked: str, gold: str, dropped: Mapping[str, int]) -> UserError:
    where, rows = columns.where, len(table.rows)
    filtered = sum(count for reason, count in dropped.items() if reason not in (NO_ANSWER, NO_QUESTION))
    if where is not None and filtered == rows:
        told = f", and of {dropped[untold(where)]:,} it cannot be told" if untold(where) in dropped else ""
        return UserError(
            SettingName("questions.where"),
            f" = {where.text!r} takes none of the {rows:,} rows of {table.source}{told}: write one that takes some",
        )
    return UserError(
        f"none of the {rows} rows of {table.source} has both a question in {asked!r} and an answer in {gold!r}: name "
        "other columns with ",
        SettingName("questions.question_column"),
        " and ",
        SettingName("questions.answer_column"),
        f" (it has: {', '.join(all_names(table.rows, table.columns))})",
    )


def column_names(rows: Iterable[Row]) -> tuple[str, ...]:
    """Return every key that occurs, in order of first appearance."""
    return tuple(dict.fromkeys(key for row in rows for key in row))
