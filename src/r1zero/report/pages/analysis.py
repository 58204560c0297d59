"""The page of an analysis, one file that needs nothing but itself, and its figures, from `r1zero analyze`'s JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import jinja2

from r1zero.analyze import over_training, tables
from r1zero.analyze.judges.llm import Agreement, Bill
from r1zero.analyze.tables import Part
from r1zero.errors import UserError
from r1zero.published import QUESTIONS
from r1zero.report.charts import analysis as charts
from r1zero.report.charts.model import Chart, IntervalChart
from r1zero.report.draw import svg
from r1zero.report.draw.files import draw_charts
from r1zero.report.pages.html import render_page
from r1zero.runs.files import remedy, write_text
from r1zero.runs.foreign import read_text

PAGE = "analysis.html"
PARTS = ("card", "answering", "exploration", "reflection", "training")


def write_page(folder: Path) -> Path:
    """Write the page of the analyses in a folder, and NAME.png and NAME.svg of each, beside them.

    Raises:
        UserError: there is none, one cannot be read, or the page cannot be written.
    """
    parts = read_parts(folder)
    try:
        text, drawn = render(parts), figures(parts)
        if "helping" in drawn:
            drawn["reflection"] += drawn.pop("helping")
    except (KeyError, TypeError, jinja2.UndefinedError) as error:
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
            found[path.stem] = json.loads(read_text(path))
        except (OSError, ValueError) as error:
            raise UserError(f"{path} cannot be read ({error}); remove it, and give `r1zero analyze` again.") from None
    newest = found[max(files, key=lambda path: path.stat().st_mtime_ns).stem].get("model")
    return {name: part for name, part in found.items() if newest is None or part.get("model") in (newest, None)}


def figures(parts: Mapping[str, Part]) -> dict[str, list[Chart | IntervalChart]]:
    """Return every analysis's panels; of `helping` too, which reflection's JSON holds."""
    draw = {"exploration": charts.exploration, "reflection": charts.reflection, "training": charts.training}
    found: dict[str, list[Chart | IntervalChart]] = {name: [*draw[name](parts[name])] for name in draw if name in parts}
    if "answering" in parts:
        found["answering"] = [charts.answering(parts["answering"])]
    if helped := parts.get("reflection", {}).get("helping"):
        found["helping"] = [*filter(None, (charts.categories(helped[-1]), charts.helping(helped)))]
    return found


def render(parts: Mapping[str, Part]) -> str:
    """Return the page as text."""
    panels = figures(parts)
    drawn = [chart for each in panels.values() for chart in each if isinstance(chart, Chart)]
    return render_page(
        "analysis.html",
        ("charts.js",),
        {"chart-data": {chart.key: svg.chart_data(chart) for chart in drawn}},
        kind="analysis",
        skip=next(name for name in PARTS if name in parts),
        title=_title(parts),
        notes=list(dict.fromkeys(note for part in parts.values() for note in part.get("notes", ()))),
        panels=panels,
        tables=tables,
        source_kind=over_training.kind,
        agreement_of=Agreement,
        bill_of=Bill,
        paper_questions=QUESTIONS,
        **{name: parts.get(name) for name in PARTS},
    )


def _title(parts: Mapping[str, Part]) -> str:
    model = next((part["model"] for part in parts.values() if "model" in part), None)
    return f"{model} before training" if model else f"{parts['training']['run']} over training"
