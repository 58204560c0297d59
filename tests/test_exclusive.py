"""One process at a time in an output folder, whatever it is doing there and however it ends."""

import errno
import fcntl
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from processes import process
from r1zero.errors import UserError
from r1zero.runs.exclusive import LOCK, check_there, exclusive
from r1zero.runs.run import Run
from tiny_runs import Hold, start, taught_model, tiny_recipe, trained, untimed, write_recipe

BUSY = "is being written by another process; wait for it or end it"


def test_two_fresh_starts_do_not_both_train(tmp_path: Path) -> None:
    """The first is held where it has looked and written nothing yet; the second comes meanwhile."""
    recipe = write_recipe(tmp_path / "r.toml", more="")
    first = start("train", recipe, "--out", "run", cwd=tmp_path, hold=Hold("r1zero.training.setup:load_own_sets"))
    first.held()
    for more in ([], ["--resume"]):
        second = start("train", recipe, "--out", tmp_path / "run", *more)
        assert second.wait() == 2
        assert BUSY in second.err
    first.go()
    assert first.wait() == 0, first.err
    run = Run.open(tmp_path / "run")
    assert untimed(run.read("metrics")) == untimed(trained().read("metrics"))


@pytest.mark.parametrize(
    "words",
    [
        ["train", "r.toml", "--out", "out"],
        ["pretrain", "p.toml", "--out", "out"],
        ["evaluate", "MODEL", "-b", "arithmetic", "--limit", "4", "-t", "no", "--out", "out"],
        ["analyze", "MODEL", "-q", "arithmetic", "--limit", "4", "--out", "out"],
        ["analyze", "--saved", "saved", "--out", "out"],
        ["demo", "--out", "out"],
        ["paper", "run", "table2", "--quick", "--out", "parent"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_every_command_that_fills_a_folder_keeps_others_out(tmp_path: Path, words: list[str]) -> None:
    write_recipe(tmp_path / "r.toml")
    model = (
        f'[model]\npath = "{taught_model()}"\n[corpus]\nname = "c.jsonl"\ntext_column = "text"\n[train]\nsteps = 1\n'
    )
    (tmp_path / "p.toml").write_text(model)
    (tmp_path / "c.jsonl").write_text('{"text": "1+1=2"}\n' * 50)
    out = tmp_path / ("parent/quick" if "paper" in words else "out")
    with exclusive(out):
        command = start(*[str(taught_model()) if word == "MODEL" else word for word in words], cwd=tmp_path)
        assert command.wait() == 2
        assert BUSY in command.err
        assert [path.name for path in out.iterdir()] == [LOCK]
    assert not out.exists()


def test_the_lock_of_a_killed_process_blocks_nobody(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "r.toml")
    first = start("train", recipe, "--out", "run", cwd=tmp_path, hold=Hold("r1zero.runs.run:Run.log", 2))
    first.held()
    first.kill()
    with exclusive(tmp_path / "run"):
        pass


def test_a_forked_child_keeps_no_lock_of_its_dead_parent(tmp_path: Path) -> None:
    code = (
        "import os, time; from pathlib import Path; from r1zero.runs.exclusive import exclusive\n"
        "with exclusive(Path('out')):\n"
        "    child = os.fork()\n"
        "    if child: print(child, flush=True)\n"
        "    time.sleep(86400)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=tmp_path)
    assert parent.stdout
    child = process(int(parent.stdout.readline()))
    with pytest.raises(UserError, match=BUSY), exclusive(tmp_path / "out"):
        pass
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert child.runs
    with exclusive(tmp_path / "out"):
        pass
    child.kill()


def test_a_folder_that_gets_nothing_is_left_as_it_was(tmp_path: Path) -> None:
    with exclusive(tmp_path / "a" / "b" / "out"):
        pass
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with pytest.raises(RuntimeError), exclusive(tmp_path / "empty"):
        raise RuntimeError
    assert list((tmp_path / "empty").iterdir()) == []
    for _ in range(2):
        with exclusive(tmp_path / "full"):
            (tmp_path / "full" / "file").touch()
    assert {path.name for path in (tmp_path / "full").iterdir()} == {"file", LOCK}


def test_the_same_process_is_kept_out_too_by_whatever_name(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("out")
    with exclusive(tmp_path / "out"):
        for name in ("out", "link", "../" + tmp_path.name + "/out"):
            with pytest.raises(UserError, match=BUSY), exclusive(tmp_path / name):
                pass


def test_a_lock_that_waited_for_a_folder_that_went_is_a_lock_on_nothing(tmp_path: Path) -> None:
    """Whoever opened the file before the folder was tidied away must not take the file that has no name any more."""
    code = "from pathlib import Path; from r1zero.runs.exclusive import exclusive\nwith exclusive(Path('out')): pass"
    flock, calls = fcntl.flock, []

    def first_the_other(descriptor: int, how: int) -> None:
        calls.append(descriptor)
        if len(calls) == 1:
            (tmp_path / "out" / LOCK).unlink()
        flock(descriptor, how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fcntl, "flock", first_the_other)
        with exclusive(tmp_path / "out"):
            assert len(calls) == 2
            done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert BUSY in done.stderr


def test_a_file_system_without_locks_is_said_and_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_locks(descriptor: int, how: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with caplog.at_level(logging.WARNING), exclusive(tmp_path / "out"):
        (tmp_path / "out" / "file").touch()
    assert "is on a file system without locks (No locks available)" in caplog.text


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "folder"])
def test_a_lock_from_elsewhere_leads_nowhere(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    lock, target = tmp_path / "out" / LOCK, tmp_path / "target"
    if kind == "pipe":
        os.mkfifo(lock)
    elif kind == "folder":
        lock.mkdir()
    else:
        lock.symlink_to(target)
    if kind == "link":
        target.write_text("mine")
    with pytest.raises(UserError, match=r"cannot be written|is not a regular file"), exclusive(tmp_path / "out"):
        pass
    assert target.exists() == (kind == "link")
    assert kind != "link" or target.read_text() == "mine"


@pytest.mark.parametrize("moment", [Hold("r1zero.runs.run:Run.log", 3), Hold("r1zero.runs.checkpoints:save", 2)])
@pytest.mark.parametrize("replaced", [False, True])
def test_a_run_directory_that_is_deleted_under_a_run_is_told(tmp_path: Path, moment: Hold, replaced: bool) -> None:
    """At a line of the log, and at the last checkpoint, after which nothing more is logged."""
    recipe = write_recipe(tmp_path / "r.toml")
    command = start("train", recipe, "--out", "run", cwd=tmp_path, hold=moment)
    command.held()
    shutil.rmtree(tmp_path / "run")
    if replaced:
        shutil.copytree(trained().path, tmp_path / "run")
        (tmp_path / "run" / LOCK).touch()
    command.go()
    assert command.wait() == 2
    assert "was removed, moved or replaced while it was written to" in command.err
    assert "done" not in command.out
    assert Run(tmp_path / "run").read("metrics") == (trained().read("metrics") if replaced else [])


def test_a_folder_that_nobody_holds_is_not_asked_for(tmp_path: Path) -> None:
    check_there(tmp_path / "nowhere")
    run = Run.create(tmp_path / "run", tiny_recipe(), {})
    run.log("metrics", {"step": 1})
