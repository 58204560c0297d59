"""Where and with what something was made: time, versions, commit, command."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import r1zero

_PACKAGE = Path(r1zero.__file__).resolve().parent
_PACKAGES = ("torch", "transformers", "datasets", "math-verify", "sympy", "numpy", "tokenizers")


def provenance() -> dict[str, Any]:
    """Tell where and with what a run was made: time, versions, git commit, command."""
    return {
        "started": now(),
        "r1zero": r1zero.__version__,
        "python": sys.version.split()[0],
        "versions": {name: metadata.version(name) for name in _PACKAGES},
        "git_commit": git_commit(),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def now() -> str:
    """Tell the time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def git_commit() -> str | None:
    """Return the commit of the code that runs, with `+changes` when it was edited since; None outside a repository."""
    try:
        ask = lambda *words: subprocess.run(  # noqa: E731
            ["git", "-C", str(_PACKAGE), *words], capture_output=True, text=True, timeout=10, check=True
        ).stdout.strip()
        if not ask("ls-files", "__init__.py"):
            return None
        return ask("rev-parse", "HEAD") + ("+changes" if ask("status", "--porcelain", ".") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def bits(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run's bits depend on beside its recipe and its threads, as far as it says."""
    versions, device = facts["versions"], facts["device"].split(":")[0]
    found = {"torch": f"torch {versions.get('torch')} on {device}"}
    if "transformers" in versions:
        found["transformers"] = f"transformers {versions['transformers']}"
    if device == "cpu" and "cpu_capability" in facts:
        found["processor"] = facts["cpu_capability"]
    return found
