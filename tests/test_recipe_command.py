"""`r1zero recipe`, recipes by name, and the Tab key."""

import subprocess
import sys
import tomllib
from pathlib import Path

import jsonschema
import pytest

from r1zero.cli.recipe_check import _named
from r1zero.config import Recipe, load_recipe, make_recipe, read_recipe
from r1zero.config.check import line_of, lines_of, wrong_with
from r1zero.config.pretrain import PretrainRecipe
from r1zero.config.schema import schema_of
from r1zero.config.shipped import SHIPPED, find, is_name, missing, names, path_of, shipped_name
from r1zero.config.starting import starting_recipe
from r1zero.errors import UserError
from tiny_runs import start, tiny_recipe

BROKEN = """\
[model]
path = "base"

[questions]
name = "arithmetic"

[learner]
learnign_rate = 1e-5
betas = [0.9]

[[evaluation.benchmarks]]
name = "amc"
[[evaluation.benchmarks]]
name = "math500"
limt = 3

[train]
steps = "many"
"""


def test_every_shipped_recipe_says_what_it_needs() -> None:
    assert sorted(SHIPPED) == names()


@pytest.mark.parametrize(
    "word, alone",
    [("demo", True), ("qwen2.5-math-7b", True), ("./demo", False), ("demo.toml", False), ("recipes/demo", False),
     ("demo/", False), ("..", False)],
)  # fmt: skip
def test_a_name_alone_has_neither_folder_nor_suffix(word: str, alone: bool) -> None:
    assert is_name(word) == alone
    assert (find(path_of(word)).suffix == ".toml" and shipped_name(path_of(word)) is not None) == alone


def test_a_name_is_the_packages_recipe_whatever_lies_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("demo").mkdir()
    assert load_recipe("demo").train.steps == 160
    assert read_recipe("miniature-pretrain", PretrainRecipe).train.steps == 2000
    with pytest.raises(UserError, match="cannot be read"):
        load_recipe("./demo")


@pytest.mark.parametrize(
    "path, says",
    [
        ("recipes/demo.toml", "There is no recipe at recipes/demo.toml; the recipe of that name that comes with r1zero "
         "is `demo` alone: `r1zero train demo`."),
        ("x/miniature-pretrain.toml", "`r1zero pretrain miniature-pretrain`."),
        ("qwen2.5-math-7", "did you mean qwen2.5-math-7b? (`r1zero recipe list`"),
        ("mine.toml", "give the path of a TOML file, or a name of `r1zero recipe list`."),
    ],
)  # fmt: skip
def test_a_recipe_that_is_not_there(path: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    assert says in str(caught.value)


def test_what_has_to_be_made_first_is_what_the_recipe_itself_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"model": {"path": "runs/a"}, "evaluation": {"benchmarks": [{"name": "models/b"}]}}
    assert missing(own, own) == ["runs/a", "models/b"]
    assert missing(own | {"model": {"path": "runs/mine"}}, own) == ["models/b"]
    Path("models/b").mkdir(parents=True)
    assert missing(own, own) == ["runs/a"]


def test_a_shipped_recipe_says_what_to_run_and_then_runs(tmp_path: Path) -> None:
    start("train", "demo", cwd=tmp_path).refused("`r1zero recipe prepare demo` makes what is missing")
    assert list(tmp_path.iterdir()) == []
    start("pretrain", "demo", cwd=tmp_path).refused("give it to `r1zero train`")
    said = start("recipe", "prepare", "demo", cwd=tmp_path).done()
    assert "runs/demo/base" in said
    assert "nothing" in start("recipe", "prepare", "demo", cwd=tmp_path).done()
    short = ("--train.steps", "1", "--rollout.prompts", "2", "--rollout.samples", "2", "--evaluation.benchmarks", "[]")
    assert "done: runs/demo-train" in start("train", "demo", *short, cwd=tmp_path).done()
    assert not (tmp_path / "runs" / "demo" / "run.json").exists()


def test_a_file_is_checked_whole_and_by_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.toml"
    file.write_text(BROKEN)
    lines = lines_of(BROKEN)
    assert {(each.key, line_of(lines, each.key)) for each in wrong_with(file)} == {
        ("learner.learnign_rate", 8), ("learner.betas", 9), ("evaluation.benchmarks.1.limt", 15), ("train.steps", 18),
    }  # fmt: skip
    command = start("recipe", "check", file)
    assert command.wait() == 1
    said = command.out
    assert "line 8: " in said
    assert "did you mean 'learner.learning_rate'?" in said
    assert "line 15: " in said
    assert "'evaluation.benchmarks.1.limit'" in said


def test_sources_and_rewards_that_a_recipe_names_are_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.jsonl").write_text('{"question": "1+1=", "answer": "2"}\n')
    (tmp_path / "mine.py").write_text("raise SystemExit('is not run')\n")
    rewards = [{"use": "verify"}, {"use": "mine.py:f"}, {"use": "yours.py:g"}]
    sources = [{"name": "here.jsonl"}, {"name": "there.jsonl"}]
    asked = {"questions": {"sources": sources}, "reward": rewards, "evaluation.benchmarks": []}
    told = list(_named(tiny_recipe(asked), tmp_path / "recipe.toml"))
    assert told[0] == "reward 'g', use = 'yours.py:g', names a file that does not exist; mend its path."
    assert told[1].startswith("questions.sources.1.name is 'there.jsonl', which is neither a known set nor a path")
    assert len(told) == 2
    sources[1]["name"] = "here.jsonl"
    rewards[2]["use"] = "mine.py:g"
    assert list(_named(tiny_recipe(asked), tmp_path / "recipe.toml")) == []
    short = tiny_recipe({"verifier.reward": "gone.py:f", "evaluation.benchmarks": []})
    assert ["gone.py:f" in each for each in _named(short, tmp_path / "recipe.toml")] == [True]


def test_all_contradictions_are_told(tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text(
        '[model]\npath = "m"\n[questions]\nname = "arithmetic"\n[train]\nsteps = 1\n[learner]\nupdates = 3\n'
        '[objective]\ntruncation = "penalise"\n[sampling]\nmemory = 0.4\n'
    )
    said = [each.sentence for each in wrong_with(file)]
    assert len(said) == 3
    assert [
        word for each in said for word in ("learner.updates", "truncation_penalty", "sampling.memory") if word in each
    ]
    with pytest.raises(UserError, match="does not divide the 1024 responses") as caught:
        load_recipe(file)
    assert "truncation" not in str(caught.value)  # a run is told the first


def test_lines_in_long_texts_are_no_settings() -> None:
    assert lines_of('[a]\nb = """\nc = 1\n"""\nd = 2\n"e.f" . g = 3\n') == {"a": 1, "a.b": 2, "a.d": 5, "a.e.f.g": 6}


@pytest.mark.parametrize("kind", [Recipe, PretrainRecipe])
def test_the_starting_recipe_is_valid_by_the_recipe_and_by_the_schema(kind: type) -> None:
    text = starting_recipe(kind)
    data = tomllib.loads(text)
    kind.model_validate(data)
    assert text.startswith("#:schema file:///")
    jsonschema.Draft7Validator(schema_of(kind)).validate(data)


def test_init_never_writes_over_a_file_unasked(tmp_path: Path) -> None:
    start("recipe", "init", "mine.toml", "--from", "qwen2.5-math-7b", cwd=tmp_path).done()
    assert load_recipe(tmp_path / "mine.toml") == load_recipe("qwen2.5-math-7b")
    before = (tmp_path / "mine.toml").read_text()
    start("recipe", "init", "mine.toml", cwd=tmp_path).refused(
        "mine.toml is there already: give another name, or --force"
    )
    assert (tmp_path / "mine.toml").read_text() == before
    start("recipe", "init", "mine.toml", "--force", cwd=tmp_path).done()
    assert make_recipe(tomllib.loads((tmp_path / "mine.toml").read_text())).questions.name == "math-12k"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.toml"]


def test_diff_tells_settings_with_defaults_resolved(tmp_path: Path) -> None:
    said = start("recipe", "diff", "qwen2.5-math-7b", "qwen2.5-1.5b-r1", environment={"COLUMNS": "200"}).done()
    assert [line.split()[0] for line in said.splitlines()[1:]] == [
        "model.path", "questions.name", "template.answer_format", "template.name", "train.steps",
    ]  # fmt: skip
    assert "unset" in said
    start("recipe", "diff", "demo", "miniature-pretrain").refused("of different kinds")


def test_list_and_show() -> None:
    said = start("recipe", "list", environment={"COLUMNS": "300"}).done()
    assert [line.split()[0] for line in said.splitlines()] == names()
    assert "Qwen/Qwen2.5-Math-7B on math-lvl3to5" in said
    assert start("recipe", "show", "demo").done() == find(Path("demo")).read_text()


# ---- the Tab key, in a real bash


def tab(script: Path, line: str, folder: Path) -> list[str]:
    """What bash offers for the last word of a line."""
    program = f"""
        . {script}
        PATH={folder}/bin:$PATH
        COMP_WORDS=({line}{' ""' if line.endswith(" ") else ""})
        COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
        complete -p r1zero >/dev/null || exit 1
        _r1zero 2>/dev/null
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "--norc", "-c", program], capture_output=True, text=True, cwd=folder, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_the_tab_key_completes_in_bash(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "SHELL": "/bin/bash"}
    start("--install-completion", environment=home).done()
    start("--install-completion", "bash", environment=home).done()
    script = tmp_path / ".local" / "share" / "bash-completion" / "completions" / "r1zero"
    assert (tmp_path / ".bashrc").read_text() == f'[ -f "{script}" ] && . "{script}"\n'  # once
    program = tmp_path / "bin" / "r1zero"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m r1zero "$@"\n')
    program.chmod(0o755)
    assert tab(script, "r1zero pre", tmp_path) == ["pretrain"]
    assert tab(script, "r1zero train smollm2-135m-g", tmp_path) == ["smollm2-135m-gsm8k"]
    assert tab(script, "r1zero train demo --learner.sch", tmp_path) == ["--learner.schedule"]
    assert tab(script, "r1zero train demo --lea", tmp_path) == ["--learner."]
    assert tab(script, "r1zero train demo --learner.schedule ", tmp_path) == ["constant", "linear", "cosine"]
    assert tab(script, "r1zero paper run --sca", tmp_path) == ["--scale"]
    (tmp_path / "my file.toml").touch()
    assert tab(script, "r1zero train my", tmp_path) == ["my file.toml"]


def test_completion_for_a_shell_that_is_not_known_says_which_are() -> None:
    start("--install-completion", environment={"SHELL": "/bin/csh"}).refused("add one of these words")
