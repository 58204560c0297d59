"""What a program may import from `r1zero` itself: it is light, each name stands alone, and the example runs."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import r1zero
from tiny_runs import taught_model

ROOT = Path(__file__).resolve().parents[1]
HOMES = "r1zero.api.ask, r1zero.api.train, r1zero.runs.run, r1zero.config, r1zero.verify, r1zero.types"
NAMES = ", ".join(r1zero.__all__)
KINDS = f"print(*[type(each).__name__ for each in ({NAMES})])"


def printed(program: str, *words: str, cwd: Path | None = None) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", program, *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing() -> None:
    program = "import sys; before = set(sys.modules); import r1zero; print(*sorted(set(sys.modules) - before))"
    loaded = {name.split(".")[0] for name in printed(program).split()}
    assert loaded - sys.stdlib_module_names == {"r1zero"}
    assert printed("import sys, r1zero; print(*[name for name in sys.modules if name.startswith('r1zero.')])") == "\n"


def test_a_public_name_is_no_modules_name() -> None:
    """`import r1zero.x` makes `r1zero.x` the module, whatever it was before."""
    modules = {path.stem for path in (ROOT / "src" / "r1zero").iterdir()}
    assert not modules & set(r1zero.__all__)


FORKS = """
import os, sys, torch, transformers, datasets

assert not any(name.partition(".")[0] == "r1zero" for name in sys.modules)
for program in sys.argv[1:]:
    if not os.fork():
        exec(program)
        sys.stdout.flush()
        os._exit(0)
    assert os.wait()[1] == 0, program
"""


def printed_by_each(programs: list[str]) -> list[list[str]]:
    """Run programs, each in a process that has imported what r1zero imports, and nothing of r1zero."""
    return [line.split() for line in printed(FORKS, *programs).splitlines()]


@pytest.mark.slow
def test_every_public_name_imports_alone() -> None:
    programs = [f"from r1zero import {name}; print({name}.__name__)" for name in r1zero.__all__]
    assert printed_by_each(programs) == [[name] for name in r1zero.__all__]


@pytest.mark.slow
def test_names_stay_what_they_are_whatever_is_imported_first() -> None:
    kinds = [type(getattr(r1zero, name)).__name__ for name in r1zero.__all__]
    classes = {"AnswerFormat": "EnumType"} | dict.fromkeys(
        ("Control", "Objective", "Question", "Run", "Verifier", "View"), "type"
    )
    assert kinds == [classes.get(name, "function") for name in r1zero.__all__]
    names_first = f"from r1zero import {NAMES}; import {HOMES}; {KINDS}; import r1zero; {KINDS}"
    modules_first = f"import {HOMES}; from r1zero import {NAMES}; {KINDS}; {KINDS}"
    assert printed_by_each([names_first, modules_first]) == [kinds] * 4


def test_other_names_are_refused_and_all_are_listed() -> None:
    with pytest.raises(AttributeError, match="module 'r1zero' has no attribute 'trian'"):
        r1zero.trian  # noqa: B018
    assert set(r1zero.__all__) <= set(dir(r1zero))


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path) -> None:
    """As it stands, but two steps of a model that has read one-digit sums."""
    (example,) = re.findall(r"(?:^    .*\n|^\n)+", (r1zero.__doc__ or "").split("some sums:\n")[1], re.MULTILINE)[:1]
    program = re.sub(r"^    ", "", example, flags=re.MULTILINE).replace('"train.steps": 20', '"train.steps": 2')
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "arithmetic-base").symlink_to(taught_model())
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    rewards, accuracy, verdict = printed(program.replace("step-000020", "step-000002"), cwd=tmp_path).splitlines()
    assert len(rewards.split(",")) == 2
    value, low, high = map(float, accuracy.split())
    assert 0 <= low <= value <= high <= 1
    assert verdict.split()[0] == "right"
