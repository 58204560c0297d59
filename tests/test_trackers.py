"""Trackers: what is logged can be read back, a resumed run continues its curves, a failing tracker costs nothing."""

import logging
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from r1zero.errors import UserError
from r1zero.trackers import GuardedSink, Sink, TensorBoardSink, open_sinks

CONFIG = {"train": {"seed": 0}}


def opened(name: str, run_dir: Path) -> Sink:
    (sink,) = open_sinks([name], run_dir=run_dir, run_name="a-run", project="r1zero-tests", config=CONFIG)
    return sink


def curve(run_dir: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


def in_own_process(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `program` where nothing is left of this process's trackers: wandb hands its service on by the environment."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "TRACKIO"))}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=600, env=clean | environment
    )


class Flaky:
    """A tracker that breaks at step 2."""

    name = "flaky"
    failures: tuple[type[Exception], ...] = (ConnectionError,)

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.seen: list[int] = []
        self.closed = False

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        if step == 2:
            raise self.error
        self.seen.append(step)

    def close(self) -> None:
        self.closed = True


def test_no_names_no_sinks(tmp_path: Path) -> None:
    assert open_sinks([], run_dir=tmp_path, run_name="a", project="b", config={}) == []


def test_an_unknown_name_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'wandbb'.*tensorboard, wandb, trackio"):
        opened("wandbb", tmp_path)


def test_a_missing_package_is_answered_with_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)  # makes `import trackio` an ImportError
    with pytest.raises(UserError, match=r'pip install "r1zero\[trackio\]"'):
        opened("trackio", tmp_path)


def test_a_failing_tracker_is_dropped_loudly_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    tracker = Flaky(ConnectionError("network is unreachable"))
    sink = GuardedSink(tracker)
    with caplog.at_level(logging.WARNING):
        for step in range(1, 5):
            sink.log(step, {"reward": 0.5})
        sink.close()
    assert tracker.seen == [1]
    assert not tracker.closed
    first, last = (record.getMessage() for record in caplog.records)
    assert "flaky failed at step 2" in first
    assert "network is unreachable" in first
    assert "from step 2 on" in last


def test_our_own_bug_is_not_mistaken_for_a_failing_tracker() -> None:
    sink = GuardedSink(Flaky(KeyError("a bug")))
    with pytest.raises(KeyError):
        sink.log(2, {})


def test_tensorboard_reads_back_what_was_logged(tmp_path: Path) -> None:
    sink = opened("tensorboard", tmp_path)
    for step in (1, 2):
        sink.log(step, {"reward": step / 4, "length/right": 10.0})
    assert curve(tmp_path, "reward") == [(1, 0.25), (2, 0.5)]  # before close: nothing waits in a buffer
    sink.close()
    assert curve(tmp_path, "length/right") == [(1, 10.0), (2, 10.0)]


def test_tensorboard_purges_the_steps_that_a_resume_undoes(tmp_path: Path) -> None:
    killed = TensorBoardSink(tmp_path)
    for step in (1, 2, 3):
        killed.log(step, {"reward": 0.0})
    # No close: the process was killed at step 3; its last checkpoint was after step 1.
    resumed = TensorBoardSink(tmp_path)
    for step in (2, 3, 4):
        resumed.log(step, {"reward": 1.0})
    resumed.close()
    assert curve(tmp_path, "reward") == [(1, 0.0), (2, 1.0), (3, 1.0), (4, 1.0)]


def test_tensorboard_on_a_full_disk_does_not_stop_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full to stand for a full disk")
    tracker = TensorBoardSink(tmp_path)
    with full.open("wb", buffering=0) as device:
        monkeypatch.setattr(tracker._records, "_writer", device)  # every write to it fails as on a full disk
        GuardedSink(tracker).log(1, {"reward": 0.5})
    assert "No space left on device" in caplog.text


@pytest.fixture
def wandb_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="the wandb extra is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")


@pytest.mark.usefixtures("wandb_offline")
def test_wandb_continues_the_run_of_its_directory(tmp_path: Path) -> None:
    for steps in ((1, 2, 3), (2, 3, 4)):
        sink = opened("wandb", tmp_path)
        for step in steps:
            sink.log(step, {"reward": step / 4})
        sink.close()
    run_id = (tmp_path / "wandb.id").read_text().strip()
    logs = list((tmp_path / "wandb").glob("offline-run-*/run-*.wandb"))
    assert logs
    assert {log.name for log in logs} == {f"run-{run_id}.wandb"}


@pytest.mark.usefixtures("wandb_offline")
def test_wandb_dying_does_not_stop_the_run(tmp_path: Path) -> None:
    program = f"""
import os, signal, time
from contextlib import suppress
from pathlib import Path
from r1zero.trackers import open_sinks
(sink,) = open_sinks(["wandb"], run_dir=Path({str(tmp_path)!r}), run_name="a", project="b", config={{}})
sink.log(1, {{"reward": 0.5}})
children = []
for file in Path("/proc").glob("[0-9]*/stat"):
    with suppress(OSError):  # it has ended meanwhile
        head, tail = file.read_text(errors="replace").rsplit(")", 1)
        children += [int(head.split()[0])] * (int(tail.split()[1]) == os.getpid())
assert children
for child in children:
    with suppress(ProcessLookupError, ChildProcessError):  # it has ended and been reaped meanwhile
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
step, end = 1, time.monotonic() + 300
while sink._dropped_at is None and time.monotonic() < end:  # wandb sees it after a while
    step += 1
    sink.log(step, {{"reward": 0.5}})
    time.sleep(0.02)
sink.close()
print("the run goes on")
"""
    if not Path("/proc/self/stat").exists():
        pytest.skip("this system does not list processes in /proc")
    done = in_own_process(program, WANDB_MODE="offline", WANDB_SILENT="true")
    assert "the run goes on" in done.stdout, done.stderr
    assert "wandb failed at step" in done.stderr


@pytest.mark.usefixtures("wandb_offline")
def test_wandb_that_cannot_start_says_what_to_do(tmp_path: Path) -> None:
    program = f"""
from pathlib import Path
from r1zero.trackers import open_sinks
open_sinks(["wandb"], run_dir=Path({str(tmp_path)!r}), run_name="a", project="b", config={{}})
"""
    # Online, without a key or a home to find one in; the address is this machine's, where nothing listens.
    done = in_own_process(program, WANDB_MODE="online", WANDB_BASE_URL="http://127.0.0.1:9", HOME=str(tmp_path))
    assert "UserError: log.sinks names 'wandb'" in done.stderr, done.stderr
    assert "WANDB_MODE=offline" in done.stderr


def test_trackio_continues_the_run_of_its_directory(tmp_path: Path) -> None:
    pytest.importorskip("trackio", reason="the trackio extra is not installed")
    # In a process of its own: trackio reads where to write when it is imported.
    program = f"""
from pathlib import Path
from r1zero.trackers import open_sinks
for directory, steps in [("one", (1, 2)), ("one", (3,)), ("two", (1,))]:
    run_dir = Path({str(tmp_path)!r}) / directory
    (sink,) = open_sinks(["trackio"], run_dir=run_dir, run_name="a", project="b", config={{}})
    for step in steps:
        sink.log(step, {{"reward": step / 4}})
    sink.close()
from trackio.sqlite_storage import SQLiteStorage
for directory in ("one", "two"):
    name = (Path({str(tmp_path)!r}) / directory / "trackio.run").read_text().strip()
    print("READ", [(row["step"], row["reward"]) for row in SQLiteStorage.get_logs("b", name)])
"""
    done = in_own_process(program, TRACKIO_DIR=str(tmp_path / "trackio"))
    read = [line for line in done.stdout.splitlines() if line.startswith("READ")]
    assert read == ["READ [(1, 0.25), (2, 0.5), (3, 0.75)]", "READ [(1, 0.25)]"], done.stderr
