"""vLLM as a sampler: its engine in a process beside this one, and how weights get there.

Importing `build` and `sampler` needs vLLM, so `vllm_module` imports them where an engine is wanted.
"""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

from r1zero.errors import SettingName, UserError

VLLM, USE_TORCH = SettingName('sampling.engine = "vllm"'), SettingName('sampling.engine = "torch"')
"""The setting at fault in an engine's sentences, and their remedy."""


def vllm_module() -> Any:
    """`r1zero.sampling.vllm.build`. Raises UserError where vLLM is not installed."""
    return optional_module("r1zero.sampling.vllm.build", "vllm", VLLM, " needs")


def optional_module(name: str, package: str, *what: str) -> Any:
    """Import a module of ours that needs a package. Raises UserError where that is missing; `what` needs it."""
    if importlib.util.find_spec(package) is None:
        raise UserError(
            *what, f' the package {package}, which is not installed; run `pip install "r1zero[{package}]"`.'
        )
    return importlib.import_module(name)
