"""Dotted names of settings: overrides from the command line, and what differs between two recipes."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from r1zero.config.sections import Keeps, Section
from r1zero.errors import UserError, plural


def parse_overrides(tokens: list[str]) -> dict[str, object]:
    """`["--train.seed", "1", "--objective.name=grpo"]` → `{"train.seed": 1, "objective.name": "grpo"}`.

    Values are TOML where they parse as TOML (numbers, true, lists), plain strings otherwise.
    """
    overrides: dict[str, object] = {}
    rest = list(tokens)
    while rest:
        token = rest.pop(0)
        key, equals, value = token.removeprefix("--").partition("=")
        if not token.startswith("--") or not key:
            raise UserError(f"{token!r} is not an override; write --section.key value, for example --train.seed 1.")
        if not equals:
            if not rest:
                raise UserError(f"--{key} has no value; write --{key} VALUE.")
            value = rest.pop(0)
        overrides[key] = _value(value)
    return overrides


def parse_pairs(words: list[str], option: str, example: str = "enable_thinking=false") -> dict[str, object]:
    """`["enable_thinking=false", "effort=low"]`, as an option of a command takes them, → `{"enable_thinking": False,
    "effort": "low"}`. Values as in `parse_overrides`. Raises UserError.
    """
    pairs: dict[str, object] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise UserError(f"{option} {word} is not a valid setting: write NAME=VALUE, such as {example}.")
        if name in pairs:
            raise UserError(f"{option} gives {name} more than once; keep one of them.")
        pairs[name] = _value(value)
    return pairs


def parse_settings(words: list[str], option: str) -> dict[str, object]:
    """`["learner.updates=4", "log={project='x'}"]` → dotted settings of a recipe, each once. Raises UserError."""
    found: dict[str, object] = {}
    for name, value in parse_pairs(words, option, "learner.updates=4").items():
        for key, each in flattened({name: value}).items():
            if any(overlap(key, known) for known in found):
                raise UserError(f"{option} gives {key} more than once; keep one of them.")
            found[key] = each
    return found


def overlap(one: str, other: str) -> bool:
    """Tell whether two dotted names are of one setting, or one of them of a section that the other stands in."""
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def differences(old: Section, new: Section, but: Keeps = Keeps.NOTHING) -> list[str]:
    """Return dotted names of the settings that differ between two recipes of one kind, but for those of a mark."""
    flat_old, flat_new = flattened(old.model_dump(mode="json")), flattened(new.model_dump(mode="json"))
    unmarked = without(flat_old | flat_new, type(new), but)
    return sorted(key for key in unmarked if flat_old.get(key) != flat_new.get(key))


def marked(kind: type[Section], mark: Keeps) -> Iterator[str]:
    """List the dotted names of a recipe's settings, or whole sections, that bear a mark."""
    for name, field in kind.model_fields.items():
        if any(mark & each for each in field.metadata if isinstance(each, Keeps)):
            yield name
            continue
        for inner in get_args(field.annotation) or (field.annotation,):
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from (f"{name}.{key}" for key in marked(inner, mark))


def without(flat: Mapping[str, Any], kind: type[Section], mark: Keeps) -> dict[str, Any]:
    """Leave out of a flattened recipe the settings that bear a mark, or stand in a section that does."""
    left_out = tuple(f"{name}." for name in marked(kind, mark))
    return {key: value for key, value in flat.items() if not f"{key}.".startswith(left_out)}


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def flattened(data: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys; lists, and the mappings in them, stay as they are."""
    flat: dict[str, Any] = {}
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat |= flattened(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def merge(data: Mapping[str, Any], overrides: Mapping[str, object]) -> dict[str, Any]:
    """`data` with dotted overrides put in their places; `data` itself stays as it is."""
    merged: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value for key, value in data.items()}
    for dotted, value in overrides.items():
        _put(merged, dotted.split("."), value, dotted)
    return merged


def _put(node: dict[str, Any], parts: Sequence[str], value: object, dotted: str) -> None:
    """Put a value in its place in nested tables, which are copied on the way. Of a list of tables a number says which,
    counted from 0. Raises UserError where there is no such table."""
    part, *rest = parts
    child = node.get(part)
    if not rest:
        node[part] = value
    elif isinstance(child, list | tuple) or (child is None and rest[0].isdecimal() and rest[1:]):
        items = [dict(each) if isinstance(each, Mapping) else each for each in child or ()]
        place = int(rest[0]) if rest[0].isdecimal() and len(rest[0]) < 10 else None
        if place is None or place >= len(items) or not rest[1:] or not isinstance(items[place], dict):
            raise _not_in_list(dotted, ".".join(dotted.split(".")[: -len(rest)]), len(items))
        _put(items[place], rest[1:], value, dotted)
        node[part] = items
    else:
        node[part] = dict(child) if isinstance(child, Mapping) else {}
        _put(node[part], rest, value, dotted)


def _not_in_list(dotted: str, listed: str, count: int) -> UserError:
    if not count:
        return UserError(f"{dotted} names a table of {listed}, and the recipe has none: write [[{listed}]] in it.")
    there = f"{listed}.0.KEY" if count == 1 else f"{listed}.0.KEY to {listed}.{count - 1}.KEY"
    return UserError(
        f"{dotted} names none of the {plural(count, 'table')} of {listed}, which are counted from 0: write {there}, "
        f"or the whole list as {listed}."
    )


SHORT = {"questions": "questions.sources"}
"""Lists of tables by the short names that a recipe's file may have for them."""


def as_table(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a recipe whose `[[questions]]` stand where several sources stand: in `questions.sources`."""
    listed = data.get("questions")
    return {**data, "questions": {"sources": listed}} if isinstance(listed, list | tuple) else data
