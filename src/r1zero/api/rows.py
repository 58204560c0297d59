"""Questions that a program holds, as rows that JSON can hold: mappings, `Question`s, data frames, data sets."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, time
from decimal import Decimal
from typing import Any

from r1zero.errors import UserError
from r1zero.questions.catalogue import ANSWER_COLUMNS, QUESTION_COLUMNS
from r1zero.questions.cells import native
from r1zero.questions.files import Split, from_dataset, from_table
from r1zero.questions.rows import RawTable, unplain
from r1zero.types import Question

_ROWS = 'a list of rows such as {"question": "…", "answer": "…"}'
_READ = {*QUESTION_COLUMNS, *ANSWER_COLUMNS}
_TEXTS = ("Fraction", "UUID", "Path", "PosixPath")


@dataclass(frozen=True, slots=True)
class GivenRows:
    """Rows as they are written into a run's directory, and what a user should know of what is not in them."""

    rows: Sequence[Mapping[str, Any]]
    notes: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The rows as JSON Lines."""
        return "".join(f"{json.dumps(row)}\n" for row in self.rows)


class _NoPlainError(ValueError):
    """JSON has no form for a value; the message is its kind."""


def rows_of(questions: Any, called: str = "questions=") -> GivenRows:
    """Return questions as rows: mappings, `Question`s, a data frame of pandas, an Arrow table, or a data set.

    Raises:
        UserError: they are none of these, none at all, or hold what cannot be written.
    """
    table = _table(questions, called)
    if table is None:
        source: Iterable[Any] = questions
        unread: Counter[str] = Counter()
    else:
        source = table.rows
        unread = Counter({unplain(name): 0 for name in table.unread})
    rows = [_row(f"{called}[{number}]", each, unread) for number, each in enumerate(source)]
    if not rows:
        raise UserError(f"{called} holds no questions; give one or more.")
    notes = [f"{note} ({count:,} of {len(rows):,} rows)" if count else note for note, count in unread.items()]
    return GivenRows(rows, tuple(notes))


def _table(questions: Any, called: str) -> RawTable | None:
    """Return what holds columns as a table, None for what is gone through row by row. Raises UserError for neither."""
    kinds = sys.modules.get("datasets"), sys.modules.get("pyarrow"), sys.modules.get("pandas")  # where it comes from
    theirs, arrow, frames = kinds
    if theirs is not None and isinstance(questions, theirs.DatasetDict | theirs.IterableDatasetDict):
        first = next(iter(questions), "train")
        raise UserError(
            f"{called} is a {type(questions).__name__} of the splits {', '.join(map(str, questions))}: give one of "
            f'them, such as questions["{first}"], or pairs of several and their weights.'
        )
    if theirs is not None and isinstance(questions, theirs.Dataset):
        return from_dataset(questions, called, Split())
    if arrow is not None and isinstance(questions, arrow.Table):
        return from_table(questions, called)
    if frames is not None and isinstance(questions, frames.DataFrame):
        _check_once(list(questions.columns), called)
        return RawTable(called, tuple(map(str, questions.columns)), questions.to_dict("records"))
    if isinstance(questions, Mapping):
        raise UserError(
            f"{called} is a {type(questions).__name__}, which is not a valid set of questions: give {_ROWS}; of "
            "columns make datasets.Dataset.from_dict(…)."
        )
    if isinstance(questions, str | bytes) or not isinstance(questions, Iterable):
        raise UserError(
            f"{called} is a {type(questions).__name__}, which is not a valid set of questions: give a name, a path, "
            f"{_ROWS}, or a datasets.Dataset."
        )
    return None


def _check_once(names: Sequence[object], where: str) -> None:
    """Refuse columns of one name, of which a row could hold but one. Raises UserError."""
    texts = [str(name) for name in names]
    if twice := next((name for name in texts if texts.count(name) > 1), None):
        raise UserError(f"{where} has more than one column {twice!r}: keep one of them.")


def _row(where: str, each: object, unread: Counter[str]) -> dict[str, Any]:
    if isinstance(each, Question):
        each = _of_question(each)
    if not isinstance(each, Mapping):
        raise UserError(
            f'{where} is a {type(each).__name__}, not a row: write {{"question": "…", "answer": "…"}} for each; '
            'several sets are pairs of a set and its weight, such as [("math-12k", 3), (rows, 1)].'
        )
    _check_once(list(each), where)
    kept: dict[str, Any] = {}
    for name, value in each.items():
        try:
            kept[str(name)] = _plain(native(value))
            json.dumps(kept[str(name)])
        except (ValueError, RecursionError) as error:
            kept.pop(str(name), None)
            kind = "too deep a nesting" if isinstance(error, RecursionError) else str(error)
            kind = kind if isinstance(error, _NoPlainError | RecursionError) else "a number of thousands of digits"
            if str(name) in _READ:
                raise UserError(
                    f"{where}, column {str(name)!r}, holds {kind}, which no file of questions can: give a text, a "
                    "number or a list of these."
                ) from None
            unread[unplain(str(name), kind)] += 1
    return kept


def _of_question(each: Question) -> dict[str, Any]:
    """Return a question as the row that gives it again: its conversation, too, and its golds whatever `extra` holds."""
    asked = [{"role": role, "content": text} for role, text in each.turns] if each.turns else each.text
    row: dict[str, Any] = {**each.extra, "question": asked}
    if each.gold:
        row["answer"] = list(each.gold)
    return row if each.level is None else {**row, "level": each.level}


def _plain(value: Any) -> Any:
    """Return what JSON has for a value. Raises _NoPlainError for an image and the like."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return [_plain(each) for each in sorted(value, key=str)]
    if isinstance(value, Decimal):
        return float(value) if value.is_finite() and Decimal(str(float(value))) == value else str(value)
    if isinstance(value, date | time):
        return None if value != value else value.isoformat()  # pandas' NaT is of these
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        wide = value.detach().cpu()
        return _plain(native((wide.float() if wide.dtype is torch.bfloat16 else wide).numpy()))
    kind = type(value).__name__
    if kind == "NAType":  # pandas' own
        return None
    if kind in _TEXTS:
        return str(value)
    raise _NoPlainError(kind)
