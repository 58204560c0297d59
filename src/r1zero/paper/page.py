"""The paper as one page: every claim with its statistic and verdict, every picture beside the published one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from r1zero.errors import UserError, reason
from r1zero.paper.claims import Claim, ClaimStatus, Findings, FoundTable, Panel, Study
from r1zero.paper.jobs import Job
from r1zero.report.charts.model import Chart
from r1zero.report.draw import svg
from r1zero.report.draw.files import draw_charts
from r1zero.report.pages.html import render_page
from r1zero.runs.files import write_text, writing

_STYLES = {ClaimStatus.SEEN: "finished", ClaimStatus.NOT_SEEN: "stopped", ClaimStatus.UNDECIDED: "",
           ClaimStatus.UNTESTED: ""}  # fmt: skip
PAGE = "paper.html"
"""The file of what studies found."""
_LEADS = {
    "laptop": "Every table and figure in miniature: models of 0.2 million parameters, minutes of training, several "
    "seeds. It shows whether a mechanism is there, not its size in large models; what is not seen is said.",
    "quick": "A quick look: few seeds and few steps, to see that everything runs. Too little for most claims.",
    "full": "The published settings.",
    "rehearsal": "Every job of the published settings, run to its last step with a tiny random model for its own "
    "on a few rows of its questions: to see that everything it names is there and fits. No number here says anything "
    "about a model, and no claim is judged.",
}
_TITLES = {
    "full": "Understanding R1-Zero-like training",
    "rehearsal": "Rehearsal: understanding R1-Zero-like training, with stand-ins",
}
_OPTIONS = {"laptop": "", "quick": " --quick", "full": " --scale full", "rehearsal": " --scale full --rehearse"}


@dataclass(frozen=True, slots=True)
class StudyPart:
    """A study and what was found; `problems` where it could not be read."""

    study: Study
    claims: Sequence[Claim] = ()
    panels: Sequence[Panel] = ()
    tables: Sequence[FoundTable] = ()
    notes: Sequence[str] = ()
    runs: str = ""
    problems: Sequence[str] = field(default_factory=tuple)


def read_part(
    study: Study,
    out: Path,
    jobs: Sequence[Job],
    shown: Callable[[Findings], Findings] | None = None,
    size: str = "laptop",
) -> StudyPart:
    """Return what a study finds in its runs of one size, as far as it is `shown`; a sentence where they are not all
    there, or damaged.
    """
    command = f"`r1zero paper run {study.name}{_OPTIONS[size]}`"
    try:
        missing = [job.name for job in jobs if not job.done(out)]
        if missing:
            first = f"{missing[0]} and {len(missing) - 1} more" if len(missing) > 1 else missing[0]
            return StudyPart(study, problems=[f"{first} not finished: {command} goes on."])
        found: Findings = study.read(out, jobs)
        found = shown(found) if shown else found
    except UserError as error:
        return StudyPart(study, problems=[str(error)])
    except (OSError, ValueError, ArithmeticError, LookupError, TypeError) as error:
        told = (
            f"Its runs cannot be read ({reason(error)}), most likely since files are damaged: remove those runs, and "
            f"give {command} again."
        )
        return StudyPart(study, problems=[told])
    runs = " ".join(str(path) for path in found.runs)
    drawn = [panel for panel in found.panels if not panel.empty]
    empty = [panel.ours.title for panel in found.panels if panel.empty]
    notes = [*found.notes, *([f"Nothing was logged for: {'; '.join(empty)}."] if empty else [])]
    return StudyPart(study, found.claims, drawn, found.tables, notes, runs)


def write_paper(parts: Sequence[StudyPart], out: Path, size: str, remarks: Sequence[str] = ()) -> Path:
    """Return paper.html, findings.json, and the figures as PNG and SVG; returns the page.

    Raises:
        UserError: nothing can be written there.
    """
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for part in parts:
            charts = [chart for panel in part.panels for chart in (panel.ours, panel.paper) if chart is not None]
            draw_charts(charts, out / "figures" / part.study.name)
        content = [
            {"study": part.study.name, "source": part.study.source, "claims": [asdict(claim) for claim in part.claims],
             "tables": [asdict(table) for table in part.tables], "notes": list(part.notes),
             "problems": list(part.problems)}
            for part in parts
        ]  # fmt: skip
        write_text(out / "findings.json", json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        page = out / PAGE
        write_text(page, render(parts, size, remarks))
    return page


def render(parts: Sequence[StudyPart], size: str, remarks: Sequence[str] = ()) -> str:
    """Return the page as text; `remarks` are told above all claims."""
    drawn = [chart for part in parts for panel in part.panels for chart in (panel.ours, panel.paper) if chart]
    return render_page(
        PAGE,
        ("charts.js",),
        {"chart-data": {chart.key: svg.chart_data(chart) for chart in drawn if isinstance(chart, Chart)}},
        title=_TITLES.get(size, "Understanding R1-Zero-like training, in miniature"),
        remarks=remarks,
        judged=size != "rehearsal",
        small=size in ("laptop", "quick"),
        kind="paper",
        skip="claims",
        lead=_LEADS[size],
        size={"full": "these runs", "rehearsal": "stand-ins"}.get(size, "the miniature"),
        parts=parts,
        counts=[
            (sum(claim.verdict is status for part in parts for claim in part.claims), status) for status in ClaimStatus
        ],
        unread=sum(bool(part.problems) for part in parts),
        styles=_STYLES,
        figures="figures/" if drawn else "",
    )
