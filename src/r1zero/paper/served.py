"""What does not run on the machine: models that are too large for it, and a language model as judge.

Both are asked through servers that the user names. A job whose server nobody named is left out, and said to be; the
addresses are kept beside the runs, keys nowhere.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from r1zero.endpoint import JUDGE_KEY, Endpoint
from r1zero.errors import UserError, did_you_mean, plural
from r1zero.evaluation.models import SERVER_KEY
from r1zero.paper.jobs import EvaluationJob, Job, ModelServer, job_done
from r1zero.paper.judgements import JudgementJob, JudgeServer

_WHERE = "http://HOST:PORT/v1"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where models are asked, by their names, and who judges."""

    models: Mapping[str, ModelServer] = field(default_factory=dict)
    judge: JudgeServer | None = None

    def check(self, jobs: Sequence[Job]) -> None:
        """Refuse what no job asks, and addresses that are none or would get another's key. Raises UserError."""
        asked = sorted({job.model for job in jobs if isinstance(job, EvaluationJob) and job.model})
        for model, server in self.models.items():
            if model not in asked:
                hint = did_you_mean(model, asked)
                raise UserError(
                    f"--server {model}: no job of these studies asks that model; {hint}asked are "
                    f"{', '.join(asked) or 'none'}."
                )
            Endpoint(server.address, "--server", SERVER_KEY, os.environ.get(SERVER_KEY))
        hosts = sorted({urlsplit(server.address).netloc for server in self.models.values()})
        if len(hosts) > 1 and os.environ.get(SERVER_KEY):
            raise UserError(
                f"--server names {len(hosts)} machines ({', '.join(hosts)}), and all of them would get the one key in "
                f"{SERVER_KEY}: give the command once for each, as what is finished is kept, or unset the key."
            )
        if self.judge is not None:
            Endpoint(self.judge.address, "--judge", JUDGE_KEY, os.environ.get(JUDGE_KEY))

    def attached(self, jobs: Sequence[Job]) -> list[Job]:
        """Return the jobs with where each is asked."""
        return [self._attached(job) for job in jobs]

    def _attached(self, job: Job) -> Job:
        if isinstance(job, EvaluationJob) and job.model in self.models:
            return replace(job, server=self.models[job.model])
        return replace(job, judge=self.judge) if isinstance(job, JudgementJob) else job

    def addresses(self) -> dict[str, str]:
        """Return who is asked → where, without what could be a secret."""
        found = {model: server.address for model, server in self.models.items()}
        if self.judge is not None:
            found[self.judge.name] = self.judge.address
        return {name: urlunsplit((*urlsplit(address)[:3], "", "")) for name, address in found.items()}


NO_SERVERS = Servers()


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Jobs that one server would do, and which nobody named."""

    jobs: tuple[str, ...]
    model: str
    """Who would be asked; "" is a judge."""

    def __str__(self) -> str:
        first, more = self.jobs[0], len(self.jobs) - 1
        which = f"{first} and {plural(more, 'more job')}" if more else first
        if not self.model:
            return (
                f"Left out: {which}, in which a language model judges; add --judge {_WHERE} --judge-model NAME. Rules "
                "judge in its place."
            )
        return f"Left out: {which}, which ask {self.model} through a server; add --server {self.model}={_WHERE}."


def left_out(jobs: Sequence[Job], out: Path) -> list[LeftOut]:
    """Return what is neither done nor can be, for want of a server: by who would be asked, in the jobs' order."""
    lacking = {job.name: job.model for job in jobs if isinstance(job, EvaluationJob) and _unserved(job, out)}
    for job in jobs:
        if isinstance(job, JudgementJob) and not job_done(job, out):
            if job.start in lacking:
                lacking[job.name] = lacking[job.start]
            elif job.judge is None and not job.by_rules:
                lacking[job.name] = ""
    models = dict.fromkeys(lacking.values())
    return [LeftOut(tuple(name for name, model in lacking.items() if model == each), each) for each in models]


def _unserved(job: EvaluationJob, out: Path) -> bool:
    return job.served and job.server is None and not job_done(job, out)


def without(jobs: Sequence[Job], left: Sequence[LeftOut]) -> list[Job]:
    """Return the jobs that are not left out."""
    names = {name for each in left for name in each.jobs}
    return [job for job in jobs if job.name not in names]
