"""A few rows of each question set and corpus: real ones where the set is at hand, made up in its known shape else.

They are written under the names that the sets have in a data folder, so that recipes name them as before.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from r1zero.config.pretrain import CorpusSettings
from r1zero.errors import UserError
from r1zero.questions import CATALOGUE, find_here
from r1zero.questions.catalogue import Entry
from r1zero.questions.files import Split, read_path
from r1zero.questions.rows import LEVEL_COLUMNS
from r1zero.runs.files import write_text, writing

ROWS = 4
"""Rows of a question set. The longest question is among them, which is the one that a context is too short for."""
DOCUMENTS = 12
"""Rows of a corpus."""
_LINE = "Let a be a number with a + 3 = 7, and let b be twice as large as a. "
_ASKED = "What is a + b?"


@cache
def _known() -> dict[str, Any]:
    return json.loads((resources.files("r1zero.rehearsal") / "sets.json").read_text(encoding="utf-8"))


def known_corpus(name: str, config: str | None) -> Mapping[str, Any] | None:
    """Return what is known of a corpus of the Hub: its configurations, splits and columns."""
    rows = (row for row in _known()["corpora"] if row["name"] == name)
    return next((row for row in rows if (config or "default") in row["configs"]), None)


def cut_sets(names: Mapping[str, Path | None], folder: Path) -> list[str]:
    """Write a few rows of each known set among `names` into a data folder; returns the names of those made up.

    A name stands beside the folder that the real set is looked for in.
    """
    made_up = []
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        known = {CATALOGUE[name].part_of or name: place for name, place in names.items() if name in CATALOGUE}
        for name, place in sorted(known.items()):
            entry = CATALOGUE[name]
            real = _real_rows(entry, place)
            if real is None:
                made_up.append(entry.name)
            path = folder / f"{entry.files[0]}.jsonl"
            _write_rows(path, _made_up_rows(entry) if real is None else real)
    return made_up


def _real_rows(entry: Entry, data_dir: Path | None) -> list[dict[str, Any]] | None:
    """Return the first rows and the longest, with the columns that are read; None where the set is not at hand."""
    place = find_here(entry.name, data_dir)
    if place is None:
        return None
    read = {*entry.question_columns, *entry.answer_columns, *LEVEL_COLUMNS}
    table = read_path(place, Split(None, entry.split))
    rows = [{name: value for name, value in row.items() if name in read} for row in table.rows]
    asked = next((name for name in entry.question_columns if any(name in row for row in rows)), "")
    longest = sorted(rows[ROWS - 1 :], key=lambda row: len(str(row.get(asked, ""))))[-1:]
    return [*rows[: ROWS - 1], *longest]


def _made_up_rows(entry: Entry) -> list[dict[str, Any]]:
    known = _known()["questions"][entry.name]
    lengths = [80, 120, known["longest"] // 2, known["longest"]]
    answers = known["answers"] * ROWS
    return [
        {entry.question_columns[0]: _text(length, i), entry.answer_columns[0]: answers[i], **known["more"]}
        for i, length in enumerate(lengths[:ROWS])
    ]


def _text(length: int, i: int) -> str:
    """Return a question of about so many characters, another for each `i`."""
    return f"({i + 1}) {_LINE * max(1, (length - len(_ASKED)) // len(_LINE))}{_ASKED}"


def corpus_file(settings: CorpusSettings, folder: Path) -> str:
    """Tell what stands for a corpus: a file that it is itself, or one in the folder."""
    if Path(settings.name).exists():
        return settings.name
    return str(folder / f"{settings.name.replace('/', '--')}.jsonl")


def cut_corpus(settings: CorpusSettings, folder: Path) -> None:
    """Write made-up rows with the columns of a known corpus of the Hub; one that is here stands for itself.

    Raises:
        UserError: nothing is known of it.
    """
    known = known_corpus(settings.name, settings.config)
    if Path(settings.name).exists():
        return
    if known is None or settings.split not in known["splits"]:
        which = f"configuration {settings.config or 'default'}, split {settings.split}"
        raise UserError(
            f"corpus.name = {settings.name!r} ({which}) is neither a file nor a corpus whose columns are known here, "
            "so its rows cannot be made up: name a file to rehearse with (--corpus.name FILE)."
        )
    path = Path(corpus_file(settings, folder))
    if path.exists():  # runs that go on know their corpus by its file
        return
    rows = [{column: _text(2000 + 300 * i, i) for column in known["columns"]} for i in range(DOCUMENTS)]
    with writing(folder):
        _write_rows(path, rows)


def _write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, "".join(json.dumps(row) + "\n" for row in rows))
