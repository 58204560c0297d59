"""Every block of code in README and documentation is a program, a command, settings or a file, and does what it says.

What a block is, `documentation` says. All that runs is run by the longest test, page by page, which CI runs.
"""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from documentation import READ, ROOT, RUN, Block, all_blocks, blocks, commands, pages, program
from r1zero.cli import app
from r1zero.cli.app import with_steps
from r1zero.cli.train import train
from r1zero.config import Recipe, make_recipe, parse_overrides
from r1zero.config.settings import settings_of
from test_public import printed
from tiny_runs import taught_model

BLOCKS = all_blocks()
RUNNING = [page for page in pages() if any(block.runs for block in blocks(page))]
SETTINGS = [
    block for block in BLOCKS if block.language == "toml" and not (block.title or "").endswith("pyproject.toml")
]
COMMANDS = [block for block in BLOCKS if block.language in ("sh", "bash") and commands(block)]
LEAST = {"model": {"path": "m"}, "questions": {"name": "gsm8k"}, "train": {"steps": 1}}


def places(found: list[Block]) -> list[str]:
    return [block.place for block in found]


def test_every_block_says_what_it_is() -> None:
    """Blocks by indentation have no language: none is left, nor a fence that is none of ours."""
    known = {*RUN, *READ, "toml", "console"}
    assert {block.place: block.language for block in BLOCKS if block.language not in known} == {}
    for page in pages():
        text = page.read_text(encoding="utf-8")
        assert len(re.findall(r"^\s*```", text, re.M)) == 2 * len(blocks(page)), page
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
        assert re.findall(r"\n\n {4,}\S[^\n]*", prose) == [], page


@pytest.mark.parametrize("block", SETTINGS, ids=places(SETTINGS))
def test_settings_in_the_documentation_are_settings(block: Block) -> None:
    """Beside the least that a recipe must say."""
    make_recipe(LEAST | tomllib.loads(block.text))


@pytest.mark.parametrize("block", COMMANDS, ids=places(COMMANDS))
def test_commands_in_the_documentation_are_commands(block: Block) -> None:
    """With options and settings that are there, of those that cannot run here, too; `…` stands for more of the same."""
    for words in commands(block):
        given = with_steps(word for word in words if word != "…")
        command, bound, _ = app.parse_args(given, exit_on_error=False, print_error=False)
        if command is train:
            overrides = parse_overrides(list(bound.args[1:]))
            assert set(overrides) <= {setting.key for setting in settings_of(Recipe)}, words


@pytest.fixture(scope="module")
def after_the_demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `r1zero demo` leaves, after fewer steps, and a model of one's own."""
    folder = tmp_path_factory.mktemp("documentation")
    (folder / "models").mkdir()
    shutil.copytree(taught_model(), folder / "models" / "mine")
    script = "r1zero recipe prepare demo\n" + "".join(
        f"r1zero train demo --out runs/demo/{name} --objective.name {name} --train.steps 34 --checkpoint.every 8 "
        "--checkpoint.keep_last 9 --evaluation.every 17 --log.rollouts_every 4\n"
        for name in ("grpo", "dr_grpo")
    )
    told(["bash", "-euc", script], folder)
    return folder


def told(command: list[str], cwd: Path) -> str:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "120",
        "R1ZERO_DATA": str(ROOT.parent / "shared" / "data"),
    }
    done = subprocess.run(
        command, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("page", RUNNING, ids=[page.relative_to(ROOT).as_posix() for page in RUNNING])
def test_a_page_runs(page: Path, after_the_demo: Path, tmp_path: Path) -> None:
    """From its first block to its last, in the order in which it is read."""
    shutil.copytree(after_the_demo, tmp_path, dirs_exist_ok=True)
    parts = [block for block in blocks(page) if block.runs]
    (tmp_path / "page.py").write_text(program(parts), encoding="utf-8")
    output = told([sys.executable, "page.py"], tmp_path)
    assert output.count("--- ") >= sum(block.title is None for block in parts)


def test_the_rewards_of_the_page_are_what_it_says() -> None:
    """The verifier's 1, and three tokens of a hundred times 0.1 for brevity."""
    *_, block = [each for each in BLOCKS if each.page == "docs/rewards.md" and each.language == "python"]
    assert printed(block.text) == "True 0.997 {'verify': 1.0, 'brevity': -0.03}\n"
