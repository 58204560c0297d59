"""The same analyses over a training run, step by step, from the rollouts that it saved: nothing is sampled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.analyze.cells import CATEGORIES, Cell, read_groups
from r1zero.analyze.exploration import mixed
from r1zero.analyze.judges import Judge
from r1zero.analyze.reflecting import flags_of
from r1zero.analyze.reflection import Detector
from r1zero.analyze.rubrics import ANSWERING, Item
from r1zero.evaluate.statistics import clustered, pass_at_k


@dataclass(frozen=True, slots=True)
class Step:
    """One step's responses in numbers; shares are of its responses, or of its questions where so said."""

    step: int
    questions: int
    samples: int
    answering: float | None
    pass_at_1: float
    pass_at_n: float
    live_groups: float
    keywords: float
    whole_words: float
    judge: float
    cross: float
    questions_reflecting: float
    """Questions with a response that keywords and judge both find."""
    categories: dict[str, float]
    characters: float


def analyse_step(step: int, cell: Cell, detector: Detector, answering: Judge, reflection: Judge) -> Step:
    """One step of a run."""
    replies, n = cell.replies, cell.samples
    flags = flags_of(cell, detector, reflection)
    share = lambda name: sum(map(sum, flags.by_detection[name])) / len(replies)  # noqa: E731
    judged = [
        j.label
        for j in answering.judge([Item(group.question, reply.text) for group in cell.groups for reply in group.replies])
        if j.label is not None
    ]
    rights = [group.right for group in cell.groups]
    return Step(
        step,
        len(cell.groups),
        n,
        sum(label == ANSWERING.positive for label in judged) / len(judged) if judged else None,
        clustered([c / n for c in rights]).value,
        clustered([pass_at_k(n, c, n) for c in rights]).value,
        clustered([mixed(n, c, n) for c in rights]).value,
        share("keywords"),
        share("whole words"),
        share("judge"),
        share("cross"),
        sum(map(any, flags.by_detection["cross"])) / len(cell.groups),
        {name: sum(reply.category == name for reply in replies) / len(replies) for name in CATEGORIES},
        sum(len(reply.text) for reply in replies) / len(replies),
    )


def analyse_run(
    steps: Sequence[tuple[int, Path]],
    template: str,
    detector: Detector,
    judges: tuple[Judge, Judge],
    progress: Callable[[int], None] | None = None,
) -> list[Step]:
    """Every step of a run, by the judges of answering and of reflection."""
    found = []
    for step, path in steps:
        cell = Cell("", template, 1.0, tuple(read_groups(path, template)))
        found.append(analyse_step(step, cell, detector, *judges))
        if progress is not None:
            progress(step)
    return found


def evenly(steps: Sequence[tuple[int, Path]], most: int | None) -> list[tuple[int, Path]]:
    """At most `most` steps, evenly spaced, the first and the last among them."""
    if most is None or len(steps) <= most:
        return list(steps)
    if most == 1:
        return [steps[-1]]
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
