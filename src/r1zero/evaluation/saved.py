"""Reading an evaluation back: its responses, what it was, and its responses graded once more.

An evaluation's folder holds SET.parquet for every set and `evaluation.json`, which says how it was made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r1zero.errors import UserError, parsed, reading
from r1zero.evaluation.summary import SetResult, summarise
from r1zero.runs.foreign import inside, read_text
from r1zero.runs.rollout_rows import read_rollouts
from r1zero.types import AnswerFormat, Rollout, Verdict
from r1zero.verify import Verifier

IDENTITY = "evaluation.json"


@dataclass(frozen=True, slots=True)
class Saved:
    """An evaluation on disk."""

    path: Path
    identity: dict[str, Any]

    @property
    def label(self) -> str:
        """The model and the template."""
        return f"{self.identity.get('model', self.path.name)}, {self.identity.get('template', '?')}"

    @property
    def answer_format(self) -> AnswerFormat:
        """How answers were extracted."""
        with reading(self.path / IDENTITY, "restore it"):
            return AnswerFormat(self.identity["answer_format"])

    def filter_of(self, name: str) -> str | None:
        """Return which rows of a set were asked, as it was written; None where all were."""
        with reading(self.path / IDENTITY, "restore it"):
            asked = self.identity.get("settings", {}).get("benchmarks", [])  # in the order of the sets
            found = dict(zip(self.identity["sets"], asked, strict=False)).get(name, {}).get("where")
            return found if found is None else str(found)

    def sets(self) -> Iterator[tuple[str, list[Rollout]]]:
        """Yield (name, groups) of every finished set."""
        for name, file in self.identity["sets"].items():
            if (self.path / file).exists():
                yield name, read_rollouts(self.path / file)


def open_saved(path: Path) -> Saved:
    """Return the evaluation in a folder. Raises UserError when there is none."""
    if not (path / IDENTITY).is_file():
        raise UserError(f"{path} holds no evaluation ({IDENTITY}); name a folder that `r1zero evaluate --out` wrote.")
    with reading(path / IDENTITY, "restore it, or name another folder that `r1zero evaluate --out` wrote"):
        identity = parsed(read_text(path / IDENTITY))
        AnswerFormat(identity.get("answer_format", "boxed"))
        files = identity["sets"].values()
        if strange := [file for file in files if not isinstance(file, str)]:
            raise ValueError(f"of its sets one has the file {strange[0]!r:.60}")
        found = [inside(path, file) for file in files]
        if found and not any(file.is_file() for file in found):
            raise ValueError(f"none of its files is there: {', '.join(files):.200}")
    return Saved(path, identity)


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A response that two verifiers see differently."""

    set: str
    question: str
    sample: int
    gold: tuple[str, ...]
    before: Verdict
    after: Verdict


def regrade(saved: Saved, verifier: Verifier) -> tuple[list[SetResult], list[Disagreement]]:
    """Grade all kept responses once more, without sampling: the new results, and where the verdict changed."""
    results, changed = [], []
    for name, rollouts in saved.sets():
        items = [(c.text, r.question.gold, saved.answer_format) for r in rollouts for c in r.completions]
        verdicts = iter(verifier.verify(items))
        graded = [replace(r, verdicts=tuple(next(verdicts) for _ in r.completions)) for r in rollouts]
        for old, new in zip(rollouts, graded, strict=True):
            changed += [
                Disagreement(name, old.question.id, g, old.question.gold, before, after)
                for g, (before, after) in enumerate(zip(old.verdicts, new.verdicts, strict=True))
                if before.outcome is not after.outcome
            ]
        results.append(summarise(name, graded))
    return results, changed
