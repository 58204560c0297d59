"""`r1zero paper run`: the grids of some studies carried out together, then read and written as a page."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from r1zero.errors import UserError, reason
from r1zero.paper.claims import Study
from r1zero.paper.jobs import Job, Told, carry_out
from r1zero.paper.miniature import DOCUMENTS, FEW_SHOT, LAPTOP, QUICK, WORLD
from r1zero.paper.page import read_part, write_paper
from r1zero.paper.studies import STUDIES, pick_studies
from r1zero.paper.world import make_world
from r1zero.runs.exclusive import exclusive
from r1zero.runs.files import write_text, writing
from r1zero.runs.foreign import read_text

PLAN = "paper.json"
"""What was begun: scale, seeds, studies."""


class _Plan(BaseModel):
    scale: Literal["laptop", "quick", "full"]
    seeds: Annotated[int, Field(ge=1)] | None
    studies: list[str]


def grids(studies: Sequence[Study], out: Path, scale: str, seeds: int | None) -> dict[str, list[Job]]:
    """Return study → its jobs. Studies share jobs of one name, which are the same jobs.

    Raises:
        UserError: too few seeds.
    """
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds {seeds} runs nothing; give 1 or more.")
    if scale == "full":
        return {study.name: list(study.full(seeds or 1)) for study in studies}
    size = QUICK if scale == "quick" else LAPTOP
    size = replace(size, seeds=seeds) if seeds is not None else size
    return {study.name: list(study.laptop(out, size)) for study in studies}


def run_paper(studies: Sequence[Study], out: Path, scale: str, *, seeds: int | None, workers: int, told: Told) -> Path:
    """Carry out what is not there yet, and write the page; returns it. A page holds all studies ever begun there.

    Raises:
        UserError: a run failed, in its sentence; what is done stays.
    """
    out = out.resolve()  # runs know their base models by path
    with exclusive(out):
        return _run_paper(studies, out, scale, seeds, workers, told)


def _run_paper(studies: Sequence[Study], out: Path, scale: str, seeds: int | None, workers: int, told: Told) -> Path:
    plan = _renewed(out, scale, studies, seeds)
    planned = grids(studies, out, scale, seeds)
    if scale != "full" and not (out / FEW_SHOT).is_file():
        make_world(out / WORLD, 0, DOCUMENTS // 10 if scale == "quick" else DOCUMENTS)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / PLAN, json.dumps(plan, indent=2) + "\n")
    carry_out([job for each in planned.values() for job in each], out, workers, told)
    return write_page(out, whole=[study.name for study in studies])


def write_page(out: Path, whole: Collection[str] = ()) -> Path:
    """The page of what `r1zero paper run` has begun in `out`, as far as its runs are there; returns it.

    Raises:
        UserError: nothing was begun there, or one of the studies that should be `whole` is not; the page is written.
    """
    out = out.resolve()
    plan = _plan(out)
    if plan is None:
        raise UserError(f"{out} holds no {PLAN}, so no `r1zero paper run` was begun there; give OUT/SCALE of one.")
    studies = pick_studies(plan["studies"])
    planned = grids(studies, out, plan["scale"], plan["seeds"])
    parts = [read_part(study, out, planned[study.name]) for study in studies]
    page = write_paper(parts, out, plan["scale"])
    for part in parts:
        if part.study.name in whole and part.problems:
            raise UserError(f"{part.study.name} cannot be read: {part.problems[0]} The other studies are on {page}.")
    return page


def _plan(out: Path) -> dict[str, Any] | None:
    path = out / PLAN
    if not path.exists():
        return None
    try:
        return _Plan.model_validate_json(read_text(path), strict=True).model_dump()
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({reason(error)}); remove it, and give `r1zero paper run` again."
        ) from None


def _renewed(out: Path, scale: str, studies: Sequence[Study], seeds: int | None) -> dict[str, Any]:
    """Return the plan with these studies, in the paper's order. Raises UserError when it is one of other seeds."""
    old = _plan(out) or {"seeds": seeds, "studies": []}
    if old["seeds"] != seeds:
        before = "the default" if old["seeds"] is None else old["seeds"]
        raise UserError(f"{out} was begun with --seeds {before}; give that, or choose another --out.")
    names = {*old["studies"], *(study.name for study in studies)}
    return {"scale": scale, "seeds": seeds, "studies": [name for name in STUDIES if name in names]}
