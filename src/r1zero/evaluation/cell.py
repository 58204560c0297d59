"""One model under one template: what makes an evaluation what it is, and the folder that is its own."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero import evaluation
from r1zero.config import EvaluationSettings
from r1zero.errors import UserError
from r1zero.evaluation.models import EvaluatedModel
from r1zero.evaluation.run import file_name
from r1zero.evaluation.saved import IDENTITY
from r1zero.published import BenchmarkRow
from r1zero.questions import QuestionSet
from r1zero.runs.files import told_apart, write_text, writing
from r1zero.runs.foreign import read_text
from r1zero.runs.provenance import provenance
from r1zero.templates import Template
from r1zero.verify.fingerprint import reward_fingerprint, verifier_fingerprint


@dataclass(frozen=True, slots=True)
class Conditions:
    """What all cells have in common, besides the questions and how responses are drawn."""

    seed: int = 0
    data_dir: Path | None = None
    out: Path | None = None
    reward: str | None = None
    """A user's own grader (`verifier.reward`)."""


@dataclass(frozen=True, slots=True)
class EvalCell:
    """One model under one template: the results of every set, and the paper's row where it has one."""

    model: str
    template: str
    results: list[evaluation.SetResult]
    paper: BenchmarkRow | None
    max_new_tokens: int
    engine: str = "torch"
    """What drew the responses."""


def _told(settings: EvaluationSettings) -> dict[str, Any]:
    """Return settings as an evaluation keeps them; of sets without a filter as before there were any."""
    told = settings.model_dump(mode="json", exclude={"every"})
    for each in told["benchmarks"]:
        if each["where"] is None:
            del each["where"]
    return told


def identity(
    evaluated: EvaluatedModel,
    template: Template,
    sets: Sequence[QuestionSet],
    settings: EvaluationSettings,
    conditions: Conditions,
) -> dict[str, Any]:
    """Return what an evaluation is: equal identities, equal responses."""
    place = Path(evaluated.name)
    files = sorted(place.glob("*")) if place.is_dir() else []
    return {
        "model": evaluated.name,
        "model_files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()},
        "parameters": evaluated.parameters,
        "engine": evaluated.engine,
        "template": template.name,
        "template_hash": template.hash,
        "answer_format": str(template.answer_format),
        "seed": conditions.seed,
        "reward": conditions.reward,
        "reward_fingerprint": reward_fingerprint(conditions.reward),
        "verifier_fingerprint": None if conditions.reward else verifier_fingerprint(),
        "settings": _told(settings),
        "fingerprints": {each.name: each.fingerprint for each in sets},
        "sets": {each.name: f"{file_name(each.name)}.parquet" for each in sets},
    }


def claimed(folder: Path, identity: Mapping[str, Any]) -> bool:
    """Tell whether the folder is this evaluation's; it may be nobody's. Raises UserError when it is another's."""
    path = folder / IDENTITY
    try:
        found = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):  # made by `claim`, or told there
        return False
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it, or choose another --out.") from None
    if identity["engine"] == "vllm":
        found = {"engine": "torch"} | found  # in older folders
    # what else those do not say is not held against them
    other = [key for key, value in json.loads(json.dumps(dict(identity))).items() if found.get(key, value) != value]
    if other == ["engine"]:
        raise UserError(
            f"{folder} was begun with the engine {found['engine']}, and {identity['engine']} draws other responses "
            "from the same seed: go on with the former, choose another --out, or remove it."
        )
    if other:
        raise UserError(
            f"{folder} holds another evaluation (of other {', '.join(other)}); choose another --out, or remove it."
        )
    return True


def claim(folder: Path, identity: Mapping[str, Any]) -> None:
    """Make the folder this evaluation's, or find that it is already. Raises UserError when it is another's."""
    if claimed(folder, identity):
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from None
    with writing(folder):
        content = {**identity, "versions": provenance()}
        write_text(folder / IDENTITY, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def slugs(names: Sequence[str]) -> dict[str, str]:
    """Return models' or templates' names as folders', each another: of paths as much of the end as tells them apart."""
    return {name: slug("_".join(parts)) for name, parts in told_apart(names).items()}


def slug(name: str) -> str:
    """Return a model's or template's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip("/").split("/")[-1]) or "model"
