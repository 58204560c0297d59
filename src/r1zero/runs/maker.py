"""Whose code a run's own recipe names, and whether this user on this machine has run it before.

A run directory may come from anybody. Its recipe may name a reward, which is code; whoever continues the run by its
directory alone has not chosen that. Where the run was not made here, it is said before the code runs.
"""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
from pathlib import Path

from r1zero.config import Recipe
from r1zero.endpoint import JUDGE_KEY
from r1zero.runs import moved
from r1zero.runs.run import Run

_COMMAND = "cmd:"


def maker() -> str:
    """Return a short name of this user on this machine, which tells nobody who or where that is."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a user id without a name, as containers have it
        user = ""
    told = "\0".join((user, str(os.getuid()), platform.node(), os.path.expanduser("~")))  # noqa: PTH111  as it is set
    return hashlib.sha256(told.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def foreign_reward(run: Run, recipe: Recipe) -> str:
    """Return a note on the code that a run by somebody else is about to have run; nothing where there is none."""
    found = moved.placed(run.recipe, recipe, run.places)
    told = [_told(each) for each in (found.verifier.reward, *(part.code for part in found.reward)) if each is not None]
    servers = [f"the judge at {part.options.get('server')}" for part in found.reward if part.use == "judge"]
    if not told + servers or maker() in (run.facts.get("maker"), *(row.get("maker") for row in run.read("notes"))):
        return ""
    notes = [
        f"the reward that {run.path} names is code, and this run was not made by you on this machine: {each} "
        "runs now, with all that you may do; Ctrl-C ends it (docs/security.md)"
        for each in told
    ]
    notes += [
        f"{run.path} was not made by you on this machine: {each} is sent every response now, and your {JUDGE_KEY} if "
        "it is set; Ctrl-C ends it (docs/security.md)"
        for each in servers
    ]
    return "\n".join(notes)


def accept(run: Run, note: str) -> None:
    """Keep in a run's notes that its reward was said, and run, here: it is not said again."""
    done = max((row["step"] for row in run.read("metrics")), default=0)
    run.note(done, [note], maker=maker())


def _told(reward: str) -> str:
    if reward.startswith(_COMMAND):
        return f"the command {reward.removeprefix(_COMMAND).strip()!r}"
    place, _, name = reward.rpartition(":")
    if not place.endswith(".py"):
        return f"{name} of the module {place}"
    path = Path(place).resolve()
    try:
        owner = f", a file of {path.owner()}"
    except (KeyError, OSError):
        owner = ""
    return f"{name} in {path}{owner}"
