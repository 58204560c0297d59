"""A disk that is full ends a command in a sentence, with nothing half-written: pictures and models as well as lines."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from analysis_folder import analysed
from r1zero.errors import UserError
from r1zero.report.charts.model import Chart, Series
from r1zero.report.draw.files import draw_charts
from r1zero.report.pages.analysis import write_page
from r1zero.runs.files import write_text, writing
from r1zero.runs.run import Run
from tiny_runs import start, tiny_recipe

CHART = Chart("key", "title", "unit", (Series("one", "s0", (1.0, 2.0), (3.0, 4.0)),))


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """As a full disk, or a quota, for this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_picture_is_one_sentence_and_the_one_that_was_there_stays(tmp_path: Path) -> None:
    with no_file_beyond(1000), pytest.raises(UserError, match=r"curves\.png cannot be written \(File too large\)"):
        draw_charts([CHART], tmp_path / "new" / "curves")
    assert list((tmp_path / "new").iterdir()) == []
    draw_charts([CHART], tmp_path / "curves")
    before = {path: path.read_bytes() for path in tmp_path.glob("curves.*")}
    assert len(before) == 2
    with no_file_beyond(1000), pytest.raises(UserError):
        draw_charts([CHART], tmp_path / "curves")
    assert {path: path.read_bytes() for path in tmp_path.glob("curves.*")} == before


def test_audit(tmp_path: Path) -> None:
    command = start("audit", "dr_grpo", "--group-sizes", "2", "--out", "out", cwd=tmp_path, file_bytes=4000)
    assert command.wait() == 2
    assert command.err.startswith("r1zero: out/weights.png cannot be written (File too large)")
    assert command.err.count("\n") == 1
    assert list((tmp_path / "out").iterdir()) == []


def test_the_page_of_an_analysis(tmp_path: Path) -> None:
    folder = analysed(tmp_path / "analysis")
    with no_file_beyond(5000), pytest.raises(UserError, match=r"\.png cannot be written \(File too large\)"):
        write_page(folder)
    assert not list(folder.rglob(".*"))


def test_weights(tmp_path: Path) -> None:
    """Never into a device: the writer of safetensors puts a file in its place."""
    sentence = pytest.raises(UserError, match=r"model cannot be written \(.*File too large.*\); mend that")
    with no_file_beyond(1000), sentence, writing(tmp_path / "model"):
        save_file({"x": torch.zeros(10_000)}, tmp_path / "model")


def test_nothing_is_written_through_a_link_that_a_folder_brings(tmp_path: Path) -> None:
    """What a run replaces, it writes beside first; what it appends to, it appends to itself."""
    (tmp_path / "theirs").write_text("theirs")
    run = Run.create(tmp_path / "run", tiny_recipe(), {})
    (run.path / ".recipe.json.tmp").symlink_to(tmp_path / "theirs")
    (run.path / "metrics.jsonl").symlink_to(tmp_path / "theirs")
    run.save_recipe(tiny_recipe())
    with pytest.raises(UserError, match="is a link, through which a run writes nothing"):
        run.log("metrics", {"step": 1})
    write_text(run.path / "metrics.jsonl", "mine")
    assert (tmp_path / "theirs").read_text() == "theirs"
