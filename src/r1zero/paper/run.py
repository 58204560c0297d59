"""`r1zero paper run`: the grids of some studies carried out together, then read and written as a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from r1zero.errors import UserError, reason
from r1zero.paper.claims import Findings, Study
from r1zero.paper.jobs import Job
from r1zero.paper.miniature import DOCUMENTS, FEW_SHOT, LAPTOP, QUICK, WORLD
from r1zero.paper.page import PAGE, StudyPart, read_part, write_paper
from r1zero.paper.planned import NO_ORDERS, Orders, gpus_of, plan_jobs, seconds_of
from r1zero.paper.rehearse import SCALE, build_stage, read_notes, rehearsed_jobs, unjudged
from r1zero.paper.rows_left_out import rows_left_out
from r1zero.paper.schedule import NO_SECONDS, Told, carry_out
from r1zero.paper.served import left_out, without
from r1zero.paper.studies import STUDIES, pick_studies
from r1zero.paper.world import make_world
from r1zero.plan.machine import counted_machine, full_name
from r1zero.rehearsal.stage import Stage
from r1zero.runs.exclusive import LOCK, exclusive
from r1zero.runs.files import write_text, writing
from r1zero.runs.foreign import read_text

PLAN = "paper.json"
"""What was begun: scale, seeds, studies."""


class _Plan(BaseModel):
    scale: Literal["laptop", "quick", "full", "rehearsal"]
    seeds: Annotated[int, Field(ge=1)] | None
    studies: list[str]
    machine: str | None = None
    changes: dict[str, Any] = {}
    servers: dict[str, list[str]] = {}
    """Who was asked → all addresses, in their order."""


def grids(
    studies: Sequence[Study], out: Path, scale: str, seeds: int | None, orders: Orders = NO_ORDERS
) -> dict[str, list[Job]]:
    """Return study → its jobs, at full scale as they were ordered. Studies share jobs of one name, which are the same.

    Raises:
        UserError: too few seeds, or orders that cannot be followed.
    """
    _check_seeds(seeds)
    if scale in ("full", SCALE):
        jobs = {study.name: orders.ordered(study.full(seeds or 1), study.name) for study in studies}
        return jobs if scale == "full" else {name: rehearsed_jobs(each, out) for name, each in jobs.items()}
    size = QUICK if scale == "quick" else LAPTOP
    size = replace(size, seeds=seeds) if seeds is not None else size
    return {study.name: list(study.laptop(out, size)) for study in studies}


def published(studies: Sequence[Study], seeds: int | None, orders: Orders) -> list[Job]:
    """Return the published jobs of studies with the user's settings, without those of a machine. Raises UserError."""
    _check_seeds(seeds)
    return [job for study in studies for job in orders.with_changes(study.full(seeds or 1), study.name)]


def _check_seeds(seeds: int | None) -> None:
    if seeds is not None and seeds < 1:
        raise UserError(f"--seeds {seeds} runs nothing; give 1 or more.")


def run_paper(
    studies: Sequence[Study],
    out: Path,
    scale: str,
    *,
    seeds: int | None,
    workers: int,
    told: Told,
    noted: Callable[[str], None] = lambda note: None,
    orders: Orders = NO_ORDERS,
) -> Path:
    """Carry out what is not there yet, and write the page; returns it. A page holds all studies ever begun there.

    `noted` is told what a reader must know before the first job.

    Raises:
        UserError: a run failed, in its sentence; what is done stays.
    """
    out = out.resolve()  # runs know their base models by path
    orders.servers.check([job for study in studies for job in study.full(1)])
    with exclusive(out):
        plan = _renewed(out, scale, studies, seeds, orders)
        planned = grids(studies, out, scale, seeds, orders)
        jobs = [job for each in planned.values() for job in each]
        left = left_out(jobs, out)
        jobs = without(jobs, left)
        gpus = gpus_of(jobs, orders)
        notes = _prepared(plan, out, orders)
        seconds = NO_SECONDS if gpus is None else seconds_of(plan_jobs(published(studies, seeds, orders), orders))
        for note in (*orders.unused(jobs), *notes, *map(str, left)):
            noted(note)
        with writing(out):
            out.mkdir(parents=True, exist_ok=True)
            write_text(out / PLAN, json.dumps(plan, indent=2) + "\n")
        places = workers if gpus is None else counted_machine(str(orders.machine))[0]
        carry_out(jobs, out, places, told, gpus, seconds=seconds)
        return write_page(out, whole=[study.name for study in studies])


def _prepared(plan: Mapping[str, Any], out: Path, orders: Orders) -> list[str]:
    """Make what a scale's jobs need before they start: the miniature's world, a rehearsal's stand-ins. Return notes."""
    if plan["scale"] == SCALE:
        whole = replace(orders, kept=True)  # settings are for the studies that are asked for
        every = grids(list(STUDIES.values()), out, "full", plan["seeds"], whole)
        asked = [job for name in plan["studies"] for job in every[name]]
        try:
            return build_stage(asked, out, [job for jobs in every.values() for job in jobs])
        except UserError:
            if not _begun(out):
                Stage(out).remove()
            raise
    if plan["scale"] != "full" and not (out / FEW_SHOT).is_file():
        make_world(out / WORLD, 0, DOCUMENTS // 10 if plan["scale"] == "quick" else DOCUMENTS)
    return []


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
    planned = grids(studies, out, plan["scale"], plan["seeds"], _orders(plan))
    rehearsal = plan["scale"] == SCALE
    shown, scale = unjudged if rehearsal else None, plan["scale"]
    parts = [_part(study, out, planned[study.name], shown, scale) for study in studies]
    page = write_paper(parts, out, plan["scale"], read_notes(out) if rehearsal else ())
    for part in parts:
        if part.study.name in whole and part.problems:
            raise UserError(f"{part.study.name} cannot be read: {part.problems[0]} The other studies are on {page}.")
    return page


def _part(
    study: Study, out: Path, jobs: Sequence[Job], shown: Callable[[Findings], Findings] | None, scale: str
) -> StudyPart:
    """Return what a study finds in the jobs that could be done, and says of those that could not."""
    left = left_out(jobs, out)
    part = read_part(study, out, without(jobs, left), shown, scale)
    return replace(part, notes=[*part.notes, *map(str, left), *rows_left_out(out, jobs)])


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


def _orders(plan: Mapping[str, Any]) -> Orders:
    return Orders(plan["machine"], plan["changes"], kept=True)


def _renewed(out: Path, scale: str, studies: Sequence[Study], seeds: int | None, orders: Orders) -> dict[str, Any]:
    """Return the plan with these studies, in the paper's order. Raises UserError when it is one of other seeds, or was
    ordered otherwise.
    """
    kept = {"seeds": seeds, "machine": orders.machine, "changes": dict(orders.changes)}
    old = (_plan(out) if _begun(out) else None) or {**kept, "studies": [], "servers": {}}
    if old["machine"] is not None:
        old["machine"] = full_name(old["machine"])
    for name, option in (("seeds", "--seeds"), ("machine", "--machine"), ("changes", "--set or --recipe-overrides")):
        if old[name] != kept[name]:
            before = old[name] or ("the default" if name == "seeds" else "none")
            raise UserError(f"{out} was begun with {option} {_said(before)}; give that, or choose another --out.")
    names = {*old["studies"], *(study.name for study in studies)}
    asked = {name: [address] for name, address in orders.servers.addresses().items()}
    servers = {name: list(dict.fromkeys([*old["servers"].get(name, ()), *asked.get(name, ())]))
               for name in (old["servers"] | asked)}  # fmt: skip
    return {"scale": scale, "studies": [name for name in STUDIES if name in names], "servers": servers, **kept}


def _begun(out: Path) -> bool:
    """Tell whether anything was done in a folder: a page, or a file of a job. What fails before leaves a plan alone."""
    folders = [out / name for name in ("bases", "runs", "evaluations", "judgements")]
    files = (path for folder in folders for path in folder.rglob("*"))
    return (out / PAGE).exists() or any(path.is_file() and path.name != LOCK for path in files)


def _said(value: Any) -> str:
    return " ".join(f"{name}={each}" for name, each in value.items()) if isinstance(value, dict) else str(value)
