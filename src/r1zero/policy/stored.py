"""Whether a loaded model has the weights of its files, all of them and unchanged.

A loader may make up what a file lacks, leave out what a config does not ask for, and overwrite what it has read with
what an architecture begins with, and say nothing. Whatever it did, the model is held against the files afterwards.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.core_model_loading import revert_weight_conversion
from transformers.utils.hub import cached_file

from r1zero.config import ModelSettings
from r1zero.errors import UNREADABLE, SettingName, UserError

_PATH = SettingName("model.path")
_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
"""Of several, transformers reads the first."""
_ADAPTERS = ("adapter_model.safetensors", "adapter_model.bin")
_PEFT = "base_model.model."  # what peft puts before every name
_CHUNK = 1 << 24  # numbers compared at once
Stored = Mapping[str, Callable[[], Tensor]]
"""The tensors of a model's files by their names there, each read when it is called for."""


def check_stored(
    model: PreTrainedModel,
    report: Mapping[str, Any],
    path: str,
    revision: str | None,
    *,
    beneath: ModelSettings | None = None,
) -> None:
    """Make sure that a model on the CPU has the weights of the files at `path`; `report` is its loader's. The model
    beneath adapters is where they name it, or `beneath`.

    Every tensor whose name in the files is known is compared, number by number.

    Raises:
        UserError: it lacks some, leaves some out, or has others.
    """
    made_up = sorted(map(str, (*report["missing_keys"], *report["mismatched_keys"])))
    if made_up:
        raise UserError(
            _PATH,
            f" = {path!r} lacks weights that its config.json asks for ({', '.join(made_up[:3])}, …), which "
            "would be made up at random; give a whole model folder.",
        )
    if left_out := sorted(name for name in report.get("unexpected_keys", ()) if _inside(model, str(name))):
        raise UserError(
            _PATH,
            f" = {path!r} holds weights that its config.json does not ask for ({', '.join(left_out[:3])}, …), so that "
            "the model would be another; give the config.json that belongs to them, or merge adapters into the weights "
            "that they were trained beside.",
        )
    if getattr(model, "hf_quantizer", None) is not None:
        return  # what it holds is not what is in its files
    stored = _stored(path, revision, beneath)
    changed = _changed(model, stored)
    _restore(model, stored, changed)
    if changed and (still := _changed(model, stored)):
        raise UserError(
            _PATH,
            f" = {path!r} is loaded with other weights than its files hold ({', '.join(still[:3])}), since they do not "
            "go together with its config.json (tie_word_embeddings, say), or since this version of transformers has a "
            f"fault with {model.config.model_type} models; mend the config.json, or choose another architecture.",
        )


def _inside(model: PreTrainedModel, name: str) -> bool:
    """Tell whether a weight that a model does not take belongs into its layers: a layer more, a bias, an adapter.

    A head, a tower or a module of its own is none of the model's business; neither are buffers of old versions.
    """
    parts = name.split(".")
    modules = dict(model.named_modules())
    at = next((".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1) if ".".join(parts[:n]) in modules), "")
    within = modules[at]
    if isinstance(within, PreTrainedModel):
        return False
    if isinstance(within, nn.ModuleList):
        # DeepSeek's kind has layers behind that predict further tokens, and are used by some engines alone
        more = getattr(model.config.get_text_config(), "num_nextn_predict_layers", None) or 0
        index = parts[at.count(".") + 1]
        return not (index.isdecimal() and int(index) < len(within) + more)
    if parts[-1] == "bias":
        return getattr(within, "weight", None) is not None
    return parts[-1] in ("weight", "qweight")


def _changed(model: PreTrainedModel, stored: Stored) -> list[str]:
    """Return names, as files have them, of weights that a model has otherwise."""
    return [
        there
        for layer in _layers(model)
        for name, own in _as_stored(model, layer).items()
        for there in _spellings(model, name)
        if there in stored and not _equal(own, stored[there]())
    ]


@torch.no_grad()
def _restore(model: PreTrainedModel, stored: Stored, changed: Sequence[str]) -> None:
    """Write weights as their files have them into a model that has some of them otherwise, by the same names.

    Youtu's class sets the embedding of its padding token to zero, after it has been read.
    """
    own = {there: weights for name, weights in model.state_dict().items() for there in _spellings(model, name)}
    for there in changed:
        if there in own and own[there].shape == (weights := stored[there]()).shape:
            own[there].copy_(weights)


def _layers(model: PreTrainedModel) -> Iterator[dict[str, Tensor]]:
    """Yield a model's weights, those of a layer at a time, by the names that they have without adapters beside them."""
    plain = (
        (re.sub(r"\.base_layer(?=\.)|(?<=\.lora_[AB])\.default(?=\.)", "", name), weights)
        for name, weights in model.state_dict().items()
    )
    for _, layer in groupby(plain, key=lambda item: re.split(r"(?<=\.\d)\.|(?<=\.\d\d)\.", item[0])[0]):
        yield dict(layer)


def _as_stored(model: PreTrainedModel, layer: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a layer's weights as files have them: some with experts one by one, or by other names."""
    try:
        return revert_weight_conversion(model, layer)
    except (RuntimeError, *UNREADABLE):
        return layer


def _spellings(model: PreTrainedModel, name: str) -> set[str]:
    """Return how files may call a weight: with the name of the model beneath the head, or without."""
    name, prefix = name.removeprefix(_PEFT), f"{model.base_model_prefix}."
    return {name, name.removeprefix(prefix), prefix + name}


def _equal(own: Tensor, stored: Tensor) -> bool:
    """Compare in the precision of the model; bit by bit, so that what is no number is equal to itself."""
    if own.shape != stored.shape:
        return True  # another tensor by the same name, as far as is known
    pairs = zip(own.detach().flatten().split(_CHUNK), stored.flatten().split(_CHUNK), strict=True)
    return all(torch.equal(a.nan_to_num(), b.to(a.dtype).nan_to_num()) for a, b in pairs)


def _stored(path: str, revision: str | None, beneath: ModelSettings | None) -> Stored:
    """Return the tensors of a model folder's or Hub name's files; of adapters' also those of the model beneath."""
    find = partial(_find, path, revision)
    adapters = find("adapter_config.json")
    if adapters is None:
        return _first(find, _FILES)
    base = json.loads(adapters.read_text("utf-8"))
    own = {name.removeprefix(_PEFT): read for name, read in _first(find, _ADAPTERS).items()}
    with suppress(*UNREADABLE):
        place = (beneath.path, beneath.revision) if beneath else (base["base_model_name_or_path"], base.get("revision"))
        return {**_first(partial(_find, *place), _FILES), **own}
    return own


def _find(path: str, revision: str | None, name: str) -> Path | None:
    """Return a file of a model folder, or of a Hub name that has just been loaded; None where it has none."""
    missing: dict[str, Any] = {"_raise_exceptions_for_missing_entries": False, "local_files_only": True}
    with suppress(*UNREADABLE):
        found = cached_file(path, name, revision=revision, **missing)
        return Path(found) if found else None
    return None


def _first(find: Callable[[str], Path | None], names: tuple[str, ...]) -> Stored:
    """Return the tensors of the first of these files that is there, or of those that it lists."""
    file = next((found for name in names if (found := find(name))), None)
    if file is None:
        return {}
    if file.suffix != ".json":
        return _tensors(file)
    listed = set(json.loads(file.read_text("utf-8"))["weight_map"].values())
    parts: dict[str, Callable[[], Tensor]] = {}
    for name in sorted(listed):
        if part := find(name):
            parts |= _tensors(part)
    return parts


def _tensors(file: Path) -> Stored:
    if file.suffix == ".bin":
        held = torch.load(file, map_location="cpu", weights_only=True)
        return {name: partial(_itself, tensor) for name, tensor in held.items()}
    opened = safe_open(file, "pt")
    return {name: partial(opened.get_tensor, name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping


def _itself(tensor: Tensor) -> Tensor:
    return tensor
