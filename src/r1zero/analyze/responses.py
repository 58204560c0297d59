"""What the analyses read: graded responses of one model under one template at one temperature, by question.

They come from folders that `r1zero evaluate --out` wrote, from what `r1zero analyze` has sampled (the same kind), and
from a run's saved rollouts. Token ids and log-probs stay on disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from r1zero.errors import UserError
from r1zero.evaluation.saved import IDENTITY, open_saved
from r1zero.runs.rollout_rows import Row, grouped, read_rows, reading
from r1zero.runs.run import Run
from r1zero.runs.steps import by_step
from r1zero.templates import texts_of
from r1zero.templates.template import Surround
from r1zero.types import CUT_OFF, Fate, Outcome, asked

T = TypeVar("T")
_COLUMNS = ("question_id", "level", "sample", "prompt", "response", "stop", "length", "outcome")
ROLLOUTS = "rollouts"
"""The name of the responses that a run trained on, beside the question sets of its evaluations."""


@dataclass(frozen=True, slots=True)
class GradedResponse:
    """A graded response, without its token ids."""

    text: str
    outcome: Outcome
    truncated: bool
    tokens: int

    @property
    def right(self) -> bool:
        """Whether it counts as right."""
        return self.outcome is Outcome.RIGHT

    @property
    def fate(self) -> Fate:
        """What became of it."""
        return Fate.of(self.outcome, self.truncated)


@dataclass(frozen=True, slots=True)
class QuestionResponses:
    """A question's responses. `question` is its bare text; of older files the prompt, if its template hides that."""

    id: str
    level: str | None
    question: str
    replies: tuple[GradedResponse, ...]

    @property
    def right(self) -> int:
        """c: how many are right."""
        return sum(reply.right for reply in self.replies)


@dataclass(frozen=True, slots=True)
class ModelResponses:
    """One model, one template, one temperature."""

    model: str
    template: str
    temperature: float
    groups: tuple[QuestionResponses, ...]
    answer_format: str = ""
    """How answers were extracted; "" of an unknown one."""
    parameters: int | None = None
    """The model's size, where it is known."""
    notes: tuple[str, ...] = ()
    """What a reader must know of the questions: rows left out, golds that cannot be graded."""

    @property
    def samples(self) -> int:
        """n: responses to a question."""
        return len(self.groups[0].replies)

    @property
    def questions(self) -> list[str]:
        """What each group asks: groups that ask the same are one piece of evidence."""
        return [asked(group.question, group.id) for group in self.groups]

    @property
    def replies(self) -> list[GradedResponse]:
        """All responses in question order."""
        return [reply for group in self.groups for reply in group.replies]

    def by_question(self, flat: Iterable[T]) -> list[list[T]]:
        """Return what is known of each response, grouped by question."""
        rest = iter(flat)
        return [[next(rest) for _ in group.replies] for group in self.groups]


def read_groups(path: Path, template: str = "") -> list[QuestionResponses]:
    """Return the groups of a Parquet file of responses. Raises RolloutFileError when it is none."""
    with reading(path):
        return [_group(rows, template) for rows in grouped(read_rows(path, _COLUMNS, ("question",)))]


def _group(rows: Sequence[Row], template: str) -> QuestionResponses:
    first = rows[0]
    question = first["question"] if "question" in first else bare_question(first["prompt"], template)
    replies = tuple(
        GradedResponse(row["response"], Outcome(row["outcome"]), row["stop"] in CUT_OFF, row["length"]) for row in rows
    )
    return QuestionResponses(first["question_id"], first["level"], question, replies)


def bare_question(prompt: str, template: str) -> str:
    """Return the question in a prompt of a template of fixed text, as it is or was; the prompt itself under any other.

    Files of responses of before hold no question but this one.
    """
    for renderer in (each.renderer for each in reversed(texts_of(template))):  # of before: the former text, if any
        if isinstance(renderer, Surround) and prompt.startswith(renderer.before) and prompt.endswith(renderer.after):
            return prompt[len(renderer.before) : len(prompt) - len(renderer.after)]
    return prompt


def saved_cell(folder: Path) -> ModelResponses:
    """Return an evaluation on disk as a cell, all its finished sets together. Raises UserError where there is none."""
    saved = open_saved(folder)
    template = str(saved.identity.get("template", ""))
    files = [folder / file for file in saved.identity["sets"].values() if (folder / file).exists()]
    groups = [group for file in files for group in read_groups(file, template)]
    if not groups:
        raise UserError(
            f"{folder} holds an evaluation without a finished question set; give its `r1zero evaluate` again."
        )
    settings, size = saved.identity.get("settings"), saved.identity.get("parameters")
    temperature = settings.get("temperature", 0.0) if isinstance(settings, dict) else 0.0
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        raise UserError(f"{folder / IDENTITY} is damaged (its temperature is not a number); restore the file.")
    return ModelResponses(
        str(saved.identity.get("model", folder.name)),
        template,
        float(temperature),
        tuple(groups),
        saved.answer_format,
        size if isinstance(size, int) else None,
    )


def saved_cells(folders: Sequence[Path]) -> list[ModelResponses]:
    """Return evaluations as cells; a folder of several evaluations stands for all of them.

    Raises:
        UserError: there is none, or they are of different models.
    """
    found: list[Path] = []
    for folder in folders:
        inside = sorted(path.parent for path in folder.rglob("evaluation.json"))
        found += inside or [folder]  # an empty one is told by `saved_cell`
    cells = [saved_cell(folder) for folder in found]
    models = list(dict.fromkeys(cell.model for cell in cells))
    if len(models) > 1:
        raise UserError(
            f"--saved holds evaluations of several models ({', '.join(models)}); name one model's at a time."
        )
    return merged(cells)


def merged(cells: Sequence[ModelResponses]) -> list[ModelResponses]:
    """Return cells of one template and temperature as one, where they asked different questions equally often."""
    found: dict[tuple[str, float], ModelResponses] = {}
    for cell in cells:
        key = cell.template, cell.temperature
        old = found.get(key)
        if old is None:
            found[key] = cell
            continue
        ids = {group.id for group in old.groups}
        if old.samples != cell.samples or any(group.id in ids for group in cell.groups):
            raise UserError(
                f"--saved holds two evaluations under template {cell.template} at temperature {cell.temperature:g} "
                "that cannot be put together (the same questions, or other numbers of samples); name one of them."
            )
        found[key] = replace(old, groups=old.groups + cell.groups)
    return list(found.values())


def run_steps(run: Run) -> dict[str, list[tuple[int, Path]]]:
    """Return source → (step, file) in order: a run's saved rollouts, then every question set that it was evaluated on.

    Raises:
        UserError: it has saved no responses at all.
    """
    files = {ROLLOUTS: by_step((run.path / "rollouts").glob("*.parquet"))}
    for step, folder in by_step((run.path / "evaluations").glob("*")):
        for path in sorted(folder.glob("*.parquet")):
            files.setdefault(path.stem, []).append((step, path))
    found = {name: steps for name, steps in files.items() if steps}
    if not found:
        raise UserError(f"{run.path} has saved no responses; name a run that has rollouts or evaluations.")
    return found
