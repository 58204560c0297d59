"""What a user's reward needs before it grades: the files beside it, and the modules that its functions import.

A function that imports torch when it is first called would run into the limit of one answer, be killed, and import it
anew for the next. So what is imported anywhere in its file, or in those beside it that it imports, is imported when the
worker starts, which has a limit of its own.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType

from r1zero.verify.workers.custom_reward import COMMAND


def look_beside(spec: str) -> None:
    """Let a reward file import what lies beside it: behind everything else, so that no sympy.py there is the real one's
    stand-in.
    """
    place, _, _ = spec.rpartition(":")
    if not spec.startswith(COMMAND) and place.endswith(".py"):
        sys.path.append(str(Path(place).resolve().parent))


def import_ahead(spec: str) -> None:
    """Import what the functions of a reward's file import. What cannot be imported is left to them."""
    file = _source(spec)
    waiting, seen = [file] if file else [], set[Path]()
    while waiting:
        source = waiting.pop()
        seen.add(source)
        for name in _imported(source):
            with suppress(*_FAILURES):
                beside = _file_of(importlib.import_module(name))
                if beside and beside.parent == source.parent and beside not in seen:
                    waiting.append(beside)


_FAILURES = (Exception, SystemExit)  # importing runs others' code, which may raise anything; it will again when asked


def _imported(source: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(source.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _source(spec: str) -> Path | None:
    """Return the file of a reward that is loaded, None where it has none that can be read."""
    place, _, _ = spec.rpartition(":")
    if spec.startswith(COMMAND):
        return None
    return Path(place).resolve() if place.endswith(".py") else _file_of(sys.modules[place])


def _file_of(module: ModuleType) -> Path | None:
    file = module.__file__
    return Path(file).resolve() if file and file.endswith(".py") else None
