"""Ask a model the questions of an analysis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from r1zero import config, evaluation
from r1zero.analyze.responses import ModelResponses, read_groups
from r1zero.config import BenchmarkSettings, EvaluationSettings, checked
from r1zero.evaluation.cell import Conditions, claim, identity, slug
from r1zero.evaluation.models import EvaluatedModel
from r1zero.evaluation.run import file_name, make_protocol
from r1zero.questions import QuestionSet
from r1zero.templates.table import make_template
from r1zero.types import Completion
from r1zero.verify import Verifier


@dataclass(frozen=True, slots=True)
class Asking:
    """What all of an analysis's questions to a model have in common."""

    questions: QuestionSet
    max_new_tokens: int
    seed: int
    out: Path


def ask(
    evaluated: EvaluatedModel,
    shape: config.TemplateSettings,
    asking: Asking,
    verifier: Verifier,
    *,
    temperature: float,
    samples: int,
    progress: Callable[[Completion], None] | None = None,
) -> ModelResponses:
    """One cell, by the very evaluation of `r1zero evaluate`; what is in its folder already is not asked again."""
    template = make_template(shape, evaluated.tokenizer)
    questions = asking.questions
    settings = checked(
        EvaluationSettings,
        {
            "benchmarks": [checked(BenchmarkSettings, {"name": questions.name})],
            "samples": samples,
            "temperature": temperature,
            "max_new_tokens": asking.max_new_tokens,
        },
    )
    protocol = make_protocol(settings, template, asking.max_new_tokens, asking.seed)
    evaluated.check(template, questions, asking.max_new_tokens)
    folder = asking.out / "responses" / f"{slug(template.name)}-t{temperature:g}-n{samples}"
    conditions = Conditions(seed=asking.seed)
    claim(folder, identity(evaluated.name, evaluated.parameters, template, [questions], settings, conditions))
    evaluation.evaluate_sets(
        [questions], evaluated.sampler, verifier, evaluated.encode, protocol, folder=folder, resumable=True,
        progress=progress,
    )  # fmt: skip
    groups = read_groups(folder / f"{file_name(questions.name)}.parquet", template.name)
    return ModelResponses(evaluated.name, template.name, temperature, tuple(groups), template.answer_format)
