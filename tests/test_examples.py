"""Examples in the documentation are programs: all code of a page, in order, runs."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from r1zero.config import make_recipe
from test_public import printed
from tiny_runs import taught_model

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.slow
def test_the_page_on_python_runs(tmp_path: Path) -> None:
    """On the model that the tests have taught."""
    blocks = re.findall(r"^```python\n(.*?)^```", (DOCS / "python.md").read_text(encoding="utf-8"), re.M | re.S)
    assert len(blocks) == 7
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "mine").symlink_to(taught_model())
    printed_lines = printed("\n".join(blocks), cwd=tmp_path).splitlines()
    steps, (rewarded, columns, response, accuracy, drawn, formula, plain, mine, verdict) = (
        printed_lines[:3],
        printed_lines[3:],
    )
    assert [line.split()[0] for line in steps] == ["1", "2", "3"]
    assert rewarded.startswith("[1.0] ")
    assert columns.endswith(f"] {5 * 16}")  # five steps, resumed after three, of 4 × 4 responses
    assert "1 / (N·C)" in response
    value, low, high = map(float, accuracy.split())
    assert 0 <= low <= value <= high <= 1
    assert len(ast.literal_eval(drawn)) == 4
    assert "w = weights[" in formula
    assert float(plain.split()[2]) == pytest.approx(0, abs=1e-6)
    assert float(mine.split()[2]) == pytest.approx(-1, abs=1e-6)
    assert verdict.startswith("right ")


def blocks_of(language: str) -> list[tuple[str, str]]:
    pages = [*sorted(DOCS.glob("*.md")), DOCS.parent / "README.md"]
    return [
        (f"{page.name}:{text[: match.start()].count(chr(10)) + 1}", match[1])
        for page in pages
        for text in [page.read_text(encoding="utf-8")]
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.M | re.S)
    ]


TOML = blocks_of("toml")


@pytest.mark.parametrize("block", [text for _, text in TOML], ids=[place for place, _ in TOML])
def test_settings_in_the_documentation_are_settings(block: str) -> None:
    """Beside the least that a recipe must say."""
    least = {"model": {"path": "m"}, "questions": {"name": "gsm8k"}, "train": {"steps": 1}}
    make_recipe(least | tomllib.loads(block))


def test_the_rewards_of_the_page_are_what_it_says() -> None:
    """The verifier's 1, and three tokens of a hundred times 0.1 for brevity."""
    *_, (_, block) = [each for each in blocks_of("python") if each[0].startswith("rewards.md")]
    assert printed(block) == "True 0.997 {'verify': 1.0, 'brevity': -0.03}\n"
