"""Every setting of a recipe as data: key, type, default, bounds, meaning, and what a resumed run may change.

    [setting.key for setting in settings_of(Recipe)]    # model, model.path, …, evaluation.benchmarks[].name, …

All of it is read off the sections: what pydantic holds of a field, and the texts below fields and under class names.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from r1zero.config.sections import Keeps

REQUIRED = "required"
"""The default of a setting that has to be given."""
TABLES = "list of tables"
UNSET = "unset"
"""What None is called, which TOML has not."""
_LIMITS = {
    "ge": "at least",
    "gt": "above",
    "le": "at most",
    "lt": "below",
    "min_length": "at least",
    "max_length": "at most",
}
_NAMES = {bool: "true or false", int: "integer", float: "number", str: "text", Any: "anything", NoneType: UNSET}
_PLURALS = {"anything": "anything", "true or false": "true or false"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, or one section that may be left out or repeated: its `settings` follow it."""

    key: str
    """Its dotted name; `[]` behind a list of tables, of which it is a key."""
    type: str
    default: str
    """As TOML writes it, or REQUIRED or UNSET."""
    bounds: str
    meaning: str
    keeps: Keeps
    is_section: bool = False

    @property
    def is_list(self) -> bool:
        """Whether it is a list of tables, which is given whole."""
        return self.type == TABLES

    @property
    def section(self) -> str:
        """The section that it stands in."""
        return self.key.rpartition(".")[0]

    @property
    def resuming(self) -> str:
        """Whether a resumed run may change it, in a word (docs/resuming.md)."""
        if Keeps.RUN in self.keeps:
            return "free"
        if Keeps.PAST in self.keeps:
            return "from there on"
        return "same elsewhere" if Keeps.PLACE in self.keeps else "fixed"


RESUMING = {
    "free": "a resumed run may change it, and stays the same run",
    "from there on": "a resumed run may change it; what is done stays, and a note says that another course follows",
    "same elsewhere": "a resumed run may name another place, where a fingerprint proves that the same lies there",
    "fixed": "a resumed run keeps it: with another value it would be another run",
}
"""What `Setting.resuming` says, at length."""


def settings_of(kind: type[BaseModel], *, sections: bool = False) -> tuple[Setting, ...]:
    """Return all settings of a recipe's kind, in order; with `sections` those that are sections stand before theirs."""
    found = _walk(kind, "", Keeps.NOTHING)
    return tuple(each for each in found if sections or not each.is_section or each.is_list)


def by_section(kind: type[BaseModel]) -> list[tuple[Setting, tuple[Setting, ...]]]:
    """Return every section, or list of tables, with its own settings; a list stands in the section around it, too."""
    found = settings_of(kind, sections=True)
    plain = [each for each in found if not each.is_section or each.is_list]
    return [
        (section, tuple(each for each in plain if each.section == _inside_of(section)))
        for section in found
        if section.is_section
    ]


def _inside_of(section: Setting) -> str:
    """Return what the names of a section's settings begin with."""
    return f"{section.key.removesuffix('[]')}[]" if section.is_list else section.key


def _walk(kind: type[BaseModel], prefix: str, inherited: Keeps) -> Iterator[Setting]:
    for name, field in kind.model_fields.items():
        keeps = inherited
        for mark in field.metadata:
            keeps |= mark if isinstance(mark, Keeps) else Keeps.NOTHING
        alone, listed = inner_sections(field.annotation)
        meaning = re.sub(r"\bNone\b", UNSET, docstrings(kind).get(name, ""))
        for inner in alone:
            text = meaning or " ".join((inner.__doc__ or "").split())
            yield Setting(f"{prefix}{name}", "section", default_of(field), "", text, keeps, is_section=True)
            yield from _walk(inner, f"{prefix}{name}.", keeps)
        for inner in listed:
            text = meaning or " ".join((inner.__doc__ or "").split())
            default = default_of(field) if not alone else UNSET
            yield Setting(f"{prefix}{name}[]" if alone else f"{prefix}{name}", TABLES, default,
                          "", text, keeps, is_section=True)  # fmt: skip
            yield from _walk(inner, f"{prefix}{name}[].", keeps)
        if not alone and not listed:
            yield Setting(f"{prefix}{name}", type_of(field.annotation), default_of(field),
                          bounds_of(field), meaning, keeps)  # fmt: skip


def inner_sections(annotation: Any) -> tuple[list[type[BaseModel]], list[type[BaseModel]]]:
    """Return the sections that a field holds by themselves, and those that it holds lists of."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return inner_sections(get_args(annotation)[0])
    if origin in (Union, UnionType):
        pairs = [inner_sections(each) for each in get_args(annotation)]
        return [one for alone, _ in pairs for one in alone], [one for _, listed in pairs for one in listed]
    if origin in (tuple, list):
        return [], list(dict.fromkeys(one for each in get_args(annotation) for one in inner_sections(each)[0]))
    return ([annotation] if isinstance(annotation, type) and issubclass(annotation, BaseModel) else []), []


def type_of(annotation: Any) -> str:
    """Name the type of a setting's values, as TOML has them; a choice by its values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return type_of(parts[0])
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(type_of(each) for each in parts if each is not NoneType))
    if origin is Literal:
        return ", ".join(toml(each) for each in parts)
    if origin in (tuple, list):
        inner = type_of(parts[0])
        many = _PLURALS.get(inner) or f"{inner}s"
        fixed = origin is tuple and parts[-1] is not Ellipsis
        return f"list of {len(parts)} {many}" if fixed else f"list of {many}"
    if origin in (dict, Mapping) or annotation in (dict, Mapping):
        return "table"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return ", ".join(toml(each.value) for each in annotation)
    return _NAMES.get(annotation) or str(getattr(annotation, "__name__", annotation))


def bounds_of(field: FieldInfo) -> str:
    """Tell the bounds of a setting's values, or of the values in a list."""
    return _limits(field.metadata) or _inside(field.annotation)


def _inside(annotation: Any, each: str = "") -> str:
    """Tell the bounds within an annotation, such as `tuple[Annotated[float, Field(ge=0)], ...]`."""
    if get_origin(annotation) is Annotated and (said := _limits(annotation.__metadata__)):
        return f"{each}{said}"
    each = "each " if get_origin(annotation) in (tuple, list) else each
    return next((said for part in get_args(annotation) if (said := _inside(part, each))), "")


def _limits(metadata: Any) -> str:
    """Tell what annotated-types' marks say, such as `Ge(ge=1)`, and what a Field inside an annotation holds."""
    marks: list[Any] = []
    for each in metadata:
        marks += each.metadata if isinstance(each, FieldInfo) else [each]
    said = [f"{words} {_bound(getattr(mark, name))}" for mark in marks for name, words in _LIMITS.items()
            if isinstance(getattr(mark, name, None), int | float)]  # fmt: skip
    return ", ".join(said)


def _bound(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


def default_of(field: FieldInfo) -> str:
    """Return a setting's default as TOML writes it."""
    if field.is_required():
        return REQUIRED
    default = field.get_default(call_default_factory=True, validated_data={})
    if default is None:
        return UNSET
    return "" if isinstance(default, BaseModel) else toml(default)


def toml(value: Any) -> str:
    """Return a value as TOML writes it in a line."""
    match value:
        case bool():
            return str(value).lower()
        case Enum():
            return toml(value.value)
        case float():
            return _number(value)
        case str():
            return '"' + "".join(_TOML_ESCAPES.get(each, each) for each in value) + '"'
        case tuple() | list():
            return f"[{', '.join(map(toml, value))}]"
        case BaseModel():
            return toml(value.model_dump(mode="json", exclude_defaults=True))
        case Mapping():
            inside = ", ".join(f"{_toml_key(key)} = {toml(each)}" for key, each in value.items() if each is not None)
            return f"{{ {inside} }}" if inside else "{}"
        case _:
            return str(value)


_TOML_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"} | {
    chr(code): f"\\u{code:04X}" for code in [*range(9), 11, 12, *range(14, 32), 127]
}


def _number(value: float) -> str:
    """Return a float so that TOML reads a float: Python's 1e-06 is 1e-6, and 10 is 10.0."""
    text = repr(value)
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _toml_key(key: str) -> str:
    plain = key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if plain else toml(key)


def docstrings(kind: type) -> dict[str, str]:
    """Return the text below each field of a class, those of the classes that it is made from included."""
    found: dict[str, str] = {}
    for each in reversed(kind.__mro__):
        if each.__module__.partition(".")[0] not in ("builtins", "pydantic"):
            found |= _texts(each.__module__).get(each.__qualname__, {})
    return found


@cache
def _texts(module: str) -> dict[str, dict[str, str]]:
    """Read the texts below fields off a module's source: class → field → text."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {node.name: dict(_below(node)) for node in tree.body if isinstance(node, ast.ClassDef)}


def _below(node: ast.ClassDef) -> Iterator[tuple[str, str]]:
    for field, text in zip(node.body, node.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr) \
                and isinstance(text.value, ast.Constant) and isinstance(text.value.value, str):  # fmt: skip
            yield field.target.id, " ".join(text.value.value.split())
