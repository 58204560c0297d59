"""Where a model is: whether a path can be one, before a loader asks the network, guesses, or waits for a pipe."""

from __future__ import annotations

import pickle
import stat
from pathlib import Path

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
from transformers import MODEL_FOR_CAUSAL_LM_MAPPING, PretrainedConfig

from r1zero.errors import UNREADABLE, SettingName, UserError, unreadable

ADAPTER = "adapter_config.json"
"""The file that makes a folder one of adapters: it names the model that they belong to."""
LOADER_ERRORS = (
    *UNREADABLE, ImportError, SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError, StrictDataclassError
)  # fmt: skip
"""What transformers makes of a folder that it cannot load: it checks little, so most are Python's own, from within."""
_PATH = SettingName("model.path")
_READ = frozenset({".json", ".jsonl", ".safetensors", ".bin", ".model", ".txt", ".jinja", ".tiktoken", ".metadata"})
"""How names end that loaders open."""


def check_place(path: str, revision: str | None = None) -> None:
    """Raise a UserError for a path that cannot be a model: the loader would ask the network, or guess wildly."""
    folder = Path(path).expanduser()
    if revision is not None and folder.exists():
        raise UserError(
            f"model.revision = {revision!r} is for Hub names, and ",
            _PATH,
            f" = {path!r} is a local folder; remove the revision, or give the Hub name.",
        )
    if not folder.exists() and (path.count("/") > 1 or path.startswith((".", "/", "~"))):
        raise UserError(_PATH, f" = {path!r} does not exist; give a model folder or a Hub name (owner/name).")
    if folder.exists() and not folder.is_dir():
        raise UserError(_PATH, f" = {path!r} is not a folder; give the folder that holds the model's config.json.")
    check_files(path)
    if folder.is_dir() and not (folder / "config.json").exists() and not (folder / ADAPTER).exists():
        found = sorted((*folder.glob("step-*/"), *folder.glob("checkpoints/step-*/")))
        hint = f"did you mean its checkpoint {found[-1]}?" if found else "give a folder that has one."
        raise UserError(_PATH, f" = {path!r} is not a model folder (it has no config.json); {hint}")


def check_language_model(settings: PretrainedConfig, path: str) -> None:
    """Raise a UserError for a config whose model does not go on with text by itself."""
    kind = settings.model_type
    if getattr(settings, "is_encoder_decoder", False):
        what = f"a {kind} model, which has an encoder beside the decoder and so answers otherwise than by going on"
    elif type(settings) not in MODEL_FOR_CAUSAL_LM_MAPPING:
        senses = settings.get_text_config() is not settings
        what = f"a {kind} model, " + (
            "which takes more than text in, and of which transformers loads no language model by itself"
            if senses
            else "of which transformers has no causal language model"
        )
    else:
        return
    raise UserError(
        _PATH, f" = {path!r} is {what}; give a causal language model of text, such as the one that it was made from."
    )


def check_files(path: str, setting: SettingName = _PATH) -> None:
    """Raise a UserError where what a loader would open in a folder is no file: a pipe keeps it waiting for ever, and a
    device may have no end.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return
    try:
        for entry in sorted((*folder.iterdir(), *folder.glob("shards/*"))):
            if (entry.suffix not in _READ and entry.parent == folder) or not entry.exists():
                continue
            mode = entry.stat().st_mode
            if not stat.S_ISREG(mode):
                what = "a folder" if stat.S_ISDIR(mode) else "a pipe or a device"
                name = entry.relative_to(folder)
                raise UserError(
                    setting, f" = {path!r} holds {name}, which is {what} and not a file; put the file there."
                )
    except OSError as error:
        raise UserError(setting, f" = {path!r} cannot be looked at ({unreadable(error)}); mend that.") from None
