"""Question sets and benchmarks: from a name to questions.

    load_questions("math-12k", data_dir=Path("data"))        a catalogue name: data folder, $R1ZERO_DATA, then the Hub
    load_questions("my/questions.jsonl", where="level > 2")  a file (JSON Lines, JSON, CSV, TSV, Parquet, Arrow) or a
                                                             save_to_disk folder
    load_questions("owner/name:config", split="train")       any set of the Hub
    load_questions("arithmetic", options={"level": [1, 2]})  the built-in generator
    load_questions("reasoning-gym:chain_sum")                those of that package
    questions_from([{"question": "1+1?", "answer": 2}])      rows, or a data set of `datasets`

Imports neither torch nor `datasets`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from r1zero.errors import SettingName, UserError, did_you_mean, plural
from r1zero.questions import arithmetic, reasoning_gym
from r1zero.questions.catalogue import BENCHMARKS, CATALOGUE, Entry
from r1zero.questions.cells import Row, native
from r1zero.questions.files import STORED, SUFFIXES, Split, find_file, from_dataset, read_hub, read_path
from r1zero.questions.rows import Columns, RawTable, column_names, read_questions
from r1zero.questions.stratify import equal_levels
from r1zero.questions.where import parse_where
from r1zero.types import Question

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict

__all__ = [
    "BENCHMARKS", "CATALOGUE", "DATA_VARIABLE", "QuestionSet", "check_name", "find_here", "find_path",
    "load_questions",
    "questions_from", "renamed", "stratified",
]  # fmt: skip

DATA_VARIABLE = "R1ZERO_DATA"
"""The environment variable that names a folder of question sets, looked in after `--data-dir`."""

_ARITHMETIC = "arithmetic"
_HUB_NAME = re.compile(r"([\w][\w.-]*/[\w][\w.-]*)(?::([\w][\w.-]*))?")
_SUCH_ROWS = 'give rows such as {"question": "...", "answer": "..."}'
_NO_OPTIONS: Mapping[str, object] = MappingProxyType({})
_SIZE_TOLERANCE = 0.05  # published sizes are rounded ("57k"); a copy further off than this is worth a note


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """Questions under one name, and how they came to be.

    `dropped` counts the rows of the whole source that were left out, by reason; `source` says where the rows were
    read; `fingerprint` is equal for equal ids, texts, turns and golds in equal order (for generated sets: for equal
    parameters), so that a resumed run can tell that its questions changed; `notes` are sentences that the caller
    should log; `parts` are the sets that it is mixed of, if any.
    """

    name: str
    questions: Sequence[Question]
    dropped: Mapping[str, int]
    fingerprint: str
    source: str = ""
    notes: tuple[str, ...] = ()
    parts: tuple[QuestionSet, ...] = ()

    def __len__(self) -> int:
        return len(self.questions)

    def __getitem__(self, index: int) -> Question:
        return self.questions[index]

    def __iter__(self) -> Iterator[Question]:
        return iter(self.questions)


@dataclass(frozen=True, slots=True)
class _HubPlace:
    """A set on the Hub, and what its user can do when the Hub does not answer."""

    name: str
    config: str | None = None
    remedy: tuple[str, ...] = ()
    name_has_config: bool = False


def load_questions(
    name: str,
    *,
    data_dir: Path | None = None,
    question_column: str | None = None,
    answer_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    options: Mapping[str, object] = _NO_OPTIONS,
    where: str | None = None,
    called: str | None = None,
    gold_needed: bool = True,
) -> QuestionSet:
    """Return the question set that `name` names.

    Looked for in this order: `arithmetic` and `reasoning-gym:NAME`; a catalogue name, as a file or saved folder in
    `data_dir`, then in $R1ZERO_DATA, then on the Hub; an existing path, from here or inside those folders; `owner/name`
    or `owner/name:config` on the Hub. (A bare catalogue name never means a path: a stray folder must not change what a
    recipe trains on. Write `./amc`.)

    `options` are those of `arithmetic.arithmetic` or of the package's data set, or `config` and `revision` of a Hub
    set. `where` says which rows to take (`questions/where.py`); `limit` keeps the first questions only, of these.
    `called` names a set of a file otherwise than its file. A set without any answers is one where they are not
    `gold_needed`.

    Raises:
        UserError: nothing goes by that name, or what does cannot be read as asked; the sentence says what to do.
    """
    _check_limit(limit)
    kept = parse_where(where) if where is not None else None
    columns = Columns(question_column, answer_column, where=kept, gold_needed=gold_needed)
    if name == _ARITHMETIC:
        _check_generated(name, columns)
        return _generated(split, limit, options, called)
    if reasoning_gym.is_named(name):
        _check_generated(name, replace(columns, where=None))
        return _made(name, _gym_table(name, split, limit if where is None else None, options), columns, limit, called)
    entry = CATALOGUE.get(name)
    if entry is not None and entry.part_of is not None:
        whole = load_questions(
            entry.part_of, data_dir=data_dir, question_column=question_column, answer_column=answer_column,
            split=split, options=options, where=where,
        )  # fmt: skip
        part = stratified(whole, entry.rows if limit is None else min(limit, entry.rows))
        return replace(part, name=called or name)
    if entry is not None:
        columns = _columns_of(entry, columns)
    place = _find(name, _data_folders(data_dir))
    table = _read(place, Split(split, entry.split if entry else None), options)

    plain = called or (place.stem if isinstance(place, Path) and entry is None else name)
    found = _made(f"{plain}:{split}" if split else plain, table, columns, limit)
    notes = _size_note(entry, table) if entry and not split else ()
    return replace(found, notes=(*found.notes, *notes))


def questions_from(
    rows: Iterable[Row] | Dataset | DatasetDict,
    *,
    name: str = "questions",
    question_column: str | None = None,
    answer_column: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    where: str | None = None,
) -> QuestionSet:
    """Return the question set that rows are: what `load_questions` gives of a file NAME with the same rows.

    `rows` are mappings from columns to values, or a data set of `datasets`.

    Raises:
        UserError: they are no rows, or cannot be read as asked; the sentence says what to do.
    """
    _check_limit(limit)
    columns = Columns(question_column, answer_column, where=parse_where(where) if where is not None else None)
    return _made(name, _table_of(rows, split), columns, limit)


def _table_of(rows: Iterable[Row] | Dataset | DatasetDict, split: str | None) -> RawTable:
    theirs = sys.modules.get("datasets")  # whoever has one has imported it
    if theirs is not None and isinstance(rows, theirs.Dataset | theirs.DatasetDict):
        return from_dataset(rows, "the data set", Split(split))  # type: ignore[arg-type]
    if split is not None:
        raise UserError(SettingName("questions.split"), f" is {split!r}, but a list of rows has no splits: remove it")
    if not isinstance(rows, Iterable) or isinstance(rows, str | bytes | Mapping):
        raise UserError(f"questions were given as a {type(rows).__name__}, not a list of rows: {_SUCH_ROWS}")
    read: list[Row] = []
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise UserError(f"question {number} of those given is a {type(row).__name__}, not a row: {_SUCH_ROWS}")
        read.append({str(key): native(value) for key, value in row.items()})
    return RawTable("the rows given", column_names(read), read)


def _made(name: str, table: RawTable, columns: Columns, limit: int | None, called: str | None = None) -> QuestionSet:
    """Return the questions of a table as a set."""
    read = read_questions(called or name, table, columns)
    questions = read.questions[:limit]
    return QuestionSet(called or name, questions, read.dropped, fingerprint(questions), table.source, read.notes)


def _check_limit(limit: int | None) -> None:
    if limit is not None and limit < 1:
        raise UserError(
            SettingName("questions.limit"), f" is {limit}: set it to 1 or more, or remove it to keep every question"
        )


def _check_generated(name: str, columns: Columns) -> None:
    """Refuse what is for rows, where questions are made. Raises UserError."""
    if columns.question is not None or columns.answer is not None:
        column = SettingName("questions.question_column")
        raise UserError(column, f" and answer_column do not apply to {name}: remove them")
    if columns.where is not None:
        raise UserError(
            SettingName("questions.where"),
            " does not apply to arithmetic, which has no rows: leave it out (its options say what is asked)",
        )


def _gym_table(name: str, split: str | None, limit: int | None, options: Mapping[str, object]) -> RawTable:
    if split is not None:
        raise UserError(
            SettingName("questions.split"), f" is {split!r}, but {name} has no splits: set another options.seed instead"
        )
    return reasoning_gym.table(name, options, limit)


def stratified(questions: QuestionSet, count: int, seed: int = 0) -> QuestionSet:
    """Return `count` questions of a set, as `equal_levels` chooses them, with a fingerprint of their own."""
    chosen = equal_levels(questions, count, seed)
    ids = "".join(f"{question.id}\n" for question in chosen)
    renewed = hashlib.sha256(f"{questions.fingerprint}\n{ids}".encode()).hexdigest()[:16]
    return replace(questions, questions=tuple(chosen), fingerprint=renewed)


def check_name(name: str, data_dir: Path | None = None, options: Mapping[str, object] = _NO_OPTIONS) -> None:
    """Refuse what `load_questions` would not look for anywhere, reading nothing but what is generated: of a set of the
    Hub only the Hub can tell. Raises UserError.
    """
    if name == _ARITHMETIC:
        _generated(None, None, options)
    elif reasoning_gym.is_named(name):
        reasoning_gym.make(name, options)
    else:
        _find(name, _data_folders(data_dir))


def find_here(name: str, data_dir: Path | None = None) -> Path | None:
    """Tell where a catalogue set is on this machine, as `load_questions` would look for it; None where it is not."""
    entry = CATALOGUE[name]
    found = (find_file(folder, entry) for folder in _data_folders(data_dir))
    return next((path for path in found if path is not None), None)


def find_path(name: str, data_dir: Path | None = None) -> Path | None:
    """Tell which file or folder a name means, as `load_questions` would look for it; None where it means another set,
    or nothing that is there.
    """
    if name == _ARITHMETIC or reasoning_gym.is_named(name) or name in CATALOGUE:
        return None
    return _path_of(name, _data_folders(data_dir))


def renamed(error: UserError, name: Callable[[str], str]) -> UserError:
    """Return the error with every setting `questions.KEY` called `name(KEY)`, for sets that are named elsewhere."""
    return error.renamed(lambda setting: name(setting.removeprefix("questions.")))


def _read(place: Path | _HubPlace, split: Split, options: Mapping[str, object]) -> RawTable:
    if isinstance(place, Path):
        _check_options(options, ())
        return read_path(place, split)
    stated = _hub_options(options)
    if place.name_has_config and stated.get("config", place.config) != place.config:
        raise UserError(
            SettingName("questions.options.config"),
            f" is {stated['config']!r}, and the name says {place.config!r}: keep one of them",
        )
    return read_hub(place.name, split, {"config": place.config} | stated, place.remedy)


def _generated(
    split: str | None, limit: int | None, options: Mapping[str, object], called: str | None = None
) -> QuestionSet:
    _check_options(options, ("level", "style", "count", "seed"))
    made = arithmetic.arithmetic(split=split or "train", **options)  # type: ignore[arg-type]
    made = replace(made, called=called or "")
    if limit is not None:
        made = replace(made, size=min(limit, made.size))
    return QuestionSet(made.name, made, {}, made.fingerprint, "built-in generator")


def _find(name: str, folders: Sequence[Path]) -> Path | _HubPlace:
    """Tell where the set called `name` is; the order is `load_questions`'s."""
    entry = CATALOGUE.get(name)
    if entry is not None:
        found = (find_file(folder, entry) for folder in folders)
        return next((path for path in found if path is not None), None) or _hub_place(entry, folders)
    if found := _path_of(name, folders):
        return found
    if (on_hub := _HUB_NAME.fullmatch(name)) and not name.endswith(SUFFIXES):
        remedy = f"pass --data-dir or set {DATA_VARIABLE} to a folder that holds it, or set "
        whole = (remedy, SettingName("questions.name"), " to a file")
        return _HubPlace(on_hub[1], on_hub[2], whole, name_has_config=on_hub[2] is not None)
    raise _unknown(name, folders)


def _path_of(name: str, folders: Sequence[Path]) -> Path | None:
    path = Path(name).expanduser()  # an absolute one ignores the folders
    return next((each for each in (path, *(folder / path for folder in folders)) if each.exists()), None)


def _hub_place(entry: Entry, folders: Sequence[Path]) -> _HubPlace:
    searched = ", ".join(map(str, folders)) or f"no folder, as neither --data-dir nor {DATA_VARIABLE} is set"
    remedy = (
        f"pass --data-dir or set {DATA_VARIABLE} to a folder with {entry.files[0]}{STORED[0]}, {STORED[1]} or a "
        f"saved folder of that name (searched: {searched})"
    )
    if entry.hub is None:
        raise UserError(f"the question set {entry.name!r} has no known place on the Hub: {remedy}")
    return _HubPlace(entry.hub, entry.config, (remedy,))


def _data_folders(data_dir: Path | None) -> tuple[Path, ...]:
    """Return the folders to look in, in order: `data_dir`, then $R1ZERO_DATA."""
    variable = os.environ.get(DATA_VARIABLE)
    named = [("--data-dir", data_dir), (DATA_VARIABLE, Path(variable) if variable else None)]
    for setting, folder in named:
        if folder is not None and not folder.expanduser().is_dir():
            raise UserError(f"{setting} is {folder}, which is not a folder: set it to the folder of your question sets")
    return tuple(folder.expanduser() for _, folder in named if folder is not None)


def _columns_of(entry: Entry, stated: Columns) -> Columns:
    return replace(
        stated,
        question_candidates=entry.question_columns,
        answer_candidates=entry.answer_columns,
        marker=entry.marker,
        answers_are_floats=entry.answers_are_floats,
    )


def _check_options(options: Mapping[str, object], known: Sequence[str]) -> None:
    for name in options:
        if name not in known:
            choice = f"use one of {', '.join(known)}" if known else "remove it, as this set has no options"
            raise UserError(SettingName(f"questions.options.{name}"), f" is unknown: {choice}")


def _hub_options(options: Mapping[str, object]) -> dict[str, str]:
    _check_options(options, ("config", "revision"))
    for name, value in options.items():
        if not isinstance(value, str):
            raise UserError(SettingName(f"questions.options.{name}"), f" is {value!r}: set it to a string")
    return {name: str(value) for name, value in options.items()}


def _unknown(name: str, folders: Sequence[Path]) -> UserError:
    known = [_ARITHMETIC, *CATALOGUE]
    where = ", ".join(map(str, [Path.cwd(), *folders]))
    where += "" if folders else f"; neither --data-dir nor {DATA_VARIABLE} is set"
    meant = did_you_mean(name, known, most=3, cutoff=0.5)
    return UserError(
        SettingName("questions.name"),
        f" is {name!r}, which is neither a known set nor a path (searched: {where}): {meant}set it to a "
        f"file, a saved folder, a Hub name such as owner/name, reasoning-gym:NAME, or one of {', '.join(known)}",
    )


def _size_note(entry: Entry, table: RawTable) -> tuple[str, ...]:
    found = len(table.rows)
    if abs(found - entry.rows) <= _SIZE_TOLERANCE * entry.rows:
        return ()
    return (f"{table.source} holds {plural(found, 'row')}, but {entry.name} is known to have {entry.rows:,}",)


def fingerprint(questions: Sequence[Question]) -> str:
    """Return 16 hex digits of ids, texts (of conversations all turns) and golds in their order."""
    digest = hashlib.sha256()
    for question in questions:
        turns = [question.turns] if question.turns else []
        digest.update(json.dumps([question.id, question.text, question.gold, *turns]).encode() + b"\n")
    return digest.hexdigest()[:16]
