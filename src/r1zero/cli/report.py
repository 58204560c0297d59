"""`r1zero report`."""

from __future__ import annotations

from pathlib import Path

from r1zero.cli.app import Flag, app
from r1zero.cli.console import make_console, say
from r1zero.errors import UserError


@app.command
def report(*runs: Path, out: Path | None = None, paper: Flag = False) -> None:
    """Write one HTML page about runs, and its figures beside it, e.g. `r1zero report runs/demo`.

    The page needs nothing but itself: curves side by side (runs that differ only in their seed as a mean with a band),
    why lengths changed, the bias meter, the recipe, and a browser of the responses.

    Parameters
    ----------
    runs
        Run directories, finished or not; or a folder that holds some.
    out
        The page, ending in .html, or a folder for it; by default report.html beside the runs.
    paper
        RUNS is a folder of `r1zero paper run`: write its page of claims and figures anew.
    """
    if paper:
        _paper(runs, out)
        return
    from r1zero.report.draw.numbers import size
    from r1zero.report.pages.run import write_report

    written = write_report(runs, out)
    console = make_console()
    say(console, f"report: {written.page} ({size(written.size)})", whole=True)
    folder = written.figures[0].parent if written.figures else None
    if folder is not None:
        say(console, f"figures: {folder} (PNG and SVG)", whole=True)


def _paper(folders: tuple[Path, ...], out: Path | None) -> None:
    from r1zero.paper.run import write_page

    if out is not None:
        raise UserError(f"--out {out}: the page of --paper stands beside its runs; leave --out out.")
    if len(folders) != 1:
        raise UserError("--paper needs one folder of `r1zero paper run`, for example runs/paper/laptop.")
    say(make_console(), f"page: {write_page(folders[0])}", whole=True)
