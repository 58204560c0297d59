"""Examples in the documentation are programs: all code of a page, in order, runs."""

import ast
import re
from pathlib import Path

import pytest

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
