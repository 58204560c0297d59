"""Download the wheels that a machine lacks, for its Python and platform, with what they need in turn.

    python scripts/missing_wheels.py --has FILE --into FOLDER [--python 3.12] WHEEL_OR_REQUIREMENT ...

FILE names what is there already, a package a line; those are neither downloaded nor looked into, so that a machine's
own torch and its gigabytes stay where they are. What is downloaded is meant for `pip install --no-index --no-deps`.
"""

from __future__ import annotations

import argparse
import email
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

GLIBC = (39, 35, 34, 31, 28, 27, 24, 17)  # pip takes no wheel of an older one unless it is named, too
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + ["manylinux2014_x86_64", "manylinux1_x86_64"]


def main() -> None:
    """Walk through the requirements, each package once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--has", type=Path, required=True)
    parser.add_argument("--into", type=Path, required=True)
    parser.add_argument("--python", default="3.12")
    parser.add_argument("requirements", nargs="+")
    options = parser.parse_args()
    lines = options.has.read_text(encoding="utf-8").splitlines()
    known = {canonicalize_name(line.strip()) for line in lines if line.strip() and not line.startswith("#")}
    environment = {"python_version": options.python, "python_full_version": f"{options.python}.3", "extra": ""}
    environment |= {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"}
    environment |= {"os_name": "posix", "implementation_name": "cpython", "platform_python_implementation": "CPython"}
    wanted = [
        each
        for text in options.requirements
        for each in (needs(Path(text), (), environment) if text.endswith(".whl") else [Requirement(text)])
    ]
    while wanted:
        requirement = wanted.pop(0)
        name = canonicalize_name(requirement.name)
        if name in known or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        known.add(name)
        wheel = download(requirement, options.into, options.python)
        print(f"{wheel.stat().st_size / 2**20:6.1f} MiB  {wheel.name}", flush=True)
        wanted += needs(wheel, requirement.extras, environment)


def download(requirement: Requirement, into: Path, python: str) -> Path:
    """The wheel of a requirement, alone."""
    command = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--python-version", python, "--implementation", "cp", "--dest", str(into)]
    command += [word for platform in PLATFORMS for word in ("--platform", platform)]
    done = subprocess.run([*command, f"{requirement.name}{requirement.specifier}"], stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{requirement} cannot be downloaded for Python {python}: {done.stderr.strip().splitlines()[-1]}")
    name = canonicalize_name(requirement.name)
    [wheel] = [path for path in into.glob("*.whl") if parse_wheel_filename(path.name)[0] == name]
    return wheel


def needs(wheel: Path, extras: Iterable[str], environment: dict[str, str]) -> Iterator[Requirement]:
    """What a wheel says it requires, with the extras that it was asked for."""
    with zipfile.ZipFile(wheel) as archive:
        [path] = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith(".dist-info/METADATA")]
        fields = email.message_from_bytes(archive.read(path))
    for text in fields.get_all("Requires-Dist") or []:
        each = Requirement(text)
        asked = ["", *extras]
        if each.marker is None or any(each.marker.evaluate(environment | {"extra": extra}) for extra in asked):
            each.marker = None
            yield each


if __name__ == "__main__":
    main()
