"""What a study runs, as data. `paper.schedule` carries it out.

    bases/qa-0              a pretraining run
    runs/grpo-0             a training run that starts from its last checkpoint
    evaluations/test-no-0   answers of a model, graded

Each is an ordinary directory of `r1zero pretrain`, `train` or `evaluate`, which those commands can go on with.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from r1zero.config import EvaluationSettings, Recipe, Section, TemplateSettings, checked
from r1zero.config.load import make_recipe, packaged_recipe
from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.evaluation.cell import Conditions
from r1zero.evaluation.matrix import evaluate_matrix
from r1zero.evaluation.models import ENGINE_MEMORY, EvaluatedModel, beside, connect, local, served
from r1zero.evaluation.saved import IDENTITY
from r1zero.paper.judgements import JudgementJob
from r1zero.pretrain.run import pretrain_run
from r1zero.runs.foreign import read_text
from r1zero.runs.run import Run
from r1zero.training.train import train


@dataclass(frozen=True, slots=True)
class RunJob:
    """A run of one kind of recipe: a packaged one with dotted changes, from the last checkpoint of `start` if given."""

    name: str
    """Its directory, below the grid's."""
    recipe: str
    changes: Mapping[str, object] = field(default_factory=dict)
    start: str | None = None
    """The job that has to be done before."""
    kind: type[Section] = Recipe

    def asked(self) -> Any:
        """Return the whole recipe, but for where `start` will leave its model."""
        return packaged_recipe(self.recipe, self.kind, self.changes)

    def resolved(self, out: Path) -> Section:
        """Return the whole recipe."""
        begun = {"model.path": str(last_checkpoint(out / self.start))} if self.start else {}
        return packaged_recipe(self.recipe, self.kind, {**self.changes, **begun})

    def done(self, out: Path) -> bool:
        """Tell whether the last step is saved. A run of other settings is not: it goes on or refuses to."""
        folder = out / self.name
        if not (folder / "run.json").is_file():
            return False
        run, asked = Run.open(folder), self.resolved(out)
        recipe = asked.model_dump(mode="json")
        if not _same_but_moved(run.as_asked(asked).model_dump(mode="json"), recipe, str(out)):
            return False
        steps = recipe["train"]["steps"] or run.facts.get("steps")
        return (folder / "checkpoints" / f"step-{steps:06d}" / "complete.json").is_file()

    def carry_out(self, out: Path) -> None:
        """Make the run, or what is left of it."""
        _COMMANDS[self.kind](self.resolved(out), out / self.name, resume=True)


_COMMANDS: Mapping[type[Section], Callable[..., Run]] = {PretrainRecipe: pretrain_run, Recipe: train}


@dataclass(frozen=True, slots=True)
class ModelServer:
    """Where a model is asked that does not run here: an OpenAI-compatible server that the user named."""

    address: str
    tokenizer: str | None = None
    """The model's, for a server without one."""
    workers: int = 64
    """The most requests to it side by side."""
    patience_s: float = 120.0
    """How long it is waited for where it is away."""

    def open(self, model: str, out: Path) -> EvaluatedModel:
        """Return the model, ready to be asked; what is answered is kept in a folder. Raises UserError."""
        client = connect(self.address, requests=out / "requests.sqlite", patience_s=self.patience_s)
        return served(model, client, workers=self.workers, tokenizer=self.tokenizer)


@dataclass(frozen=True, slots=True)
class EvaluationJob:
    """Answers of one model under one template: the last checkpoint of `start`, or a model by its path or Hub name."""

    name: str
    template: str
    benchmarks: Sequence[Mapping[str, object]]
    model: str = ""
    start: str | None = None
    samples: int = 1
    temperature: float = 0.0
    max_new_tokens: int = 3000
    answer_format: str | None = None
    instruction: str = ""
    """What follows the question under the template `chat`."""
    data_dir: str | None = None
    """A folder to look for question sets in first."""
    device: str = "auto"
    rows: int = 256
    """The most responses decoded side by side."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the weights."""
    engine: Literal["torch", "vllm"] = "torch"
    """What draws the responses, if no server does: the embedded sampler, or a vLLM engine."""
    memory: float = ENGINE_MEMORY
    """The share of a device's memory that vLLM takes."""
    served: bool = False
    """Whether the model is too large for a machine like the others': without a server, the job is left out."""
    server: ModelServer | None = None
    """Where it is asked, if not here. The same answers by another server are the same job."""

    def asked(self, model: str) -> Recipe:
        """Return what is asked of a model as a recipe without steps, for what is told of recipes."""
        recipe = {
            "model": {"path": model, "device": self.device},
            "questions": {**self.benchmarks[0], "data_dir": self.data_dir},
            "template": self._template(),
            "sampling": {"max_new_tokens": self.max_new_tokens},
            "evaluation": self._settings().model_dump(),
            "train": {"steps": 0},
        }
        return make_recipe(recipe, where=self.name)

    def done(self, out: Path) -> bool:
        """Tell whether all results are there. Those of other settings do not count: carried out, it refuses them."""
        folder = out / self.name
        try:
            json.loads(read_text(folder / "results.json"))
            identity = json.loads(read_text(folder / IDENTITY))
            kept = checked(EvaluationSettings, identity["settings"])
            graded = identity.get("answer_format", self.answer_format)
        except (OSError, ValueError, LookupError, TypeError, UserError):
            return False
        same_rule = self.answer_format in (None, graded)
        return same_rule and _placeless(kept) == _placeless(self._settings())

    def carry_out(self, out: Path) -> None:
        """Make the evaluation, or what is left of it."""
        shape = checked(TemplateSettings, self._template())
        model = str(last_checkpoint(out / self.start)) if self.start else self.model
        data_dir = Path(self.data_dir) if self.data_dir else None
        conditions = Conditions(data_dir=data_dir, out=out / self.name)
        opened = partial(local, rows=self.rows, device=self.device, precision=self.precision)
        if self.engine == "vllm":
            opened = partial(beside, rows=self.rows, device=self.device, precision=self.precision, memory=self.memory)
        if self.server is not None:
            opened = partial(self.server.open, out=out / self.name)
        evaluate_matrix([model], opened, [shape], self._settings(), conditions)

    def _template(self) -> dict[str, object]:
        return {"name": self.template, "answer_format": self.answer_format, "instruction": self.instruction}

    def _settings(self) -> EvaluationSettings:
        drawn = {name: getattr(self, name) for name in ("samples", "temperature", "max_new_tokens")}
        return checked(EvaluationSettings, {"benchmarks": [dict(each) for each in self.benchmarks], **drawn})


Job = RunJob | EvaluationJob | JudgementJob


def needs_no_gpu(job: Job) -> bool:
    """Tell whether a job computes nothing here: another machine does, or rules judge."""
    return isinstance(job, JudgementJob) or (isinstance(job, EvaluationJob) and job.server is not None)


def asked_at(job: Job) -> str:
    """Return the address of the server that a job asks; "" of none."""
    server = getattr(job, "server", None) or getattr(job, "judge", None)
    return server.address if server is not None else ""


def job_done(job: Job, out: Path) -> bool:
    """Tell whether a job is done; one whose start is gone, or was never made, is not."""
    try:
        return job.done(out)
    except UserError:
        return False


def asked_of(jobs: Sequence[Job]) -> dict[str, Any]:
    """Return name → recipe of all jobs that ask a model, with the one that a chain of them began with."""
    known = {job.name: job for job in jobs if not isinstance(job, JudgementJob)}

    def model(job: RunJob | EvaluationJob) -> str:
        if job.start is not None:
            return model(known[job.start])
        return job.model if isinstance(job, EvaluationJob) else job.asked().model.path

    return {name: job.asked() if isinstance(job, RunJob) else job.asked(model(job)) for name, job in known.items()}


def _placeless(settings: EvaluationSettings) -> dict[str, Any]:
    """Return settings without the folders of question files, which may have moved."""
    plain = settings.model_dump(mode="json", exclude={"every"})
    for benchmark in plain["benchmarks"]:
        benchmark["name"] = Path(benchmark["name"]).name
    return plain


def last_checkpoint(run: Path) -> Path:
    """Tell where a finished run's weights are. Raises UserError when there are none."""
    found = sorted(run.glob("checkpoints/step-*"))
    if not found:
        raise UserError(f"{run} holds no checkpoint to start from; remove it, and give the same command again.")
    return found[-1]


def _same_but_moved(old: dict[str, Any], new: dict[str, Any], out: str) -> bool:
    """Tell whether a run's recipe is `new`, or was before its grid's directory was moved to `out`."""
    before, now = (recipe["model"]["path"] for recipe in (old, new))
    below = now.removeprefix(out)
    if below != now and before.endswith(below):
        old = _moved(old, before.removesuffix(below) + "/", out + "/")
    return old == new


def _moved(value: Any, old: str, new: str) -> Any:
    """Return plain data with every path below `old` as it is below `new`."""
    if isinstance(value, dict):
        return {key: _moved(each, old, new) for key, each in value.items()}
    if isinstance(value, list):
        return [_moved(each, old, new) for each in value]
    return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value
