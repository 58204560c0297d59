"""A run directory → plain data. Whatever cannot be read is counted and told; only a directory without a run is refused.

A killed run has torn last lines, a half-written one lacks files, an old one lacks facts: all of them have a report. So
nothing here is checked as strictly as training checks it before it continues a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero.config.overrides import flattened
from r1zero.errors import UserError, parsed, plural
from r1zero.report.data.lengths import ClassSums, read_class_sums
from r1zero.runs.exclusive import in_use
from r1zero.runs.foreign import read_text

_LAST_STEP = 10**9
_LARGEST = 1e100
"""Larger steps and numbers are damage, which no chart could show."""


@dataclass(frozen=True, slots=True)
class RunData:
    """What a run directory holds, as far as it can be read. `problems` are sentences about what cannot."""

    path: Path
    facts: Mapping[str, Any]
    """run.json."""
    recipe: Mapping[str, Any]
    """recipe.json, flattened: dotted setting → value."""
    metrics: Mapping[int, Mapping[str, float]]
    """Step → numbers."""
    evaluations: Mapping[int, Mapping[str, float]]
    lengths: Mapping[int, ClassSums]
    """Step → counts and lengths of its saved responses, by class."""
    notes: tuple[str, ...]
    problems: tuple[str, ...]
    running: bool

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.resolve().name

    @property
    def done(self) -> int:
        """The last logged step."""
        return max(self.metrics, default=0)

    @property
    def planned(self) -> int | None:
        """The steps that the recipe asks for."""
        steps = self.recipe.get("train.steps") or self.facts.get("steps")  # of pretraining: what the corpus gives
        return steps if isinstance(steps, int) else None

    @property
    def command(self) -> str:
        """The command that makes such runs."""
        return "pretrain" if "corpus.name" in self.recipe else "train"

    @property
    def can_go_on(self) -> bool:
        """Whether steps are missing and nobody is at it."""
        return self.planned is not None and not self.finished and not self.running

    @property
    def seed(self) -> int | None:
        """The recipe's seed."""
        seed = self.recipe.get("train.seed")
        return seed if isinstance(seed, int) else None

    @property
    def finished(self) -> bool:
        """Whether every planned step is logged."""
        return self.planned is not None and self.done >= self.planned

    @property
    def status(self) -> str:
        """How far the run came, in a few words."""
        of = f" of {self.planned}" if self.planned is not None else ""
        if self.running:
            return f"running: step {self.done}{of}"
        if self.finished:
            return f"finished: {plural(self.done, 'step')}"
        if not self.metrics:
            return "no step logged yet" + (f" ({self.planned} planned)" if self.planned is not None else "")
        return f"stopped at step {self.done}{of}"

    def logged(self, key: str) -> dict[int, float]:
        """Return a number of training by step, of the steps that have it."""
        return {step: row[key] for step, row in self.metrics.items() if key in row}

    @property
    def rollout_steps(self) -> tuple[int, ...]:
        """The steps whose responses are saved and can be read."""
        return tuple(sorted(self.lengths))


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """Return the run directories among `paths`; a directory that holds runs stands for all of them. Each once, in
    order.

    Raises:
        UserError: a path is neither.
    """
    found: dict[Path, Path] = {}
    for path in paths:
        inside = [path] if _is_run(path) else sorted(child.parent for child in path.glob("*/run.json"))
        if not inside:
            raise UserError(_no_run(path))
        for each in inside:
            found.setdefault(each.resolve(), each)
    if not found:
        raise UserError("r1zero report needs a run: give the path of a run directory, or of a folder that holds some.")
    return list(found.values())


def load_run(path: Path) -> RunData:
    """Read a run directory.

    Raises:
        UserError: it holds no run, or its run.json cannot be read.
    """
    if not _is_run(path):
        raise UserError(_no_run(path))
    problems: list[str] = []
    try:
        facts = _read_object(path / "run.json")
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path / 'run.json'} cannot be read ({error}): the run directory is damaged; restore that file, or leave "
            "this run out of the report."
        ) from None
    try:
        recipe = flattened(_read_object(path / "recipe.json"))
    except (OSError, ValueError) as error:
        recipe = {}
        said = "it does not exist" if isinstance(error, FileNotFoundError) else str(error)
        problems.append(f"recipe.json cannot be read ({said}), so the recipe is not shown.")
    metrics = _numbers(path / "metrics.jsonl", problems)
    evaluations = _numbers(path / "evaluations.jsonl", problems)
    lengths = read_class_sums(path / "rollouts", problems)
    rows = _lines(path / "notes.jsonl", problems)
    notes = tuple(f"after step {row['step']}: {row['note']}" for row in rows if "note" in row)
    for row in rows:  # what changed when the run was continued
        facts |= row["facts"] if isinstance(row.get("facts"), dict) else {}
    return RunData(path, facts, recipe, metrics, evaluations, lengths, notes, tuple(problems), running=in_use(path))


def _is_run(path: Path) -> bool:
    return (path / "run.json").is_file()


def _no_run(path: Path) -> str:
    if not path.exists():
        return f"There is nothing at {path}; give the path of a run directory."
    if (path / "paper.json").exists():
        return f"{path} holds the paper's runs: add --paper for its page, or give {path / 'runs'} for theirs."
    if any((path / name).exists() for name in ("recipe.json", "metrics.jsonl", "checkpoints")):
        return (
            f"{path} holds the files of a run but has lost its run.json, which says how it was made; restore that "
            "file, or leave this run out of the report."
        )
    return f"{path} is not a run directory (it has no run.json); give the path of one, or of a folder that holds some."


def _read_object(path: Path) -> dict[str, Any]:
    data = parsed(read_text(path))
    if not isinstance(data, dict):
        raise ValueError("it holds no object")
    return data


def _lines(path: Path, problems: list[str]) -> list[dict[str, Any]]:
    """Return the rows of a .jsonl file that belong to a step; the others are counted into `problems`."""
    try:
        text = read_text(path, errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        problems.append(f"{path.name} cannot be read ({error.strerror or error}).")
        return []
    rows, torn = [], 0
    for line in filter(str.strip, text.split("\n")):
        try:
            row = parsed(line)
        except ValueError:
            row = None
        if isinstance(row, dict) and type(row.get("step")) is int and 0 <= row["step"] <= _LAST_STEP:
            rows.append(row)
        else:
            torn += 1
    if torn:
        problems.append(f"{torn} {'line' if torn == 1 else 'lines'} of {path.name} cannot be read; left out.")
    return rows


def _numbers(path: Path, problems: list[str]) -> dict[int, dict[str, float]]:
    """Return step → its finite numbers; of a step that was logged twice, the later line."""
    found = {}
    for row in _lines(path, problems):
        found[row["step"]] = {
            key: float(value)
            for key, value in row.items()
            if key != "step" and isinstance(value, int | float) and abs(value) < _LARGEST  # nor is it nan
        }
    return dict(sorted(found.items()))
