"""What a process of benchmarks/gpu.py does: one part. Its task comes as JSON on the command line."""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path

BEGUN = time.monotonic()


def main() -> None:
    """Measure; an error's last line is its last word."""
    task = json.loads(sys.argv[1])
    import torch

    from parts.bench import Bench

    bench = Bench(task["part"], Path(task["lines"]), task["device"], task["tiny"], BEGUN + task["seconds"])
    bench.check_device()
    if task["tiny"]:  # shapes so small leave threads waiting for one another
        torch.set_num_threads(1)
    importlib.import_module(f"parts.{task['part']}").measure(bench)


if __name__ == "__main__":
    main()
