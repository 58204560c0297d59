"""Where a run begins, of whatever kind: afresh, or after a checkpoint of the run that is there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from r1zero.config import Section
from r1zero.config.load import SectionT
from r1zero.errors import UserError
from r1zero.runs import checkpoints, moved
from r1zero.runs.aside import set_aside
from r1zero.runs.checkpoints import Checkpoint
from r1zero.runs.maker import maker
from r1zero.runs.provenance import provenance
from r1zero.runs.run import Run
from r1zero.runs.settled import autocast_of


@dataclass(frozen=True)
class Beginning:
    """A run that is about to begin in `path`, or to go on: `existing`. Nothing is written before `run`."""

    path: Path
    existing: Run | None
    from_step: int | None = None
    """The checkpoint's step to go on from, 0 for the very beginning; None takes the newest that is whole."""

    @classmethod
    def find(cls, path: Path, *, resume: bool, from_step: int | None = None) -> Beginning:
        """See `Run.find`. Raises UserError, too, where there is no run to go on with from a step."""
        existing = Run.find(path, resume=resume)
        if from_step is not None and existing is None:
            raise UserError(f"--resume {from_step}: {path} holds no run; give the directory of one.")
        return cls(path, existing, from_step)

    @cached_property
    def _newest(self) -> tuple[Checkpoint | None, list[str]]:
        if self.from_step == 0:
            return None, []
        if self.from_step is not None:
            return checkpoints.of_step(self.path / "checkpoints", self.from_step), []
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

    def autocast(self, asked: str) -> str:
        """Return the precision to compute in: what is asked for, else what the run had; `auto` is yet to be decided."""
        return autocast_of(asked, self.existing.facts) if self.existing else asked

    def placed(self, recipe: SectionT, unread: Sequence[str] = (), folders: Sequence[Path] = ()) -> SectionT:
        """Return the recipe with whole paths of what was named from where the run was started, and is not there from
        here. Question sets may lie in `folders`, too.

        Raises:
            UserError: what the run was started with is not there, but for settings that are `unread` now.
        """
        if self.existing is None:
            return recipe
        was, known = self.existing.read_recipe(type(recipe)), self.existing.places
        found = moved.placed(was, recipe, known, folders)
        renamed = {*moved.renamed(was, recipe), *unread}
        kept = {name: whole for name, whole in known.items() if name not in renamed}
        moved.check_there(self.path, found, kept, folders)
        return found

    def notes(self, recipe: Section, facts: Mapping[str, Any]) -> list[str]:
        """Return what a user should know of how a run goes on: damaged checkpoints, other settings, other versions,
        another machine.
        """
        moves = self.existing.moves(recipe, facts) if self.existing else []
        return [*self._newest[1], *moves, *self._another_course(recipe, facts)]

    def _another_course(self, recipe: Section, facts: Mapping[str, Any]) -> list[str]:
        """Return why what follows is not what would have followed."""
        if self.existing is None:
            return []
        return [*self.existing.changes(recipe, facts), *self.existing.device_notes(provenance() | dict(facts))]

    def run(self, recipe: Section, facts: Mapping[str, Any]) -> Run:
        """Return the run, made if there was none."""
        return self.existing or Run.create(self.path, recipe, {"maker": maker(), **facts})

    def go_on(self, recipe: Section, facts: Mapping[str, Any], notes: Sequence[str]) -> list[str]:
        """Bring the directory of an existing run to where it goes on, with the recipe that it goes on with.

        Later steps that will not be made again as they were are moved aside. Returns the notes, with one on that.
        """
        run, told = self.existing, list(notes)
        if run is None:
            return told
        done = self.done if self.checkpoint else -1
        if self.from_step is not None or self._another_course(recipe, facts):
            kept = set_aside(run, done)
            told += [kept] if kept else []
        told += run.rewind(done)
        if run.changed(recipe, facts, "evaluation"):
            checkpoints.forget_scores(self.path / "checkpoints")
        run.note(self.done, told, facts)
        run.save_recipe(recipe)
        checkpoints.mark_damaged(self.path / "checkpoints", self.done)
        return told
