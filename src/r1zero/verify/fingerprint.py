"""What grades, as 16 hex digits: the verifier's own code, or a user's reward function with what stands beside it.

A verdict depends on the code that reached it as much as on the question and the gold, so a run and an evaluation keep
the fingerprint, and going on with other code is noticed.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import importlib.util
import shlex
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import r1zero.verify
from r1zero.verify.workers.custom_reward import COMMAND

_GRADERS = ("math-verify", "sympy", "mpmath")


@cache
def verifier_fingerprint() -> str:
    """Return the fingerprint of the verifier: every file of it, and the versions of what it asks."""
    folder = Path(r1zero.verify.__file__).parent
    versions = [importlib.metadata.version(name) for name in _GRADERS]
    return code_digest(sorted(folder.rglob("*.py")), *versions)


def reward_fingerprint(reward: str | None, called: str | None = None) -> str | None:
    """Return the fingerprint of `verifier.reward`, or of code in a list of rewards: of a function its file and those
    beside it that it imports, of a command its words and the files that these name; None where there is no reward or no
    source to be found.

    A command whose files were elsewhere is `called` what it was then, to have the same fingerprint with the same files.
    """
    if reward is None:
        return None
    if reward.startswith(COMMAND):
        words = _words(reward)
        before = _words(called) if called is not None and called.startswith(COMMAND) else words
        told = [old if Path(word).is_file() else word for word, old in zip(words, before, strict=False)]
        return code_digest([path for word in words if (path := Path(word)).is_file()], *told, *words[len(before) :])
    place, _, name = reward.rpartition(":")
    source = Path(place) if place.endswith(".py") else _module_file(place)
    return None if source is None or not source.is_file() else code_digest(sorted(_with_neighbours(source)), name)


def _words(command: str) -> list[str]:
    return shlex.split(command.removeprefix(COMMAND))


def _module_file(module: str) -> Path | None:
    """Return where a module stands, without running it; the working directory is looked in last, as workers do."""
    sys.path.append(str(Path.cwd()))
    try:
        found = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return None
    finally:
        sys.path.pop()
    return Path(found.origin) if found is not None and found.origin else None


def _with_neighbours(source: Path) -> Iterator[Path]:
    """Yield a file and those of its folder that it imports, and those that these do."""
    waiting, seen = [source], {source}
    while waiting:
        path = waiting.pop()
        yield path
        for name in _imported(path):
            beside = source.parent / f"{name}.py"
            if beside not in seen and beside.is_file():
                seen.add(beside)
                waiting.append(beside)


def _imported(path: Path) -> set[str]:
    """Return the first names of what a file imports; of one that does not compile nothing."""
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return set()
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {name.partition(".")[0] for name in names}


def code_digest(files: list[Path], *words: str) -> str:
    """Return 16 hex digits of files, by their names and bytes, and of words."""
    digest = hashlib.sha256()
    for word in words:
        digest.update(word.encode() + b"\n")
    for path in files:
        digest.update(path.name.encode() + b"\n" + path.read_bytes() + b"\n")
    return digest.hexdigest()[:16]
