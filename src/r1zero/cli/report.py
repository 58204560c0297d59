"""`r1zero report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from r1zero.cli.app import app
from r1zero.errors import UserError


@app.command
def report(*runs: Path, out: Path | None = None, paper: Annotated[bool, Parameter(negative=())] = False) -> None:
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
    from rich.markup import escape

    from r1zero.cli.console import make_console
    from r1zero.report.draw.numbers import size
    from r1zero.report.pages.run import write_report

    written = write_report(runs, out)
    console = make_console()
    page = escape(str(written.page))
    console.print(f"report: {page} ({size(written.size)})", highlight=False, soft_wrap=True)
    folder = written.figures[0].parent if written.figures else None
    if folder is not None:
        console.print(f"figures: {escape(str(folder))} (PNG and SVG)", highlight=False, soft_wrap=True)


def _paper(folders: tuple[Path, ...], out: Path | None) -> None:
    from r1zero.cli.console import make_console
    from r1zero.paper.run import write_page

    if out is not None:
        raise UserError(f"--out {out}: the page of --paper stands beside its runs; leave --out out.")
    if len(folders) != 1:
        raise UserError("--paper needs one folder of `r1zero paper run`, for example runs/paper/laptop.")
    make_console().print(f"page: {write_page(folders[0])}", highlight=False, markup=False, soft_wrap=True)
