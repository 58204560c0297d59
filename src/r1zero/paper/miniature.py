"""The miniature's runs: base models on the texts of `world`, and training runs on its questions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1zero.config.pretrain import PretrainRecipe
from r1zero.paper.claims import Size
from r1zero.paper.jobs import EvaluationJob, Job, RunJob

WORLD = "world"
FEW_SHOT = f"{WORLD}/few_shot.jinja"
DOCUMENTS = 40_000
FIRST = 31
"""The first seed. World and recipe were made looking at runs of other seeds, which therefore count for no claim."""
TOKENS = 100
"""Token budget of a response."""

LAPTOP = Size(5, 2000, 150, 40, 20, 256, 100, (0.1, 0.2, 0.4, 0.6, 0.8, 1.0))
QUICK = Size(2, 100, 10, 10, 10, 48, 24, (0.5, 1.0))


def in_miniature(jobs: Sequence[Job]) -> bool:
    """Tell whether a grid is the miniature's, and not the published setting's."""
    return any(isinstance(job, RunJob) and job.recipe.startswith("miniature") for job in jobs)


def questions(out: Path, name: str) -> str:
    """Return the file of a question set of the world."""
    return str((out / WORLD / f"{name}.questions.jsonl").resolve())


def base(
    out: Path, size: Size, name: str, seed: int, *, corpus: str = "", start: str | None = None, part: float = 1.0
) -> RunJob:
    """Return a base model, from scratch or from another, for a part of the steps. The corpus has the base's name."""
    steps = max(10, round(size.base_steps * part))
    changes = {
        "model.path": str((out / WORLD / "shape").resolve()),
        "model.from_scratch": start is None,
        "corpus.name": str((out / WORLD / f"{corpus or name}.jsonl").resolve()),
        "train.steps": steps,
        "train.seed": seed,
        "learner.warmup_steps": min(30, steps // 5),
    }
    return RunJob(f"bases/{name}-{seed}", "miniature-pretrain", changes, start, PretrainRecipe)


def trained(
    out: Path,
    size: Size,
    name: str,
    start: RunJob,
    seed: int,
    *,
    objective: str = "dr_grpo",
    template: str = "no",
    asked: str = "wide",
    steps: int | None = None,
) -> RunJob:
    """Return a training run from a base model."""
    changes: dict[str, object] = {
        "questions.name": questions(out, asked),
        "objective.name": objective,
        "template.name": template,
        "evaluation.benchmarks": [{"name": questions(out, "test"), "limit": size.test}],
        "evaluation.every": size.every,
        "train.steps": steps or size.steps,
        "train.seed": seed,
    }
    return RunJob(f"runs/{name}-{seed}", "miniature", changes, start.name)


def compared(out: Path, size: Size, objective: str, start: RunJob, seed: int) -> RunJob:
    """Return a run of the comparison of objectives."""
    return trained(out, size, objective, start, seed, objective=objective, steps=size.compared)


def evaluated(out: Path, size: Size, start: RunJob, template: str, *, temperature: float = 0.0) -> EvaluationJob:
    """Return a model's answers to test questions: greedy to all, or eight samples to some."""
    greedy = temperature == 0
    name = f"{start.name.replace('/', '-')}-{Path(template).stem}-t{temperature:g}"
    return EvaluationJob(
        f"evaluations/{name}",
        template,
        [{"name": questions(out, "test"), "limit": size.test if greedy else size.asked}],
        start=start.name,
        samples=1 if greedy else 8,
        temperature=temperature,
        max_new_tokens=TOKENS,
        answer_format="boxed",
    )
