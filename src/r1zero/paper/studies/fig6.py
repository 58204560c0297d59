"""Figure 6: three templates times four question sets (section 3.3)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

from r1zero.paper import curves
from r1zero.paper.claims import (
    Findings,
    FoundTable,
    Hypothesis,
    Size,
    Study,
    higher_score,
    over_questions,
    same_score,
)
from r1zero.paper.hypotheses import Alternative, Margin, Test, of_questions, weakest
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import base, in_miniature, trained
from r1zero.paper.other_seeds import repeated, with_other_seeds
from r1zero.published import FORMATS
from r1zero.report.charts.model import Chart

TEMPLATES = {"r1": "R1 template", "qwen_math": "Qwen-Math template", "no": "no template"}
SETS = {"wide": "orz", "middle": "math", "easy": "gsm", "basic": "asdiv"}
"""The miniature's question sets, from wide to narrow, and the paper's that they stand for."""
PAPER_SETS = {"orz": "orz-57k", "math": "math-12k", "gsm": "gsm8k", "asdiv": "asdiv"}
_TITLES = {"orz": "ORZ-57k", "math": "MATH-12k", "gsm": "GSM-8k", "asdiv": "ASDiv-2k"}

_MOVES = "one run's evaluations move by 1 to 2 points in the paper"
DIFFERENT = Margin(3, "points", f"{_MOVES}; 3 are beyond that, and below every difference that it speaks of")
COMPARABLE = Margin(
    5,
    "points",
    f"the templates' best sets end within 1.2 points in the paper, from starts that are 27 apart; {_MOVES}, so that "
    "two runs alike may part by 4",
)
BEST_SET = Margin(1.5, "points", "the paper's GSM-8k ends 1.7 points above the next set, by its last evaluation alone")
REACHED = 40.0
"""Per cent right: about what all templates reach in the paper, over its five benchmarks."""
_Scores = Mapping[tuple[str, str], Sequence[float]]
"""(template, set) → scores by question."""


def grid(out: Path, size: Size, seed: int) -> list[Job]:
    """Return one base model; a run with every template on every set."""
    start = base(out, size, "qa", seed)
    runs = [
        trained(out, size, f"{template}-{asked}", start, seed, template=template, asked=asked)
        for template in TEMPLATES
        for asked in SETS
    ]
    return [start, *runs]


def published_grid(_seeds: int) -> list[Job]:
    """Return Qwen2.5-Math-1.5B, Dr. GRPO: one seed, on whose questions the claims are tested."""
    return [
        RunJob(f"runs/{template}-{asked}-0", "qwen2.5-math-1.5b",
                 {"template.name": template, "template.answer_format": FORMATS.get(template),
                  "questions.name": PAPER_SETS[theirs], "train.seed": 0})
        for template in TEMPLATES
        for asked, theirs in SETS.items()
    ]  # fmt: skip


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return a panel a template, and claims on the test questions."""
    small = in_miniature(jobs)
    names = {s: s if small else _TITLES[theirs] for s, theirs in SETS.items()}
    found = {t: curves.seed_groups(out, jobs, names, f"runs/{t}-") for t in TEMPLATES}
    published = curves.published("template_question_duet")
    panels, rows = [], []
    for template, title in TEMPLATES.items():
        groups = list(found[template].values())
        theirs = {_TITLES[s]: published["none" if template == "no" else template][s] for s in _TITLES}
        panels.append(
            curves.beside(Chart(f"fig6-{template}", title, "", curves.evaluated(groups, "accuracy"), percent=True),
                          theirs, scale=0.01)
        )  # fmt: skip
        for each in groups:
            first, last = (curves.spread([curves.score(run, last=last) for run in each.runs]) for last in (False, True))
            length = curves.spread([curves.length_at_end(run) for run in each.runs])
            rows.append([title, each.label, first, last, length])
    runs = {(t, s): found[t][s].runs[0].path for t in TEMPLATES for s in SETS}
    folders = {key: sorted(path.glob("evaluations/step-*")) for key, path in runs.items()}
    first, last = ({key: curves.balanced(steps[i]) for key, steps in folders.items()} for i in (0, -1))
    wide, basic = names["wide"], names["basic"]
    matched = "no" if small else "qwen_math"  # of what the base model has read
    claims = [
        over_questions("A template that the base model never saw wrecks its start.",
            "score before training, no template − R1", first["r1", "wide"], first["no", "wide"], DIFFERENT),
        over_questions("Reinforcement learning rebuilds what the mismatch destroyed.",
            f"score under R1, after − before training on {wide}", first["r1", "wide"], last["r1", "wide"],
            DIFFERENT),
        over_questions("Coverage matters when the template does not match.",
            f"score under R1 after training, {wide} − {basic}", last["r1", "basic"], last["r1", "wide"], DIFFERENT),
        Hypothesis("Without a mismatch, a narrow set of questions does as well.",
            f"score {_under(matched)} after training, {basic} − {wide}",
            same_score(last[matched, "wide"], last[matched, "basic"], COMPARABLE)),
        _comparable(last, names),
        *([] if small else [_about_forty(last)]),
        _easy_is_best(last, names),
    ]  # fmt: skip
    headings = ["template", "questions", "score before", "score after", "length at the end"]
    notes = ["Claims are tested over the evaluated questions, in pairs, for the first seed."]
    if small:
        notes += [
            "Wide, middle, easy and basic stand for the paper's ORZ-57k, MATH-12k, GSM-8k and ASDiv-2k: 800 questions "
            "on all numbers, 100 on all, 200 on small ones, 24 on the smallest.",
            "Scores are on held-out questions; those about the same numbers count as one.",
        ]
    every = curves.paths_of(group for groups in found.values() for group in groups.values())
    return Findings(claims, panels, [FoundTable("Twelve runs", headings, rows)], notes, every)


def _comparable(last: _Scores, names: Mapping[str, str]) -> Hypothesis:
    """Test that every two templates end no different, each on its best set: by the two that are furthest apart."""
    best = {template: last[template, _best_set(last, template)] for template in TEMPLATES}
    pairs = {(a, b): same_score(best[a], best[b], COMPARABLE) for a, b in itertools.combinations(TEMPLATES, 2)}
    test = weakest(pairs.values())
    [(one, other), *_] = [names for names, each in pairs.items() if each is test]
    measured = (
        f"after training, each on its best set ({_listed(last, names)}); furthest apart: {_said(other)} − {_said(one)}"
    )
    return Hypothesis("Reinforcement learning brings all templates to comparable scores.", measured, test)


def _about_forty(last: _Scores) -> Hypothesis:
    """Test that every template ends at about 40 % on its best set."""
    tests: dict[str, Test | None] = {}
    for template in TEMPLATES:
        sample = of_questions([score - REACHED / 100 for score in last[template, _best_set(last, template)]])
        tests[template] = sample and Test(sample, Alternative.EQUIVALENT, COMPARABLE)
    test = weakest(tests.values())
    [furthest, *_] = [template for template, each in tests.items() if each is test]
    measured = f"after training, each on its best set; furthest from {REACHED:g} %: {_said(furthest)}"
    return Hypothesis(f"All templates reach about {REACHED:g} %.", measured, test)


def _easy_is_best(last: _Scores, names: Mapping[str, str]) -> Hypothesis:
    """Test that under the Qwen-Math template easy questions end above every other set."""
    others = [name for name in SETS if name != "easy"]
    tests = {name: higher_score(last["qwen_math", name], last["qwen_math", "easy"], BEST_SET) for name in others}
    test = weakest(tests.values())
    [nearest, *_] = [name for name, each in tests.items() if each is test]
    measured = f"score after training under Qwen-Math, {names['easy']} − {names[nearest]}, the nearest"
    return Hypothesis("With the Qwen-Math template, easy questions (GSM-8k) are the best set.", measured, test)


def _best_set(last: _Scores, template: str) -> str:
    return max(SETS, key=lambda name: _mean(last[template, name]))


def _listed(last: _Scores, names: Mapping[str, str]) -> str:
    best = {template: _best_set(last, template) for template in TEMPLATES}
    return ", ".join(f"{_said(t)} {100 * _mean(last[t, name]):.1f} % on {names[name]}" for t, name in best.items())


def _said(template: str) -> str:
    return TEMPLATES[template].removesuffix(" template") if template != "no" else TEMPLATES[template]


def _under(template: str) -> str:
    return f"under {_said(template)}" if template != "no" else "without a template"


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


STUDIES = (
    Study(
        "fig6", "Figure 6 (7 in v1)", "Template and question set",
        "Accuracy on held-out questions along Dr. GRPO training, for three templates and four question sets.",
        repeated(grid), published_grid, with_other_seeds(read),
    ),
)  # fmt: skip
