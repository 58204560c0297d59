"""What every section of a recipe is, and how a setting says what may change while it goes on."""

from __future__ import annotations

from enum import Flag, auto

from pydantic import BaseModel, ConfigDict


class Keeps(Flag):
    """Mark a setting with what it leaves as it was when it changes: `Annotated[int, Keeps.RUN]`."""

    NOTHING = 0
    RUN = auto()
    """A resumed run may change it; of evaluation, nothing that the best score depends on."""
    EXPERIMENT = auto()
    """Runs that differ in it are one experiment, as with another seed."""
    BOTH = RUN | EXPERIMENT
    PAST = auto()
    """A resumed run may change it: what is done stays as it is, and what follows is noted to be of another course."""
    PLACE = auto()
    """A resumed run may name another place, where a fingerprint proves that the same lies there."""


class Section(BaseModel):
    """Frozen; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
