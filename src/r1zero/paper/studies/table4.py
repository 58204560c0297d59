"""Table 4 and figure 2: benchmark scores of trained models beside their bases."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1zero.paper import curves
from r1zero.paper.claims import Findings, FoundTable, Size, Study, over_questions, published_scores
from r1zero.paper.hypotheses import Margin
from r1zero.paper.jobs import EvaluationJob, Job, RunJob
from r1zero.paper.miniature import FIRST, base, compared, evaluated
from r1zero.paper.studies.base_models import cells_of
from r1zero.published import SETS
from r1zero.statistics import clustered

RAISED = Margin(5, "points", "less than a third of the 17.9 points by which the paper's 1.5B model rises")


def grid(out: Path, size: Size) -> list[Job]:
    """Return the QA base model and what both objectives make of it, greedy."""
    start = base(out, size, "qa", FIRST)
    runs = [compared(out, size, objective, start, FIRST) for objective in curves.PAIR]
    return [start, *runs, *(evaluated(out, size, each, "no") for each in (start, *runs))]


def published_grid(seeds: int) -> list[Job]:
    """Return Oat-Zero-1.5B and 7B, trained and evaluated on the five benchmarks with 3000 tokens."""
    jobs: list[Job] = []
    for seed in range(seeds):
        for recipe in ("qwen2.5-math-1.5b", "qwen2.5-math-7b"):
            run = RunJob(f"runs/{recipe}-{seed}", recipe, {"train.seed": seed})
            sets = [{"name": name} for name in SETS]
            jobs += [run, EvaluationJob(f"evaluations/runs-{recipe}-{seed}", "qwen_math", sets, start=run.name)]
    return jobs


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return scores, and whether training raised them on the same questions."""
    rows, scores = [], {}
    for job, cell in cells_of(out, jobs):
        name, values = job.name.removeprefix("evaluations/"), curves.rights(out / job.name)
        scores[name], found = values, clustered(values)
        tokens = sum(reply.tokens for reply in cell.replies) / len(cell.replies)
        rows.append([name.partition("-")[2], f"{100 * found.value:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]",
                     f"{tokens:.1f}"])  # fmt: skip
    start = next((values for name, values in scores.items() if name.startswith("bases-")), None)
    claims = []
    if start is not None:
        for name, values in scores.items():
            if name.startswith("runs-"):
                text = f"Training raises the score ({name.split('-')[1]})."
                claims.append(over_questions(text, "after − before, held-out questions", start, values, RAISED))
    tables = [
        FoundTable("Per cent right, greedy, with 95 % interval", ["model", "right", "tokens"], rows),
        published_scores("4", {}, jobs),
    ]
    return Findings(claims, (), tables)


STUDIES = (
    Study(
        "table4", "Table 4, figure 2", "Trained models on benchmarks",
        "Greedy scores of trained models and of their base.",
        grid, published_grid, read,
    ),
)  # fmt: skip
