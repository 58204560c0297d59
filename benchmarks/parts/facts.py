"""Card, driver and versions, and the two limits of everything else: one large matrix product and one large copy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess

import torch

from parts.bench import Bench

PACKAGES = ("torch", "transformers", "accelerate", "peft", "trl", "vllm", "datasets", "pydantic")


def measure(bench: Bench) -> None:
    """Say what is here, and how fast it multiplies and copies."""
    bench.say(
        gpu=bench.gpu,
        device=torch.cuda.get_device_name() if bench.gpu else f"CPU, {torch.get_num_threads()} threads",
        memory_gib=round(memory(bench) / 2**30, 1),
        driver=driver() if bench.gpu else None,
        cuda=torch.version.cuda,
        cores=os.cpu_count(),
        python=platform.python_version(),
        versions={name: version for name in PACKAGES if (version := installed(name))},
    )
    size = 8192 if bench.gpu else 512
    dtype = torch.bfloat16 if bench.gpu else torch.float32
    for kind in (torch.bfloat16, torch.float32) if bench.gpu else (torch.float32,):
        a, b = (torch.randn(size, size, device=bench.device).to(kind) for _ in range(2))  # zeros would be faster
        for _ in range(3):
            a @ b
        flops = 2 * size**3 / bench.seconds(lambda a=a, b=b: a @ b, 20)
        name = "flops" if kind == dtype else "flops_float32"
        bench.say(**{name: flops}, product=f"{size}³ in {str(kind).removeprefix('torch.')}")
    source = torch.randn(2**31 if bench.gpu else 2**24, device=bench.device, dtype=dtype)  # far beyond any cache
    target = torch.empty_like(source)
    target.copy_(source)
    bench.say(
        bandwidth=2 * source.nbytes / bench.seconds(lambda: target.copy_(source), 10),
        copy=f"{source.nbytes / 2**30:.2g} GiB, read and written",
    )


def memory(bench: Bench) -> int:
    """Bytes of the device."""
    if bench.gpu:
        return torch.cuda.get_device_properties(0).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def driver() -> str | None:
    """The driver's version, if its tool is here to say it."""
    try:
        words = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(words, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def installed(name: str) -> str | None:
    """The version of a package, if it is here."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
