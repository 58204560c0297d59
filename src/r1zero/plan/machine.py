"""A device's memory and its rates: measured here, or those of a GPU that is elsewhere by its data sheet."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from r1zero.errors import UserError, plural
from r1zero.plan.model_size import Autocast, is_float32

GIB = 2**30
USABLE = 0.92
"""The share of a device's memory that a plan may fill: allocators and libraries take some for themselves."""
_PRODUCT = 0.8
"""What one large matrix product reaches of a data sheet's FLOP/s: on an H200, 769 to 798 of 989 TFLOP/s were seen."""
_COPY = 0.9
"""What one large copy reaches of a data sheet's bytes/s: on an H200, 4.3 of 4.8 TB/s were seen."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A device: its memory in bytes, its matrix products in FLOP/s, and what it reads and writes in bytes/s.

    The rates are those of one large product and one large copy, measured or as they would be. On a GPU each process
    of a cluster has one of its own; a CPU's processes share it.
    """

    name: str
    memory: int
    flops: float
    bandwidth: float
    gpu: bool = True


@dataclass(frozen=True, slots=True)
class Sheet:
    """A data sheet's numbers: memory in GiB, dense bfloat16 and float32 in FLOP/s, bytes/s."""

    memory: int
    bfloat16: float
    float32: float
    bandwidth: float


GPUS = {
    "A100-40GB": Sheet(40, 312e12, 19.5e12, 1.555e12),
    "A100-80GB": Sheet(80, 312e12, 19.5e12, 2.039e12),
    "H100-80GB": Sheet(80, 989.5e12, 67e12, 3.35e12),
    "H200": Sheet(141, 989.5e12, 67e12, 4.8e12),
}
"""SXM modules, by NVIDIA's "A100 Tensor Core GPU Data Sheet" (nvidia-a100-datasheet-us-nvidia-1758950-r4), "H100 Tensor
Core GPU Datasheet" and "H200 Tensor Core GPU Datasheet". The latter two print 1,979 TFLOPS of bfloat16 with sparsity:
half of it is dense. A sheet's GB are GiB, of which drivers show one or two hundredths less. float32 is without TF32,
which torch does not use unless asked."""


HERE = "here"
"""The machine that is the GPUs that torch sees."""
SHOWN = 0.97
"""The least share of a data sheet's memory that the drivers of such a GPU show."""
_NOTHING = '""'
_EXAMPLE = "write NxGPU, such as 8xA100-80GB"


def by_name(name: str, autocast: Autocast, otherwise: str = "") -> Machine:
    """Return a GPU by its data sheet, in the precision of autocast. GPU-48GB is any of so much memory, at the rates of
    an A100; `otherwise` is what else a user may do who names none.

    Raises:
        UserError: no sheet of that name.
    """
    found, sheet = _sheet(name, otherwise)
    flops = sheet.float32 if is_float32(autocast) else sheet.bfloat16
    source = "data sheet" if found in GPUS else "memory, at an A100's rates"
    return Machine(f"{found} by its {source}", sheet.memory * GIB, _PRODUCT * flops, _COPY * sheet.bandwidth)


def _sheet(name: str, otherwise: str) -> tuple[str, Sheet]:
    """Return a GPU's name as it is written here, and its numbers. Raises UserError."""
    found = next((known for known in GPUS if known.lower() == name.lower()), None)
    if found is not None:
        return found, GPUS[found]
    size = re.fullmatch(r"gpu-([1-9]\d{0,3})gb", name, re.IGNORECASE | re.ASCII)
    if size is None:
        raise UserError(
            f"--machine {name} is not a machine of a known data sheet: name one of {', '.join(GPUS)}, or GPU-48GB for "
            f"any GPU of so much memory{otherwise}."
        )
    return f"GPU-{size[1]}GB", replace(GPUS["A100-40GB"], memory=int(size[1]))


def counted_machine(text: str) -> tuple[int, str]:
    """Read "8xA100-80GB" as 8 GPUs of that name; a name alone is one, and "here" those that torch sees.

    Raises:
        UserError: the count is none, or no GPU is here.
    """
    if text.lower() == HERE:
        return _here()
    found = re.fullmatch(r"(?:(\d+)x)?([A-Za-z].*)", text, re.ASCII)
    count = int(found[1] or 1) if found else 0
    if found is None or not 1 <= count <= 1024:
        raise UserError(f"--machine {text or _NOTHING} is not a valid machine: {_EXAMPLE}.")
    return count, found[2]


def full_name(text: str) -> str:
    """Return a machine by the one name that it has: "8xa100-80gb" and "8xA100-80GB" are one. Raises UserError."""
    count, name = counted_machine(text)
    return f"{count}x{_sheet(name, '')[0]}"


def _here() -> tuple[int, str]:
    """Return the GPUs that torch sees, by their data sheet where it is known, else by the memory of the smallest."""
    seen: list[Any] = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    if not seen:
        raise UserError(f"No GPU is here to plan for: give --machine a name, {_EXAMPLE.removeprefix('write ')}.")
    names = {_known(each.name, each.total_memory) for each in seen}
    least = min(each.total_memory for each in seen) // GIB
    return len(seen), (names.pop() if len(names) == 1 else "") or f"GPU-{least}GB"


def _known(name: str, memory: int) -> str:
    """Return the data sheet of a GPU, by what its driver calls it and shows of its memory; "" where none is known."""
    for known, sheet in GPUS.items():
        if known.partition("-")[0] in re.split(r"[^A-Z0-9]+", name) and SHOWN <= memory / (sheet.memory * GIB) <= 1.01:
            return known
    return ""


def measure(device: torch.device, autocast: Autocast) -> Machine:
    """Return the device's memory, and its rates by one large product and one large copy (a second or so)."""
    if device.type == "cuda":
        properties: Any = torch.cuda.get_device_properties(device)
        name, memory = properties.name, properties.total_memory
    else:
        name = f"CPU, {plural(torch.get_num_threads(), 'thread')}"
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    size = 4096 if device.type == "cuda" else 1024
    with autocast():
        a = torch.randn(size, size, device=device)
        flops = 2 * size**3 / _seconds(lambda: a @ a, device)
    source = torch.zeros(2**26 if device.type == "cuda" else 2**24, device=device)
    bandwidth = 2 * source.nbytes / _seconds(source.clone, device)
    return Machine(name, memory, flops, bandwidth, device.type == "cuda")


def _seconds(work: Callable[[], Tensor], device: torch.device) -> float:
    """Return the shortest of some runs."""
    best = float("inf")
    with torch.no_grad():
        for _ in range(8):
            begin = time.perf_counter()
            work()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            best = min(best, time.perf_counter() - begin)
    return best
