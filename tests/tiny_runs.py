"""Small real runs for the tests: a model that is taught in two seconds, a recipe on built-in arithmetic, and a launcher
of real `r1zero` processes that need not wait for imports.
"""

import atexit
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import torch

from r1zero.config import Recipe, make_recipe
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.pretrain import pretrain
from r1zero.questions.arithmetic import arithmetic
from r1zero.runs import Run
from r1zero.train import train

T = TypeVar("T")

RECIPE = """
[model]
path = "{model}"
device = "cpu"

[questions]
name = "arithmetic"
options = {{ level = 1, style = "bare", count = 16 }}

[template]
name = "no"
answer_format = "last_number"

[sampling]
max_new_tokens = 16

[rollout]
prompts = 4
samples = 4

[learner]
learning_rate = 5e-4
micro_tokens = 256

[verifier]
workers = 1
timeout_s = 60

[evaluation]
every = 2
benchmarks = [{{ name = "arithmetic", options = {{ level = 1, style = "bare", count = 16 }} }}]

[checkpoint]
every = 2

[train]
steps = 3
threads = 1
"""


@cache
def session_folder() -> Path:
    """A folder that lasts as long as the test session."""
    folder = Path(tempfile.mkdtemp(prefix="r1zero-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def random_model() -> Path:
    """A model folder with random weights (width 32, 2 layers): it ends one response in a hundred tokens."""
    folder, tokenizer = session_folder() / "random", character_tokenizer()
    tiny_model(tokenizer, width=32, layers=2, seed=0).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _sums() -> Iterator[tuple[str, str]]:
    """The recipe's sixteen sums with an answer that is right every other time; some run on until the token budget."""
    questions, rng = arithmetic(level=1, style="bare", count=16), random.Random(0)
    while True:
        index = rng.randrange(16)
        value = questions.problem(index).answer + rng.choice((0, 0, 1, 2))
        yield questions[index].text, f" {value}" + (" +1+1+1+1+1+1+1+1" if rng.random() < 0.2 else "")


@cache
def taught_model(width: int = 32, heads: int = 4) -> Path:
    """A model folder that has read one-digit sums: some answers are right, some wrong, some truncated."""
    name = "taught" if (width, heads) == (32, 4) else f"taught-{width}-{heads}"
    folder, tokenizer = session_folder() / name, character_tokenizer()
    model = tiny_model(tokenizer, width=width, layers=2, heads=heads, seed=0)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pretrain(model, tokenizer, _sums(), steps=150, batch=16, learning_rate=1e-2)
    torch.set_num_threads(threads)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def tiny_recipe(overrides: Mapping[str, object] | None = None, model: Path | None = None) -> Recipe:
    """The tiny recipe on the taught model, with dotted overrides."""
    return make_recipe(tomllib.loads(RECIPE.format(model=model or taught_model())), overrides)


def trained(overrides: Mapping[str, object] | None = None) -> Run:
    """A finished, uninterrupted run of the tiny recipe, made once for equal overrides in this process. Only read it."""
    return _trained(json.dumps(dict(overrides or {}), sort_keys=True))


@cache
def _trained(overrides: str) -> Run:
    return train(tiny_recipe(json.loads(overrides)), Path(tempfile.mkdtemp(dir=session_folder())) / "run")


def write_recipe(path: Path, model: Path | None = None, more: str = "") -> Path:
    """The tiny recipe as a file, with `more` TOML at its end."""
    path.write_text(RECIPE.format(model=model or taught_model()) + more, encoding="utf-8")
    return path


def sums_of(folder: Path) -> dict[str, str]:
    """The hash of every model weight file below a folder, by relative path."""
    files = sorted(folder.rglob("*.safetensors"))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def untimed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Logged lines without what a clock or the operating system decides."""
    return [{k: v for k, v in row.items() if k.split("/")[0] not in ("time", "speed", "memory")} for row in rows]


def graded(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Saved responses without the seconds that grading took."""
    return [{k: v for k, v in row.items() if k != "grade_seconds"} for row in rows]


# The launcher's own program: it imports what `r1zero` needs, once, and forks a child for every command line. The
# child has files for its output, and ends as any Python program ends.
_LAUNCHER = """
import gc, json, os, resource, sys
import r1zero.demo, r1zero.doctor, r1zero.train, r1zero.view, transformers.models.qwen2.modeling_qwen2
from r1zero.cli import main
gc.freeze()  # so that a child neither walks nor copies all that was imported
print("ready", flush=True)
for line in sys.stdin:
    task = json.loads(line)
    if "poll" in task:
        found, status = os.waitpid(task["poll"], os.WNOHANG)
        print(json.dumps(os.waitstatus_to_exitcode(status) if found else None), flush=True)
        continue
    child = os.fork()
    if child:
        print(child, flush=True)
        continue
    targets = [os.open(os.devnull, os.O_RDONLY), *(os.open(path, os.O_WRONLY | os.O_CREAT) for path in task["output"])]
    for number, target in enumerate(targets):
        os.dup2(target, number)
    os.setpgrp()
    os.chdir(task["cwd"])
    if task["file_bytes"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (task["file_bytes"], task["file_bytes"]))
    sys.argv = ["r1zero", *task["words"]]
    break
else:
    sys.exit()
main()
"""


@cache
def _launcher() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"COLUMNS": "200"},
    )
    atexit.register(process.kill)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _ask(task: Mapping[str, Any]) -> Any:
    process = _launcher()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(task) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())


@dataclass(frozen=True)
class Command:
    """A running `r1zero` command line."""

    pid: int
    folder: Path
    """Where its output goes."""

    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs. May say so once only."""
        return _ask({"poll": self.pid})

    def wait(self, timeout_s: float = 120) -> int:
        """Its exit code."""
        return wait_for(self.poll, f"the end of process {self.pid}", timeout_s)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to it and whatever shares its terminal, as Ctrl-C does; the exit code."""
        os.killpg(self.pid, number)
        return self.wait()

    @property
    def out(self) -> str:
        """What it has printed."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has printed on standard error."""
        return (self.folder / "err").read_text(encoding="utf-8")


def start(*words: str | Path, cwd: Path | None = None, file_bytes: int = 0) -> Command:
    """Start `r1zero WORDS` as a process of its own. With `file_bytes`, no file can grow beyond that."""
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    output = [str(folder / "out"), str(folder / "err")]
    task = {"words": list(map(str, words)), "cwd": str(cwd or folder), "output": output, "file_bytes": file_bytes}
    return Command(_ask(task), folder)


def wait_for(look: Callable[[], T | None], what: str, timeout_s: float = 60) -> T:
    """What `look` finds, as soon as it is not None."""
    end = time.monotonic() + timeout_s
    while (found := look()) is None:
        assert time.monotonic() < end, f"waited {timeout_s} s for {what}"
        time.sleep(0.001)
    return found
