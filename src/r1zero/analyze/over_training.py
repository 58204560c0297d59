"""The same analyses over a training run, step by step, from what it has saved: nothing is sampled.

Two kinds of responses are there: the rollouts of every step (the questions that it trained on, at its own temperature),
and those of its evaluations (the same questions at every step, so that steps can be compared).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from r1zero.analyze.answering import items_of, positive
from r1zero.analyze.exploration import mixed
from r1zero.analyze.judges.llm import Agreement, Judge, beside_rules
from r1zero.analyze.judges.rubrics import ANSWERING, REFLECTION
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector, questions_with, responses_with
from r1zero.analyze.responses import ROLLOUTS, ModelResponses, read_groups
from r1zero.analyze.self_reflection import flags_of
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
    keywords: Estimate | None
    whole_words: Estimate | None
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
    items, found = items_of(cell), flags.by_detection
    rights = [group.right for group in cell.groups]
    return StepNumbers(
        step,
        len(cell.groups),
        n,
        responses_with(positive(cell, answering.judge(items), ANSWERING), cell.questions),
        clustered([c / n for c in rights], cell.questions),
        clustered([pass_at_k(n, c, n) for c in rights], cell.questions),
        clustered([mixed(n, c, n) for c in rights], cell.questions) if n > 1 else None,
        responses_with(found["keywords"], cell.questions),
        responses_with(found["whole words"], cell.questions),
        responses_with(found["judge"], cell.questions),
        responses_with(found["cross"], cell.questions),
        questions_with(found["cross"], cell.questions),
        sum(label is None for label in flags.labels),
        beside_rules(reflection, RuleJudge(REFLECTION), items, flags.labels),
        {fate: sum(reply.fate is fate for reply in replies) / len(replies) for fate in Fate},
        sum(len(reply.text) for reply in replies) / len(replies),
    )


def analyse_steps(
    steps: Sequence[tuple[int, Path]],
    template: str,
    detector: Detector,
    judges: tuple[Judge, Judge],
) -> list[StepNumbers]:
    """Return every one of a run's steps, by the judges of answering and of reflection."""
    cells = ((step, ModelResponses("", template, 1.0, tuple(read_groups(path, template)))) for step, path in steps)
    return [analyse_step(step, cell, detector, *judges) for step, cell in cells]


def evenly(steps: Sequence[tuple[int, Path]], most: int | None) -> list[tuple[int, Path]]:
    """At most `most` steps, evenly spaced, the first and the last among them."""
    if most is None or len(steps) <= most:
        return list(steps)
    if most == 1:
        return [steps[-1]]
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]
