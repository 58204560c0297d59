"""Self-reflection of base models (figure 3, right; figures 10 and 12), and whether it helps (appendix D)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from r1zero.analyze import reflection_effect, self_reflection
from r1zero.analyze.judges.rubrics import REFLECTION
from r1zero.analyze.judges.rules import RuleJudge
from r1zero.analyze.keywords import Detector
from r1zero.paper import curves
from r1zero.paper.claims import Claim, Findings, FoundTable, Hypothesis, Panel, Size, Study, judged, over_questions
from r1zero.paper.hypotheses import Alternative, Margin, Test, of_questions
from r1zero.paper.jobs import EvaluationJob, Job
from r1zero.paper.judgements import KeptJudge
from r1zero.paper.miniature import base, compared, evaluated, in_miniature
from r1zero.paper.other_seeds import repeated, with_other_seeds
from r1zero.paper.studies.base_models import (
    MATH_500,
    SAMPLES,
    by_model,
    by_unit,
    cells_of,
    judge_for,
    judged_by,
    judgements,
    line,
    notes_of,
    on_math,
    percent,
    sampled_grid,
    sampled_published,
    slug,
)
from r1zero.paper.studies.table4 import oat_zero
from r1zero.published import BASE_MODELS as ANALYSED
from r1zero.published import KEYWORDS, QUESTIONS, TABLE_5, TEMPERATURES
from r1zero.report.charts.model import Chart
from r1zero.types import Fate

_BASE, _TRAINED = "base model", "after training"
_PAIRS = ((_BASE, _TRAINED), ("DeepSeek-V3-Base", "DeepSeek-R1-Zero"))
"""Before and after training: what is made here, and the paper's own two, where they are served."""
_HELPS = Margin(
    5, "points", "in the paper reflecting responses are 3.0 points less accurate, half of the questions within 6.7 "
    "below and 1.5 above"
)  # fmt: skip
_FREQUENT = Margin(
    3, "points", "the paper gives no rate for R1-Zero; its base models' move by up to 3.6 points from one temperature "
    "to the next"
)  # fmt: skip
DETECTIONS = {"keywords": "by keyword", "judge": "by judge", "cross": "by both"}


def helping_grid(out: Path, size: Size, seed: int) -> list[Job]:
    """Return eight samples of the QA base model and of what Dr. GRPO made of it."""
    start = base(out, size, "qa", seed)
    run = compared(out, size, "dr_grpo", start, seed)
    return [start, run, *(evaluated(out, size, each, "no", temperature=1.0) for each in (start, run))]


def helping_published(_seeds: int) -> list[Job]:
    """Return Qwen2.5-Math-1.5B and what Dr. GRPO makes of it, one pair, and the paper's own, which is served."""
    run = oat_zero("1.5b", 0)
    sampled = partial(EvaluationJob, template="qwen_math", benchmarks=MATH_500, samples=SAMPLES, temperature=1.0)
    return [run, sampled("evaluations/base", model="Qwen/Qwen2.5-Math-1.5B"),
            sampled("evaluations/runs-trained", start=run.name),
            *(on_math(f"deepseek-ai/{name}", "r1", SAMPLES, 1.0) for name in _PAIRS[1])]  # fmt: skip


def reflected_published(seeds: int) -> list[Job]:
    """Return the samples of all base models, and a language model's judgements of them."""
    return judgements(sampled_published(seeds), REFLECTION)


def read_reflection(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return questions with a self-reflecting response, and the keywords that tell it."""
    judge, rules, detector = judge_for(out, jobs, REFLECTION), RuleJudge(REFLECTION), Detector()
    found = {
        model: [self_reflection.analyse(cell, detector, judge, rules)[0] for cell in cells]
        for model, cells in by_model(out, jobs).items()
    }
    claims, counts = [], {model: Counter[str]() for model in found}
    for model, rows in found.items():
        claims.append(_there(model, rows[-1], isinstance(judge, KeptJudge)))
        for row in rows:
            counts[model].update({word.keyword: word.occurrences for word in row.keywords})
    panels = [_panel(found, detection) for detection in DETECTIONS]
    every = dict.fromkeys(word for each in counts.values() for word in each)
    ordered = sorted(every, key=lambda word: -sum(each[word] for each in counts.values()))
    ours = [[word, *(str(each[word]) for each in counts.values())] for word in ordered]
    theirs = [[word, *map(str, row)] for word, row in KEYWORDS.items()]
    tables = [
        FoundTable("Occurrences of keywords, all temperatures", ["", *counts], ours),
        FoundTable(
            "The paper's Figure 10 (9 in v1), in 40,000 responses each", ["", *(row.model for row in ANALYSED)], theirs
        ),
    ]
    read = ["In the miniature, looking again was in the texts that the models have read."]
    if isinstance(judge, KeptJudge):
        tables.append(_agreement(found))
    notes = [*notes_of(jobs, judged_by(judge)), *(read if in_miniature(jobs) else ())]
    return Findings(claims, panels, tables, notes)


def _there(model: str, row: self_reflection.ReflectionRow, by_both: bool) -> Claim:
    """Judge that a base model reflects: by keyword and a language model on one response, as the paper does; by keyword
    alone where rules judge.
    """
    shares = row.share_of_questions
    told = shares["cross" if by_both else "keywords"]
    names = {"cross": "by both on one response", "keywords": "by keyword", "judge": f"by the {row.judge}"}
    order = ("cross", "keywords", "judge") if by_both else ("keywords", "judge")
    first, *others = (f"{percent(shares[name])} {names[name]}" for name in order)
    measured = f"questions with a reflecting response at temperature {row.temperature:g}: {first} ({', '.join(others)})"
    return judged(
        f"{model}: self-reflection is there before any training.", measured, told is not None and told.low > 0
    )


def _agreement(found: Mapping[str, Sequence[self_reflection.ReflectionRow]]) -> FoundTable:
    """Show how far the language model agrees with the rules, and how many of its answers were no class."""
    rows = []
    for model, each in found.items():
        for row in each:
            same = row.agreement
            share, kappa = (same.share, same.kappa) if same is not None else (None, None)
            unread = [str(row.classes[name]) for name in ("unparsable", "refused")]
            rows.append([model, f"{row.temperature:g}", "–" if share is None else f"{share:.1%}",
                         "–" if kappa is None else f"{kappa:.2f}", *unread])  # fmt: skip
    headings = ["model", "temperature", "same class", "Cohen's kappa", "unreadable", "refused"]
    return FoundTable("The language model's classes of responses, beside the rules'", headings, rows)


def _panel(found: dict[str, list[self_reflection.ReflectionRow]], detection: str) -> Panel:
    """Return shares of questions over temperatures by one way of telling, beside the paper's."""
    series = []
    for i, (model, rows) in enumerate(found.items()):
        known = [(row.temperature, share) for row in rows if (share := row.share_of_questions[detection])]
        series.append(line(model, i, [t for t, _ in known], [share for _, share in known]))
    theirs = {
        row.model: [(t, n / QUESTIONS) for t, n in zip(TEMPERATURES, getattr(row, detection), strict=True)]
        for row in ANALYSED
    }
    title, key = f"Questions with a reflecting response, {DETECTIONS[detection]}", f"fig3-reflection-{detection}"
    return curves.beside(Chart(key, title, "", tuple(series), percent=True, x_label="temperature"), theirs)


def read_helping(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return accuracy of reflecting against other responses of the same question, before and after training."""
    judge, detector = RuleJudge(REFLECTION), Detector()
    claims: list[Claim | Hypothesis] = []
    rows, shares = [], {}
    for job, cell in cells_of(out, jobs):
        stage = _stage(job)
        flags = self_reflection.flags_of(cell, detector, judge).by_detection["keywords"]
        shares[stage] = by_unit(cell, [sum(map(bool, each)) / len(each) for each in flags])
        found = reflection_effect.analyse(cell, flags, "keywords")
        both = reflection_effect.within_questions(cell, flags)
        differences = curves.by_unit([each.reflecting - each.other for each in both], [each.question for each in both])
        sample = of_questions(differences)
        claims.append(
            Hypothesis(f"{stage}: reflecting responses are not more accurate.",
                   f"{found.reflecting} reflecting, {found.others} others; reflecting − others within a question",
                   sample and Test(sample, Alternative.BELOW, _HELPS))
        )  # fmt: skip
        levels = [level for level in found.categories if level not in ("all", "no level")]
        for level in (*levels, "all"):
            total = sum(found.categories[level].values())
            rows.append([stage, level, *(f"{found.categories[level][name] / total:.1%}" for name in Fate)])
        for what in ("tokens", "characters"):
            known = [getattr(found.lengths[fate], what) for fate in Fate]
            rows.append([stage, what, *("–" if each is None else f"{each:.1f}" for each in known)])
    for before, after in _PAIRS:
        if before in shares and after in shares:
            whose = "" if after == _TRAINED else f" ({after})"
            claims.append(
                over_questions(f"Reflection is more frequent after training{whose}.",
                               "share of responses that reflect, by keyword, after − before", shares[before],
                               shares[after], _FREQUENT)
            )  # fmt: skip
    theirs = curves.published("response_categories_by_math_level_1_to_5")
    fates = [fate for fate in Fate if fate is not Fate.UNGRADED]
    paper = [
        [model, f"level {level + 1}", *(str(counts[category][level]) for category in fates)]
        for model, counts in theirs.items()
        for level in range(5)
    ]
    tables = [
        FoundTable("What came of responses, by level where questions have one", ["", "", *Fate], rows),
        FoundTable("The paper's Figure 14 (12 in v1), responses of 800 by level of MATH", ["", "", *fates], paper),
        FoundTable("The paper's Table 5, mean characters of a response, without truncated ones", ["", *TABLE_5],
                   [[model, *(str(row[i]) for row in TABLE_5.values())] for i, model in enumerate(theirs)]),
    ]  # fmt: skip
    return Findings(claims, (), tables, notes_of(jobs, "Whether a response reflects is told by keyword."))


def _stage(job: EvaluationJob) -> str:
    """Tell who is asked: one of the paper's own pair by its name, another by whether it was trained."""
    name = slug(job.model)
    return name if name in _PAIRS[1] else _TRAINED if (job.start or "").startswith("runs/") else _BASE


STUDIES = (
    Study(
        "fig3-reflection", "Figures 3 (right), 10 and 12", "Self-reflection before training",
        "Questions with a self-reflecting response over temperatures, and keyword counts.",
        repeated(sampled_grid), reflected_published, with_other_seeds(read_reflection),
    ),
    Study(
        "reflection-accuracy", "Appendix D", "Does reflection help?",
        "Accuracy of reflecting against other responses of the same question, before and after training.",
        repeated(helping_grid), helping_published, with_other_seeds(read_helping),
    ),
)  # fmt: skip
