"""Objects that a program holds, put where a run finds them again: its model and its questions lie in its directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from r1zero.api.rows import GivenRows
from r1zero.errors import UserError, parsed, reading
from r1zero.policy.place import LOADER_ERRORS
from r1zero.policy.tokenizer import load_tokenizer
from r1zero.runs.exclusive import LOCK
from r1zero.runs.files import writing

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL, QUESTIONS = "model", "questions.jsonl"
"""Where they lie in a run directory."""
_SHAPE = ("model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
"""What of a config the shapes of weights hang on."""


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
        _check_shape(model, place)
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


def _check_shape(model: PreTrainedModel, place: Path) -> None:
    """Refuse a model that cannot take the weights of the run which it is given for. Raises UserError."""
    if not place.exists():
        raise UserError(f"{place} is not there, for this run was begun with a model by its name: leave model= out.")
    with reading(place / "config.json", "restore it from a copy"):
        kept = parsed((place / "config.json").read_text(encoding="utf-8"))
    mine = model.config.to_dict()
    for name in _SHAPE:
        if name in kept and kept[name] != mine.get(name):
            raise UserError(
                f"model= is of {name} = {mine.get(name)!r}, and {place}, which this run began with, of {kept[name]!r}: "
                "give the model that it began with, or leave model= out."
            )


def check_model(model: object) -> PreTrainedModel:
    """Return a model object. Raises UserError for what is none."""
    from transformers import PreTrainedModel  # here: a model by its name needs none of it

    if not isinstance(model, PreTrainedModel):
        raise UserError(
            f"model= is a {type(model).__name__}, which is not a valid model: give a folder, a Hub name, or a causal "
            "language model of transformers (of peft's, what merge_and_unload() returns)."
        )
    return model


def find_tokenizer(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a model object: the one that is given, or that of the folder it was loaded from.

    Raises:
        UserError: there is none.
    """
    from transformers import PreTrainedTokenizerBase

    if tokenizer is not None and not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise UserError(f"tokenizer= is a {type(tokenizer).__name__}, not a tokenizer: give one of transformers.")
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


def write_rows(given: GivenRows, place: Path, called: str) -> str:
    """Write questions as JSON Lines, unless the file is there with the same; return its place.

    Raises:
        UserError: they are not those that stand there.
    """
    text = given.text
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
