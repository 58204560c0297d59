"""`r1zero paper`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from cyclopts import App

from r1zero.cli.app import Flag, app, at_least
from r1zero.errors import UserError

if TYPE_CHECKING:
    from r1zero.paper.jobs import Job

paper = App(name="paper", help="The paper's tables and figures: in miniature on a laptop, or as published.")
app.command(paper)


@paper.command(name="list")
def list_() -> None:
    """List the tables and figures there are."""
    from rich.table import Table

    from r1zero.cli.console import make_console
    from r1zero.paper.studies import STUDIES

    table = Table(show_header=False, box=None, pad_edge=False)
    for study in STUDIES.values():
        table.add_row(study.name, study.source, study.title)
    make_console().print(table)


@paper.command
def run(
    *names: str,
    scale: Literal["laptop", "full"] = "laptop",
    quick: Flag = False,
    seeds: int | None = None,
    workers: int = 2,
    rehearse: Flag = False,
    out: Path = Path("runs/paper"),
) -> None:
    """Run tables and figures, e.g. `r1zero paper run fig5`, and write one page with every claim and its statistic.

    What is finished is kept, what was interrupted goes on.

    Parameters
    ----------
    names
        Their names (`r1zero paper list`); all by default.
    scale
        laptop: in miniature, under an hour on two cores for all; full: the published models and settings.
    quick
        The miniature with few seeds and steps, to see that everything runs.
    seeds
        How many, for what is compared over seeds (fig1, fig5, ablation, fig7); the others are of the first seed.
    workers
        How many runs side by side, each with one thread.
    rehearse
        With --scale full: every job to its last step with a tiny random model in place of its own, on a few rows of
        its questions, within minutes; its page gives no verdicts.
    out
        The runs and the page stand in OUT/SCALE; of a rehearsal in OUT/rehearsal.
    """
    from r1zero.cli.console import make_console, say
    from r1zero.paper.run import run_paper
    from r1zero.paper.studies import pick_studies
    from r1zero.report.draw.numbers import duration

    at_least(1, "workers", workers, "does nothing")
    if quick and scale == "full":
        raise UserError("--quick makes the miniature smaller; leave it out, or --scale full.")
    if rehearse and scale != "full":
        raise UserError("--rehearse is of the published settings; add --scale full.")
    console, chosen = make_console(), "quick" if quick else "rehearsal" if rehearse else scale

    def noted(note: str) -> None:
        say(console, f"note {note}", style="yellow")

    def told(job: Job, seconds: float | None) -> None:
        say(console, f"begun     {job.name}" if seconds is None else f"finished  {job.name}  {duration(seconds)}")

    studies = pick_studies(names)
    page = run_paper(studies, out / chosen, chosen, seeds=seeds, workers=workers, told=told, noted=noted)
    say(console, f"page: {page}", whole=True)
