"""The published grids, rehearsed: every job as it is, with stand-ins for models, questions and budgets."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from r1zero.config import Recipe, checked
from r1zero.config.sections import EvaluationSettings
from r1zero.errors import UserError, plural, reason
from r1zero.paper.claims import Findings
from r1zero.paper.jobs import EvaluationJob, Job, RunJob, asked_of
from r1zero.paper.judgements import JudgementJob
from r1zero.rehearsal.disk import disk_note
from r1zero.rehearsal.scale import TOKENS, cut_benchmarks
from r1zero.rehearsal.stage import MARK, Stage
from r1zero.runs.files import write_text, writing
from r1zero.runs.foreign import read_text

SCALE = "rehearsal"
_KEPT = ("bases", "runs", "evaluations", "models", "data", "corpora")
_SAMPLES = 8  # which pass@8 is read from


def rehearsed_jobs(jobs: Sequence[Job], out: Path) -> list[Job]:
    """Return the same jobs with stand-ins of `out`, by the same names, none left out."""
    stage = Stage(out)
    return [_rehearsed(job, stage) for job in jobs]


def _rehearsed(job: Job, stage: Stage) -> Job:
    if isinstance(job, RunJob):
        return replace(job, changes={**job.changes, **stage.changes(job.asked())})
    if isinstance(job, JudgementJob):
        return replace(job, by_rules=job.judge is None)
    settings = checked(EvaluationSettings, {"benchmarks": [dict(each) for each in job.benchmarks]})
    return replace(
        job,
        model=stage.model(job.model) if job.model and job.server is None else job.model,
        served=False,
        benchmarks=cut_benchmarks(settings.benchmarks, job.data_dir),
        samples=min(job.samples, _SAMPLES),
        max_new_tokens=min(job.max_new_tokens, TOKENS),
        data_dir=str(stage.data),
        device="cpu",
    )


def build_stage(jobs: Sequence[Job], out: Path, every: Sequence[Job]) -> list[str]:
    """Make the stand-ins of the published jobs; returns what they tell before the first step, kept beside the page. An
    earlier rehearsal goes on where `every` job and stand-in was the same, and begins anew where one was not.

    Raises:
        UserError: a job names something that is not to be had, or that leaves no room for a response.
    """
    asked, stage = asked_of(jobs), Stage(out)
    begun = stage.mark(
        {name: recipe.model_dump(mode="json") for name, recipe in asked_of(every).items()} | _asked(every)
    )
    if (out / MARK).exists() and _read(out).get("begun") != begun:
        for kept in _KEPT:  # of other jobs or stand-ins: what is done would be refused, or taken for these
            shutil.rmtree(out / kept, ignore_errors=True)
    notes = stage.build(asked.values())
    fits: dict[str, list[str]] = {}
    for name, recipe in asked.items():
        for note in stage.fit(recipe) if isinstance(recipe, Recipe) else ():
            fits.setdefault(note, []).append(name)
    counted = "of the rows tried, by stand-ins' tokenizers, in"
    notes += [f"{counted} {_counted(names)}: {note}" for note, names in fits.items()]
    runs = {job.name: asked[job.name] for job in jobs if isinstance(job, RunJob)}
    notes = [*notes, *filter(None, [disk_note(runs, out)]), *_unrehearsed(jobs)]
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        write_text(out / MARK, json.dumps({"begun": begun, "notes": notes}, indent=2, ensure_ascii=False) + "\n")
    return notes


def _asked(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return who is asked through a server, which a rehearsal without one has not tried."""
    models = {job.model for job in jobs if isinstance(job, EvaluationJob) and job.server}
    judges = {job.judge.name for job in jobs if isinstance(job, JudgementJob) and job.judge}
    return {"asked through servers": sorted(models | judges)}


def _unrehearsed(jobs: Sequence[Job]) -> list[str]:
    """Tell what of servers is not tried."""
    served = [job for job in jobs if isinstance(job, EvaluationJob) and job.served and job.server is None]
    judged = [job for job in jobs if isinstance(job, JudgementJob) and job.judge is None]
    notes = [
        f"not rehearsed: the server of {model}, for which a stand-in answers in this process; with --server "
        f"{model}=http://HOST:PORT/v1 it is asked the few questions"
        for model in dict.fromkeys(job.model for job in served)
    ]
    if judged:
        notes.append(
            f"not rehearsed: the language model that judges in {_counted([job.name for job in judged])}, for which "
            "the rules judge; with --judge and --judge-model it is asked"
        )
    return notes


def _counted(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {plural(len(names) - 1, 'more job')}"


def read_notes(out: Path) -> list[str]:
    """Return what a rehearsal told before its first step. Raises UserError where nobody can read it."""
    return [str(note) for note in _read(out).get("notes", ())]


def _read(out: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(read_text(out / MARK)))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{out / MARK} cannot be read ({reason(error)}); remove {out}, and rehearse again.") from None


def unjudged(found: Findings) -> Findings:
    """Return findings without claims: stand-ins bear out nothing, and refute nothing."""
    note = f"{len(found.claims)} claims were read from the stand-ins' runs, and are not judged."
    return replace(found, stated=(), notes=[note, *found.notes])
