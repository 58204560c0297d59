"""The same analyses over a training run, step by step, from what it has saved: nothing is sampled.

Two kinds of responses are there: the rollouts of every step (the questions that it trained on, at its own temperature),
and those of its evaluations (the same questions at every step, so that steps can be compared).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.analyze.answering import answering_shares, items_of
from r1zero.analyze.exploration import mixed
from r1zero.analyze.judges.llm import Agreement, Judge, agreement
from r1zero.analyze.judges.rubrics import REFLECTION
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector
from r1zero.analyze.responses import ROLLOUTS, ModelResponses, read_groups
from r1zero.analyze.self_reflection import flags_of, questions_with, responses_with
from r1zero.statistics import Estimate, clustered, pass_at_k
from r1zero.types import Fate


@dataclass(frozen=True, slots=True)
class StepNumbers:
    """One step's responses in numbers with 95 % intervals over questions; shares are of its responses, or of its
    questions where so said.
    """

    step: int
    questions: int
    samples: int
    answering: Estimate | None
    """None where nothing could be judged."""
    pass_at_1: Estimate
    pass_at_n: Estimate
    live_groups: Estimate | None
    """None of one sample a question."""
    keywords: Estimate
    whole_words: Estimate
    judge: Estimate | None
    cross: Estimate | None
    questions_reflecting: Estimate | None
    """Questions with a response that keywords and judge both find."""
    unjudged: int
    """Responses that the judge of reflection refused, or judged unreadably; they are in none of its shares."""
    agreement: Agreement | None
    """Of the judge with the rules; None of the rules themselves."""
    categories: dict[str, float]
    characters: float


@dataclass(frozen=True, slots=True)
class Source:
    """Where responses come from, and its steps in order."""

    name: str
    """`rollouts`, or the question set of an evaluation."""
    temperature: float
    steps: list[StepNumbers]


def kind(source: str) -> str:
    """Say what the responses of a source are."""
    return "what it trained on" if source == ROLLOUTS else "evaluation, the same questions at every step"


def analyse_step(
    step: int, cell: ModelResponses, detector: Detector, answering: Judge, reflection: Judge
) -> StepNumbers:
    """Return one step of a run."""
    replies, n = cell.replies, cell.samples
    flags = flags_of(cell, detector, reflection)
    found, rules, other = flags.by_detection, RuleJudge(REFLECTION), None
    if reflection.name != rules.name:
        labels = [j.label for j in rules.judge(items_of(cell))]
        other = agreement((reflection.name, rules.name), flags.labels, labels)
    share = lambda name: responses_with(found[name])  # noqa: E731
    answers = answering_shares(cell, answering.judge(items_of(cell)))
    rights = [group.right for group in cell.groups]
    return StepNumbers(
        step,
        len(cell.groups),
        n,
        clustered(answers) if answers else None,
        clustered([c / n for c in rights]),
        clustered([pass_at_k(n, c, n) for c in rights]),
        clustered([mixed(n, c, n) for c in rights]) if n > 1 else None,
        clustered([sum(map(bool, group)) / len(group) for group in found["keywords"]]),
        clustered([sum(map(bool, group)) / len(group) for group in found["whole words"]]),
        share("judge"),
        share("cross"),
        questions_with(found["cross"]),
        sum(label is None for label in flags.labels),
        other,
        {fate: sum(reply.fate is fate for reply in replies) / len(replies) for fate in Fate},
        sum(len(reply.text) for reply in replies) / len(replies),
    )


def analyse_steps(
    steps: Sequence[tuple[int, Path]],
    template: str,
    detector: Detector,
    judges: tuple[Judge, Judge],
    progress: Callable[[int], None] | None = None,
) -> list[StepNumbers]:
    """Return every one of a run's steps, by the judges of answering and of reflection."""
    found = []
    for step, path in steps:
        cell = ModelResponses("", template, 1.0, tuple(read_groups(path, template)))
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
