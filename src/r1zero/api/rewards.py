"""Rewards that a program gives: names, rows of a recipe, functions; those that can be imported run in workers."""

from __future__ import annotations

import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from r1zero.config import RewardSettings, checked
from r1zero.errors import UserError
from r1zero.rewards.open import LocalReward, RewardSource, parts_of

Reward = str | Mapping[str, Any] | RewardSource | Sequence[str | Mapping[str, Any] | RewardSource]
"""A name, a function, or the parts of a sum: names, functions, and rows of `[[reward]]`, whose `use` may be one."""


_NO_REWARD: dict[str, object] = {"verifier.reward": None, "reward": []}
"""What a recipe says of rewards, where a program says it."""


def rewards_of(reward: Reward | None) -> tuple[dict[str, object], tuple[RewardSource, ...]]:
    """Return the settings that say what is rewarded, and what no recipe can say: all parts, where one is an object.

    Raises:
        UserError: a part is neither a name, a row nor a function, or they do not go together.
    """
    if reward is None:
        return {}, ()
    if isinstance(reward, str) and ":" in reward:
        return _NO_REWARD | {"verifier.reward": reward}, ()
    parts = parts_of([_part(each) for each in (reward if _several(reward) else [reward])])
    if not parts:
        raise UserError("reward= is an empty list; name a reward, or leave it out for the verifier's.")
    rows = [each for each in parts if isinstance(each, RewardSettings)]
    if len(rows) < len(parts):
        return _NO_REWARD, tuple(parts)
    return _NO_REWARD | {"reward": [each.model_dump(mode="json") for each in rows]}, ()


def _several(reward: object) -> TypeGuard[Sequence[Any]]:
    return isinstance(reward, Sequence) and not isinstance(reward, str)


def _part(reward: Any) -> RewardSettings | LocalReward:
    if isinstance(reward, RewardSettings | LocalReward):
        return reward
    if isinstance(reward, str):
        return checked(RewardSettings, {"use": reward})
    if isinstance(reward, Mapping):
        use = reward.get("use")
        return _function(use, reward) if callable(use) else checked(RewardSettings, reward)
    if not callable(reward):
        raise UserError(
            f"reward= holds {reward!r}, which is not a valid reward: give a name such as 'verify' or "
            "'file.py:function', a row such as {'use': 'format', 'weight': 0.1}, a function, or a row whose 'use' is "
            "one."
        )
    return _function(reward, {})


def _function(function: Callable[..., Any], row: Mapping[str, Any]) -> RewardSettings | LocalReward:
    """Return a function with what a row says of it."""
    if isinstance(function, type):
        raise UserError(f"reward= holds the class {function.__name__}; give an object of it, {function.__name__}(…).")
    place = importable(function)
    plain = checked(RewardSettings, {**row, "use": place or "a:function"})
    if place:
        return plain
    return LocalReward(function, plain.name, plain.weight, plain.correctness, plain.options)


def importable(function: Callable[..., Any]) -> str | None:
    """Name a function as workers import it: of a file by its path, of an installed package by its module; None where
    they cannot, for it is a program's or a notebook's own, or holds what only this process has.
    """
    if not inspect.isfunction(function) or function.__closure__ or "." in function.__qualname__:
        return None
    module, name = function.__module__, function.__qualname__
    source = inspect.getsourcefile(function)
    if module == "__main__" or not name.isidentifier() or source is None or not Path(source).is_file():
        return None
    home = sys.modules.get(module)
    if getattr(home, name, None) is not function or getattr(home, "__spec__", None) is None:
        return None  # another goes by its name there
    installed = {Path(sysconfig.get_path(each)) for each in ("purelib", "platlib")}
    if any(place in Path(source).parents for place in installed):
        return f"{module}:{name}"
    alone = "." not in module and importlib.util.find_spec(module) is not None
    return f"{source}:{name}" if alone else None


def told_of(rewards: Sequence[RewardSource]) -> dict[str, str]:
    """Return what run.json says of parts that were objects."""
    local = [each.called for each in rewards if isinstance(each, LocalReward)]
    return {"reward": ", ".join(local)} if local else {}


def notes_of(rewards: Sequence[RewardSource]) -> tuple[str, ...]:
    """Return what a user should know of functions that stay in this process."""
    local = [each.called for each in rewards if isinstance(each, LocalReward)]
    return tuple(
        f"reward {name!r} is a function of this program, and runs in a thread of it: a call that takes longer than "
        "verifier.timeout_s is left behind, and cannot be killed"
        for name in local
    )
