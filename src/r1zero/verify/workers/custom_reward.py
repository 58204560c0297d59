r"""A user's own reward function, run by the same killable workers and under the same limits as our grader.

`verifier.reward` names it:

    my_rewards:length_reward          a function of an importable module
    rewards/mine.py:reward            a function of a file
    cmd: python grade.py --strict     a command, started once per response

A function is called as `reward(response, gold)` with the text of the response and the list of its accepted answers. A
command reads one JSON object `{"response": …, "gold": […]}` on standard input and prints its result as JSON. The result
is true or false, a number (the score; from 1 upwards the response counts as right), or None/null where the response
cannot be graded.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import math
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from r1zero.errors import UserError

COMMAND = "cmd:"
MAX_RESPONSE_CHARS = 1_000_000
_MAX_OUTPUT = 10_000

Judgement = tuple[str, str, float | None]
"""(outcome, rule, score)"""
RewardFunction = Callable[[str, list[str]], object]


def check_reward(spec: str) -> None:
    """Refuse a `verifier.reward` that can name no function or command; workers load the function itself."""
    if spec.startswith(COMMAND):
        words = _words(spec)
        if not words or shutil.which(words[0]) is None:
            raise UserError(
                f"verifier.reward = {spec!r} starts no program that can be found; write {COMMAND} and a command line, "
                "for example 'cmd: python grade.py'."
            )
        return
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise UserError(
            f"verifier.reward = {spec!r} names no function; write module:function, file.py:function, or {COMMAND} "
            "and a command line."
        )
    if place.endswith(".py") and not Path(place).is_file():
        raise UserError(f"verifier.reward = {spec!r} names a file that does not exist; mend its path.")


def located(spec: str) -> str:
    """Name the same function for processes that work in another folder; a command is found by whoever runs it."""
    place, _, name = spec.rpartition(":")
    if spec.startswith(COMMAND) or not place.endswith(".py"):
        return spec
    return f"{Path(place).resolve()}:{name}"


def load_reward(spec: str, limit_s: float) -> Callable[[str, list[str]], Judgement]:
    """Return the function or command as a grader. Whatever importing it raises goes through; the caller reports it."""
    function = _command(_words(spec), limit_s) if spec.startswith(COMMAND) else _function(spec)
    name = spec.removeprefix(COMMAND).strip()

    def grade(response: str, gold: list[str]) -> Judgement:
        outcome, score = judged(function(response, gold))
        return outcome, f"reward {name}" if outcome != "ungraded" else f"reward {name} gave no result", score

    return grade


def judged(result: object) -> tuple[str, float | None]:
    """Return (outcome, score) of what a reward function returned. TypeError or ValueError if it is no result."""
    if result is None:
        return "ungraded", None
    if isinstance(result, bool):
        return ("right" if result else "wrong"), None
    if inspect.iscoroutine(result):
        result.close()
        raise TypeError("it is an async function: write a plain one")
    try:
        score = float(result) if not isinstance(result, str | bytes) else None  # type: ignore[arg-type]
    except TypeError:
        score = None
    if score is None:
        raise TypeError(f"it returned a {type(result).__name__}: return true or false, a number, or None")
    if not math.isfinite(score):
        raise ValueError("the reward is not finite")
    return ("right" if score >= 1 else "wrong"), score


def _words(spec: str) -> list[str]:
    try:
        return shlex.split(spec.removeprefix(COMMAND))
    except ValueError as error:
        raise UserError(
            f"verifier.reward = {spec!r} is not a valid command line ({error}): mend its quotes."
        ) from error


def _function(spec: str) -> RewardFunction:
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


def _command(words: list[str], limit_s: float) -> RewardFunction:
    def run(response: str, gold: list[str]) -> object:
        task = json.dumps({"response": response, "gold": gold})
        # Its own limit, in case that this worker's parent is gone; the parent kills the whole session.
        done = subprocess.run(words, input=task, capture_output=True, text=True, timeout=limit_s + 0.5, check=False)
        if done.returncode:
            raise RuntimeError(f"exit status {done.returncode}")
        return json.loads(done.stdout[:_MAX_OUTPUT])

    return run
