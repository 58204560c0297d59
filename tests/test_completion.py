"""The Tab key, in real shells: those that are here."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tiny_runs import start


def program_in(folder: Path) -> Path:
    """Put a program `r1zero` into a folder's `bin`, and return that."""
    program = folder / "bin" / "r1zero"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m r1zero "$@"\n')
    program.chmod(0o755)
    return program.parent


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
    program_in(tmp_path)
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


@pytest.mark.skipif(shutil.which("zsh") is None, reason="there is no zsh here")
def test_the_tab_key_completes_in_zsh(tmp_path: Path) -> None:
    """At a terminal of its own: each read waits for what must come, however long that takes."""
    start("--install-completion", environment={"HOME": str(tmp_path), "XDG_DATA_HOME": "", "SHELL": "/bin/zsh"}).done()
    typed = f"""
        zmodload zsh/zpty
        zpty z env HOME={tmp_path} zsh -f -i
        zpty -w z 'path=({program_in(tmp_path)} $path); autoload -Uz compinit; compinit -u; . ~/.zshrc; print BEG""UN'
        zpty -r z seen '*BEGUN*'
        zpty -w -n z $'r1zero train demo --learner.sch\t'
        zpty -r z seen '*--learner.sch*edule*'
        zpty -w -n z $'lin\t'
        zpty -r z seen '*lin*ear*'
    """
    subprocess.run(["zsh", "-f", "-c", typed], check=True, cwd=tmp_path, timeout=300)


@pytest.mark.skipif(shutil.which("fish") is None, reason="there is no fish here")
def test_the_tab_key_completes_in_fish(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "SHELL": "/usr/bin/fish"}
    start("--install-completion", environment=home).done()
    (tmp_path / "mine.toml").touch()
    script = tmp_path / ".config" / "fish" / "completions" / "r1zero.fish"
    asked = ("r1zero train demo --learner.sch", "r1zero train demo --learner.schedule ", "r1zero train mi")
    lines = [f"set -x PATH {program_in(tmp_path)} $PATH; source {script}", *(f"complete -C '{each}'" for each in asked)]
    command = ["fish", "--no-config", "-c", "; echo next; ".join(lines)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    option, values, recipes = (part.split() for part in done.stdout.split("next\n")[1:])
    assert option == ["--learner.schedule"]
    assert values == ["constant", "cosine", "linear"]
    assert recipes == ["mine.toml", "miniature"]  # of training recipes
