"""What is known of the paper's models without asking for them: facts of their config.json and their tokenizers.

A plan and a rehearsal need no weights, and no Hub: `models/OWNER--NAME.json` holds what config.json says of a model,
which tokens its tokenizer ends, opens and marks turns with, and every id that ends a response; `source` says where that
is from, if not from the model's own files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from transformers import AutoConfig, PretrainedConfig
from transformers.utils import logging as hf_logging


@dataclass(frozen=True, slots=True)
class KnownModel:
    """Facts of one model."""

    name: str
    config: Mapping[str, Any]
    """config.json, without what says nothing of its shape."""
    tokenizer: Mapping[str, Any]
    """`class` of its tokenizer_config.json; `kind` of its tokenizer.json; the tokens that mark something, with their
    ids; which of them is `eos` and `bos`; whether texts open with that; the kind of its chat template, or none."""
    generation_eos: tuple[int, ...]
    """The ids that end a response by its generation_config.json."""

    def make_config(self, **changes: Any) -> PretrainedConfig:
        """Return its config, with changes."""
        facts, told = {**self.config, **changes}, hf_logging.get_verbosity()
        hf_logging.set_verbosity_error()  # FineMath's positions are fewer than its angles were made for, as released
        try:
            return AutoConfig.for_model(facts.pop("model_type"), **facts)
        finally:
            hf_logging.set_verbosity(told)


@cache
def known_models() -> Mapping[str, KnownModel]:
    """Return all known models by their names."""
    found: dict[str, KnownModel] = {}
    for file in sorted((resources.files("r1zero.policy") / "models").iterdir(), key=lambda each: each.name):
        data = json.loads(file.read_text(encoding="utf-8"))
        found[data["name"]] = KnownModel(data["name"], data["config"], data["tokenizer"], tuple(data["generation_eos"]))
    return found


def known_model(path: str, revision: str | None = None) -> KnownModel | None:
    """Return what is known of the model that a recipe names; None of a folder, a revision or another model."""
    return None if revision is not None or Path(path).exists() else known_models().get(path)


_SHAPELESS = {"max_position_embeddings", "rope_theta", "rope_scaling", "bos_token_id", "eos_token_id"}


def like(path: str, revision: str | None = None) -> str:
    """Return the first known model with the layers and widths of a known one: what is counted of both is the same.

    Another model is like itself alone.
    """
    known = known_model(path, revision)
    return (
        path if known is None else next(name for name, each in known_models().items() if _sizes(each) == _sizes(known))
    )


def _sizes(known: KnownModel) -> dict[str, Any]:
    return {name: value for name, value in known.config.items() if name not in _SHAPELESS}


def model_config(path: str, revision: str | None = None) -> PretrainedConfig:
    """Return the config of a known model, or of the one at a path or on the Hub.

    Raises:
        OSError, ValueError, KeyError: there is none, or none that transformers reads.
    """
    known = known_model(path, revision)
    if known is not None:
        return known.make_config()
    return AutoConfig.from_pretrained(path, revision=revision, trust_remote_code=False)
