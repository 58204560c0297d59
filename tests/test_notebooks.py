"""The notebooks run from their first cell to their last, and show what they are kept with."""

import os
import re
import sys
from pathlib import Path

import pytest

from documentation import DOCS, ROOT

pytest.importorskip("nbclient", reason="the notebooks are run by nbclient")
pytest.importorskip("ipykernel", reason="the notebooks are run by ipykernel")

import nbformat

sys.path.append(str(ROOT / "scripts"))
from run_notebooks import run

LEARNS, EXACT = (DOCS / "notebooks" / f"{name}.ipynb" for name in ("fifteen-lines", "why-length-biases"))


def kinds(notebook: nbformat.NotebookNode) -> list[list[object]]:
    """What each cell shows: text, a table, a picture."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [[each.get("name") or sorted(each.data) for each in cell.outputs] for cell in cells]


def printed(notebook: nbformat.NotebookNode) -> list[str]:
    """What cells print and what they are, without the sign of a nought."""
    texts = [
        each.get("text") or each.data.get("text/plain", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for each in cell.outputs
    ]
    return [re.sub(r"[+-](0\.0+)\b", r"\1", text) for text in texts]


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of this environment, and the package of this folder."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_bias_is_what_the_notebook_says(tmp_path: Path) -> None:
    """All numbers of it are exact: every processor prints the same."""
    kept, again = nbformat.read(EXACT, as_version=4), run(EXACT, tmp_path)
    assert kinds(again) == kinds(kept)
    assert printed(again) == printed(kept)
    assert any("length bias -1.00" in text for text in printed(kept))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_fifteen_lines_train_stop_and_go_on(tmp_path: Path) -> None:
    """Ten steps, then thirty more. Right answers go from three in ten to nine in ten and more; a mean of eight steps of
    128 responses is off by 0.016 (one standard error), so 0.6 is twenty of them from where it ends."""
    kept, again = nbformat.read(LEARNS, as_version=4), run(LEARNS, tmp_path)
    assert kinds(again) == kinds(kept)
    assert [text.count("step ") for text in printed(again) if text.startswith("step ")] == [10]
    from r1zero import Run

    rewarded = Run.open(tmp_path / "runs" / "fifteen").metrics()["reward/verify"].to_pylist()
    assert len(rewarded) == 40
    assert sum(rewarded[:2]) / 2 < 0.5
    assert sum(rewarded[-8:]) / 8 > 0.6
