"""A whole step beside TRL's GRPOTrainer, by benchmarks/versus_trl.py: sides take turns, in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

from parts.bench import Bench

HERE = Path(__file__).resolve().parents[1]


def measure(bench: Bench) -> None:
    """One run of each side, and more of them while there is time; each pair is a figure."""
    if importlib.util.find_spec("trl") is None:
        raise SystemExit("the package trl is not installed: pip install trl==1.16.0")
    words = ["--device", bench.device_name, "--json", "--warmup", "1", "--steps", "1", "--runs", "1"]
    words += ["--shape", "tiny" if bench.tiny else "qwen2.5-0.5b", "--tokens", "12" if bench.tiny else "256"]
    if bench.tiny:
        words += ["--prompts", "4", "--samples", "2", "--threads", "1"]
    for run in range(1 if bench.tiny else 4):
        begun = time.monotonic()
        command = [sys.executable, str(HERE / "versus_trl.py"), *words, "--seed", str(run)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit((done.stdout + done.stderr).strip())
        bench.say(run=run + 1, **json.loads(done.stdout.splitlines()[-1]))
        if bench.left < 1.2 * (time.monotonic() - begun):
            break
