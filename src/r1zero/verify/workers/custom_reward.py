r"""A user's own reward function, run by the same killable workers and under the same limits as our grader.

`verifier.reward` names it:

    my_rewards:length_reward          a function of an importable module
    rewards/mine.py:reward            a function of a file
    cmd: python grade.py --strict     a command, started once per response

So does `use` of a reward in a list (`[[reward]]`), which may have `options`. A function is called by what its
parameters name (`calling`): `reward(response, gold)` with the text of the response and the list of its accepted
answers. A command reads one JSON object `{"response": …, "gold": […]}` on standard input, in a list with all fields,
and prints its result as JSON. The result is true or false, a number (the score; from 1 upwards the response counts as
right), a mapping with such a `score` and further numbers, or None/null where the response cannot be graded.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero.errors import UserError
from r1zero.verify.workers.calling import FIELDS, Calling, Fields, awaited, caller

COMMAND = "cmd:"
MAX_RESPONSE_CHARS = 1_000_000
_MAX_OUTPUT = 10_000

Judgement = tuple[str, str, float | None]
"""(outcome, rule, score)"""
Columns = dict[str, float]
"""Further numbers that a reward gave, by name."""
_MOST_COLUMNS = 32


def said(spec: str, name: str | None = None) -> str:
    """Return a user's reward as the recipe has it: `verifier.reward`, or the one of a name in a list."""
    return f"verifier.reward = {spec!r}" if name is None else f"reward {name!r}, use = {spec!r},"


def check_reward(spec: str, name: str | None = None) -> None:
    """Refuse a reward that can name no function or command; workers load the function itself."""
    what = said(spec, name)
    if spec.startswith(COMMAND):
        words = _words(spec, name)
        if not words or shutil.which(words[0]) is None:
            raise UserError(
                f"{what} starts no program that can be found; write {COMMAND} and a command line, "
                "for example 'cmd: python grade.py'."
            )
        return
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UserError(
            f"{what} names no function; write module:function, file.py:function, or {COMMAND} and a command line."
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise UserError(f"{what} names a file that does not exist; mend its path.")


def located(spec: str) -> str:
    """Name the same function for processes that work in another folder; a command is found by whoever runs it."""
    place, _, name = spec.rpartition(":")
    if spec.startswith(COMMAND) or not place.endswith(".py"):
        return spec
    return f"{Path(place).resolve()}:{name}"


def load_reward(spec: str, limit_s: float, options: Mapping[str, Any] | None = None) -> Reward:
    """Return the function or command of a spec. Whatever importing it raises goes through; the caller reports it."""
    name = spec.removeprefix(COMMAND).strip()
    if spec.startswith(COMMAND):
        command = _command(_words(spec), limit_s)
        all_of_it = options is not None  # else what `verifier.reward` has always been told
        calling = Calling(lambda fields: command(_told(fields, all_of_it)), None if all_of_it else frozenset())
    else:
        calling = caller(_function(spec), options, name)
    return Reward(name, calling)


@dataclass(frozen=True, slots=True)
class Reward:
    """A user's function or command as a grader."""

    name: str
    calling: Calling

    def __call__(self, fields: Fields) -> tuple[Judgement, Columns]:
        """Return what it says of a response. Raises what it raises."""
        found = awaited(self.calling.call(fields))
        outcome, score = judged(found)
        rule = f"reward {self.name}" if outcome != "ungraded" else f"reward {self.name} gave no result"
        return (outcome, rule, score), columns_of(found)


def _told(fields: Fields, all_of_it: bool) -> dict[str, Any]:
    return {name: fields[name] for name in (FIELDS if all_of_it else ("response", "gold"))}


def columns_of(result: object) -> Columns:
    """Return the further numbers of a result that is a mapping. ValueError if there are too many to keep."""
    if not isinstance(result, Mapping):
        return {}
    numbers = {str(name): value for name, value in result.items() if name != "score" and isinstance(value, int | float)}
    if len(numbers) > _MOST_COLUMNS:
        raise ValueError(f"it returned {len(numbers)} numbers: return {_MOST_COLUMNS} beside the score at the most")
    return {re.sub(r"[^\w-]+", "_", name)[:40]: float(value) for name, value in numbers.items() if math.isfinite(value)}


def judged(result: object) -> tuple[str, float | None]:
    """Return (outcome, score) of what a reward function returned. TypeError or ValueError if it is no result."""
    if isinstance(result, Mapping):
        if "score" not in result:
            raise TypeError("it returned a dict without a score: return {'score': …, …}")
        result = result["score"]
    if result is None:
        return "ungraded", None
    if isinstance(result, bool):
        return ("right" if result else "wrong"), None
    if callable(result):
        raise TypeError("it returned a function: a factory is called first with the options that its reward has")
    try:
        score = float(result) if not isinstance(result, str | bytes) else None  # type: ignore[arg-type]
    except TypeError:
        score = None
    if score is None:
        raise TypeError(f"it returned a {type(result).__name__}: return true or false, a number, or None")
    if not math.isfinite(score):
        raise ValueError("the reward is not finite")
    return ("right" if score >= 1 else "wrong"), score


def _words(spec: str, name: str | None = None) -> list[str]:
    try:
        return shlex.split(spec.removeprefix(COMMAND))
    except ValueError as error:
        raise UserError(f"{said(spec, name)} is not a valid command line ({error}): mend its quotes.") from error


def _function(spec: str) -> Callable[..., Any]:
    place, _, name = spec.rpartition(":")
    sys.path.append(str(Path.cwd()))  # behind everything else: a sympy.py of the user's must not replace the real one
    if place.endswith(".py"):
        found = importlib.util.spec_from_file_location("r1zero_user_reward", place)
        if found is None or found.loader is None:
            raise ImportError(f"{place} cannot be imported")
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    function = getattr(module, name)
    if not callable(function):
        raise TypeError(f"{spec} is not callable")
    return function


def _command(words: list[str], limit_s: float) -> Callable[[dict[str, Any]], object]:
    def run(told: dict[str, Any]) -> object:
        task = json.dumps(told)
        # Its own limit, in case that this worker's parent is gone; the parent kills the whole session.
        done = subprocess.run(words, input=task, capture_output=True, text=True, timeout=limit_s + 0.5, check=False)
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}")
        return json.loads(done.stdout[:_MAX_OUTPUT])

    return run
