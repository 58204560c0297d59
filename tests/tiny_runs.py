"""Small real runs for the tests: models that have been taught sums, a recipe on built-in arithmetic, and a launcher of
real `r1zero` processes that need not wait for imports and can be held at a moment.
"""

import atexit
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from processes import END_S, wait_for
from r1zero.config import Recipe, make_recipe
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.runs.run import Run
from r1zero.training.train import train
from regime import SEED, THREADS, seeded

TAUGHT = Path(__file__).resolve().parent / "taught"
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
seed = {seed}
threads = {threads}
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
    tiny_model(tokenizer, width=32, layers=2, seed=seeded()).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@cache
def taught_model(width: int = 32, heads: int = 4) -> Path:
    """A model folder that has read one-digit sums: some answers are right, some wrong, some truncated.

    Its weights are those of tests/taught, whatever this processor would have made of them (see tests/taught/teach.py).
    """
    name = f"taught-{width}-{heads}"
    folder, tokenizer = session_folder() / ("taught" if name == "taught-32-4" else name), character_tokenizer()
    model = tiny_model(tokenizer, width=width, layers=2, heads=heads)
    with torch.no_grad():
        for key, tensor in load_file(TAUGHT / f"{name}.safetensors").items():
            model.get_parameter(key).copy_(tensor)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def recipe_text(model: Path | None = None) -> str:
    """The tiny recipe as TOML, on the taught model by default."""
    return RECIPE.format(model=model or taught_model(), seed=SEED, threads=THREADS)


def tiny_recipe(overrides: Mapping[str, object] | None = None, model: Path | None = None) -> Recipe:
    """The tiny recipe on the taught model, with dotted overrides."""
    return make_recipe(tomllib.loads(recipe_text(model)), overrides)


def trained(overrides: Mapping[str, object] | None = None) -> Run:
    """A finished, uninterrupted run of the tiny recipe, made once for equal overrides in this process. Only read it."""
    return _trained(json.dumps(dict(overrides or {}), sort_keys=True))


@cache
def _trained(overrides: str) -> Run:
    return train(tiny_recipe(json.loads(overrides)), Path(tempfile.mkdtemp(dir=session_folder())) / "run")


def write_recipe(path: Path, model: Path | None = None, more: str = "") -> Path:
    """The tiny recipe as a file, with `more` TOML at its end."""
    path.write_text(recipe_text(model) + more, encoding="utf-8")
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


@dataclass(frozen=True)
class Hold:
    """A moment at which a process waits, so that a test need not be quick: around a call of one of our functions."""

    function: str
    """`module:name`, or `module:Class.name`."""
    call: int = 1
    """Which call in that process, counted from 1; of those alone whose first argument, self apart, is `first`."""
    first: str | None = None
    after: bool = False
    """Whether it waits when the call is done, instead of before it."""


# The launcher's own program: it imports what `r1zero` needs, once, and forks a child for every command line. The
# child has files for its output. It ends as any Python program ends, threads, exit functions and what is buffered, but
# takes none of the modules apart: that copies all memory that it shares, and takes ten times as long as most mistakes.
# It may be held: it says so in a file of its folder, and waits for another.
_LAUNCHER = """
import atexit, functools, gc, importlib, json, os, resource, sys, threading, time
gc.disable()
import r1zero.doctor, r1zero.paper.demo, r1zero.training.train, r1zero.training.progress
import transformers.models.qwen2.modeling_qwen2
from r1zero.cli import main
gc.enable()
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
    os.environ.update(task["environment"])
    sys.argv = ["r1zero", *task["words"]]
    break
else:
    sys.exit()

def wait():
    open(task["folder"] + "/out.held", "w").close()
    while not os.path.exists(task["folder"] + "/out.go"):
        time.sleep(0.001)

if hold := task["hold"]:
    module, _, path = hold["function"].partition(":")
    *owners, name = path.split(".")
    owner = functools.reduce(getattr, owners, importlib.import_module(module))
    function, calls = getattr(owner, name), 0

    @functools.wraps(function)
    def held(*arguments, **named):
        global calls
        calls += hold["first"] is None or arguments[len(owners):][:1] == (hold["first"],)
        now = calls == hold["call"]
        calls += now  # once only
        if now and not hold["after"]:
            wait()
        result = function(*arguments, **named)
        if now and hold["after"]:
            wait()
        return result

    setattr(owner, name, held)
code = 0
try:
    main()
except SystemExit as exit:
    code = exit.code if isinstance(exit.code, int) else int(exit.code is not None)
    if code and not isinstance(exit.code, int):
        print(exit.code, file=sys.stderr)
except BaseException:
    sys.excepthook(*sys.exc_info())
    code = 1
threading._shutdown()
atexit._run_exitfuncs()
for stream in (sys.stdout, sys.stderr):
    stream.flush()
os._exit(code)
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

    def wait(self, timeout_s: float = END_S) -> int:
        """Its exit code."""
        return wait_for(self.poll, f"the end of process {self.pid}", timeout_s)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to it and whatever shares its terminal, as Ctrl-C does; the exit code."""
        os.killpg(self.pid, number)
        return self.wait()

    def done(self, timeout_s: float = END_S) -> str:
        """What it has printed when it ends, which is well."""
        code = self.wait(timeout_s)
        assert code == 0, self.err
        return self.out

    def refused(self, says: str) -> str:
        """What it has printed when it ends as a user's mistake ends it: with one sentence, which says this."""
        code = self.wait()
        assert "Traceback" not in self.err, self.err
        assert self.err.startswith("r1zero: "), self.err
        assert says in self.err, self.err
        assert len(self.err.splitlines()) == 1, self.err
        assert self.err.endswith("\n")
        assert code == 2
        return self.out

    def held(self) -> None:
        """Return when it waits at the moment that it was to be held at."""
        wait_for(lambda: (self.folder / "out.held").exists() or self.poll(), f"process {self.pid} to be held")
        assert (self.folder / "out.held").exists(), self.err

    def go(self) -> None:
        """Let it go on."""
        (self.folder / "out.go").touch()

    @property
    def out(self) -> str:
        """What it has printed."""
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self) -> str:
        """What it has printed on standard error."""
        return (self.folder / "err").read_text(encoding="utf-8")


def start(
    *words: str | Path,
    cwd: Path | None = None,
    file_bytes: int = 0,
    hold: Hold | None = None,
    environment: Mapping[str, str] | None = None,
    out: Path | None = None,
) -> Command:
    """Start `r1zero WORDS` as a process of its own. With `file_bytes`, no file can grow beyond that; `out` is another
    place for what it prints.
    """
    folder = Path(tempfile.mkdtemp(dir=session_folder()))
    (folder / "out").touch()
    task = {
        "words": list(map(str, words)),
        "cwd": str(cwd or folder),
        "folder": str(folder),
        "output": [str(out or folder / "out"), str(folder / "err")],
        "file_bytes": file_bytes,
        "hold": hold and asdict(hold),
        "environment": dict(environment or {}),
    }
    return Command(_ask(task), folder)
