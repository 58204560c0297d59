"""A device's memory, and its rates as they are measured."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r1zero.plan.shape import Autocast


@dataclass(frozen=True, slots=True)
class Machine:
    """A device: its memory in bytes, its matrix products in FLOP/s, and what it reads in bytes/s."""

    name: str
    memory: int
    flops: float
    bandwidth: float


def measure(device: torch.device, autocast: Autocast) -> Machine:
    """The device's memory, and its rates by one large product and one large copy (a second or so)."""
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        name, memory = properties.name, properties.total_memory
    else:
        name = f"CPU, {torch.get_num_threads()} threads"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = 4096 if device.type == "cuda" else 1024
    with autocast():
        a = torch.randn(size, size, device=device)
        flops = 2 * size**3 / _seconds(lambda: a @ a, device)
    source = torch.zeros(2**26 if device.type == "cuda" else 2**24, device=device)
    bandwidth = 2 * source.nbytes / _seconds(source.clone, device)
    return Machine(name, memory, flops, bandwidth)


def _seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    """The shortest of some runs."""
    best = float("inf")
    with torch.no_grad():
        for _ in range(8):
            begin = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - begin)
    return best
