"""Figure 6: three templates times four question sets (section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1zero.paper import curves
from r1zero.paper.claims import Findings, FoundTable, Size, Study, over_questions
from r1zero.paper.jobs import Job, RunJob
from r1zero.paper.miniature import FIRST, base, trained
from r1zero.published import FORMATS
from r1zero.report.charts.model import Chart

TEMPLATES = {"r1": "R1 template", "qwen_math": "Qwen-Math template", "no": "no template"}
SETS = {"wide": "orz", "middle": "math", "easy": "gsm", "basic": "asdiv"}
"""The miniature's question sets, from wide to narrow, and the paper's that they stand for."""
PAPER_SETS = {"orz": "orz-57k", "math": "math-12k", "gsm": "gsm8k", "asdiv": "asdiv"}
_TITLES = {"orz": "ORZ-57k", "math": "MATH-12k", "gsm": "GSM-8k", "asdiv": "ASDiv-2k"}


def grid(out: Path, size: Size) -> list[Job]:
    """Return one base model; a run with every template on every set."""
    start = base(out, size, "qa", FIRST)
    runs = [
        trained(out, size, f"{template}-{asked}", start, FIRST, template=template, asked=asked)
        for template in TEMPLATES
        for asked in SETS
    ]
    return [start, *runs]


def published_grid(seeds: int) -> list[Job]:
    """Return Qwen2.5-Math-1.5B, Dr. GRPO."""
    return [
        RunJob(f"runs/{template}-{asked}-{seed}", "qwen2.5-math-1.5b",
                 {"template.name": template, "template.answer_format": FORMATS.get(template),
                  "questions.name": PAPER_SETS[theirs], "train.seed": seed})
        for seed in range(seeds)
        for template in TEMPLATES
        for asked, theirs in SETS.items()
    ]  # fmt: skip


def read(out: Path, jobs: Sequence[Job]) -> Findings:
    """Return a panel a template, and three claims on the test questions."""
    found = {t: curves.seed_groups(out, jobs, {s: s for s in SETS}, f"runs/{t}-") for t in TEMPLATES}
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
    first, last = ({key: curves.rights(steps[i]) for key, steps in folders.items()} for i in (0, -1))
    claims = [
        over_questions("A template that the base model never saw wrecks its start.",
            "score before training, no template − R1", first["r1", "wide"], first["no", "wide"]),
        over_questions("Reinforcement learning rebuilds what the mismatch destroyed.",
            "score under R1, after − before training on the wide set", first["r1", "wide"], last["r1", "wide"]),
        over_questions("Coverage matters when the template does not match.",
            "score under R1 after training, wide − basic set", last["r1", "basic"], last["r1", "wide"]),
        over_questions("Coverage matters without a template too.",
            "score without a template after training, wide − basic set", last["no", "basic"], last["no", "wide"]),
    ]  # fmt: skip
    headings = ["template", "questions", "score before", "score after", "length at the end"]
    notes = [
        "Wide, middle, easy and basic stand for the paper's ORZ-57k, MATH-12k, GSM-8k and ASDiv-2k: 800 questions on "
        "all numbers, 100 on all, 200 on small ones, 24 on the smallest.",
        "Scores are on held-out questions; claims are tested over these, in pairs, for the first seed. Questions about "
        "the same numbers count as one.",
    ]
    every = curves.paths_of(group for groups in found.values() for group in groups.values())
    return Findings(claims, panels, [FoundTable("Twelve runs", headings, rows)], notes, every)


STUDIES = (
    Study(
        "fig6", "Figure 6 (7 in v1)", "Template and question set",
        "Accuracy on held-out questions along Dr. GRPO training, for three templates and four question sets.",
        grid, published_grid, read,
    ),
)  # fmt: skip
