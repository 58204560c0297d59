"""Base models before training: table 1, figure 3, keywords (figure 9), and whether reflection helps (appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from r1zero.analyze import answering, exploration, helping, reflecting
from r1zero.analyze.cells import CATEGORIES, Cell, saved_cell
from r1zero.analyze.published import ROWS as ANALYSED
from r1zero.analyze.published import SAMPLES, TEMPERATURES
from r1zero.analyze.reflection import Detector
from r1zero.analyze.rubrics import ANSWERING, REFLECTION
from r1zero.analyze.rules import RuleJudge
from r1zero.evaluate.published import ROWS as SCORED
from r1zero.evaluate.published import SETS
from r1zero.evaluate.statistics import Estimate, clustered, paired
from r1zero.paper import curves
from r1zero.paper.fig6 import difference
from r1zero.paper.findings import Claim, Findings, Panel, Size, Study, Table, Verdict
from r1zero.paper.grid import Evaluation, Job, Training
from r1zero.paper.miniature import FEW_SHOT, FIRST, base, compared, evaluated
from r1zero.report.charts import Chart
from r1zero.report.groups import Series

BASES = {"qa": "no", "web": "qwen_math"}
"""The miniature's base models, each with the template for its samples: the one that it has read most answers under."""
TEMPLATES = ("few_shot", "r1", "qwen_math", "no")
NAMES = {"few_shot": "4-shot", "r1": "R1", "qwen_math": "Qwen-Math", "no": "no template"}
_MODELS = {
    "Qwen/Qwen2.5-Math-1.5B": "no",
    "Qwen/Qwen2.5-Math-7B": "no",
    "Qwen/Qwen2.5-7B": "no",
    "meta-llama/Llama-3.1-8B": "r1",
    "deepseek-ai/deepseek-math-7b-base": "r1",
}
_QUESTIONS = [{"name": "math-12k", "limit": 500}]
_TEXTS = (
    "The miniature's two base models have read the same questions: `qa` with their answers and without a template, "
    "`web` mostly as exercises without answers, and with answers in a chat's markers. Neither has seen the R1 template "
    "or four examples in a row. There is one of each, of the first seed.",
    "Test questions of the miniature are permutations of few sets of numbers; tests over questions take them for more "
    "different than they are, so that their p-values are too small.",
    "Whether a response answers, or reflects, is judged by rules, not by a language model as in the paper.",
)


def greedy_grid(out: Path, size: Size) -> list[Job]:
    """Both base models under all templates, greedy."""
    jobs: list[Job] = []
    for name in BASES:
        start = base(out, size, name, FIRST)
        jobs += [start, *(evaluated(out, size, start, _file(out, template)) for template in TEMPLATES)]
    return jobs


def sampled_grid(out: Path, size: Size) -> list[Job]:
    """Eight samples of both base models at every temperature."""
    jobs: list[Job] = []
    for name, template in BASES.items():
        start = base(out, size, name, FIRST)
        jobs += [start, *(evaluated(out, size, start, template, temperature=t) for t in size.temperatures)]
    return jobs


def helping_grid(out: Path, size: Size) -> list[Job]:
    """Eight samples of the QA base model and of what Dr. GRPO made of it."""
    start = base(out, size, "qa", FIRST)
    run = compared(out, size, "dr_grpo", start, FIRST)
    return [start, run, *(evaluated(out, size, each, "no", temperature=1.0) for each in (start, run))]


def greedy_published(seeds: int) -> list[Job]:
    """Table 1: Qwen2.5-Math under the templates, on the five benchmarks."""
    del seeds  # greedy
    return [
        Evaluation(f"evaluations/{_slug(model)}-{template}", template, [{"name": name} for name in SETS], model=model,
                   answer_format=None)
        for model in list(_MODELS)[:2]
        for template in TEMPLATES
    ]  # fmt: skip


def answering_published(seeds: int) -> list[Job]:
    """500 MATH questions, a response each, without a template and under two."""
    del seeds
    return [
        Evaluation(f"evaluations/{_slug(model)}-{template}-t0", template, _QUESTIONS, model=model, answer_format=None)
        for model in _MODELS
        for template in ("no", "r1", "qwen_math")
    ]


def sampled_published(seeds: int) -> list[Job]:
    """500 MATH questions, eight samples each, at ten temperatures."""
    del seeds
    return [
        Evaluation(f"evaluations/{_slug(model)}-{template}-t{t:g}", template, _QUESTIONS, model=model, samples=SAMPLES,
                   temperature=t, answer_format=None)
        for model, template in _MODELS.items()
        for t in TEMPERATURES
    ]  # fmt: skip


def helping_published(seeds: int) -> list[Job]:
    """Qwen2.5-Math-1.5B and what Dr. GRPO makes of it; the paper's own pair is served (685B)."""
    del seeds  # one pair
    run = Training("runs/oat-zero-0", "qwen2.5-math-1.5b", {"train.seed": 0})
    sampled = partial(Evaluation, template="qwen_math", benchmarks=_QUESTIONS, samples=SAMPLES, temperature=1.0,
                      answer_format=None)  # fmt: skip
    return [run, sampled("evaluations/base", model="Qwen/Qwen2.5-Math-1.5B"),
            sampled("evaluations/runs-trained", start=run.name)]  # fmt: skip


def read_table1(out: Path, jobs: Sequence[Job]) -> Findings:
    """Scores by model and template; the paper's table beside them."""
    cells = _cells(out, jobs)
    rows = [
        [_model(job), NAMES[cell.template], _percent(_accuracy(cell)), f"{_truncated(cell):.0%}"] for job, cell in cells
    ]
    claims = []
    for model in dict.fromkeys(_model(job) for job, _ in cells):
        scores = {cell.template: _rights(cell) for job, cell in cells if _model(job) == model}
        best = max(scores, key=lambda template: sum(scores[template]))
        if model in BASES or "r1" in scores:
            test = paired(scores["r1"], scores["no"])
            seen = test.difference > 0 and test.p_value < 0.05
            claims.append(
                Claim(f"{model}: the R1 template, far from its pretraining, lowers its score.",
                      f"no template − R1: {difference(test)}", Verdict.SEEN if seen else Verdict.NOT_SEEN)
            )  # fmt: skip
        if model != "web":
            claims.append(
                Claim(f"{model}, pretrained on questions with answers: no template is best.",
                      f"best is {NAMES[best]}: " + ", ".join(f"{NAMES[t]} {100 * sum(s) / len(s):.1f} %"
                                                             for t, s in scores.items()),
                      Verdict.SEEN if best == "no" else Verdict.NOT_SEEN)
            )  # fmt: skip
    paper = [
        [row.model, NAMES.get(row.template, row.template), *(f"{value:.1f}" for value in row.percent),
         f"{row.average:.1f}"]
        for row in SCORED if row.table == "1"
    ]  # fmt: skip
    tables = [
        Table("Right, greedy, with 95 % interval", ["model", "template", "right", "at the token limit"], rows),
        Table("The paper's Table 1, per cent right", ["model", "template", *SETS, "average"], paper),
    ]
    return Findings(claims, (), tables, _TEXTS)


def read_answering(out: Path, jobs: Sequence[Job]) -> Findings:
    """Answering rates by template."""
    judge = RuleJudge(ANSWERING)
    rows, rates = [], {}
    for job, cell in _cells(out, jobs):
        found = answering.analyse(cell, judge, judge)
        rates[_model(job), cell.template] = found.rate
        rows.append([_model(job), NAMES[cell.template], _percent(found.rate), f"{found.truncated:.0%}"])
    claims = []
    for model in dict.fromkeys(model for model, _ in rates):
        bare, dressed = rates[model, "no"], rates[model, "qwen_math"]
        apart = bare is not None and dressed is not None and dressed.low > bare.high
        seen = apart if model == "web" else bool(bare and bare.low > 0.9)
        said = ("answers more readily with a template that it knows than without one" if model == "web" else
                "answers without any template")  # fmt: skip
        claims.append(
            Claim(f"{model} {said}.", f"no template {_percent(bare)}, Qwen-Math template {_percent(dressed)}",
                  Verdict.SEEN if seen else Verdict.NOT_SEEN)
        )  # fmt: skip
    paper = [[row.model, f"{row.without_template:.1%}", f"{row.with_template:.1%}"] for row in ANALYSED]
    tables = [
        Table(
            "Responses that answer, with 95 % interval", ["model", "template", "answers", "at the token limit"], rows
        ),
        Table("The paper's Figure 3, left", ["model", "no template", "its best template"], paper),
    ]
    return Findings(claims, (), tables, _TEXTS)


def read_exploration(out: Path, jobs: Sequence[Job]) -> Findings:
    """pass@8 over temperatures."""
    series, claims = [], []
    for i, (model, cells) in enumerate(_by_model(out, jobs).items()):
        found = [exploration.analyse(cell, 8) for cell in cells]
        best = [row.pass_at[max(row.pass_at)] for row in found]
        series.append(_line(model, i, [row.temperature for row in found], best))
        top = max(range(len(found)), key=lambda j: best[j].value)
        first = found[-1].pass_at[1]
        claims.append(
            Claim(f"{model}: right answers exist before any training.",
                  f"pass@8 up to {_percent(best[top])}, pass@1 {_percent(first)} at temperature "
                  f"{found[-1].temperature:g}; {_percent(found[top].live.share)} of groups of 8 live",
                  Verdict.SEEN if best[top].low > 0.05 else Verdict.NOT_SEEN)
        )  # fmt: skip
        inner = 0 < top < len(found) - 1
        apart = inner and best[top].low > max(best[0].high, best[-1].high)
        claims.append(
            Claim(f"{model}: pass@8 has an inner optimum in temperature.",
                  f"highest at {found[top].temperature:g}; {_percent(best[0])} at {found[0].temperature:g}, "
                  f"{_percent(best[-1])} at {found[-1].temperature:g}",
                  Verdict.SEEN if apart else Verdict.NOT_SEEN)
        )  # fmt: skip
    theirs = {row.model: list(zip(TEMPERATURES, row.pass_at_8, strict=True)) for row in ANALYSED}
    panel = curves.panel("fig3-exploration", "pass@8", "", series, theirs, percent=True, x_label="temperature")
    return Findings(claims, [panel], (), _TEXTS)


def read_reflection(out: Path, jobs: Sequence[Job]) -> Findings:
    """Questions with a self-reflecting response, and the keywords that tell it."""
    judge, detector = RuleJudge(REFLECTION), Detector()
    panels, claims, counts = [], [], {}
    for model, cells in _by_model(out, jobs).items():
        rows = [reflecting.analyse(cell, detector, judge, judge)[0] for cell in cells]
        at = [row.temperature for row in rows]
        series = [
            _line(detection, i, at, [row.share_of_questions[detection] for row in rows])
            for i, detection in enumerate(("keywords", "judge", "cross"))
        ]
        panels.append(
            curves.panel(f"fig3-reflection-{model}", f"Questions with a reflecting response: {model}", "", series,
                         percent=True, x_label="temperature")
        )  # fmt: skip
        last = rows[-1].share_of_questions
        claims.append(
            Claim(f"{model}: self-reflection is there before any training.",
                  f"by keyword at temperature {at[-1]:g}: {_percent(last['keywords'])} of questions (by the rules that "
                  f"judge passages: {_percent(last['judge'])})",
                  Verdict.SEEN if last["keywords"].low > 0 else Verdict.NOT_SEEN)
        )  # fmt: skip
        for row in rows:
            for word in row.keywords:
                counts.setdefault(word.keyword, {}).setdefault(model, 0)
                counts[word.keyword][model] += word.occurrences
    models = list(_by_model(out, jobs))
    ordered = sorted(counts, key=lambda word: -sum(counts[word].values()))
    table = [[word, *(str(counts[word][model]) for model in models)] for word in ordered]
    reflected = {name: list(zip(TEMPERATURES, [n / 500 for n in row], strict=True))
                 for name, row in ((each.model, each.keywords) for each in ANALYSED)}  # fmt: skip
    ours = Chart("fig3-reflection-all", "Questions, by keyword", "", tuple(
        Series(model, f"s{i}", panel.ours.series[0].x, panel.ours.series[0].y)
        for i, (model, panel) in enumerate(zip(models, panels, strict=True))), percent=True, x_label="temperature",
    )  # fmt: skip
    panels.insert(0, Panel(ours, curves.paper_chart(ours, reflected)))
    notes = [*_TEXTS, "In the miniature, looking again was in the texts that the models have read."]
    return Findings(claims, panels, [Table("Occurrences of keywords, all temperatures", ["", *models], table)], notes)


def read_helping(out: Path, jobs: Sequence[Job]) -> Findings:
    """Accuracy of reflecting against other responses of the same question, before and after training."""
    judge, detector = RuleJudge(REFLECTION), Detector()
    claims, rows = [], []
    for job, cell in _cells(out, jobs):
        stage = "after training" if (job.start or "").startswith("runs/") else "base model"
        flags = reflecting.flags_of(cell, detector, judge)
        found = helping.analyse(cell, flags.by_detection["keywords"], "keywords")
        test = found.difference
        verdict = Verdict.UNTESTED if test is None else Verdict.SEEN if test.low <= 0 else Verdict.NOT_SEEN
        claims.append(
            Claim(f"{stage}: reflecting responses are not more accurate.",
                  f"{found.reflecting} reflecting, {found.others} others; reflecting − others within a question: "
                  + ("no question has both" if test is None else difference(test)), verdict)
        )  # fmt: skip
        total = sum(found.categories["all"].values())
        shares = [f"{found.categories['all'][category] / total:.1%}" for category in CATEGORIES]
        lengths = [f"{each.tokens:.1f}" if (each := found.lengths[c]).tokens is not None else "–" for c in CATEGORIES]
        rows += [[stage, "share", *shares], [stage, "tokens", *lengths]]
    theirs = curves.published("response_categories_by_math_level_1_to_5")
    paper = [
        [model, f"level {level + 1}", *(str(counts[category][level]) for category in CATEGORIES[:4])]
        for model, counts in theirs.items()
        for level in range(5)
    ]
    tables = [
        Table("What becomes of responses", ["", "", *CATEGORIES], rows),
        Table("The paper's Figure 12, responses of 800 by level of MATH", ["", "", *CATEGORIES[:4]], paper),
    ]
    return Findings(claims, (), tables, _TEXTS[1:])


def _file(out: Path, template: str) -> str:
    return str((out / FEW_SHOT).resolve()) if template == "few_shot" else template


def _cells(out: Path, jobs: Sequence[Job]) -> list[tuple[Evaluation, Cell]]:
    return [(job, saved_cell(out / job.name)) for job in jobs if isinstance(job, Evaluation)]


def _by_model(out: Path, jobs: Sequence[Job]) -> dict[str, list[Cell]]:
    found: dict[str, list[Cell]] = {}
    for job, cell in _cells(out, jobs):
        found.setdefault(_model(job), []).append(cell)
    return {model: sorted(cells, key=lambda cell: cell.temperature) for model, cells in found.items()}


def _model(job: Evaluation) -> str:
    """Who is asked: a model of the miniature by its corpus or run, another by its name."""
    return job.start.partition("/")[2].rpartition("-")[0] if job.start else _slug(job.model)


def _slug(model: str) -> str:
    return model.rpartition("/")[2]


def _rights(cell: Cell) -> list[float]:
    return [group.right / len(group.replies) for group in cell.groups]


def _accuracy(cell: Cell) -> Estimate:
    return clustered(_rights(cell))


def _truncated(cell: Cell) -> float:
    return sum(reply.truncated for reply in cell.replies) / len(cell.replies)


def _percent(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return f"{100 * estimate.value:.1f} % [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"


def _line(label: str, i: int, at: Sequence[float], estimates: Sequence[Estimate]) -> Series:
    y, low, high = (tuple(getattr(each, name) for each in estimates) for name in ("value", "low", "high"))
    return Series(label, f"s{i}", tuple(at), y, (), low, high)


STUDIES = (
    Study(
        "table1", "Table 1", "Templates and base models", "Greedy scores of base models under four templates.",
        greedy_grid, lambda _, seeds: greedy_published(seeds), read_table1,
    ),
    Study(
        "fig3-answering", "Figure 3, left", "Does a base model answer?",
        "Share of responses that answer the question rather than go on with the text, by template.",
        greedy_grid, lambda _, seeds: answering_published(seeds), read_answering,
    ),
    Study(
        "fig3-exploration", "Figure 3, middle", "Do samples reach right answers?",
        "pass@8 of base models over temperatures.",
        sampled_grid, lambda _, seeds: sampled_published(seeds), read_exploration,
    ),
    Study(
        "fig3-reflection", "Figure 3, right; figures 9 and 11", "Self-reflection before training",
        "Questions with a self-reflecting response over temperatures, and keyword counts.",
        sampled_grid, lambda _, seeds: sampled_published(seeds), read_reflection,
    ),
    Study(
        "reflection-accuracy", "Appendix D", "Does reflection help?",
        "Accuracy of reflecting against other responses of the same question, before and after training.",
        helping_grid, lambda _, seeds: helping_published(seeds), read_helping,
    ),
)  # fmt: skip
