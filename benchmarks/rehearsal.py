"""The whole paper rehearsed as a user would: begun, killed, gone on with, and its page looked at. Tells the seconds.

    .venv/bin/python benchmarks/rehearsal.py [--out DIR]

`make test` tries the same on one study; this is all of them, in CI. The bar is five minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from r1zero.paper.claims import ClaimStatus
from r1zero.paper.rehearse import rehearsed_jobs
from r1zero.paper.studies import STUDIES


def main() -> None:
    """Rehearse. Exits with a sentence where something is not as it must be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="an empty folder; a temporary one by default")
    given = parser.parse_args().out
    with tempfile.TemporaryDirectory() as temporary:
        rehearse(Path(given or temporary).resolve())


def rehearse(out: Path) -> None:
    """Begin, kill at the first evaluation, go on, and check."""
    words = [sys.executable, "-m", "r1zero", "paper", "run", "all", "--scale", "full", "--rehearse", "--out", str(out)]
    folder, begun = out / "rehearsal", time.monotonic()
    with subprocess.Popen(words) as first:
        while first.poll() is None and not list(folder.glob("evaluations/*/evaluation.json")):
            time.sleep(0.1)
        workers = children(first.pid)
        first.send_signal(signal.SIGKILL)
    require(first.returncode == -signal.SIGKILL, "the first command ended before it was killed")
    while any(Path(f"/proc/{worker}").exists() for worker in workers):  # they find out that they are orphans
        time.sleep(0.1)
    subprocess.run(words, check=True)
    seconds = time.monotonic() - begun
    jobs = rehearsed_jobs([job for study in STUDIES.values() for job in study.full(1)], folder)
    names = {job.name for job in jobs if job.done(folder)}
    require(names == {job.name for job in jobs}, "a job was left out")
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    require([each["study"] for each in found] == list(STUDIES), "a study is not on the page")
    for each in found:
        require(not each["problems"], f"{each['study']}: {each['problems']}")
        require(not each["claims"], f"{each['study']} gives verdicts")
    page = (folder / "paper.html").read_text(encoding="utf-8")
    require("<h1>Rehearsal: " in page, "the page does not say in its heading that it is of a rehearsal")
    require(not any(f">{verdict.value}</span>" in page for verdict in ClaimStatus), "the page gives verdicts")
    print(f"{len(names)} jobs of {len(found)} studies rehearsed in {seconds:.0f} s, killed and gone on with once")


def children(process: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(status.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        if parent == process:
            found.append(int(status.parent.name))
    return found


def require(held: bool, otherwise: str) -> None:
    """Exit with what is wrong, where it is."""
    if not held:
        sys.exit(f"rehearsal: {otherwise}")


if __name__ == "__main__":
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    main()
