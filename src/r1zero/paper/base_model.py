"""The demo's base model: 0.2 million parameters that have read the miniature's questions and answers.

One comes with the package, in `base/`: the last checkpoint of `recipes/miniature-pretrain.toml` on the world of seed 0,
with seed 0, its weights rounded to bfloat16 so that they take half a megabyte. `scripts/make_demo_base.py` makes it,
and `r1zero demo --from-scratch` one of another seed. The same seed gives the same bits only on a processor that rounds
alike; the folder's seal (`complete.json`) tells whether the files are those that were made.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch

from r1zero.config.pretrain import PretrainRecipe
from r1zero.errors import UserError
from r1zero.paper.jobs import RunJob, last_checkpoint
from r1zero.paper.miniature import DOCUMENTS, WORLD
from r1zero.paper.world import write_corpus, write_shape
from r1zero.policy.load import load_policy
from r1zero.runs.checkpoints import check_sealed, seal
from r1zero.runs.files import writing

BASE = "base"
PRETRAINING = "pretraining"
"""The run that makes a base model from scratch, beside it."""
STEPS = 2000
WORLD_SEED = 0
CORPUS = "qa"


@dataclass(frozen=True, slots=True)
class Origin:
    """How the weights that come with the package were made, and what they are."""

    seed: int
    steps: int
    sha256: str
    """Of model.safetensors."""


SHIPPED = Origin(0, STEPS, "25013a4d359645d1439920a6ad6f42ba276742afabf4590323e9f743056787a3")


def sha256(folder: Path) -> str:
    """Return the SHA-256 of a model folder's weights. Raises OSError."""
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def is_shipped(folder: Path) -> bool:
    """Tell whether a folder holds the weights that come with the package."""
    return (folder / "model.safetensors").is_file() and sha256(folder) == SHIPPED.sha256


def copy_shipped(folder: Path) -> None:
    """Copy the base model that comes with the package to `folder`, whole or not at all.

    Raises:
        UserError: the package's is damaged, or the copy cannot be written.
    """
    with resources.as_file(resources.files("r1zero.paper") / "base") as shipped:
        check_sealed(shipped)
        found = sha256(shipped)
        if found != SHIPPED.sha256:
            raise UserError(
                f"The base model in {shipped} is not the one that r1zero came with (SHA-256 {found[:12]}…, not "
                f"{SHIPPED.sha256[:12]}…); install r1zero again, or make one with --from-scratch."
            )
        aside = _aside(folder)
        with writing(folder):
            shutil.copytree(shipped, aside, copy_function=shutil.copyfile)
            aside.rename(folder)


def pretraining(out: Path, seed: int, steps: int = STEPS) -> RunJob:
    """Write what a base model reads, if it is not there, and return the run that makes it."""
    world = out / WORLD
    with writing(world):
        if not (world / "shape" / "config.json").is_file():
            write_shape(world / "shape")
        if not (world / f"{CORPUS}.jsonl").is_file():
            write_corpus(world, CORPUS, WORLD_SEED, DOCUMENTS)
    changes = {
        "model.path": str((world / "shape").resolve()),
        "corpus.name": str((world / f"{CORPUS}.jsonl").resolve()),
        "train.steps": steps,
        "train.seed": seed,
        "learner.warmup_steps": min(30, steps // 5),
    }
    return RunJob(PRETRAINING, "miniature-pretrain", changes, kind=PretrainRecipe)


def round_base(run: Path, folder: Path) -> None:
    """Write the last checkpoint of a pretraining run to `folder`, in bfloat16 and sealed, whole or not at all.

    Raises:
        UserError: there is none, it is damaged, or the folder cannot be written.
    """
    checkpoint = last_checkpoint(run)
    policy = load_policy(str(checkpoint), device="cpu", dtype=torch.bfloat16)
    aside = _aside(folder)
    with writing(folder):
        policy.save(aside)
        seal(aside, int(checkpoint.name.rpartition("-")[2]), None)
        aside.rename(folder)


def _aside(folder: Path) -> Path:
    """Tell where a folder is written before it has its name; nothing is there."""
    aside = folder.with_name(f".{folder.name}.tmp")
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(aside, ignore_errors=True)
    return aside
