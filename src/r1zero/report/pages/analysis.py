"""The page of an analysis, one file that needs nothing but itself, and its figures, from `r1zero analyze`'s JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from r1zero.analyze.over_training import Source
from r1zero.analyze.self_reflection import DETECTIONS
from r1zero.errors import UserError
from r1zero.published import QUESTIONS, TEMPERATURES
from r1zero.report.charts import analysis as charts
from r1zero.report.charts.model import Chart, IntervalChart
from r1zero.report.draw import svg
from r1zero.report.draw.files import draw_charts
from r1zero.report.draw.numbers import number, rate
from r1zero.report.pages.html import render_page
from r1zero.runs.files import remedy, write_text

PAGE = "analysis.html"
PARTS = ("card", "answering", "exploration", "reflection", "training")
_KS = (1, 2, 4, 8, 16, 32, 64)

Part = Mapping[str, Any]


def write_page(folder: Path) -> Path:
    """Write the page of the analyses in a folder, and NAME.png and NAME.svg of each, beside them.

    Raises:
        UserError: there is none, one cannot be read, or the page cannot be written.
    """
    parts = read_parts(folder)
    try:
        text, drawn = render(parts), figures(parts)
    except (KeyError, jinja2.UndefinedError) as error:
        raise UserError(
            f"{folder} holds analyses of another version of r1zero (no page: {error!r}); give their `r1zero analyze` "
            "again, or another --out."
        ) from None
    page = folder / PAGE
    try:
        for name, panels in drawn.items():
            draw_charts(panels, folder / name)
        write_text(page, text.encode("utf-8", errors="replace").decode("utf-8"))
    except OSError as error:
        raise UserError(
            f"The page {page} cannot be written ({error.strerror or error}); {remedy(error)}, or give another --out."
        ) from None
    return page


def read_parts(folder: Path) -> dict[str, Part]:
    """Return analysis → its JSON, of those in a folder. Of several models', only the one that was written last."""
    files = [path for name in PARTS if (path := folder / f"{name}.json").exists()]
    if not files:
        raise UserError(f"{folder} holds no analysis; name the --out folder of `r1zero analyze`.")
    found: dict[str, Part] = {}
    for path in files:
        try:
            found[path.stem] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); remove it, and give `r1zero analyze` again.") from None
    newest = found[max(files, key=lambda path: path.stat().st_mtime_ns).stem].get("model")
    return {name: part for name, part in found.items() if newest is None or part.get("model") in (newest, None)}


def figures(parts: Mapping[str, Part]) -> dict[str, list[Chart | IntervalChart]]:
    """Return every analysis's panels."""
    found: dict[str, list[Chart | IntervalChart]] = {}
    if "answering" in parts:
        found["answering"] = [charts.answering(parts["answering"])]
    if "exploration" in parts:
        found["exploration"] = [*charts.exploration(parts["exploration"])]
    if "reflection" in parts:
        helped = parts["reflection"]["helping"]
        effect = (charts.categories(helped[-1]), charts.helping(helped)) if helped else ()
        found["reflection"] = [*charts.reflection(parts["reflection"]), *filter(None, effect)]
    if "training" in parts:
        found["training"] = [*charts.training(parts["training"])]
    return found


def render(parts: Mapping[str, Part]) -> str:
    """Return the page as text."""
    reflection, training = parts.get("reflection"), parts.get("training")
    helped = reflection["helping"] if reflection else []
    panels = figures(parts)
    drawn = [chart for each in panels.values() for chart in each if isinstance(chart, Chart)]
    return render_page(
        "analysis.html",
        ("charts.js",),
        {"chart-data": {chart.key: svg.chart_data(chart) for chart in drawn}},
        kind="analysis",
        skip=next(name for name in PARTS if name in parts),
        title=_title(parts),
        detections=DETECTIONS,
        **{name: parts.get(name) for name in PARTS},
        answering_chart=charts.answering(parts["answering"]) if "answering" in parts else None,
        exploration_charts=panels.get("exploration", []),
        exploration_table=_exploration_table(parts["exploration"]) if "exploration" in parts else None,
        reflection_charts=charts.reflection(reflection) if reflection else [],
        keyword_rows=_keywords(reflection["temperatures"]) if reflection else [],
        helping_rows=[_helping_row(row) for row in helped],
        category_rows=_categories(helped[-1]) if helped else [],
        helping_chart=charts.helping(helped),
        categories_chart=charts.categories(helped[-1]) if helped else None,
        training_charts=panels.get("training", []),
        sources=_sources(training) if training else [],
        paper_questions=QUESTIONS,
    )


def _title(parts: Mapping[str, Part]) -> str:
    model = next((part["model"] for part in parts.values() if "model" in part), None)
    return f"{model} before training" if model else f"{parts['training']['run']} over training"


def _exploration_table(part: Part) -> tuple[list[str], list[list[str | tuple[str, str]]]]:
    """Return headings and rows: every temperature with its intervals, and the paper's pass@8 where it has one."""
    rows, paper = part["temperatures"], part["paper"]
    ks = [k for k in _KS if k <= rows[0]["samples"]]
    headings = ["temperature", *(f"pass@{k}" for k in ks), "never solved", "live groups", "truncated", "tokens"]
    published = dict(zip(TEMPERATURES, paper["pass_at_8"], strict=True)) if paper else {}
    table = []
    for row in rows:
        estimates = [*(row["pass_at"][str(k)] for k in ks), row["never_solved"], row["live"]["share"]]
        line = [f"{row['temperature']:g}", *((rate(e["value"]), charts.bounds(e)) for e in estimates)]
        line += [rate(row["truncated"]), f"{row['tokens']:.0f}"]
        value = published.get(round(row["temperature"], 3))
        table.append([*line, rate(value)] if paper else line)
    return [*headings, "the paper's pass@8"] if paper else headings, table


def _helping_row(row: Part) -> list[str]:
    line = [f"{row['temperature']:g}", row["detection"], str(row["reflecting"]), str(row["others"])]
    d = row["difference"]
    if not d:
        return [*line, "0", "–", "–", "–", "–"]
    bounds = f"{charts.difference(d['low'])} to {charts.difference(d['high'])}"
    line += [str(d["questions"]), charts.difference(d["difference"]), bounds, number(d["p_value"])]
    return [*line, charts.difference(row["spread"]["median"])]


def _categories(row: Part) -> list[list[str]]:
    """By level the responses of each category, reflecting ones in brackets; and mean lengths below."""
    reflecting = row["reflecting_categories"]
    table = [
        [level, *(f"{count} ({reflecting.get(level, {}).get(name, 0)})" for name, count in counts.items())]
        for level, counts in row["categories"].items()
    ]
    lengths = row["lengths"].values()
    return [*table, *([f"mean {unit}", *(number(each[unit]) for each in lengths)] for unit in ("characters", "tokens"))]


def _keywords(rows: Sequence[Part]) -> list[list[str]]:
    """Return keyword → occurrences, responses, and both as whole words, over all temperatures; the frequent first."""
    total: dict[str, list[int]] = {}
    for row in rows:
        for count in row["keywords"]:
            now = (count["occurrences"], count["responses"], count["whole_occurrences"], count["whole_responses"])
            total[count["keyword"]] = [a + b for a, b in zip(total.get(count["keyword"], [0] * 4), now, strict=True)]
    return [[word, *map(str, counts)] for word, counts in sorted(total.items(), key=lambda item: -item[1][0])]


def _sources(part: Part) -> list[dict[str, Any]]:
    """Tell where the responses of a run come from, in words, with their steps."""
    described = []
    for source in part["sources"]:
        first = source["steps"][0]
        kind = Source(source["name"], source["temperature"], []).kind
        described.append({**source, "kind": kind, "questions": first["questions"], "samples": first["samples"]})
    return described
