"""Where a policy runs: device, threads, precision, attention."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.utils.import_utils import is_flash_attn_2_available

from r1zero.errors import SettingName, UserError, first_line

COPY_SHARE = 0.25
"""The most of a device's free memory that a copy of weights may take which only saves time."""


def set_threads(threads: int | None) -> int:
    """Set torch's CPU threads to `threads`, or to what other processes leave free; returns the number.

    Two threads that share a core with someone else wait for each other at every operation.
    """
    if threads is None:
        threads = max(1, round((os.cpu_count() or 1) - os.getloadavg()[0]))
    torch.set_num_threads(threads)
    return threads


def processor(threads: int) -> dict[str, Any]:
    """Return what run.json says of the processor that bits hang on: torch's threads and instructions."""
    return {"threads": threads, "cpu_capability": torch.backends.cpu.get_cpu_capability()}


def check_attention(attention: str, device: torch.device) -> None:
    """Raise a UserError where `flash_attention_2` cannot run."""
    if attention == "flash_attention_2" and (device.type == "cpu" or not is_flash_attn_2_available()):
        raise UserError(
            SettingName("model.attention"),
            ' = "flash_attention_2" needs a GPU and the package flash-attn, which are not both here; '
            'run `pip install flash-attn` on a machine with a GPU, or write "sdpa".',
        )


def pick_device(name: str) -> torch.device:
    """`auto` is a GPU when there is one. Raises UserError for a device that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()  # "meta" can be written to and never read
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            SettingName("model.device"),
            f' = {name!r} is not usable here ({first_line(error)}); write "auto" or "cpu".',
        ) from None
    return device


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a CPU tensor on a device. A GPU fetches it when its turn comes: copied plainly, it would first have to
    finish all that it has been given.
    """
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def pick_autocast(setting: str, device: torch.device) -> Callable[[], AbstractContextManager[object]]:
    """Return bfloat16 autocast where asked for, or under `auto` on GPUs: CPUs without AMX are slower in it."""
    if setting == "off" or (setting == "auto" and device.type == "cpu"):
        return nullcontext
    return partial(torch.autocast, device_type=device.type, dtype=torch.bfloat16)


def product_dtype(autocast: Callable[[], AbstractContextManager[object]], device: torch.device) -> torch.dtype | None:
    """Return in what matrix products are computed under this autocast; None where it changes nothing."""
    with autocast():
        return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None
