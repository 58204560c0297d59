"""Folders from anywhere: nothing in them is waited for, and no name in them leads out."""

import json
import os
import shutil
from pathlib import Path

import pytest

from r1zero.config import load_recipe
from r1zero.errors import UserError
from r1zero.evaluation.saved import open_saved
from r1zero.questions import load_questions
from r1zero.report.data.run_data import load_run
from r1zero.report.pages.analysis import read_parts
from r1zero.report.pages.run import write_report
from r1zero.runs.exclusive import LOCK, exclusive
from r1zero.runs.foreign import inside
from r1zero.runs.run import Run
from r1zero.templates import get_template
from tiny_runs import start, trained

PARTS = ["run.json", "recipe.json", "metrics.jsonl", "evaluations.jsonl", "notes.jsonl", "rollouts", "evaluations"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained().path, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints")))


@pytest.fixture
def evaluation(tmp_path: Path, run: Path) -> Path:
    """As `r1zero evaluate --out` writes one."""
    folder = tmp_path / "evaluation"
    folder.mkdir()
    kept = next(run.glob("evaluations/*/*.parquet"))
    shutil.copy(kept, folder / "set.parquet")
    (folder / "evaluation.json").write_text(json.dumps({"sets": {"set": "set.parquet"}, "answer_format": "boxed"}))
    return folder


def replaced(path: Path, kind: str) -> str:
    """Put something that is no file in a file's place, or that of the first file of responses in a folder."""
    if path.is_dir():
        path = sorted(path.rglob("*.parquet"))[0]
    path.unlink(missing_ok=True)
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        pipe = path.with_name(f"{path.name}-pipe")
        os.mkfifo(pipe)
        path.symlink_to(pipe)
    return path.name


KINDS = ["pipe", "device", "link to a pipe"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", [*PARTS, LOCK])
def test_a_run_waits_for_no_pipe_and_reads_no_device(run: Path, name: str, kind: str) -> None:
    """In place of each file, and of a file of responses: it is left out and told, or the run is refused."""
    replaced(run / name, kind)
    if name == "run.json":
        with pytest.raises(UserError):
            load_run(run)
    elif name not in (LOCK, "evaluations"):  # those are read for the page alone
        assert load_run(run).problems


@pytest.mark.parametrize("kind", KINDS)
def test_a_report_waits_for_no_pipe_and_reads_no_device(tmp_path: Path, run: Path, kind: str) -> None:
    names = [replaced(run / name, kind) for name in (*PARTS, LOCK) if name != "run.json"]
    page = write_report([run], tmp_path / "report.html").page.read_text(encoding="utf-8")
    assert "<html" in page
    assert page.count("cannot be read") >= len(names) - 1  # all but the lock


@pytest.mark.parametrize("words", [["train", "RUN", "--resume"], ["audit", "--run", "RUN"], ["report", "RUN"]])
@pytest.mark.parametrize("name", ["run.json", "recipe.json", "metrics.jsonl"])
def test_commands_on_a_run_wait_for_no_pipe(run: Path, words: list[str], name: str) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    command = start(*[str(run) if word == "RUN" else word for word in words])
    assert command.wait() in (0, 2)
    assert "Traceback" not in command.err


def test_no_input_that_is_a_pipe_is_waited_for(tmp_path: Path) -> None:
    for name in ("t.jinja", "q.jsonl", "q.parquet", "r.toml"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=r"t\.jinja'?, which cannot be read \(it is a pipe or a device"):
        get_template(str(tmp_path / "t.jinja"))
    for name in ("q.jsonl", "q.parquet"):
        with pytest.raises(UserError, match=r"cannot be read \(it is a pipe or a device, .*: write it to a file"):
            load_questions(str(tmp_path / name))
    with pytest.raises(UserError, match=r"r\.toml cannot be read \(it is a pipe or a device"):
        load_recipe(tmp_path / "r.toml")


def test_an_analysis_with_a_pipe_in_it_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "answering.json")
    with pytest.raises(UserError, match="it is a pipe or a device"):
        read_parts(tmp_path)


def test_an_evaluation_of_its_own_files_is_read(evaluation: Path) -> None:
    [(name, rollouts)] = open_saved(evaluation).sets()
    assert name == "set"
    assert rollouts


@pytest.mark.parametrize(
    "name",
    ["../set.parquet", "OUTSIDE", "link.parquet", "folder/x.parquet", "a/../../run/x", "", "a\0b", "loop"],
)
def test_a_set_that_leads_out_of_its_evaluation_is_refused(tmp_path: Path, evaluation: Path, name: object) -> None:
    outside = Path(shutil.copy(evaluation / "set.parquet", tmp_path / "set.parquet"))
    (evaluation / "link.parquet").symlink_to(outside)
    (evaluation / "folder").symlink_to(tmp_path)
    (evaluation / "loop").symlink_to("loop")
    named = str(outside) if name == "OUTSIDE" else name
    (evaluation / "evaluation.json").write_text(json.dumps({"sets": {"set": named}, "answer_format": "boxed"}))
    with pytest.raises(UserError, match="a folder may name its own files alone"):
        open_saved(evaluation)


@pytest.mark.parametrize("name", [7, None, ["set.parquet"]])
def test_a_set_of_an_evaluation_that_names_no_file_is_refused(evaluation: Path, name: object) -> None:
    (evaluation / "evaluation.json").write_text(json.dumps({"sets": {"set": name}, "answer_format": "boxed"}))
    with pytest.raises(UserError, match=r"cannot be read \(of its sets one has the file .*: restore it"):
        open_saved(evaluation)


def test_a_link_within_a_folder_and_a_folder_behind_a_link_are_fine(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "file").touch()
    (tmp_path / "real" / "other").symlink_to("file")
    (tmp_path / "link").symlink_to("real")
    assert inside(tmp_path / "link", "other") == tmp_path / "link" / "other"


def test_a_report_tells_that_a_run_is_under_way_by_its_lock(run: Path) -> None:
    assert not load_run(run).running
    with exclusive(run):
        assert load_run(run).running
    assert not load_run(run).running


def test_names_on_a_page_show_what_would_turn_a_line_around(tmp_path: Path, run: Path) -> None:
    """The title is the folder's name; recipe and facts are anybody's."""
    hostile = run.rename(tmp_path / "a\u202eb\u200bc")
    recipe = json.loads((hostile / "recipe.json").read_text())
    recipe["questions"]["name"] = "x\u202ey\x1b]0;z\x07"
    (hostile / "recipe.json").write_text(json.dumps(recipe))
    facts = Run(hostile).facts | {"template": "t\u2066u"}
    (hostile / "run.json").write_text(json.dumps(facts))
    page = write_report([hostile], tmp_path / "report.html").page.read_text(encoding="utf-8")
    assert not [character for character in "\u202e\u200b\u2066\x1b\x07" if character in page]
    assert "a\\u202eb" in page
    assert "x\\u202ey" in page
