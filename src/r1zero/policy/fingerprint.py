"""What a model folder holds, as 16 hex digits for each of its config, its tokenizer and its weights.

A run keeps it, and goes on with a copy of the folder anywhere. It is of the files that the loader reads, so that a
README or a `.git` beside them is nothing to it, and of their bytes: the same weights in files cut otherwise differ.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import try_to_load_from_cache
from huggingface_hub.errors import HFValidationError

from r1zero.errors import UNREADABLE
from r1zero.policy.place import ADAPTER
from r1zero.policy.sharded import SHARDS, has_shards
from r1zero.runs import checkpoints
from r1zero.runs.foreign import read_text

_WHOLE = (
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
)
_FAST = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template*")
_SLOW = (*_FAST, "vocab*", "merges.txt", "*.model", "*.tiktoken")

Fingerprint = dict[str, str | None]
"""`config`, `tokenizer`, `weights`; None where there are no such files."""


def model_fingerprint(path: str, revision: str | None = None) -> Fingerprint | None:
    """Return the fingerprint of a model folder or Hub name, of adapters together with the model that they belong to;
    None where there is none, or a file of it cannot be read.

    Reads every file of weights once, at about 2 s a gigabyte and core; of a Hub name, what lies in the Hub's cache.
    """
    folder = _folder(path, revision)
    if folder is None:
        return None
    try:
        found = _of_folder(folder)
        if named := named_base(folder):
            return _with_base(found, folder, named)
    except UNREADABLE:  # the loader says why
        return None
    return found


def named_base(folder: Path) -> str | None:
    """Return the model that the adapters of a folder say they belong to; None where it holds a model of its own."""
    if (folder / "config.json").exists() or not (folder / ADAPTER).exists():
        return None
    try:
        named = json.loads(read_text(folder / ADAPTER))["base_model_name_or_path"]
    except UNREADABLE:  # the loader says why
        return None
    return named if isinstance(named, str) else None


def _folder(path: str, revision: str | None) -> Path | None:
    """Return where a model's files lie: for a Hub name the snapshot in the Hub's cache."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    try:
        found = (try_to_load_from_cache(path, name, revision=revision) for name in ("config.json", ADAPTER))
        return next((Path(each).parent for each in found if isinstance(each, str)), None)
    except (HFValidationError, OSError, ValueError):
        return None


def _of_folder(folder: Path) -> Fingerprint:
    tokenizer = _there(folder, _FAST if (folder / "tokenizer.json").exists() else _SLOW)
    return {
        "config": _digest(folder, _there(folder, ("config.json", "generation_config.json"))),
        "tokenizer": _digest(folder, tokenizer),
        "weights": _digest(folder, _weights(folder)),
    }


def _with_base(adapters: Fingerprint, folder: Path, base: str) -> Fingerprint | None:
    """Return the fingerprint of adapters and their model; the place at which they name it is no part of it."""
    below = model_fingerprint(base)
    if below is None or None in (adapters["weights"], below["config"], below["weights"]):
        return None
    settings = json.loads(read_text(folder / ADAPTER))
    rest = json.dumps({key: value for key, value in settings.items() if key != "base_model_name_or_path"})
    return {
        "config": _short(f"{rest}\n{adapters['config']}\n{below['config']}"),
        "tokenizer": adapters["tokenizer"] or below["tokenizer"],
        "weights": _short(f"{adapters['weights']}\n{below['weights']}"),
    }


def _weights(folder: Path) -> list[str]:
    """Return the files that the loader takes weights from."""
    adapters = _there(folder, ("adapter_model.safetensors", "adapter_model.bin"))
    if has_shards(folder):
        return sorted(str(path.relative_to(folder)) for path in (folder / SHARDS).iterdir() if path.is_file())
    for whole, index in _WHOLE:
        if (folder / whole).is_file():
            return [whole, *adapters]
        if (folder / index).is_file():
            named = sorted(set(json.loads(read_text(folder / index))["weight_map"].values()))
            if any(name != Path(name).name for name in named):
                raise ValueError(f"{index} names files outside the folder")
            return [*named, *adapters]
    return adapters


def _there(folder: Path, patterns: Iterable[str]) -> list[str]:
    return sorted({path.name for pattern in patterns for path in folder.glob(pattern) if path.is_file()})


def _digest(folder: Path, names: list[str]) -> str | None:
    sums = checkpoints.checksums(folder, names)
    return _short("".join(f"{name} {sums[name]}\n" for name in names)) if names else None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
