"""Objects that a program holds, put where a run finds them again: its model and its questions lie in its directory."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1zero.errors import UserError
from r1zero.policy.place import LOADER_ERRORS
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.runs.exclusive import LOCK
from r1zero.runs.files import writing
from r1zero.types import Question

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL, QUESTIONS = "model", "questions.jsonl"
"""Where they lie in a run directory."""


@contextmanager
def kept(out: Path) -> Iterator[None]:
    """Where a run begins in `out`: what was put there goes again if no run came of it."""
    before = {path.name for path in out.iterdir()} if out.is_dir() else None
    try:
        yield
    except BaseException:
        if not (out / "run.json").exists():
            ours = {MODEL, *(path.name for path in out.glob(f"{Path(QUESTIONS).stem}*"))}
            for name in ours - (before or set()):
                shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink(missing_ok=True)
            if before is None and out.is_dir() and {path.name for path in out.iterdir()} <= {LOCK}:
                shutil.rmtree(out)
        raise


def put_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, out: Path) -> str:
    """Save a model object as a folder of the run, whole or not at all, unless the run has it; return its place.

    Raises:
        UserError: something else is there.
    """
    place = out / MODEL
    if (out / "run.json").exists():
        return str(place)
    if place.exists():
        raise UserError(f"{place} is there, and no run that it belongs to: remove it, or name another out=.")
    with writing(place):
        out.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=".r1zero-model-", dir=out))
        try:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
            folder.chmod(0o755)
            folder.rename(place)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return str(place)


def find_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model object: the one that is given, or that of the folder it was loaded from.

    Raises:
        UserError: there is none.
    """
    if tokenizer is not None:
        return tokenizer
    name = model.config.name_or_path
    try:
        if name:
            return load_tokenizer(name)
    except LOADER_ERRORS:
        pass
    raise UserError(
        f"The {type(model).__name__} has no tokenizer that can be found{f' at {name!r}' if name else ''}: give it with "
        "tokenizer=…."
    )


def write_rows(questions: Any, place: Path, called: str) -> str:
    """Write questions as JSON Lines, unless the file is there with the same; return its place.

    Raises:
        UserError: they are no rows, or not those that stand there.
    """
    text = "".join(f"{line}\n" for line in map(_line, rows_of(questions, called)))
    if place.exists():
        if place.read_text(encoding="utf-8") != text:
            raise UserError(
                f"{called} are not those that stand in {place}, and what was begun with them goes on with the same: "
                "give these again, leave them out, or name another out=."
            )
        return str(place)
    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        whole = place.with_suffix(".part")
        whole.write_text(text, encoding="utf-8")
        whole.rename(place)
    return str(place)


def rows_of(questions: Any, called: str = "questions=") -> list[dict[str, Any]]:
    """Return questions as rows: mappings, `Question`s, or a `datasets.Dataset`.

    Raises:
        UserError: they are none of these.
    """
    if isinstance(questions, Mapping | str | bytes) or not hasattr(questions, "__iter__"):
        raise UserError(
            f"{called} is a {type(questions).__name__}, which is not a valid set of questions: give a name, a path, a "
            'list of rows such as {"question": "…", "answer": "…"}, or a datasets.Dataset.'
        )
    rows = [_row(f"{called}[{number}]", each) for number, each in enumerate(questions)]
    if not rows:
        raise UserError(f"{called} holds no questions; give one or more.")
    return rows


def _row(where: str, each: object) -> dict[str, Any]:
    if isinstance(each, Question):
        return {"question": each.text, "answer": list(each.gold), "level": each.level, **each.extra}
    if not isinstance(each, Mapping):
        raise UserError(
            f'{where} is a {type(each).__name__}, not a row: write {{"question": "…", "answer": "…"}} for each.'
        )
    return {str(name): value for name, value in each.items()}


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps({name: plain for name, value in row.items() if (plain := _plain(value)) is not _DROPPED})


_DROPPED = object()


def _plain(value: Any) -> Any:
    """Return what JSON has for a value; `_DROPPED` for an image and the like."""
    if isinstance(value, str | int | float | bool | None):
        return value
    if isinstance(value, Mapping):
        return {str(name): plain for name, each in value.items() if (plain := _plain(each)) is not _DROPPED}
    if isinstance(value, list | tuple):
        return [plain for each in value if (plain := _plain(each)) is not _DROPPED]
    if hasattr(value, "tolist"):  # numpy's numbers and arrays
        return _plain(value.tolist())
    if hasattr(value, "isoformat"):  # dates
        return value.isoformat()
    return str(value) if type(value).__name__ in ("Decimal", "Fraction", "UUID") else _DROPPED
