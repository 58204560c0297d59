"""What a function says, as 16 hex digits: a run that was given one as an object can tell when it is given another."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import textwrap
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def function_name(function: Callable[..., Any]) -> str:
    """Return what a function is called; of an object that can be called, its class."""
    if isinstance(function, functools.partial):
        return function_name(function.func)
    return getattr(function, "__qualname__", type(function).__qualname__).rpartition("<locals>.")[2]


def source_hash(function: Callable[..., Any]) -> str:
    """Return 16 hex digits of a function's source, its defaults, and the plain values that it closes over.

    Comments, blank lines and indentation are nothing to it. Of a lambda, and where no source can be had (a prompt's, a
    built-in one), it is of its code as compiled, which another Python compiles otherwise. What it calls is not looked
    into.
    """
    digest = hashlib.sha256()
    for part in _parts(function):
        digest.update(part.encode(errors="replace") + b"\0")
    return digest.hexdigest()[:16]


def _parts(function: Callable[..., Any]) -> Iterator[str]:
    if isinstance(function, functools.partial):
        yield from _parts(function.func)
        yield from (_shown(value) for value in function.args)
        yield from (f"{name}={_shown(value)}" for name, value in sorted(function.keywords.items()))
        return
    plain = function if inspect.isfunction(function) or inspect.ismethod(function) else None
    if plain is None and not inspect.isbuiltin(function):
        yield from (f"{name}={_shown(value)}" for name, value in sorted(getattr(function, "__dict__", {}).items()))
        plain = getattr(type(function), "__call__", None)  # noqa: B004  its code, not whether it has any
    yield function_name(function)
    inner: Any = getattr(plain, "__func__", plain)
    while isinstance(inner, FunctionType) and "__wrapped__" in vars(inner):  # `getsource` looks through it
        yield "".join(_compiled(inner.__code__))
        yield from _closed_over(inner)
        inner = vars(inner)["__wrapped__"]
    yield _source(inner)
    if isinstance(inner, FunctionType):
        yield from map(_shown, inner.__defaults__ or ())
        yield from (f"{name}={_shown(value)}" for name, value in sorted((inner.__kwdefaults__ or {}).items()))
        yield from _closed_over(inner)


def _source(function: Any) -> str:
    if getattr(function, "__name__", "") == "<lambda>":  # its source is that of the lines that it stands in
        return "".join(_compiled(function.__code__))
    try:
        lines = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        code = getattr(function, "__code__", None)
        return "".join(_compiled(code)) if isinstance(code, CodeType) else repr(type(function))
    return ast.unparse(ast.parse(lines))  # alike in all Pythons but for quotes within f-strings; dumps are not


def _compiled(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield " ".join(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _compiled(constant)
        else:
            yield repr(constant)


def _closed_over(function: FunctionType) -> Iterator[str]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield f"{name}={_shown(cell.cell_contents)}"
        except ValueError:  # not filled yet
            yield name


def _shown(value: object) -> str:
    """Return a plain value as it is, or what kind of thing another is, whose address says nothing."""
    if isinstance(value, _PLAIN):
        return repr(value)
    if isinstance(value, tuple | list):
        return f"{type(value).__name__}({', '.join(map(_shown, value))})"
    if isinstance(value, dict):
        return f"dict({', '.join(f'{_shown(key)}: {_shown(each)}' for key, each in value.items())})"
    if callable(value) and not isinstance(value, type):
        return f"{function_name(value)}:{_source(value)}" if inspect.isfunction(value) else function_name(value)
    return type(value).__qualname__
