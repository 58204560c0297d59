"""Asking a subject the questions of an analysis."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from r1zero import config, evaluate
from r1zero.analyze.responses import Cell, read_groups
from r1zero.config import Benchmark, Evaluation, checked
from r1zero.evaluate.matrix import Conditions, claim, identity, slug
from r1zero.evaluate.models import Subject
from r1zero.evaluate.run import file_name, make_protocol
from r1zero.questions import QuestionSet
from r1zero.templates import get_template
from r1zero.types import Completion, Question
from r1zero.verify import Verifier


@dataclass(frozen=True, slots=True)
class Asking:
    """What all of an analysis's questions to a model have in common."""

    questions: QuestionSet
    max_new_tokens: int
    seed: int
    out: Path


def ask(
    subject: Subject,
    shape: config.Template,
    asking: Asking,
    verifier: Verifier,
    *,
    temperature: float,
    samples: int,
    progress: Callable[[Completion], None] | None = None,
) -> Cell:
    """One cell, by the very evaluation of `r1zero evaluate`; what is in its folder already is not asked again."""
    template = get_template(
        shape.name, subject.tokenizer, answer_format=shape.answer_format, instruction=shape.instruction
    )
    questions = asking.questions
    settings = checked(
        Evaluation,
        {
            "benchmarks": [checked(Benchmark, {"name": questions.name})],
            "samples": samples,
            "temperature": temperature,
            "max_new_tokens": asking.max_new_tokens,
        },
    )
    protocol = make_protocol(settings, template, asking.max_new_tokens, asking.seed)
    subject.check(template, questions, asking.max_new_tokens)
    folder = asking.out / "responses" / f"{slug(template.name)}-t{temperature:g}-n{samples}"
    conditions = Conditions(seed=asking.seed)
    claim(folder, identity(subject.name, subject.parameters, template, [questions], settings, conditions))
    evaluate.evaluate(
        [questions], subject.sampler, verifier, subject.encode, protocol, folder=folder, resumable=True,
        progress=progress,
    )  # fmt: skip
    groups = read_groups(folder / f"{file_name(questions.name)}.parquet", template.name)
    return Cell(subject.name, template.name, temperature, tuple(groups), template.answer_format)


def stratified(questions: QuestionSet, count: int, seed: int = 0) -> QuestionSet:
    """`count` questions, as equal a number of every difficulty level as there are, or any of a set without levels.

    The paper took 500 of MATH's training questions, 100 a level. Which ones is decided by a hash of (seed, id): the
    same on every machine, and a larger count of the same seed holds the smaller.
    """
    by_level: dict[str, list[Question]] = defaultdict(list)
    for question in questions:
        by_level[question.level or ""].append(question)
    for level in by_level.values():
        level.sort(key=lambda question: hashlib.sha256(f"{seed}/{question.id}".encode()).digest())
    unlabelled = by_level.pop("", [])
    chosen: list[Question] = []
    depth = 0
    while len(chosen) < count and any(depth < len(level) for level in by_level.values()):
        row = [by_level[level][depth] for level in sorted(by_level) if depth < len(by_level[level])]
        chosen += row[: count - len(chosen)]
        depth += 1
    chosen += unlabelled[: count - len(chosen)]
    order = {question.id: place for place, question in enumerate(questions)}
    chosen.sort(key=lambda question: order[question.id])
    ids = "".join(f"{question.id}\n" for question in chosen)
    fingerprint = hashlib.sha256(f"{questions.fingerprint}\n{ids}".encode()).hexdigest()[:16]
    return replace(questions, questions=tuple(chosen), fingerprint=fingerprint)
