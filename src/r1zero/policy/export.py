"""A sharded checkpoint as one Hugging Face folder (model.safetensors, or the adapters alone)."""

from __future__ import annotations

import shutil
from pathlib import Path

from safetensors import SafetensorError

from r1zero.errors import UserError, reason
from r1zero.policy.load import load_policy
from r1zero.policy.sharded import has_shards
from r1zero.runs.files import remedy


def export(checkpoint: Path, out: Path) -> None:
    """Write the model of a sharded checkpoint to `out`, whole or not at all. In memory it is there once, in float32.

    Raises:
        UserError: it is not one, `out` holds something, or it cannot be written.
    """
    if not checkpoint.exists():
        raise UserError(f"{checkpoint} does not exist; give a checkpoint's folder, RUN/checkpoints/step-….")
    if not has_shards(checkpoint):
        raise UserError(
            f"{checkpoint} is not a sharded checkpoint: give a folder like RUN/checkpoints/step-000016 of a run with "
            "the section [cluster] (others are model folders as they are)."
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} holds something already; give a folder that does not exist yet.")
    policy = load_policy(str(checkpoint), device="cpu")
    aside = out.with_name(f".{out.name}.tmp")
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        policy.save(aside)
        if out.exists():
            out.rmdir()
        aside.rename(out)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise UserError(f"{out} cannot be written ({reason(error)}): {remedy(error)}.") from None
