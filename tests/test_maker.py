"""Whose code runs: a run directory that somebody else made names a reward."""

import json
import shutil
from pathlib import Path

import pytest

from r1zero.errors import UserError
from r1zero.policy.load import load_blank, load_policy
from r1zero.runs.maker import foreign_reward, maker
from r1zero.runs.run import Run
from tiny_runs import random_model, start, tiny_recipe, write_recipe

REWARD = "def reward(response, gold):\n    return 'x' in response\n"


def test_a_foreign_reward_is_said_before_it_runs_and_once(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(REWARD)
    write_recipe(tmp_path / "r.toml")
    words = ("--verifier.reward", "mine.py:reward", "--train.steps", "1")
    own = start("train", "r.toml", "--out", "run", *words, cwd=tmp_path)
    assert own.wait() == 0, own.err
    assert "is code" not in own.out

    def go_on(steps: int, *more: str) -> list[str]:
        command = start("train", "run", "--resume", "--train.steps", str(steps), *more, cwd=tmp_path)
        assert command.wait() == 0, command.err
        return command.out.splitlines()

    assert not [line for line in go_on(2) if "is code" in line]  # a run of one's own
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert facts["maker"] == maker()
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts | {"maker": "somebody"}))
    assert not [
        line for line in go_on(3, "--verifier.reward", "mine.py:reward") if "is code" in line
    ]  # one's own choice
    said = go_on(4)
    assert said[0].startswith(
        "note the reward that run names is code, and this run was not made by you on this machine"
    )
    assert f"reward in {tmp_path}/mine.py" in said[0]
    assert not [line for line in go_on(5) if "is code" in line]


@pytest.mark.parametrize("facts", [{"maker": "somebody"}, {}])
@pytest.mark.parametrize(
    "reward, told",
    [("cmd: python grade.py", "the command 'python grade.py' runs now"), ("a.b:f", "f of the module a.b runs now")],
)
def test_every_kind_of_code_is_told(tmp_path: Path, facts: dict[str, str], reward: str, told: str) -> None:
    """Also of a run of an earlier version, which does not say who made it."""
    run = Run.create(tmp_path / "run", tiny_recipe(), {"device": "cpu", "threads": 1, "parameters": 1, **facts})
    assert told in foreign_reward(run, tiny_recipe({"verifier.reward": reward}))
    assert foreign_reward(run, tiny_recipe()) == ""
    run.note(1, ["said"], maker=maker())
    assert foreign_reward(run, tiny_recipe({"verifier.reward": reward})) == ""


def test_the_maker_says_nobodys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    here = maker()
    assert len(here) == 12
    monkeypatch.setenv("HOME", "/elsewhere")
    assert maker() != here


@pytest.mark.parametrize("load", [load_policy, load_blank])
def test_code_in_a_model_folder_is_neither_run_nor_asked_about(
    tmp_path: Path, load, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loader that asks "y/N" would read the terminal, and wait."""
    shutil.copytree(random_model(), tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    theirs = {"AutoConfig": "theirs.Config", "AutoModelForCausalLM": "theirs.Model"}
    (tmp_path / "model" / "config.json").write_text(json.dumps(settings | {"model_type": "theirs", "auto_map": theirs}))
    (tmp_path / "model" / "theirs.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Config: pass\n")
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="it brings Python code of its own, which is never run"):
        load(str(tmp_path / "model"))
    assert not (tmp_path / "ran").exists()
