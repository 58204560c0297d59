"""What a device gives with r1zero: a prepared check of every figure, within minutes.

    python benchmarks/gpu.py                             # all parts on the GPU, in eight minutes at most
    python benchmarks/gpu.py --only facts sampler        # some of them
    python benchmarks/gpu.py --device cpu --tiny         # every part to its last line on small shapes, in two minutes

Parts run one after another, each in a process of its own with a time limit, and a part that fails ends itself only. A
figure is written the moment it is there, as a line of JSON in gpu/gpu.jsonl of --out; a part's last line says whether
it was done. Where a GPU was used, DATE-gpu-CARD.md in --out has the figures as tables. benchmarks/README.md says what
each figure means. Standard library only: what is missing on a machine ends parts, not this.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from parts import PARTS, Part  # noqa: E402  # beside this file, wherever it is called from
from parts.page import write_page  # noqa: E402


def main() -> None:
    """Run the parts that are asked for. Ends with 1 where one of them was not done, or a measurement failed."""
    options = parse()
    out: Path = options.out
    lines = out / "gpu" / "gpu.jsonl"
    lines.parent.mkdir(parents=True, exist_ok=True)
    lines.write_text("", encoding="utf-8")
    begun = time.monotonic()
    chosen = [part for part in PARTS if not options.only or part.name in options.only]
    write(lines, {"part": "begin", "commit": options.commit or commit(), "command": " ".join(sys.argv[1:])})
    for i, part in enumerate(chosen):
        left = options.budget - (time.monotonic() - begun)
        carry_out(part, allotted(chosen[i:], left), lines, options)
    rows = [json.loads(line) for line in lines.read_text(encoding="utf-8").splitlines()]
    if any(row.get("gpu") for row in rows):
        page = write_page(rows, out, datetime.date.today())
        print(f"figures: {page}")
    wrong = failures(rows)
    print(f"{lines}: {time.monotonic() - begun:.0f} s" + (f"; failed: {', '.join(wrong)}" if wrong else ""))
    sys.exit(bool(wrong))


def failures(rows: Sequence[dict[str, object]]) -> list[str]:
    """The parts that were not done, or of which a measurement failed; what was left out has not failed."""
    return list(dict.fromkeys(str(row["part"]) for row in rows if row.get("done") is False or "failed" in row))


def allotted(parts: Sequence[Part], left: float) -> float:
    """Seconds of the first of these parts: its share of what is left, so that what others did not need is used."""
    return max(1.0, left * parts[0].seconds / sum(part.seconds for part in parts))


def carry_out(part: Part, seconds: float, lines: Path, options: argparse.Namespace) -> None:
    """Run a part in a process of its own, which writes its figures; add the line that says how it ended."""
    begun = time.monotonic()
    print(f"=== {part.name}: {part.about} ({seconds:.0f} s at most)", flush=True)
    task = {"part": part.name, "seconds": seconds, "lines": str(lines), "device": options.device, "tiny": options.tiny}
    places = [str(HERE), str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, places)),
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [sys.executable, "-m", "parts", json.dumps(task)]
    log = lines.with_name(f"gpu-{part.name}.log")
    with log.open("w", encoding="utf-8") as said:
        # a session of its own: what it has started ends with it
        process = subprocess.Popen(command, env=environment, stderr=said, start_new_session=True)
        try:
            status = process.wait(timeout=seconds)
            why = "" if status == 0 else last_words(log.read_text(encoding="utf-8")) or f"ended with {status}"
        except subprocess.TimeoutExpired:
            why = f"ran into its limit of {seconds:.0f} s"
        finally:  # Ctrl-C, too, reaches this process alone
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    took = round(time.monotonic() - begun, 1)
    write(lines, {"part": part.name, "done": not why, "seconds": took} | ({"why": why} if why else {}))
    if not why:
        log.unlink()


def last_words(said: str) -> str:
    """The last line of a process's output that says anything: where it failed, the exception."""
    found = [line.strip() for line in said.splitlines() if line.strip()]
    return found[-1][:500] if found else ""


def write(lines: Path, row: dict[str, object]) -> None:
    """Add a line of JSON, and show it."""
    text = json.dumps(row)
    print(text, flush=True)
    with lines.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def commit() -> str:
    """The commit of this working tree, with a mark where it was changed; empty where there is none to be asked."""
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=12"], cwd=HERE, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip()


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", type=float, default=480, help="seconds for all parts (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=[part.name for part in PARTS], default=[], metavar="PART")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="default: %(default)s")
    parser.add_argument("--tiny", action="store_true", help="small shapes, to try the script itself")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="a folder (default: %(default)s)")
    parser.add_argument("--commit", help="of the code, where git cannot say it")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted: the figures so far are in gpu/gpu.jsonl of --out")
