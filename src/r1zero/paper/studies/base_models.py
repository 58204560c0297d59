"""Base models before training: table 1, and whether they answer and reach right answers (figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from r1zero.analyze import exploration
from r1zero.analyze.answering import items_of, positive
from r1zero.analyze.judges.llm import Judge
from r1zero.analyze.judges.rubrics import ANSWERING, Rubric
from r1zero.analyze.keywords import responses_with
from r1zero.analyze.responses import ModelResponses, saved_cell
from r1zero.paper import curves
from r1zero.paper.claims import (
    Findings,
    FoundTable,
    Hypothesis,
    Size,
    Study,
    higher_score,
    over_questions,
    published_scores,
    share_above,
)
from r1zero.paper.hypotheses import Alternative, Margin, Test, of_questions, strongest, weakest
from r1zero.paper.jobs import EvaluationJob, Job
from r1zero.paper.judgements import JudgementJob, KeptJudge, judge_of
from r1zero.paper.miniature import FEW_SHOT, base, evaluated, in_miniature
from r1zero.paper.other_seeds import repeated, with_other_seeds
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
    "deepseek-ai/DeepSeek-V3-Base": "r1",
}
PUREST = "DeepSeek-V3-Base"
SERVED = frozenset({"deepseek-ai/DeepSeek-V3-Base", "deepseek-ai/DeepSeek-R1-Zero"})
"""Models that no machine of eight GPUs holds."""
SUITED = {"web": "qwen_math", "Llama-3.1-8B": "r1", "deepseek-math-7b-base": "r1", "DeepSeek-V3-Base": "r1"}
"""The template with which a model answers that does not without one."""
MATH_500 = [{"name": "math-train-500"}]
_R1_WRECKS = Margin(10, "points", "less than half of the paper's smaller gap, 25.2 points")
_NO_IS_BEST = Margin(4, "points", "less than half of the paper's smaller lead over the next template, 8.9 points")
GAINS = (1.3, 1.9)
_ABOUT_60 = Margin(
    0,
    "points",
    "the ratio is held against 1.3 and 1.9, half and one and a half times the gain of 60 %; the paper's own two are "
    "1.68 and 1.61",
)
_ANSWERS = Margin(8, "points", "half of the smaller gain in the paper, 16.0 points")
_READILY = Margin(
    5, "points", "the paper's Qwen2.5 models answer 100 %, the others 10 to 70 %; more than 90 % counts as readily"
)
_PUREST = Margin(
    25, "points", "less than half of the paper's smallest gap, 53.4 points between DeepSeek-V3-Base and Llama-3.1-8B"
)
_EXISTS = Margin(
    5, "points", "the paper's weakest model reaches 29 %; more than 5 % leaves a learner something to reinforce"
)
_EXPLORES = Margin(3, "points", "half of the paper's 5.6 points between Qwen2.5-Math-7B and DeepSeek-V3-Base")
_OPTIMUM = Margin(3, "points", "less than the 3.8 points by which the paper's Qwen2.5-7B falls from its optimum to 1")
TEXTS = (
    "The miniature's two base models have read the same questions: `qa` with their answers and without a template, "
    "`web` mostly as exercises without answers, and with answers in a chat's markers. Neither has seen the R1 template "
    "or four examples in a row. Claims are tested on one of each, of the first seed.",
    "Test questions of the miniature are permutations of few sets of numbers, which count as one in tests; "
    "intervals of pass@k and of rates take them for more different than they are.",
)


def notes_of(jobs: Sequence[Job], *more: str) -> tuple[str, ...]:
    """Return what is to be known of the miniature's base models, in a miniature; and what else is."""
    return (*TEXTS, *more) if in_miniature(jobs) else more


def judged_by(judge: Judge) -> str:
    """Tell who judged, and what it took of a language model."""
    if not isinstance(judge, KeptJudge):
        return "Whether a response answers, or reflects, is judged by rules, not by a language model as in the paper."
    prompt, answer = judge.tokens
    return (
        f"Whether a response answers, or reflects, is told by {judge.name} (in the paper gpt-4o-mini-2024-07-18, with "
        f"other words), whose judgements took {prompt:,} + {answer:,} tokens."
    )


def judge_for(out: Path, jobs: Sequence[Job], rubric: Rubric) -> Judge:
    """Return who judges a study's evaluations: a language model that has judged all of them, or the rules."""
    evaluations = [job.name for job in jobs if isinstance(job, EvaluationJob)]
    return judge_of(out, evaluations, [job for job in jobs if isinstance(job, JudgementJob)], rubric.name)


def judgements(jobs: Sequence[EvaluationJob], rubric: Rubric) -> list[Job]:
    """Return evaluations, and a judgement of each by a language model."""
    asked = [
        JudgementJob(f"judgements/{rubric.name}-{job.name.removeprefix('evaluations/')}", job.name, rubric.name)
        for job in jobs
    ]
    return [*jobs, *asked]


def greedy_grid(out: Path, size: Size, seed: int) -> list[Job]:
    """Return both base models under all templates, greedy."""
    jobs: list[Job] = []
    for name in BASES:
        start = base(out, size, name, seed)
        jobs += [start, *(evaluated(out, size, start, _file(out, template)) for template in TEMPLATES)]
    return jobs


def sampled_grid(out: Path, size: Size, seed: int) -> list[Job]:
    """Return eight samples of both base models at every temperature."""
    jobs: list[Job] = []
    for name, template in BASES.items():
        start = base(out, size, name, seed)
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
    asked = [on_math(model, template) for model in MODELS for template in ("no", "r1", "qwen_math")]
    return judgements(asked, ANSWERING)


def sampled_published(_seeds: int) -> list[EvaluationJob]:
    """Return 500 MATH questions, eight samples each, at ten temperatures."""
    return [on_math(model, template, SAMPLES, t) for model, template in MODELS.items() for t in TEMPERATURES]


def on_math(model: str, template: str, samples: int = 1, temperature: float = 0.0) -> EvaluationJob:
    """Return 500 MATH questions asked of a model under a template; of one that is served by its server."""
    name = f"evaluations/{slug(model)}-{template}-t{temperature:g}"
    return EvaluationJob(name, template, MATH_500, model=model, samples=samples, temperature=temperature,
                         answer_format=FORMATS.get(template), served=model in SERVED)  # fmt: skip


def read_table1(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return scores by model and template; the paper's table beside them."""
    rows, found = [], {}
    for job, cell in cells_of(out, jobs):
        rights, cut = curves.rights(out / job.name), sum(reply.truncated for reply in cell.replies) / len(cell.replies)
        found.setdefault(model_of(job), {})[cell.template] = curves.balanced(out / job.name)
        rows.append([model_of(job), NAMES[cell.template], percent(clustered(rights)), f"{cut:.0%}"])
    claims = []
    for model, scores in found.items():
        text = f"{model}: the R1 template, far from its pretraining, lowers its score."
        claims.append(over_questions(text, "no template − R1", scores["r1"], scores["no"], _R1_WRECKS))
        if model != "web":
            claims += [_no_is_best(model, scores), _about_60(model, scores)]
    tables = [
        FoundTable("Right, greedy, with 95 % interval", ["model", "template", "right", "at the token limit"], rows),
        published_scores("1", NAMES, jobs),
    ]
    return Findings(claims, (), tables, notes_of(jobs))


def _no_is_best(model: str, scores: Mapping[str, Sequence[float]]) -> Hypothesis:
    """Test that no template is above each of the others: by the nearest."""
    tests = {t: higher_score(scores[t], scores["no"], _NO_IS_BEST) for t in scores if t != "no"}
    test = weakest(tests.values())
    [nearest, *_] = [template for template, each in tests.items() if each is test]
    listed = ", ".join(f"{NAMES[t]} {100 * sum(s) / len(s):.1f} %" for t, s in scores.items())
    measured = f"{listed}; no template − {NAMES[nearest]}, the nearest"
    return Hypothesis(f"{model}, pretrained on questions with answers: no template is best.", measured, test)


def _about_60(model: str, scores: Mapping[str, Sequence[float]]) -> Hypothesis:
    """Test that the ratio of no template to 4-shot is between `GAINS`.

    Above g it is where no template − g · 4-shot is above 0, a mean over questions.
    """
    bare, shots = scores["no"], scores["few_shot"]
    low, high = (of_questions([b - gain * s for b, s in zip(bare, shots, strict=True)]) for gain in GAINS)
    above = low and Test(low, Alternative.GREATER, _ABOUT_60)
    below = high and Test(replace(high, mean=-high.mean), Alternative.GREATER, _ABOUT_60)
    test = weakest((above, below))
    side = f"no template − {GAINS[0]} × 4-shot" if test is above else f"{GAINS[1]} × 4-shot − no template"
    ratio = f"{sum(bare) / sum(shots):.2f}" if sum(shots) else "without bound"
    measured = f"no template / 4-shot is {ratio}; {side}"
    return Hypothesis(f"{model}: no template scores about 60 % above 4-shot.", measured, test)


def read_answering(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return answering rates by template."""
    judge = judge_for(out, jobs, ANSWERING)
    rows, answered = [], {}
    for job, cell in cells_of(out, jobs):
        flags = positive(cell, judge.judge(items_of(cell)), ANSWERING)
        answered[model_of(job), cell.template] = by_unit(cell, [float(bool(each[0])) for each in flags])
        cut = sum(reply.truncated for reply in cell.replies) / len(cell.replies)
        rows.append([model_of(job), NAMES[cell.template], percent(responses_with(flags, cell.questions)), f"{cut:.0%}"])
    claims = []
    for model in dict.fromkeys(model for model, _ in answered):
        bare, suited = answered[model, "no"], SUITED.get(model)
        if suited is None:
            measured = f"{100 * sum(bare) / len(bare):.1f} % without a template; above 90 %"
            text = f"{model} answers without any template."
            claims.append(Hypothesis(text, measured, share_above(0.9, bare, _READILY)))
        else:
            text = f"{model} answers more readily with the {NAMES[suited]} template, which suits it, than without one."
            measured = f"answering rate, {NAMES[suited]} − no template"
            claims.append(over_questions(text, measured, bare, answered[model, suited], _ANSWERS))
    bares = {model: answered[model, "no"] for model, template in answered if template == "no"}
    if PUREST in bares and len(bares) > 1:
        claims.append(_purest(bares))
    paper = [[row.model, f"{row.without_template:.1%}", f"{row.with_template:.1%}"] for row in ANALYSED]
    tables = [
        FoundTable(
            "Responses that answer, with 95 % interval", ["model", "template", "answers", "at the token limit"], rows
        ),
        FoundTable("The paper's Figure 3, left", ["model", "no template", "its best template"], paper),
    ]
    return Findings(claims, (), tables, notes_of(jobs, judged_by(judge)))


def _purest(bares: Mapping[str, Sequence[float]]) -> Hypothesis:
    """Test that the purest base model answers least without a template: by the nearest other."""
    tests = {model: higher_score(bares[PUREST], flags, _PUREST) for model, flags in bares.items() if model != PUREST}
    test = weakest(tests.values())
    [nearest, *_] = [model for model, each in tests.items() if each is test]
    text = f"{PUREST} answers least of all without a template: it is nearly a pure base model."
    return Hypothesis(text, f"answering rate without a template, {nearest}, the nearest, − {PUREST}", test)


def read_exploration(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return pass@8 over temperatures."""
    series, claims, at_best = [], [], dict[str, Sequence[float]]()
    for i, (model, cells) in enumerate(by_model(out, jobs).items()):
        found = [exploration.analyse(cell, 8) for cell in cells]
        best = [row.pass_at[max(row.pass_at)] for row in found]
        series.append(line(model, i, [row.temperature for row in found], best))
        solved = {cell.temperature: by_unit(cell, [float(group.right > 0) for group in cell.groups]) for cell in cells}
        first = found[-1].pass_at[1]
        tests = [test for values in solved.values() if (test := share_above(0.05, values, _EXISTS))]
        top = max(range(len(found)), key=lambda j: best[j].value)
        claims += [
            Hypothesis(f"{model}: right answers exist before any training.",
                   f"pass@8 up to {percent(best[top])}, pass@1 {percent(first)} at temperature "
                   f"{found[-1].temperature:g}; {percent(found[top].live.share)} of groups of 8 live; pass@8 above 5 %",
                   strongest(tests)),
            _inner_optimum(model, solved),
        ]  # fmt: skip
        at_best[model] = solved[found[top].temperature]
    if PUREST in at_best:
        claims.append(_explores_best(at_best))
    theirs = {row.model: list(zip(TEMPERATURES, row.pass_at_8, strict=True)) for row in ANALYSED}
    chart = Chart("fig3-exploration", "pass@8", "", tuple(series), percent=True, x_label="temperature")
    return Findings(claims, [curves.beside(chart, theirs)], (), notes_of(jobs))


def _explores_best(at_best: Mapping[str, Sequence[float]]) -> Hypothesis:
    """Test that a Qwen2.5 model's pass@8 is above the pure base model's, each at its best temperature."""
    tests = {model: higher_score(at_best[PUREST], flags, _EXPLORES) for model, flags in at_best.items()
             if model.startswith("Qwen2.5")}  # fmt: skip
    known = {model: test for model, test in tests.items() if test is not None}
    first = min(known, key=lambda model: known[model].p_value, default="no Qwen2.5 model")
    text = f"Qwen2.5 models explore best, above {PUREST}."
    return Hypothesis(text, f"pass@8, each at its best temperature, {first} − {PUREST}", strongest([*known.values()]))


def _inner_optimum(model: str, solved: Mapping[float, Sequence[float]]) -> Hypothesis:
    """Test that pass@8 at one inner temperature is above that at both ends: each by its nearer end."""
    ends, inner = (min(solved), max(solved)), sorted(solved)[1:-1]
    tests = {t: weakest(higher_score(solved[end], solved[t], _OPTIMUM) for end in ends) for t in inner}
    known = {t: test for t, test in tests.items() if test is not None}
    best = min(known, key=lambda t: known[t].p_value, default=None)
    measured = "no temperature between the ends" if best is None else f"pass@8 at {best:g} − the nearer of both ends"
    return Hypothesis(f"{model}: pass@8 has an inner optimum in temperature.", measured, strongest([*known.values()]))


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


def by_unit(cell: ModelResponses, values: Sequence[float]) -> list[float]:
    """Return one number a sampling unit from one a question of a cell."""
    return curves.by_unit(values, cell.questions)


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
        repeated(greedy_grid), greedy_published, with_other_seeds(read_table1),
    ),
    Study(
        "fig3-answering", "Figure 3, left", "Does a base model answer?",
        "Share of responses that answer the question rather than go on with the text, by template.",
        repeated(greedy_grid), answering_published, with_other_seeds(read_answering),
    ),
    Study(
        "fig3-exploration", "Figure 3, middle", "Do samples reach right answers?",
        "pass@8 of base models over temperatures.",
        repeated(sampled_grid), sampled_published, with_other_seeds(read_exploration),
    ),
)  # fmt: skip
