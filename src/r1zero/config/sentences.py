"""What pydantic complains about, as sentences that name the setting and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from r1zero.config.recipe import ContradictionsError
from r1zero.config.settings import inner_sections, settings_of
from r1zero.errors import did_you_mean

Complaint = Mapping[str, Any]
"""One of pydantic's."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong with a recipe: the setting, or "" where several do not go together, and the sentence."""

    key: str
    sentence: str


def sentence(error: ValidationError, where: str, root: type[BaseModel]) -> str:
    """Return the first of pydantic's complaints about a `root`, recipe or section: the setting and the remedy."""
    return sentences(error, where, root)[0].sentence


def sentences(error: ValidationError, where: str, root: type[BaseModel]) -> list[Wrong]:
    """Return all of them, each once."""
    every = error.errors()
    found = [wrong for each in every for wrong in _wrong(each, every, where, root)]
    return list(dict.fromkeys(found))


def _wrong(first: Complaint, every: Sequence[Complaint], where: str, root: type[BaseModel]) -> list[Wrong]:
    cause = first.get("ctx", {}).get("error")
    loc = [str(part) for part in first["loc"]]
    if isinstance(cause, ContradictionsError):
        return [Wrong("", f"{where}: {each}.") for each in cause.every]
    wanted = _items_wanted(first, every)
    key = ".".join(loc[:-1] if wanted and first["type"] == "missing" else loc)
    return [Wrong(key, _sentence(first, wanted, where, root))]


def _sentence(first: Complaint, wanted: int | None, where: str, root: type[BaseModel]) -> str:
    loc = [str(part) for part in first["loc"]]
    key = ".".join(loc)
    if first["type"] == "extra_forbidden":
        return _unknown(loc, where, root)
    if wanted:
        key = ".".join(loc[:-1]) if first["type"] == "missing" else key
        return f"{where}: {key} = {_shown(first['input'])} cannot be used; write a list of {wanted} values."
    section = bool(loc) and bool(_sections_at(loc, root)) and not loc[-1].isdigit()
    if first["type"] == "missing" and section:
        return f"{where} lacks the section [{key}]; add it with its settings {', '.join(_known_keys(loc, root))}."
    if first["type"] == "missing":
        by_flag = "" if any(isinstance(part, int) for part in first["loc"]) else f", or give it as --{key} VALUE"
        return f"{where} lacks the setting {key!r}; add it{by_flag}."
    if section and first["type"] == "model_type":
        return (
            f"{where}: {key} = {first['input']!r} is not a section: write [{key}] and below it a line for each setting."
        )
    if first["type"] == "tuple_type":
        return f"{where}: {key} = {_shown(first['input'])} cannot be used; write a list, in square brackets."
    if not loc or first["type"] == "value_error":
        return f"{where}: {first['msg'].removeprefix('Value error, ')}."
    return f"{where}: {key} = {_shown(first['input'])} cannot be used; {_in_toml(first['msg'])}."


def _unknown(loc: list[str], where: str, root: type[BaseModel]) -> str:
    """Tell of a setting that is not known: the nearest one, in its section or else in another, and where all stand."""
    known, name = _known_keys(loc[:-1], root), loc[-1]
    word = loc[0] if loc[1:] else ""
    hint = did_you_mean(name, known, show=lambda close: repr(".".join([*loc[:-1], close])))
    if not hint:
        others = {each.key.rpartition(".")[2]: each.key for each in reversed(settings_of(root, sections=True))}
        hint = did_you_mean(name, others, cutoff=0.75, show=lambda close: repr(others[close]))
        word = name if name in others else word
    found = hint.rstrip() or f"known here: {', '.join(known)}."
    option = "--pretrain " if "corpus" in root.model_fields else ""
    look = f"r1zero settings {option}{word}".rstrip()
    return f"{where} has an unknown setting {'.'.join(loc)!r}; {found} See `{look}`."


def _items_wanted(first: Complaint, every: Sequence[Complaint]) -> int | None:
    """Tell how many values a list of fixed length wants, where its length is what is wrong."""
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return 1 + max(int(each["loc"][-1]) for each in every if each["loc"][:-1] == first["loc"][:-1])
    return first["ctx"]["max_length"] if first["type"] == "too_long" and "ctx" in first else None


def _shown(value: object) -> str:
    """Return a value as TOML writes it, where that differs from Python."""
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _in_toml(message: str) -> str:
    """Return Pydantic's own words, with TOML's names for the kinds of values."""
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a table", message)
    message = message.replace("tuple", "list").replace("a valid boolean", "true or false")
    return message[0].lower() + message[1:]


def _known_keys(loc: Sequence[str], root: type[BaseModel]) -> list[str]:
    return list(dict.fromkeys(key for section in _sections_at(loc, root) for key in section.model_fields))


def _sections_at(loc: Sequence[str], root: type[BaseModel]) -> list[type[BaseModel]]:
    """Return the sections that may stand at a place: one, none for a plain setting, or several to choose from."""
    here = [root]
    for part in loc:
        if part.isdigit():
            continue
        fields = [each.model_fields[part] for each in here if part in each.model_fields]
        here = [section for field in fields for some in inner_sections(field.annotation) for section in some]
    return here
