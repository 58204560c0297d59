"""A whole step beside TRL's GRPOTrainer, by benchmarks/versus_trl.py: each side's runs in processes of their own."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

from parts.bench import Bench

HERE = Path(__file__).resolve().parents[1]


def measure(bench: Bench) -> None:
    """One call of the comparison; its last line is the figures."""
    if importlib.util.find_spec("trl") is None:
        raise SystemExit("the package trl is not installed: pip install trl==1.16.0")
    words = ["--device", bench.device_name, "--json", "--warmup", "1", "--steps", "1", "--runs", "2"]
    words += ["--shape", "tiny" if bench.tiny else "qwen2.5-0.5b", "--tokens", "12" if bench.tiny else "256"]
    if bench.tiny:
        words += ["--prompts", "4", "--samples", "2", "--runs", "1", "--threads", "1"]
    command = [sys.executable, str(HERE / "versus_trl.py"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr).strip())
    bench.say(**json.loads(done.stdout.splitlines()[-1]))
