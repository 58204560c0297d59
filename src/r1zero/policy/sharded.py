"""Sharded checkpoints, by `torch.distributed.checkpoint`: every rank writes what it holds, any number of them reads it.

    config.json, tokenizer files     as in any Hugging Face folder
    shards/                          weights and optimiser, by name; `r1zero export` makes model.safetensors of it

Works without a process group, too: one process reads what many wrote.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.metadata import Metadata
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.optim import Optimizer

from r1zero.errors import UserError, reason
from r1zero.policy.shard_reader import ShardPlanner, ShardReader
from r1zero.runs import checkpoints

SHARDS = "shards"
_UNREADABLE = (OSError, EOFError, KeyError, ValueError, RuntimeError, pickle.UnpicklingError)
_TRAINED = StateDictOptions(ignore_frozen_params=True)


def has_shards(folder: Path) -> bool:
    """Tell whether a checkpoint is sharded: its seal says so, or it has none, and no weights that are whole either."""
    table = f"{SHARDS}/.metadata"
    if not (folder / table).exists():
        return False
    sealed = checkpoints.sealed_files(folder)
    return table in sealed if sealed is not None else not any(folder.glob("*.safetensors"))


def missing_shards(folder: Path) -> list[str]:
    """Return files that a sharded checkpoint speaks of and does not have: ranks on other nodes wrote them to other
    disks.
    """
    metadata: Any = _contents(folder)
    named = {each.relative_path for each in metadata.storage_data.values()}
    return sorted(name for name in named if not (folder / SHARDS / name).exists())


def save_shards(folder: Path, model: nn.Module, optimiser: Optimizer) -> None:
    """Write what is trained and its optimiser; to be called by all ranks. Raises OSError where that fails."""
    with _alone_or_not() as alone:
        try:
            save(_state(model, optimiser), checkpoint_id=folder / SHARDS, no_dist=alone)
        except CheckpointException as error:
            cause = _cause(error)
            raise (cause if isinstance(cause, OSError) else OSError(reason(cause, 160))) from None


def load_shards(folder: Path, model: nn.Module, optimiser: Optimizer | None = None) -> None:
    """Read weights, and the optimiser's state if asked for, in place; to be called by all ranks.

    Raises:
        UserError: they cannot be read, or are those of another model.
    """
    _contents(folder)  # torch would log a traceback for each rank that cannot read it
    state = _state(model, optimiser)
    with _alone_or_not() as alone:
        try:
            load(state, storage_reader=ShardReader(folder / SHARDS), planner=ShardPlanner(), no_dist=alone)
        except (CheckpointException, AssertionError, *_UNREADABLE) as error:
            raise _damaged(folder, _cause(error)) from None
    set_model_state_dict(model, state["model"], options=StateDictOptions(strict=False))
    if optimiser is not None:
        set_optimizer_state_dict(model, optimiser, state["optimiser"], options=_TRAINED)


def load_plain_optimiser(model: nn.Module, optimiser: Optimizer, plain: dict[str, Any]) -> None:
    """Give a sharded optimiser the state that one process saved: numbered in the order of the trained parameters."""
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    full: dict[str, Any] = {
        "state": {names[i]: value for i, value in plain["state"].items()},
        "param_groups": [{**group, "params": [names[i] for i in group["params"]]} for group in plain["param_groups"]],
    }
    options = StateDictOptions(full_state_dict=True, ignore_frozen_params=True)
    set_optimizer_state_dict(model, optimiser, full, options=options)


def full_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return everything trained, whole, on the CPU of rank 0, tied weights once; empty on the others. By all ranks at
    once.
    """
    options = StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)
    full: dict[str, Any] = get_model_state_dict(model, options=options)
    names = {name for name, _ in model.named_parameters()}
    return {name: tensor for name, tensor in full.items() if name in names}


def _contents(folder: Path) -> Metadata:
    """Return the table of contents. UserError if it cannot be read or is none."""
    try:
        return ShardReader(folder / SHARDS).read_metadata()
    except (AttributeError, IndexError, TypeError, *_UNREADABLE) as error:
        raise _damaged(folder, error) from None


def _damaged(folder: Path, error: BaseException) -> UserError:
    return UserError(
        f"The shards in {folder} cannot be read ({reason(error, 160)}); delete this checkpoint's folder and take the "
        "one before it."
    )


@contextmanager
def _alone_or_not() -> Iterator[bool]:
    """Whether there is no process group, which torch would warn of."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield not dist.is_initialized()


def _cause(error: BaseException) -> BaseException:
    """Return what failed on a rank: torch wraps whatever comes up there, an interrupt as well, which is raised here."""
    if not isinstance(error, CheckpointException):
        return error
    causes = [failure[0] for failure in error.failures.values()]
    for cause in causes:
        if isinstance(cause, KeyboardInterrupt):
            raise cause from None
    return causes[0] if causes else error


def _state(model: nn.Module, optimiser: Optimizer | None) -> dict[str, Any]:
    state: dict[str, Any] = {"model": get_model_state_dict(model, options=_TRAINED)}
    if optimiser is not None:
        state["optimiser"] = get_optimizer_state_dict(model, optimiser, options=_TRAINED)
    return state
