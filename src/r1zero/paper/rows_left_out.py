"""Rows of question sets that the jobs of a study left out, as the jobs' own files say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from r1zero.errors import parsed, plural
from r1zero.paper.jobs import Job
from r1zero.runs.foreign import read_text


def rows_left_out(out: Path, jobs: Sequence[Job]) -> list[str]:
    """Return what is to be said of them, each once. A file that cannot be read says nothing here: its study does."""
    files: dict[str, Callable[[Any], Iterator[str]]] = {"run.json": _of_run, "results.json": _of_evaluation}
    told: dict[str, None] = {}
    for job in jobs:
        for name, said in files.items():
            try:
                told |= dict.fromkeys(said(parsed(read_text(out / job.name / name))))
            except (OSError, ValueError, LookupError, TypeError, AttributeError):
                continue
    return list(told)


def _of_run(facts: Any) -> Iterator[str]:
    for part in facts.get("sources") or [{"name": facts["questions"], "dropped": facts["questions_dropped"]}]:
        for why, count in part["dropped"].items():
            yield f"{part['name']}: {plural(count, 'row')} left out ({why})."


def _of_evaluation(cells: Any) -> Iterator[str]:
    notes = (note for cell in cells for result in cell["results"] for note in result["notes"])
    yield from (f"{note}." for note in notes if " left out (" in note)
