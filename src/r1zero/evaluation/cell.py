"""One model under one template: what makes an evaluation what it is, and the folder that is its own."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1zero import evaluation
from r1zero.config import EvaluationSettings
from r1zero.errors import UserError
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


def identity(
    model: str,
    parameters: int | None,
    template: Template,
    sets: Sequence[QuestionSet],
    settings: EvaluationSettings,
    conditions: Conditions,
) -> dict[str, Any]:
    """Return what an evaluation is: equal identities, equal responses."""
    files = sorted(Path(model).glob("*")) if Path(model).is_dir() else []
    return {
        "model": model,
        "model_files": {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files if f.is_file()},
        "parameters": parameters,
        "template": template.name,
        "template_hash": template.hash,
        "answer_format": str(template.answer_format),
        "seed": conditions.seed,
        "reward": conditions.reward,
        "reward_fingerprint": reward_fingerprint(conditions.reward),
        "verifier_fingerprint": None if conditions.reward else verifier_fingerprint(),
        "settings": settings.model_dump(mode="json", exclude={"every"}),
        "fingerprints": {each.name: each.fingerprint for each in sets},
        "sets": {each.name: f"{file_name(each.name)}.parquet" for each in sets},
    }


def claim(folder: Path, identity: dict[str, Any]) -> None:
    """Make the folder this evaluation's, or find that it is already. Raises UserError when it is another's."""
    path = folder / IDENTITY
    try:
        found = json.loads(read_text(path))
    except (FileNotFoundError, NotADirectoryError):  # made below, or told there
        found = None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it, or choose another --out.") from None
    if found is not None:
        # what older folders do not say is not held against them
        other = [key for key, value in json.loads(json.dumps(identity)).items() if found.get(key, value) != value]
        if other:
            raise UserError(
                f"{folder} holds another evaluation (of other {', '.join(other)}); choose another --out, or remove it."
            )
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); choose another --out.") from None
    with writing(folder):
        write_text(path, json.dumps(identity | {"versions": provenance()}, indent=2, ensure_ascii=False) + "\n")


def slugs(names: Sequence[str]) -> dict[str, str]:
    """Return models' or templates' names as folders', each another: of paths as much of the end as tells them apart."""
    return {name: slug("_".join(parts)) for name, parts in told_apart(names).items()}


def slug(name: str) -> str:
    """Return a model's or template's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "_", name.strip("/").split("/")[-1]) or "model"
