"""What a program gives a run as objects, of which its recipe holds only a name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from r1zero.objectives.objective import Objective
from r1zero.rewards.open import RewardSource


@dataclass(frozen=True, slots=True)
class Given:
    """Objects that take the place of what a recipe names, and what run.json says of them."""

    objective: Objective | None = None
    rewards: tuple[RewardSource, ...] = ()
    """Functions, or rows, in place of the recipe's own."""
    told: Mapping[str, str] = field(default_factory=dict)
    """Of each setting that was an object, what it was."""
    notes: tuple[str, ...] = ()
    """What a user should know of them."""

    @property
    def facts(self) -> dict[str, Any]:
        """What run.json says of them."""
        return {"objects": dict(self.told)} if self.told else {}


NOTHING = Given()
