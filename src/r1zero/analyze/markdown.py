"""Analyses as pages of Markdown, from their JSON: numbers with intervals, who judged, and what a reader must know
beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import jinja2

from r1zero.analyze import exploration, tables
from r1zero.analyze.judges.llm import Agreement, Bill
from r1zero.analyze.keywords import Piece
from r1zero.analyze.over_training import kind
from r1zero.analyze.tables import Part
from r1zero.errors import plural
from r1zero.published import QUESTIONS
from r1zero.statistics import Estimate


def page(name: str, part: Part) -> str:
    """Return an analysis (`answering`, `exploration`, `reflection`, `training` or `card`) as a page."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
                                     loader=jinja2.PackageLoader("r1zero.analyze", "pages"))  # fmt: skip
    environment.filters |= {"plural": plural, "percent": tables.percent, "quoted": _quoted,
                            "marked": lambda excerpt: marked([Piece(**piece) for piece in excerpt])}  # fmt: skip
    environment.globals |= {"tables": tables, "kind": kind, "signal": _signal, "Agreement": Agreement, "Bill": Bill,
                            "paper_questions": QUESTIONS}  # fmt: skip
    return environment.get_template(f"{name}.md").render(part, part=part).rstrip("\n") + "\n"


def marked(pieces: Sequence[Piece]) -> str:
    """Return an excerpt on one line, its keywords between **asterisks** (Markdown's bold)."""
    return "".join(f"**{_flat(p.text)}**" if p.keyword else _flat(p.text) for p in pieces).strip()


def _flat(text: str) -> str:
    """Return one line, with Markdown's own signs made harmless."""
    return re.sub(r"([*_`|<>\[\]])", r"\\\1", re.sub(r"\s+", " ", text))


def _quoted(text: str) -> str:
    """Return the beginning of a response, which does not break out of its fence."""
    return text[:400].replace("````", "'''")


def _signal(row: Part) -> exploration.Signal:
    live = exploration.Live(**row["live"] | {"share": Estimate(**row["live"]["share"])})
    return exploration.signal(live, row["never_solved"]["value"])
