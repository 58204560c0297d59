"""Trackers beside the run's own `metrics.jsonl`: TensorBoard, Weights & Biases, trackio. All optional.

    sinks = open_sinks(["tensorboard"], run_dir=run_dir, run_name="demo", project="r1zero", config={})
    sinks[0].log(1, {"reward": 0.5})

A tracker is a copy for looking at; the run directory is the record. Hence one rule for failures: at the start they stop
the command (the user is there to mend them), in mid-run they drop the tracker, loudly, and the run goes on.

A resumed run continues its own curves, and steps between the checkpoint and the crash are logged again. TensorBoard is
told to purge them; Weights & Biases and trackio cannot take points back, so they show those few steps twice.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import secrets
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from r1zero.config import Section, TrackersSettings
from r1zero.errors import UserError, first_line
from r1zero.runs.run import Run

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Somewhere metrics go, one row per step. `name` is what the user wrote in `log.sinks`."""

    name: str

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record one step's metrics. Steps only grow, but a resumed run starts again after its checkpoint."""
        ...

    def close(self) -> None:
        """Write out whatever is pending; nothing may be logged afterwards."""
        ...


class _Tracker(Sink, Protocol):
    """A leaf: a sink that states which errors mean that the tracker, not our code, has failed."""

    failures: tuple[type[Exception], ...]


class GuardedSink:
    """Passes everything on until the tracker fails; then says so once, drops it, and says so again at the end."""

    def __init__(self, tracker: _Tracker) -> None:
        self.name = tracker.name
        self._tracker = tracker
        self._dropped_at: str | None = None

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Log, or drop the tracker."""
        if self._dropped_at is not None:
            return
        try:
            self._tracker.log(step, metrics)
        except self._tracker.failures as error:
            self._dropped_at = f"step {step}"
            logger.warning(
                "%s failed at step %d and gets nothing more (%s: %s); the run goes on, metrics.jsonl holds everything.",
                self.name,
                step,
                type(error).__name__,
                error,
            )

    def close(self) -> None:
        """Close the tracker, or remind the user that it has missed a part of the run."""
        if self._dropped_at is not None:
            logger.warning("%s has nothing from %s on; metrics.jsonl holds the whole run.", self.name, self._dropped_at)
            return
        try:
            self._tracker.close()
        except self._tracker.failures as error:
            logger.warning(
                "%s could not be closed and may lack the last steps (%s: %s); metrics.jsonl holds the whole run.",
                self.name,
                type(error).__name__,
                error,
            )


class TensorBoardSink:
    """One event file in `run_dir/tensorboard` per session of the run.

    Records are written and flushed here rather than by TensorBoard's own threaded writer, whose `flush` waits for ever
    once its thread has died on a full disk.
    """

    name = "tensorboard"
    failures: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, run_dir: Path) -> None:
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder = run_dir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._resumed = any(folder.glob("events.out.tfevents.*"))
        # TensorBoard reads the files of a folder in the order of their names: nanoseconds keep two sessions in order.
        stamp = f"{time.time_ns():020d}.{socket.gethostname()}.{os.getpid()}"
        self._file = (folder / f"events.out.tfevents.{stamp}").open("xb")
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write one event with every metric, on disk when this returns."""
        from tensorboard.compat.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboard.compat.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        if self._resumed:  # what the last session logged at or after this step was undone by the resume
            self._write(step=step, session_log=SessionLog(status=SessionLog.START))
            self._resumed = False
        values = [Summary.Value(tag=key, simple_value=value) for key, value in metrics.items()]
        self._write(step=step, summary=Summary(value=values))

    def close(self) -> None:
        """Close the event file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()


class WandbSink:
    """One Weights & Biases run, whose id is kept in `run_dir/wandb.id` so that a resumed run continues it.

    The step is logged as a metric and made the x-axis: the tracker's own step counter refuses to go back to a
    checkpoint, and would drop what a resumed run logs there.
    """

    name = "wandb"

    def __init__(self, project: str, run_name: str, config: Mapping[str, Any], run_dir: Path) -> None:
        wandb = importlib.import_module("wandb")  # by name: types must check where the extra is not installed
        mailbox = importlib.import_module("wandb.sdk.mailbox")
        self.failures: tuple[type[Exception], ...] = (
            wandb.Error,
            OSError,  # its background service died: ConnectionResetError, BrokenPipeError
            EOFError,
            mailbox.HandleAbandonedError,
            mailbox.MailboxClosedError,
        )
        try:
            self._run = wandb.init(
                project=project,
                name=run_name,
                id=_remembered(run_dir / "wandb.id", lambda: secrets.token_hex(4)),
                resume="allow",
                dir=run_dir,
                config=dict(config),
                settings=wandb.Settings(console="off"),  # it would re-wrap the terminal under our progress bar
            )
            self._run.define_metric("*", step_metric="step")
        except self.failures as error:
            raise UserError(
                f"log.sinks names 'wandb', which could not start ({first_line(error)}): run `wandb login`, "
                "set WANDB_MODE=offline, or take it out."
            ) from error

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Hand the metrics to the background service, which sends them."""
        self._run.log({"step": step, **metrics})

    def close(self) -> None:
        """Wait until everything is sent."""
        self._run.finish()


class TrackioSink:
    """One trackio run: local by default, wherever trackio's own variables (TRACKIO_SPACE_ID, …) say otherwise.

    trackio resumes by name, so the name gets a random end, kept in `run_dir/trackio.run`: otherwise a new run that
    merely has the name of an old one would be appended to it.
    """

    name = "trackio"
    failures: tuple[type[Exception], ...] = (OSError, sqlite3.Error)

    def __init__(self, project: str, run_name: str, config: Mapping[str, Any], run_dir: Path) -> None:
        trackio = importlib.import_module("trackio")
        name = _remembered(run_dir / "trackio.run", lambda: f"{run_name}-{secrets.token_hex(2)}")
        try:
            self._run = trackio.init(project=project, name=name, config=dict(config), resume="allow", embed=False)
        except (*self.failures, ValueError) as error:  # ValueError: it refuses the project's name
            raise UserError(
                f"log.sinks names 'trackio', which could not start ({first_line(error)}): change log.project or "
                "trackio's environment variables, or take it out."
            ) from error

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Queue the metrics; trackio writes or sends them in the background."""
        self._run.log(dict(metrics), step=step)

    def close(self) -> None:
        """Wait until everything is written."""
        self._run.finish()


_OPENERS: dict[str, Callable[[str, str, Mapping[str, Any], Path], _Tracker]] = {
    "tensorboard": lambda project, run_name, config, run_dir: TensorBoardSink(run_dir),
    "wandb": WandbSink,
    "trackio": TrackioSink,
}


def open_sinks(
    names: Sequence[str], *, run_dir: Path, run_name: str, project: str, config: Mapping[str, Any]
) -> list[Sink]:
    """Open the trackers the user named in `log.sinks`, each guarded; an unusable one is a UserError."""
    check_sinks(names)
    run_dir.mkdir(parents=True, exist_ok=True)
    sinks: list[Sink] = []
    for name in dict.fromkeys(names):
        try:
            sinks.append(GuardedSink(_OPENERS[name](project, run_name, config, run_dir)))
        except ImportError as error:
            raise _unloadable(name, first_line(error)) from error
    return sinks


@contextmanager
def opened(settings: TrackersSettings, run: Run, recipe: Section) -> Iterator[tuple[Sink, ...]]:
    """The trackers of a run, closed in the end."""
    sinks = open_sinks(
        settings.sinks,
        run_dir=run.path,
        run_name=run.path.name,
        project=settings.project,
        config=recipe.model_dump(mode="json"),
    )
    try:
        yield tuple(sinks)
    finally:
        for sink in sinks:
            sink.close()


def check_sinks(names: Sequence[str]) -> None:
    """Find a wrong or missing tracker before anything is made. Raises UserError."""
    for name in names:
        if name not in _OPENERS:
            raise UserError(f"log.sinks names {name!r}, which is not a tracker: choose from {', '.join(_OPENERS)}.")
        if importlib.util.find_spec(name) is None:  # every tracker's package has the tracker's name
            raise _unloadable(name, "it is not installed")


def _unloadable(name: str, reason: str) -> UserError:
    return UserError(
        f"log.sinks names {name!r}, whose package cannot be loaded ({reason}): "
        f'run `pip install "r1zero[{name}]"`, or take it out.'
    )


def _remembered(path: Path, make: Callable[[], str]) -> str:
    """Return the text kept in `path`, made and kept now if there is none."""
    if path.exists():
        return path.read_text(encoding="utf-8").strip()
    value = make()
    path.write_text(value + "\n", encoding="utf-8")
    return value
