"""Ask a model the questions of an analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from r1zero import evaluation
from r1zero.analyze.responses import ModelResponses, read_groups
from r1zero.config import BenchmarkSettings, EvaluationSettings, checked
from r1zero.evaluation.cell import Conditions, claim, identity, slug
from r1zero.evaluation.models import EvaluatedModel
from r1zero.evaluation.run import file_name, make_protocol
from r1zero.questions import QuestionSet
from r1zero.rollouts.prompts import PreparedSet
from r1zero.types import Completion
from r1zero.verify import Verifier


@dataclass(frozen=True, slots=True)
class Asking:
    """What all of an analysis's questions to a model have in common."""

    questions: QuestionSet
    max_new_tokens: int
    seed: int
    out: Path
    where: str | None = None
    """The filter that chose them, for the record."""


def ask(
    evaluated: EvaluatedModel,
    prepared: PreparedSet,
    asking: Asking,
    verifier: Verifier,
    *,
    temperature: float,
    samples: int,
    progress: Callable[[Completion], None] | None = None,
) -> ModelResponses:
    """Return one cell, by the very evaluation of `r1zero evaluate`; what its folder holds is not asked again."""
    questions, template = prepared.questions, prepared.template
    settings = checked(
        EvaluationSettings,
        {
            "benchmarks": [checked(BenchmarkSettings, {"name": questions.name, "where": asking.where})],
            "samples": samples,
            "temperature": temperature,
            "max_new_tokens": asking.max_new_tokens,
        },
    )
    protocol = make_protocol(settings, template, asking.max_new_tokens, asking.seed, evaluated.positions())
    folder = asking.out / "responses" / f"{slug(template.name)}-t{temperature:g}-n{samples}"
    conditions = Conditions(seed=asking.seed)
    claim(folder, identity(evaluated, template, [questions], settings, conditions))
    (result,) = evaluation.evaluate_sets(
        [prepared], evaluated.sampler, verifier, protocol, folder=folder, resumable=True, progress=progress
    )
    groups = read_groups(folder / f"{file_name(questions.name)}.parquet", template.name)
    return ModelResponses(
        evaluated.name, template.name, temperature, tuple(groups), template.answer_format, notes=result.notes
    )
