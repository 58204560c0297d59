"""Adapters are loaded beside the model that they belong to: their folder names its place, which may be another now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from r1zero import config
from r1zero.errors import UserError
from r1zero.policy.fingerprint import model_fingerprint, named_base
from r1zero.runs.run import Run


def find_base(folder: Path, given: config.ModelSettings | None = None) -> config.ModelSettings | None:
    """Return where the model lies that the adapters of a folder belong to, if that is not where they name it.

    `given` is the model of the recipe that they are trained by. Without one, a run that they stand in may know it.

    Raises:
        UserError: it is not where they name it, and nothing tells where it is.
    """
    named = named_base(folder)
    if named is None:
        return None
    if given is not None and Path(given.path).exists():
        below = named_base(Path(given.path))  # the recipe begins with adapters, whose model is that of these
        return given if below is None else find_base(Path(given.path)) or _elsewhere(below, named, given)
    if Path(named).exists() or _on_the_hub(named):
        return None
    if given is not None and "/" in given.path and _on_the_hub(given.path):  # owner/name: a bare name was a folder
        return given
    known = next(_known_to_runs(folder), None)
    if known is None:
        raise UserError(
            f"The adapters at {folder} belong to the model at {named}, which is not there: put it back, or a link to "
            f"where it is now (`ln -s NEW {named}`); in a run directory, the run that goes on with "
            "`r1zero train RUN --resume --model.path NEW` tells where it is."
        )
    return known


def _elsewhere(path: str, named: str, given: config.ModelSettings) -> config.ModelSettings | None:
    return None if path == named else given.model_copy(update={"path": path, "revision": None})


def _on_the_hub(name: str) -> bool:
    return name.count("/") <= 1 and not name.startswith((".", "/", "~"))


def _known_to_runs(folder: Path) -> Iterator[config.ModelSettings]:
    """Yield the models of runs that a checkpoint stands in, where they are what those were started with."""
    for above in folder.resolve().parents[1:3]:  # RUN/checkpoints/step-000016, RUN/aside-001/checkpoints/step-000016
        with suppress(UserError):
            run = Run.open(above)
            settings, held = run.recipe.model, run.facts.get("model_fingerprint")
            if held is not None and model_fingerprint(settings.path, settings.revision) == held:
                yield settings


def load_with_base(folder: Path, base: config.ModelSettings, attention: str, dtype: torch.dtype) -> Any:
    """Return the model at `base` with the adapters of a folder, and transformers' report on both."""
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        base.path,
        revision=base.revision,
        dtype=dtype,
        attn_implementation=attention,
        output_loading_info=True,
        trust_remote_code=False,
    )
    model, report = loaded
    added = model.load_adapter(str(folder))
    name_base(model, base.path)
    keys = ("missing_keys", "mismatched_keys")
    return model, {key: [*report[key], *getattr(added, key)] for key in keys}


def name_base(model: Any, path: str) -> None:
    """Have the adapters of a model name the place of the model that they belong to, as they are saved."""
    whole = str(Path(path).resolve()) if Path(path).exists() else path
    for settings in model.peft_config.values():
        settings.base_model_name_or_path = whole
