"""The report: one HTML page that needs nothing but itself, and its figures as files beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from r1zero.analyze.keywords import KEYWORDS
from r1zero.errors import UserError, plural
from r1zero.report.charts import by_name
from r1zero.report.charts import run as charts
from r1zero.report.charts.model import Chart
from r1zero.report.data import summary
from r1zero.report.data.responses import Embedded, embed
from r1zero.report.data.run_data import RunData, find_runs, load_run
from r1zero.report.data.seed_groups import SeedGroup, grouped, window_of
from r1zero.report.draw import svg
from r1zero.report.draw.files import draw_charts, draw_lengths
from r1zero.report.draw.numbers import duration
from r1zero.report.pages.html import by_turns, render_page
from r1zero.runs.files import remedy, write_text
from r1zero.types import COARSE_FATES
from r1zero.verify.rule_names import explained

_CHANGE = (
    "A mean length moves because responses of a class grow or shrink, or because the mixture of classes shifts. Every "
    "response is in one class; a truncated one is only truncated."
)
_BIAS = (
    "An unbiased objective moves every response by the same multiple of r − mean(r). The meter asks how that multiple "
    "goes with the length of the response, and with the spread of its question's rewards.",
    "0: not at all. Length −1: a token weighs 1/|o|, so a wrong answer is punished the less the longer it is, and "
    "wrong answers tend to grow. Difficulty −1: advantages are divided by the standard deviation, which favours "
    "questions that are nearly always or nearly never answered right.",
)
_IN_SHORT = (
    ("Loss, nats", "loss {0.start} → {0.end}"),
    ("Reward", "reward {0.start} → {0.end}"),
    ("Length, correct", "correct responses {0.start} → {0.end} tokens"),
    ("Length, incorrect", "incorrect responses {0.start} → {0.end} tokens"),
    ("Truncated", "truncated {0.start} → {0.end}"),
)
"""Headline numbers that are told in a sentence."""
_IN_FILES = ("learning", "rewards", "sources", "lengths", "bias", "health")
"""Sections whose panels become a figure of that name."""


@dataclass(frozen=True, slots=True)
class Written:
    """What a report wrote: the page, its size in bytes, and the figures beside it."""

    page: Path
    size: int
    figures: list[Path]


@dataclass(frozen=True, slots=True)
class PageSection:
    """A row of panels; that of `change` is drawn from each group's lengths."""

    key: str
    title: str
    lead: str
    charts: Sequence[Chart]
    text: Sequence[str] = ()
    """How to read them, by paragraph."""


def write_report(paths: Sequence[Path], out: Path | None = None) -> Written:
    """Read runs and write their report; `out` is the page (.html) or a folder for it, by default beside the runs.

    Raises:
        UserError: a path holds no run, or nothing can be written at `out`.
    """
    found = find_runs(paths)
    groups = grouped([load_run(path) for path in found])
    page = destination(found, out)
    text = render(groups, page.stem)
    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        drawn = _draw(groups, page.parent / f"{page.stem}-figures")
        write_text(page, text.encode("utf-8", errors="replace").decode("utf-8"))
        size = page.stat().st_size
    except OSError as error:
        raise UserError(
            f"The report {page} cannot be written ({error.strerror or error}); {remedy(error)}, or choose another "
            "place with --out."
        ) from None
    return Written(page, size, drawn)


def _draw(groups: Sequence[SeedGroup], folder: Path) -> list[Path]:
    """Return every figure of a report that something was logged for, as NAME.png and NAME.svg in `folder`."""
    lengths = charts.all_by_class(groups)
    drawn = [section for section in _sections(groups, bool(lengths)) if section.key in _IN_FILES]
    written = [path for section in drawn for path in draw_charts(section.charts, folder / section.key)]
    return written + (draw_lengths(lengths, folder / "length-change") if lengths else [])


def destination(runs: Sequence[Path], out: Path | None) -> Path:
    """Tell where the page goes. By default report.html in the run, or in the folder that holds all runs."""
    if out is None:
        folder = runs[0] if len(runs) == 1 else Path(os.path.commonpath([run.resolve().parent for run in runs]))
        return folder / "report.html"
    if out.suffix.lower() in (".html", ".htm") and not out.is_dir():
        return out
    if out.exists() and not out.is_dir():
        raise UserError(f"--out {out} is a file, and no .html one; give a path that ends in .html, or a folder.")
    return out / "report.html"


def render(groups: Sequence[SeedGroup], name: str = "report") -> str:
    """Return the page as text."""
    runs = [run for group in groups for run in group.runs]
    problems: dict[Path, list[str]] = {run.path: list(run.problems) for run in runs}
    embedded = {run.path: embed(run, 1 / len(runs), problems[run.path]) for run in runs}
    lengths = charts.all_by_class(groups)
    sections = _sections(groups, bool(lengths))
    drawn = [chart for section in sections for chart in section.charts] + [each.by_class for each in lengths]
    data = {
        "chart-data": {chart.key: svg.chart_data(chart) for chart in drawn},
        "response-data": _responses(groups, embedded),
    }
    return render_page(
        "page.html",
        ("charts.js", "responses.js"),
        data,
        kind="report",
        skip="numbers",
        title=title(groups),
        groups=[_card(group, i, problems) for i, group in enumerate(groups)],
        summary=_in_short(groups),
        headline=summary.headline(groups),
        sections=sections,
        lengths=lengths,
        unlogged=charts.missing(groups),
        recipes=summary.recipes(groups),
        embedded=_said(runs, embedded),
        responses=sum(each.shown for each in embedded.values()),
        keywords=KEYWORDS,
        classes=COARSE_FATES,
        figures=f"{name}-figures/" if drawn else "",
        smoothing=_smoothing(groups),
        several=any(len(group.runs) > 1 for group in groups),
    )


def title(groups: Sequence[SeedGroup]) -> str:
    """Return the page's title: what is compared, and on which questions if they agree."""
    labels = [group.label for group in groups]
    if len(labels) > 4:
        text = plural(len(labels), "experiment")
    else:
        text = " and ".join(filter(None, [", ".join(labels[:-1]), labels[-1]]))
    questions = {str(run.facts.get("questions")) for group in groups for run in group.runs}
    return text + (f" on {questions.pop()}" if len(questions) == 1 and questions != {"None"} else "")


def formula_markup(part: str) -> Markup:
    """Return a part of a formula with its subscripts set as such."""
    return by_turns(re.split(r"_([A-Za-z]+)", part), Markup("<sub>{}</sub>").format)


def _said(runs: Sequence[RunData], embedded: Mapping[Path, Embedded]) -> list[tuple[str, str]]:
    """Return what is embedded of each run; runs of which the same is true together."""
    names: dict[str, list[str]] = {}
    for run in runs:
        names.setdefault(embedded[run.path].sentence, []).append(run.name)
    return [(", ".join(who) + (" (each)" if len(who) > 1 else ""), sentence) for sentence, who in names.items()]


def _sections(groups: Sequence[SeedGroup], change: bool) -> list[PageSection]:
    every = (
        PageSection("pretraining", "Pretraining", "Does the model come to expect the corpus?",
                    charts.panels(groups, charts.PRETRAINING)),
        PageSection("learning", "Learning", "Does it get better?", charts.learning(groups)),
        PageSection("rewards", "Parts of the reward", "Which of them does the policy learn to earn?",
                    by_name.of_reward(groups)),
        PageSection("sources", "Sources", "How does each set of the mixture fare?", by_name.by_source(groups)),
        PageSection("lengths", "Lengths", "Which responses grow, and what does the reward cost in tokens?",
                    charts.lengths(groups)),
        PageSection("change", "Why lengths change", _CHANGE, []),
        PageSection("bias", "Bias meter", "Does the objective weigh responses by length, or questions by difficulty?",
                    charts.panels(groups, charts.BIAS), _BIAS),
        PageSection("health", "Health", "Is training in order?", charts.panels(groups, charts.HEALTH)),
        PageSection("others", "Other logged numbers", "", charts.others(groups)),
    )  # fmt: skip
    return [section for section in every if section.charts or (change and section.key == "change")]


def _card(group: SeedGroup, index: int, problems: Mapping[Path, list[str]]) -> dict[str, Any]:
    parts, code = summary.formula(group)
    several = len(group.runs) > 1
    before = {run.path: f"{run.name}: " if several else "" for run in group.runs}
    return {
        "group": group,
        "style": f"s{index}",
        "statuses": list(dict.fromkeys(run.status for run in group.runs)),
        "states": [("finished" if r.finished else "running" if r.running else "stopped") for r in group.runs],
        "resume": [(run.command, run.path) for run in group.runs if run.can_go_on],
        "formula": [formula_markup(part) for part in parts],
        "hash": code,
        "facts": summary.facts(group),
        "notes": [before[run.path] + note for run in group.runs for note in run.notes],
        "problems": [before[run.path] + text for run in group.runs for text in problems[run.path]],
    }


def _in_short(groups: Sequence[SeedGroup]) -> list[tuple[str, str, str]]:
    """Return one sentence a group, as (style, label, sentence): from where to where reward and lengths went."""
    rows = {row.title: row.cells for row in summary.headline(groups)}
    said = []
    for i, group in enumerate(groups):
        cell = {name: cells[i] for name, cells in rows.items() if cells[i].end != "–"}
        parts = [text.format(cell[name]) for name, text in _IN_SHORT if name in cell]
        done = max(run.done for run in group.runs)
        seconds = sum(each for run in group.runs for each in run.logged("time/step").values())
        pace = plural(done, "step") + (" each" if len(group.runs) > 1 else "")
        pace = f"{pace}, {duration(seconds)}" if done else "no step logged yet"
        said.append((f"s{i}", group.title, "; ".join([pace, *parts])))
    return said


def _smoothing(groups: Sequence[SeedGroup]) -> str:
    windows = sorted({window_of(len(run.metrics)) for group in groups for run in group.runs})
    if windows[-1] < 2:
        return "Curves show every logged step."
    size = f"{windows[0]}" if len(windows) == 1 else f"{windows[0]} to {windows[-1]}"
    return f"Thin lines are single steps, thick ones their mean over {size} steps."


def _responses(groups: Sequence[SeedGroup], embedded: Mapping[Path, Embedded]) -> dict[str, Any]:
    runs = [
        {"label": group.label if len(group.runs) == 1 else f"{group.label}, seed {run.seed}", "style": f"s{i}",
         "steps": embedded[run.path].steps}
        for i, group in enumerate(groups)
        for run in group.runs
    ]  # fmt: skip
    rules = {row[10] for run in runs for step in run["steps"] for group in step["groups"] for row in group["rows"]}
    return {"classes": COARSE_FATES, "runs": runs, "rules": {rule: explained(rule) for rule in sorted(rules)}}
