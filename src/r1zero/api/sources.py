"""Questions that a program gives: a name, rows, or several of these with weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from r1zero.api.inputs import QUESTIONS, write_rows
from r1zero.api.rows import GivenRows, rows_of
from r1zero.errors import UserError, plural


@dataclass(frozen=True, slots=True)
class GivenSet:
    """A set by its name or path, or rows that are kept in a `file` of the run."""

    name: str
    rows: GivenRows | None
    file: str
    weight: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Of a set by its name: `where`, `limit`, `split`, …"""

    def place(self, out: Path) -> str:
        """Return what the recipe of a run in `out` calls it."""
        return self.name if self.rows is None else str(out / self.file)

    def put(self, out: Path) -> None:
        """Write its rows where the run finds them. Raises UserError like `write_rows`."""
        if self.rows is not None:
            write_rows(self.rows, out / self.file, "questions=")


def sources_of(questions: Any) -> tuple[GivenSet, ...]:
    """Return questions as they are given, rows read once: one set, or pairs of a set and its weight.

    Raises:
        UserError: something of it is neither a name nor rows, or no weight.
    """
    if questions is None:
        return ()
    pairs = list(questions) if isinstance(questions, list | tuple) else []
    if not pairs or not all(type(each) is tuple for each in pairs):
        return (_source(questions, QUESTIONS, None),)
    stem, suffix = Path(QUESTIONS).stem, Path(QUESTIONS).suffix
    found = []
    for number, pair in enumerate(pairs, start=1):
        if len(pair) != 2 or isinstance(pair[1], bool) or not isinstance(pair[1], int | float):
            raise UserError(
                f"questions[{number - 1}] = {pair!r:.80} is not a valid source: write a pair of a set and its weight, "
                'such as ("math-12k", 3); a row is {"question": "…", "answer": "…"}.'
            )
        found.append(_source(pair[0], f"{stem}-{number}{suffix}", float(pair[1])))
    return tuple(found)


def _source(questions: Any, file: str, weight: float | None) -> GivenSet:
    if isinstance(questions, str | Path):
        return GivenSet(str(questions), None, file, weight)
    if isinstance(questions, Mapping) and isinstance(questions.get("name"), str):
        settings = {key: value for key, value in questions.items() if key != "name"}
        return GivenSet(questions["name"], None, file, weight, settings)
    return GivenSet("", rows_of(questions), file, weight)


def settings_of(sources: Sequence[GivenSet], out: Path) -> dict[str, object]:
    """Return what the recipe of a run in `out` says of them."""
    if not sources:
        return {}
    if sources[0].weight is None:
        own = {f"questions.{key}": value for key, value in sources[0].settings.items()}
        return {"questions.name": sources[0].place(out), **own}
    tables = [{"name": each.place(out), "weight": each.weight, **each.settings} for each in sources]
    return {"questions.name": "", "questions.sources": tables}


def told_of(sources: Sequence[GivenSet]) -> dict[str, str]:
    """Return what run.json says of those that were rows."""
    told = [f"{plural(len(each.rows.rows), 'row')}, kept in {each.file}" for each in sources if each.rows is not None]
    return {"questions": "; ".join(told)} if told else {}


def notes_of(sources: Sequence[GivenSet]) -> tuple[str, ...]:
    """Return what a user should know of rows that could not be kept whole."""
    given = [(Path(each.file).stem, each.rows.notes) for each in sources if each.rows is not None]
    return tuple(f"{name}: {note}" for name, notes in given for note in notes)
