"""What pydantic complains about, as one sentence that names the setting and the remedy."""

from __future__ import annotations

import re
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from r1zero.config.sections import BenchmarkSettings, SourceSettings
from r1zero.errors import did_you_mean


def sentence(error: ValidationError, where: str, root: type[BaseModel]) -> str:
    """Return the first of pydantic's complaints about a `root`, recipe or section: the setting and the remedy."""
    first = error.errors()[0]
    loc = [str(part) for part in first["loc"]]
    key = ".".join(loc)
    if first["type"] == "extra_forbidden":
        known = _known_keys(loc[:-1], root)
        listed = ", ".join(known)
        hint = did_you_mean(loc[-1], known, show=lambda close: repr(".".join([*loc[:-1], close])))
        return f"{where} has an unknown setting {key!r}; {hint.rstrip() or f'known here: {listed}.'}"
    if wanted := _items_wanted(error):
        key = ".".join(loc[:-1]) if first["type"] == "missing" else key
        return f"{where}: {key} = {_shown(first['input'])} cannot be used; write a list of {wanted} values."
    kind = root.model_fields[key].annotation if key in root.model_fields else None
    section = isinstance(kind, type) and issubclass(kind, BaseModel)
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


def _items_wanted(error: ValidationError) -> int | None:
    """Tell how many values a list of fixed length wants, where its length is what is wrong."""
    first = error.errors()[0]
    if first["type"] == "missing" and isinstance(first["loc"][-1], int):
        return 1 + max(int(each["loc"][-1]) for each in error.errors() if each["loc"][:-1] == first["loc"][:-1])
    return first["ctx"]["max_length"] if first["type"] == "too_long" and "ctx" in first else None


def _shown(value: object) -> str:
    """Return a value as TOML writes it, where that differs from Python."""
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


def _in_toml(message: str) -> str:
    """Return Pydantic's own words, with TOML's names for the kinds of values."""
    message = re.sub(r"a valid dictionary( or instance of \w+)?", "a table", message)
    message = message.replace("tuple", "list").replace("a valid boolean", "true or false")
    return message[0].lower() + message[1:]


def _known_keys(loc: list[str], root: type[BaseModel]) -> list[str]:
    section: Any = root
    for part in loc:
        field = section.model_fields.get(part) if isinstance(section, type) and issubclass(section, BaseModel) else None
        if field is None:
            listed = {"benchmarks": BenchmarkSettings, "sources": SourceSettings}
            return next((list(kind.model_fields) for name, kind in listed.items() if name in loc), [])
        options = [kind for kind in get_args(field.annotation) if isinstance(kind, type) and kind is not type(None)]
        section = options[0] if len(options) == 1 else field.annotation  # a section that may be left out
    return list(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []
