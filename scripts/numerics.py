"""Run the tests that train, sample or compare paths under several rounding regimes: `make test-numerics`.

    .venv/bin/python scripts/numerics.py [REGIME ...] [-- PYTEST ARGUMENTS]

A regime is how a processor rounds (the instructions that torch and its libraries use), how many threads add numbers up,
and a seed for all that the tests train and draw. Tests that hold under one only say something about that one. At the
end stands a table of the assertions nearest to their bounds, of those whose numbers differ between regimes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[1]
SHOWN = 25


@dataclass(frozen=True)
class Regime:
    """The instructions, the threads of torch, and the seed of the tests; with one thread the slow tests run as well."""

    capability: str
    threads: int
    seed: int

    @property
    def marked(self) -> str:
        """Which tests run under it."""
        return "numerics" if self.threads == 1 else "numerics and not slow"

    @property
    def environment(self) -> dict[str, str]:
        """What sets it: torch's own kernels, and those of oneDNN and MKL below it."""
        mkl, onednn = {"default": ("SSE4_2", "SSE41"), "avx2": ("AVX2", "AVX2"), "avx512": ("AVX512", "AVX512_CORE")}[
            self.capability
        ]
        return {
            "ATEN_CPU_CAPABILITY": self.capability,
            "MKL_ENABLE_INSTRUCTIONS": mkl,
            "ONEDNN_MAX_CPU_ISA": onednn,
            "OMP_NUM_THREADS": str(self.threads),
            "OMP_WAIT_POLICY": "PASSIVE",  # threads that wait give their core to whoever works
            "R1ZERO_TEST_THREADS": str(self.threads),
            "R1ZERO_TEST_SEED": str(self.seed),
        }


REGIMES = {
    "default": Regime("default", 1, 1),
    "default-2": Regime("default", 2, 0),
    "avx2": Regime("avx2", 1, 2),
    "avx2-2": Regime("avx2", 2, 1),
    "avx512": Regime("avx512", 1, 3),
    "avx512-2": Regime("avx512", 2, 2),
}
"""Each capability with one and with two threads, and four seeds; that of `make test` is this machine's own, 1 and 0."""


def here() -> dict[str, Regime]:
    """The regimes that this processor can be put into."""
    order = ["default", "avx2", "avx512"]
    own = torch.backends.cpu.get_cpu_capability().lower()
    best = order.index(own) if own in order else 0
    return {name: regime for name, regime in REGIMES.items() if order.index(regime.capability) <= best}


def run(name: str, regime: Regime, arguments: list[str], margins: Path) -> bool:
    """Run the tests under a regime. Whether all passed."""
    # a process a core, with two threads as well: most of what models so small compute is done by one of them
    distributed = ["-n", str(os.cpu_count() or 1), "--dist", "loadfile", "--no-loadscope-reorder"]
    command = [sys.executable, "-m", "pytest", "-q", "-m", regime.marked, *distributed, *arguments]
    # margins need assertions that are rewritten for it, which is kept apart from those that `make test` compiles
    command += ["-o", "enable_assertion_pass_hook=true"]
    with tempfile.TemporaryDirectory() as compiled:
        apart = {"PYTHONPYCACHEPREFIX": compiled, "R1ZERO_TEST_MARGINS": str(margins)}
        print(f"\n=== {name}: {regime}", flush=True)
        return subprocess.run(command, cwd=ROOT, env=os.environ | regime.environment | apart).returncode == 0


def closest(folder: Path) -> list[tuple[float, str, str, str]]:
    """(share used, regime, test, assertion) of the assertions nearest to their bounds, nearest first.

    Of those only that do not always see the same numbers.
    """
    found: dict[tuple[str, int], dict[str, tuple[float, str, str]]] = defaultdict(dict)
    said: dict[tuple[str, int], set[str]] = defaultdict(set)
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            key = row["test"], row["line"]
            said[key].add(row["said"])
            if row["used"] > found[key].get(path.stem, (-1.0,))[0]:
                found[key][path.stem] = row["used"], row["said"], row["source"]
    rows = []
    for key, regimes in found.items():
        if len(said[key]) > 1:
            name, (used, text, source) = max(regimes.items(), key=lambda item: item[1][0])
            rows.append((used, name, key[0].removeprefix("tests/"), f"{text}   [{source}]"))
    return sorted(rows, reverse=True)


def main() -> None:
    """Run what is asked for, all regimes of this machine by default, and show the margins."""
    words = sys.argv[1:]
    at = words.index("--") if "--" in words else len(words)
    chosen, arguments, possible = words[:at] or list(here()), words[at + 1 :], here()
    if strangers := [name for name in chosen if name not in REGIMES]:
        sys.exit(f"{strangers[0]!r} is not a regime: write one of {', '.join(REGIMES)}")
    skipped = [name for name in chosen if name not in possible]
    failed, took = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in chosen:
            if name in possible:
                began = time.monotonic()
                if not run(name, possible[name], arguments, Path(folder) / f"{name}.jsonl"):
                    failed.append(name)
                took.append(f"{name} {time.monotonic() - began:.0f} s")
        rows = closest(Path(folder))
    print(f"\nThe closest of {len(rows):,} margins that differ from draw to draw (used: 1 is the bound):")
    for used, name, test, text in rows[:SHOWN]:
        print(f"  {used:.3f}  {name:10}  {test}\n         {text}")
    print(f"\n{', '.join(took)}")
    for name in skipped:
        print(f"{name} was left out: this processor has no {name.split('-')[0]}")
    sys.exit(f"failed under {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
