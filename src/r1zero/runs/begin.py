"""Where a run begins, of whatever kind: afresh, or after the newest whole checkpoint of the run that is there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from r1zero.config import Section
from r1zero.runs import checkpoints
from r1zero.runs.checkpoints import Checkpoint
from r1zero.runs.provenance import provenance
from r1zero.runs.run import Run


@dataclass(frozen=True)
class Beginning:
    """A run that is about to begin in `path`, or to go on: `existing`. Nothing is written before `locked`."""

    path: Path
    existing: Run | None

    @classmethod
    def find(cls, path: Path, *, resume: bool) -> Beginning:
        """See `Run.find`."""
        return cls(path, Run.find(path, resume=resume))

    @cached_property
    def _newest(self) -> tuple[Checkpoint | None, list[str]]:
        return checkpoints.newest(self.path / "checkpoints") if self.existing else (None, [])

    @property
    def checkpoint(self) -> Checkpoint | None:
        """Where an existing run goes on. Raises UserError when none of its checkpoints is whole."""
        return self._newest[0]

    @property
    def done(self) -> int:
        """How many steps are done."""
        return self.checkpoint.step if self.checkpoint else 0

    def threads(self, asked: int | None) -> int | None:
        """Return the threads to compute with: as many as are asked for, else as the run had."""
        return asked or (self.existing.facts["threads"] if self.existing else None)

    def notes(self, facts: dict[str, Any]) -> list[str]:
        """Return what a user should know of how a run goes on: damaged checkpoints, other versions, another machine."""
        return [*self._newest[1], *self.existing.device_notes(provenance() | facts)] if self.existing else []

    @contextmanager
    def locked(self, recipe: Section, facts: Mapping[str, Any]) -> Iterator[Run]:
        """The run, made if there was none, and kept from other processes while the context lasts."""
        run = self.existing or Run.create(self.path, recipe, facts)
        with run.locked():
            yield run

    def go_on(self, recipe: Section, notes: Sequence[str]) -> None:
        """Bring the directory of an existing run to where it goes on, with the recipe that it goes on with."""
        if self.existing:
            self.existing.rewind(self.done if self.checkpoint else -1)
            self.existing.save_recipe(recipe)
            self.existing.note(self.done, notes)
            checkpoints.mark_damaged(self.path / "checkpoints", self.done)
