"""What rendering a template may cost.

Templates come with models and from files of others. Jinja's sandbox keeps them from running code, but not from looping
for ever or from building a gigabyte.
"""

from __future__ import annotations

import re
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

MAX_STEPS = 300_000
"""Lines of a template's compiled code and calls of what it uses; the longest of real models take some thousand."""
MAX_CHARS = 1_000_000
MAX_SECONDS = 10.0  # of computing: what else a machine is busy with says nothing of a template
_MAX_GROWTH = 1 << 29  # bytes of memory, looked at every so many steps
_LOOK_EVERY = 64
_WIDTH = re.compile(r"%[-+ #0]*[0-9]{6}")


class LimitError(RuntimeError):
    """A template costs more than any that asks a question."""


@contextmanager
def limited() -> Iterator[None]:
    """Let what is rendered inside, by this thread, take so many steps, seconds and bytes at most. LimitError if more.

    It is counted by the interpreter's own trace function, as no other thread could stop this one.
    """
    steps, begun, size = 0, time.thread_time(), _most_memory()

    def count(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > MAX_STEPS:
            raise LimitError(f"it takes more than {MAX_STEPS:,} steps, as in a loop without end")
        if steps % _LOOK_EVERY == 0:
            if time.thread_time() - begun > MAX_SECONDS:
                raise LimitError(f"it takes more than {MAX_SECONDS:g} seconds")
            if _most_memory() - size > _MAX_GROWTH:
                raise LimitError("it builds more than 512 MiB")
        return count if frame.f_code.co_filename == "<template>" else None

    before = sys.gettrace()
    sys.settrace(count)
    try:
        yield
    finally:
        sys.settrace(before)


def _most_memory() -> int:
    """Return the most memory that this process ever held, in bytes."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def check_constants(source: str) -> None:
    """Refuse a template that holds a number, a power or a width such as no prompt needs: one operation with it could
    take the machine's memory, and steps are only counted between operations. LimitError names it."""
    from jinja2 import Environment, TemplateSyntaxError, nodes

    try:
        tree = Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source)
    except TemplateSyntaxError:  # tags of other extensions; a real error is found when it is rendered
        return
    for node in tree.find_all((nodes.Const, nodes.Pow)):
        value = node.value if isinstance(node, nodes.Const) else "**"
        is_huge = isinstance(value, int | float) and not abs(value) <= MAX_CHARS
        if isinstance(node, nodes.Pow) or is_huge or (isinstance(value, str) and _WIDTH.search(value)):
            raise LimitError(f"it computes with {str(value)[:40]}, and no prompt needs that")


def read_names(source: str) -> set[str] | None:
    """Return the names that a template reads and does not set; None where its syntax is another program's own."""
    from jinja2 import Environment, TemplateSyntaxError, meta

    try:
        return meta.find_undeclared_variables(Environment(extensions=["jinja2.ext.loopcontrols"]).parse(source))
    except TemplateSyntaxError:
        return None


def of_readable_length(text: str) -> str:
    """Return the prompt. LimitError if it is longer than any."""
    if len(text) > MAX_CHARS:
        raise LimitError(f"the prompt has {len(text):,} characters, and no model reads so many")
    return text
