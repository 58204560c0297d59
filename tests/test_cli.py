"""The command line: a user's mistake is one sentence on standard error, exit code 2, and nothing left behind."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

import r1zero
from r1zero.policy.tiny import character_tokenizer, tiny_model
from tiny_runs import random_model, start, sums_of, taught_model, trained, write_recipe

R1ZERO = [sys.executable, "-c", "from r1zero.cli import main; main()"]


def r1zero_from_cold(*words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*R1ZERO, *words], capture_output=True, text=True, timeout=600, cwd=cwd)


# ---- what works


def test_help_names_the_commands() -> None:
    done = r1zero_from_cold("--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name in done.stdout for name in ("train", "evaluate", "demo", "doctor"))


def test_help_of_a_command_explains_its_options() -> None:
    done = r1zero_from_cold("train", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "--resume" in done.stdout
    assert "--data-dir" in done.stdout


def test_version() -> None:
    assert r1zero_from_cold("--version").stdout.strip() == r1zero.__version__


def test_the_package_is_a_program() -> None:
    done = subprocess.run([sys.executable, "-m", "r1zero", "--version"], capture_output=True, text=True, timeout=600)
    assert done.stdout.strip() == r1zero.__version__


def test_doctor_runs() -> None:
    command = start("doctor")
    assert command.wait() in (0, 1)
    assert "torch" in command.out
    assert "Traceback" not in command.err


def test_training_from_the_command_line(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "mine.toml")
    command = start("train", recipe, "--train.steps", "1", "--train.seed=3", "--every", "1", cwd=tmp_path)
    said = command.done()
    assert command.err == ""
    assert "continuing" not in said
    assert "step    1  reward 0." in said
    assert said.rstrip().endswith("done: runs/mine (metrics.jsonl, rollouts/, checkpoints/)")
    saved = json.loads((tmp_path / "runs" / "mine" / "recipe.json").read_text())
    assert (saved["train"]["steps"], saved["train"]["seed"]) == (1, 3)
    made = json.loads((tmp_path / "runs" / "mine" / "run.json").read_text())
    assert made["command"] == ["r1zero", "train", str(recipe), "--train.steps", "1", "--train.seed=3", "--every", "1"]


# ---- what does not

MISTAKES = {
    "no recipe": (
        ["nowhere.toml"],
        "There is no recipe at nowhere.toml; give the path of a TOML file, or a name of `r1zero recipe",
    ),
    "a directory": (["."], ". is a directory, not a recipe; to continue the run there, add --resume."),
    "no run to resume": ([".", "--resume"], ". is not a run directory (it has no run.json); give the path of one."),
    "an unknown key": (["r.toml", "--learner.update=2"], "did you mean 'learner.updates'?"),
    "an unknown section": (["r.toml", "--lerner.updates=2"], "did you mean 'learner'?"),
    "an impossible split": (["r.toml", "--learner.updates", "3"], "does not divide the 16 responses"),
    "a value that is none": (["r.toml", "--train.steps"], "--train.steps has no value; write --train.steps VALUE."),
    "a stray word": (["r.toml", "fast"], "'fast' is not an override"),
    "an option of the wrong kind": (["r.toml", "--every", "often"], '"often"'),
    "no tokenizer's EOS": (["r.toml", "--model.path=endless"], "names an EOS token, so no response could ever end"),
    "no model": (["r.toml", "--model.path=nowhere"], "model.path = 'nowhere' cannot be loaded (no such local folder"),
    "no answers": (
        ["r.toml", "--questions.name=no-answers.jsonl", "--questions.options={}"],
        "set questions.answer_column",
    ),
    "no question file": (["r.toml", "--questions.name=nowhere.jsonl"], "questions.name is 'nowhere.jsonl', which"),
    "an unknown set": (["r.toml", "--questions.name=gsm9k"], "did you mean gsm8k"),
    "an unknown benchmark": (
        ["r.toml", "--evaluation.benchmarks=[{name='amd'}]"],
        "evaluation.benchmarks is 'amd', which is neither a known set nor a path",
    ),
    "an unknown template": (["r.toml", "--template.name=r2"], "template.name = 'r2' is not a valid template"),
    "an unknown objective": (["r.toml", "--objective.name=dr_grop"], "did you mean 'dr_grpo'?"),
    "an unknown tracker": (["r.toml", "--log.sinks=['wendb']"], "log.sinks names 'wendb', which is not a tracker"),
    "a device that is not there": (["r.toml", "--model.device=cuda:99"], "model.device = 'cuda:99' is not usable here"),
    "no device": (["r.toml", "--model.device=gpu"], "model.device = 'gpu' is not usable here"),
    "no folder of data": (["r.toml", "--questions.name=amc", "--data-dir=nowhere"], "--data-dir is nowhere, which is"),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a recipe, a model that cannot end, and questions that nobody answered."""
    folder = tmp_path_factory.mktemp("desk")
    write_recipe(folder / "r.toml")
    tokenizer = character_tokenizer()
    model = tiny_model(tokenizer, width=32, layers=2)
    model.config.eos_token_id = None
    model.generation_config.eos_token_id = None
    model.save_pretrained(folder / "endless")
    tokenizer.eos_token = None
    tokenizer.save_pretrained(folder / "endless")
    (folder / "no-answers.jsonl").write_text('{"question": "What is 1 + 1?"}\n{"question": "What is 2 + 2?"}\n')
    return folder


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_sentence_and_leaves_nothing(desk: Path, mistake: str) -> None:
    words, says = MISTAKES[mistake]
    before = sorted(desk.iterdir())
    out = () if words[0] == "." else ("--out", "run")
    assert start("train", *words, *out, cwd=desk).refused(says) == ""
    assert sorted(desk.iterdir()) == before


@pytest.mark.parametrize(
    "words, says",
    [
        (["trian"], 'Did you mean "train"?'),
        (["train"], "RECIPE"),
        (["evaluate"], "evaluate needs a model"),
        (["evaluate", "nowhere"], "evaluate needs question sets: --benchmarks NAME"),
        (["evaluate", "nowhere", "-b", "arithmetic", "--limit", "4"], "model.path = 'nowhere' cannot be loaded"),
        (["evaluate", "MODEL", "-b", "arithmetic", "--samples", "2"], "set evaluation.temperature above 0"),
        (["evaluate", "MODEL", "-b", "arithmetic", "--limit", "few"], '"few"'),
        (["evaluate", "MODEL", "-b", "amd"], "--benchmarks is 'amd', which is neither a known set nor a path"),
        (["evaluate", "MODEL", "-b", "arithmetic", "--split", "dev"], "--split is 'dev': for arithmetic set it to one"),
        (["evaluate", "MODEL", "-b", "QUESTIONS", "--answer-column", "gold"], "set --answer-column to one of its col"),
        (["evaluate", "MODEL", "-b", "QUESTIONS", "--question-column", "q"], "set --question-column to one of its col"),
        (["evaluate", "MODEL", "-b", "arithmetic", "--batch-rows", "0"], "--batch-rows 0 decodes nothing; give 1 or"),
        (["evaluate", "MODEL", "-b", "arithmetic", "--seed", "-1"], "--seed -1 is not a valid seed; give 0 or more."),
        (["evaluate", "MODEL", "-b", "arithmetic", "--top-k", "-1"], "top_k = -1 cannot be used"),
        (["evaluate", "MODEL", "-b", "arithmetic", "arithmetic"], "names 'arithmetic' more than once"),
        (
            ["evaluate", "MODEL", "-b", "arithmetic", "--template", "qwen"],
            "is not a valid template: did you mean qwen3",
        ),
        (["evaluate", "MODEL", "-b", "arithmetic", "--out", "/dev/null/x"], "cannot be written (Not a directory)"),
        (
            ["evaluate", "MODEL", "-b", "arithmetic", "-t", "chat", "--template-options", "fast"],
            "--template-options fast is not a valid setting: write NAME=VALUE",
        ),
        (["demo", "--objectives", "grop", "--out", "/dev/null/x"], "objective.name = 'grop' is not in the table"),
        (["demo", "--steps", "0", "--out", "/dev/null/x"], "--steps 0 trains nothing; give 1 or more."),
        (["demo", "--workers", "0", "--out", "/dev/null/x"], "--workers 0 does nothing; give 1 or more."),
        (["demo", "--seed", "-1", "--out", "/dev/null/x"], "train.seed = -1 cannot be used"),
        (["demo", "--out", "/dev/null/x"], "/dev/null/x cannot be written (Not a directory)"),
    ],
)
def test_a_mistake_elsewhere_is_one_sentence_too(desk: Path, words: list[str], says: str) -> None:
    paths = {"MODEL": str(random_model()), "QUESTIONS": str(desk / "no-answers.jsonl")}
    named = [paths.get(word, word) for word in words]
    extra = ["--device", "cpu", "--answer-format", "last_number"] if "MODEL" in words else []
    for option, value in (("--max-new-tokens", "4"), ("--limit", "2")):
        extra += [option, value] if option not in words and "MODEL" in words else []
    assert start(*named, *extra).refused(says) == ""


@pytest.mark.parametrize(
    "words, prompts",
    [
        (("evaluate", "MODEL", "-t", "chat", "-b", "arithmetic"), "arithmetic.parquet"),
        (("analyze", "MODEL", "--questions", "arithmetic", "-t", "chat"), "**/*.parquet"),
    ],
    ids=["evaluate", "analyze"],
)
def test_a_chat_template_takes_its_options_from_the_command_line(
    tmp_path: Path, words: tuple[str, ...], prompts: str
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(random_model())
    tokenizer.chat_template = "{{ messages[0]['content'] }}{% if not enable_thinking %}:{{ effort }}={% endif %}"
    shutil.copytree(random_model(), tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    command = [str(tmp_path / "model") if word == "MODEL" else word for word in words]
    command += ["--limit", "2", "--max-new-tokens", "4", "--device", "cpu", "--answer-format", "last_number"]
    start(*command, "--out", tmp_path / "out", "--template-options", "enable_thinking=false", "effort=7").done()
    files = sorted((tmp_path / "out").glob(prompts))
    asked = [row["prompt"] for file in files for row in pq.read_table(file, columns=["prompt"]).to_pylist()]
    assert asked
    assert all(prompt.endswith(":7=") for prompt in asked)
    refused = start(*command, "--out", tmp_path / "other", "--template-options", "enable_thinkin=false")
    assert refused.refused("did you mean enable_thinking?") == ""


def test_endless_questions_need_a_limit() -> None:
    command = start("evaluate", random_model(), "-b", "arithmetic", "--device", "cpu")
    assert command.refused("--benchmarks: arithmetic has no end; set --limit to a number of questions.") == ""


@pytest.mark.parametrize("name, damage", [("recipe.json", None), ("recipe.json", "{}"), ("run.json", "{}")])
def test_a_damaged_run_is_not_continued(tmp_path: Path, name: str, damage: str | None) -> None:
    shutil.copytree(trained({"train.steps": 1}).path, tmp_path / "run")
    (tmp_path / "run" / name).unlink()
    if damage is not None:
        (tmp_path / "run" / name).write_text(damage)
    before = sums_of(tmp_path)
    command = start("train", tmp_path / "run", "--resume", "--train.steps=2")
    assert command.refused(f"{name} cannot be read (") == ""
    assert "the run directory is damaged; restore that file, or start another run" in command.err
    assert sums_of(tmp_path) == before


@pytest.mark.slow
def test_a_mistake_from_a_cold_start(tmp_path: Path) -> None:
    """Once without the launcher that the other tests share: nothing but the sentence gets to standard error."""
    write_recipe(tmp_path / "r.toml", taught_model())
    done = r1zero_from_cold("train", "r.toml", "--template.name=r2", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("r1zero: template.name = 'r2' is not a valid template")
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]


def test_an_interrupt_that_is_swallowed_comes_again() -> None:
    """Python ignores exceptions in finalizers; a Ctrl-C that lands in one must not be lost."""
    code = """
import os, signal, sys, time
from r1zero import cli

class Finalizer:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):  # the handler runs in here, and what it raises is ignored
            pass

def app(*_, **__):
    Finalizer()
    time.sleep(600)

cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.returncode == 130
    assert "Exception ignored" in done.stderr
    assert done.stderr.endswith("with --resume, other commands when given again.\n")


def test_an_interrupt_leaves_the_clean_up_alone_and_a_second_one_ends_it() -> None:
    code = """
import os, signal, time
from r1zero import cli

def app(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)
    finally:
        print("timer", *signal.getitimer(signal.ITIMER_REAL))
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(600)

cli.app = app
cli.main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout) == (130, "timer 0.0 0.0\n")
    assert done.stderr.startswith("r1zero: interrupted; ")
