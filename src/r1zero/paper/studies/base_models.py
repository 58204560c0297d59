"""Base models before training: table 1, and whether they answer and reach right answers (figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1zero.analyze import answering, exploration
from r1zero.analyze.judges.rubrics import ANSWERING
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.responses import ModelResponses, saved_cell
from r1zero.paper import curves
from r1zero.paper.claims import Findings, FoundTable, Size, Study, judged, over_questions, published_scores
from r1zero.paper.jobs import EvaluationJob, Job
from r1zero.paper.miniature import FEW_SHOT, FIRST, base, evaluated
from r1zero.published import BASE_MODELS as ANALYSED
from r1zero.published import FORMATS, SAMPLES, SETS, TEMPERATURES
from r1zero.report.charts.model import Chart, Series
from r1zero.statistics import Estimate, clustered

BASES = {"qa": "no", "web": "qwen_math"}
"""The miniature's base models, each with the template for its samples: the one that it has read most answers under."""
TEMPLATES = ("few_shot", "r1", "qwen_math", "no")
NAMES = {"few_shot": "4-shot", "r1": "R1", "qwen_math": "Qwen-Math", "no": "no template"}
MODELS = {
    "Qwen/Qwen2.5-Math-1.5B": "no",
    "Qwen/Qwen2.5-Math-7B": "no",
    "Qwen/Qwen2.5-7B": "no",
    "meta-llama/Llama-3.1-8B": "r1",
    "deepseek-ai/deepseek-math-7b-base": "r1",
}
MATH_500 = [{"name": "math-12k", "limit": 500}]
TEXTS = (
    "The miniature's two base models have read the same questions: `qa` with their answers and without a template, "
    "`web` mostly as exercises without answers, and with answers in a chat's markers. Neither has seen the R1 template "
    "or four examples in a row. There is one of each, of the first seed.",
    "Test questions of the miniature are permutations of few sets of numbers, which count as one in comparisons of "
    "scores; intervals of pass@k and of rates take them for more different than they are.",
    "Whether a response answers, or reflects, is judged by rules, not by a language model as in the paper.",
)


def greedy_grid(out: Path, size: Size) -> list[Job]:
    """Return both base models under all templates, greedy."""
    jobs: list[Job] = []
    for name in BASES:
        start = base(out, size, name, FIRST)
        jobs += [start, *(evaluated(out, size, start, _file(out, template)) for template in TEMPLATES)]
    return jobs


def sampled_grid(out: Path, size: Size) -> list[Job]:
    """Return eight samples of both base models at every temperature."""
    jobs: list[Job] = []
    for name, template in BASES.items():
        start = base(out, size, name, FIRST)
        jobs += [start, *(evaluated(out, size, start, template, temperature=t) for t in size.temperatures)]
    return jobs


def greedy_published(_seeds: int) -> list[Job]:
    """Return table 1: Qwen2.5-Math under the templates, greedy, on the five benchmarks."""
    return [
        EvaluationJob(f"evaluations/{slug(model)}-{template}", template, [{"name": name} for name in SETS], model=model,
                      answer_format=FORMATS.get(template))
        for model in list(MODELS)[:2]
        for template in TEMPLATES
    ]  # fmt: skip


def answering_published(_seeds: int) -> list[Job]:
    """Return 500 MATH questions, a response each, without a template and under two."""
    return [_on_math(model, template) for model in MODELS for template in ("no", "r1", "qwen_math")]


def sampled_published(_seeds: int) -> list[Job]:
    """Return 500 MATH questions, eight samples each, at ten temperatures."""
    return [_on_math(model, template, SAMPLES, t) for model, template in MODELS.items() for t in TEMPERATURES]


def _on_math(model: str, template: str, samples: int = 1, temperature: float = 0.0) -> EvaluationJob:
    name = f"evaluations/{slug(model)}-{template}-t{temperature:g}"
    return EvaluationJob(name, template, MATH_500, model=model, samples=samples, temperature=temperature,
                         answer_format=FORMATS.get(template))  # fmt: skip


def read_table1(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return scores by model and template; the paper's table beside them."""
    rows, found = [], {}
    for job, cell in cells_of(out, jobs):
        rights, cut = curves.rights(out / job.name), sum(reply.truncated for reply in cell.replies) / len(cell.replies)
        found.setdefault(model_of(job), {})[cell.template] = rights
        rows.append([model_of(job), NAMES[cell.template], percent(clustered(rights)), f"{cut:.0%}"])
    claims = []
    for model, scores in found.items():
        best = max(scores, key=lambda template: sum(scores[template]))
        if model in BASES or "r1" in scores:
            text = f"{model}: the R1 template, far from its pretraining, lowers its score."
            claims.append(over_questions(text, "no template − R1", scores["r1"], scores["no"]))
        if model != "web":
            claims.append(
                judged(f"{model}, pretrained on questions with answers: no template is best.",
                       f"best is {NAMES[best]}: " + ", ".join(f"{NAMES[t]} {100 * sum(s) / len(s):.1f} %"
                                                              for t, s in scores.items()),
                       best == "no")
            )  # fmt: skip
    tables = [
        FoundTable("Right, greedy, with 95 % interval", ["model", "template", "right", "at the token limit"], rows),
        published_scores("1", NAMES),
    ]
    return Findings(claims, (), tables, TEXTS)


def read_answering(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return answering rates by template."""
    judge = RuleJudge(ANSWERING)
    rows, rates = [], {}
    for job, cell in cells_of(out, jobs):
        found = answering.analyse(cell, judge, judge)
        rates[model_of(job), cell.template] = found.rate
        rows.append([model_of(job), NAMES[cell.template], percent(found.rate), f"{found.truncated:.0%}"])
    claims = []
    for model in dict.fromkeys(model for model, _ in rates):
        bare, dressed = rates[model, "no"], rates[model, "qwen_math"]
        apart = bare is not None and dressed is not None and dressed.low > bare.high
        seen = apart if model == "web" else bool(bare and bare.low > 0.9)
        said = ("answers more readily with a template that it knows than without one" if model == "web" else
                "answers without any template")  # fmt: skip
        measured = f"no template {percent(bare)}, Qwen-Math template {percent(dressed)}"
        claims.append(judged(f"{model} {said}.", measured, seen))
    paper = [[row.model, f"{row.without_template:.1%}", f"{row.with_template:.1%}"] for row in ANALYSED]
    tables = [
        FoundTable(
            "Responses that answer, with 95 % interval", ["model", "template", "answers", "at the token limit"], rows
        ),
        FoundTable("The paper's Figure 3, left", ["model", "no template", "its best template"], paper),
    ]
    return Findings(claims, (), tables, TEXTS)


def read_exploration(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return pass@8 over temperatures."""
    series, claims = [], []
    for i, (model, cells) in enumerate(by_model(out, jobs).items()):
        found = [exploration.analyse(cell, 8) for cell in cells]
        best = [row.pass_at[max(row.pass_at)] for row in found]
        series.append(line(model, i, [row.temperature for row in found], best))
        top = max(range(len(found)), key=lambda j: best[j].value)
        first = found[-1].pass_at[1]
        claims.append(
            judged(f"{model}: right answers exist before any training.",
                   f"pass@8 up to {percent(best[top])}, pass@1 {percent(first)} at temperature "
                   f"{found[-1].temperature:g}; {percent(found[top].live.share)} of groups of 8 live",
                   best[top].low > 0.05)
        )  # fmt: skip
        inner = 0 < top < len(found) - 1
        apart = inner and best[top].low > max(best[0].high, best[-1].high)
        claims.append(
            judged(f"{model}: pass@8 has an inner optimum in temperature.",
                   f"highest at {found[top].temperature:g}; {percent(best[0])} at {found[0].temperature:g}, "
                   f"{percent(best[-1])} at {found[-1].temperature:g}", apart)
        )  # fmt: skip
    theirs = {row.model: list(zip(TEMPERATURES, row.pass_at_8, strict=True)) for row in ANALYSED}
    chart = Chart("fig3-exploration", "pass@8", "", tuple(series), percent=True, x_label="temperature")
    return Findings(claims, [curves.beside(chart, theirs)], (), TEXTS)


def _file(out: Path, template: str) -> str:
    return str((out / FEW_SHOT).resolve()) if template == "few_shot" else template


def cells_of(out: Path, jobs: Sequence[Job]) -> list[tuple[EvaluationJob, ModelResponses]]:
    """Return evaluations with their responses."""
    return [(job, saved_cell(out / job.name)) for job in jobs if isinstance(job, EvaluationJob)]


def by_model(out: Path, jobs: Sequence[Job]) -> dict[str, list[ModelResponses]]:
    """Return the responses of every model, by temperature."""
    found: dict[str, list[ModelResponses]] = {}
    for job, cell in cells_of(out, jobs):
        found.setdefault(model_of(job), []).append(cell)
    return {model: sorted(cells, key=lambda cell: cell.temperature) for model, cells in found.items()}


def model_of(job: EvaluationJob) -> str:
    """Tell who is asked: a model of the miniature by its corpus or run, another by its name."""
    return job.start.partition("/")[2].rpartition("-")[0] if job.start else slug(job.model)


def slug(model: str) -> str:
    """Return a model's name without its owner."""
    return model.rpartition("/")[2]


def percent(estimate: Estimate | None) -> str:
    """Say a share with its interval."""
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def line(label: str, i: int, at: Sequence[float], estimates: Sequence[Estimate]) -> Series:
    """Return the `i`-th curve of a picture, with its band."""
    y, low, high = (tuple(getattr(each, name) for each in estimates) for name in ("value", "low", "high"))
    return Series(label, f"s{i}", tuple(at), y, (), low, high)


STUDIES = (
    Study(
        "table1", "Table 1", "Templates and base models", "Greedy scores of base models under four templates.",
        greedy_grid, greedy_published, read_table1,
    ),
    Study(
        "fig3-answering", "Figure 3, left", "Does a base model answer?",
        "Share of responses that answer the question rather than go on with the text, by template.",
        greedy_grid, answering_published, read_answering,
    ),
    Study(
        "fig3-exploration", "Figure 3, middle", "Do samples reach right answers?",
        "pass@8 of base models over temperatures.",
        sampled_grid, sampled_published, read_exploration,
    ),
)  # fmt: skip
