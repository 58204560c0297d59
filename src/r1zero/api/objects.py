"""What of a run a program gives as objects: where they are put, what the recipe then says, and what they get back."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from r1zero.api.inputs import MODEL, check_model, find_tokenizer, put_model
from r1zero.api.sources import GivenSet, notes_of, settings_of, sources_of, told_of
from r1zero.errors import UserError
from r1zero.objectives.objective import Objective
from r1zero.objectives.table import OWN, TABLE
from r1zero.policy.load import load_policy
from r1zero.runs import checkpoints
from r1zero.runs.run import Run

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CONSTANTS = frozenset(
    ("clip_low", "clip_high", "dual_clip", "constant", "kl", "kl_coefficient", "entropy", "importance_cap")
) | {"gamma", "lam", "chunks"}
"""Fields of an objective that a recipe has settings for."""


@dataclass(frozen=True, slots=True)
class Objects:
    """A model, its tokenizer, questions and an objective, each a name, an object or nothing."""

    model: str | Path | PreTrainedModel | None
    tokenizer: PreTrainedTokenizerBase | None
    questions: tuple[GivenSet, ...]
    objective: str | Objective | None

    @property
    def own(self) -> Objective | None:
        """The objective, where a recipe cannot name it."""
        given = self.objective
        return given if isinstance(given, Objective) and TABLE.get(given.name) != given else None

    @classmethod
    def of(cls, model: Any, tokenizer: Any, questions: Any, objective: Any) -> Objects:
        """Take them as they are given; rows are read once. Raises UserError for what holds no rows."""
        if model is not None and not isinstance(model, str | Path):
            check_model(model)
        return cls(model, tokenizer, sources_of(questions), objective)

    def settings(self, out: Path) -> dict[str, object]:
        """Return what the recipe of a run in `out` says of them."""
        found: dict[str, object] = {}
        if self.model is not None:
            found["model.path"] = str(out / MODEL if self._model is not None else self.model)
        found |= settings_of(self.questions, out)
        if isinstance(self.objective, Objective):
            found |= _of_objective(self.objective)
        elif self.objective is not None:
            found["objective.name"] = self.objective
        return found

    def put(self, out: Path) -> None:
        """Put the model and the questions where the run finds them. Raises UserError where that cannot be."""
        if self._model is not None:
            put_model(self._model, find_tokenizer(self._model, self.tokenizer), out)
        elif self.tokenizer is not None:
            raise UserError("tokenizer= belongs to a model object; leave it out, or give model=… as an object, too.")
        for source in self.questions:
            source.put(out)

    def told(self) -> dict[str, str]:
        """Return what run.json says of them."""
        found = told_of(self.questions)
        if self._model is not None:
            found["model"] = f"{type(self._model).__name__}, kept as it was in {MODEL}/"
        if self.own is not None:
            found["objective"] = self.own.formula
        return found

    def notes(self) -> tuple[str, ...]:
        """Return what a user should know of them."""
        return notes_of(self.questions)

    def files(self, out: Path) -> dict[str, str]:
        """Name what was given by the files of a run in `out` that hold it."""
        several = len(self.questions) > 1
        given = [(i, each) for i, each in enumerate(self.questions) if each.rows is not None]
        return {each.place(out): f"questions[{i}]" if several else "questions=" for i, each in given}

    def hand_back(self, run: Run) -> None:
        """Give the model object the weights that the run ended with; adapters stay in the run's checkpoints."""
        if self._model is None or run.recipe.lora is not None:
            return
        last, _ = checkpoints.newest(run.path / "checkpoints")
        if last is not None:
            trained = load_policy(str(last.path), device="cpu").model
            self._model.load_state_dict(trained.state_dict())

    @property
    def _model(self) -> PreTrainedModel | None:
        return None if self.model is None or isinstance(self.model, str | Path) else self.model


def _of_objective(objective: Objective) -> dict[str, object]:
    """Return what a recipe says of an objective: a name, and the constants that are not those of its class."""
    plain = Objective()
    changed = {f.name: getattr(objective, f.name) for f in fields(objective) if f.name in _CONSTANTS}
    if TABLE.get(objective.name) == objective:
        return {"objective.name": objective.name}
    named = {f"objective.{name}": value for name, value in changed.items() if value != getattr(plain, name)}
    return {"objective.name": f"{OWN}{objective.name}", **named}
