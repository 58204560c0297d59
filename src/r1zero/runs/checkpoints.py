"""Checkpoints: written aside, synced to disk, renamed; so a name that exists is a checkpoint that is whole.

checkpoints/step-000016/   config.json, model.safetensors, tokenizer files: an ordinary Hugging Face folder
                           training_state.pt: optimiser, schedule, data position
                           complete.json: step, evaluation average, sizes and checksums of all files; written last
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from r1zero.errors import UNREADABLE, UserError, parsed, reason
from r1zero.runs import foreign
from r1zero.runs.files import remedy, write_text

_STATE = "training_state.pt"
_SEAL = "complete.json"
_BROKEN_SEAL = "damaged.json"
_THREADS = 8  # hashing leaves Python's lock to others, and a large model has many files


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A complete checkpoint on disk. `score` is the evaluation average at that step, if there was one."""

    path: Path
    step: int
    score: float | None

    def state(self) -> dict[str, Any]:
        """Return the training state. Raises UserError when it cannot be read."""
        try:
            return torch.load(self.path / _STATE, map_location="cpu", weights_only=True)
        except (*UNREADABLE, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{self.path / _STATE} is damaged ({reason(error, 120)}); delete the folder {self.path.name} and "
                "resume from the checkpoint before it."
            ) from None

    def intact(self) -> bool:
        """Tell whether every file holds what was sealed. Reads all of them, at about 2 s a gigabyte and core."""
        return not _differing(self.path)


def save(
    folder: Path, step: int, write: Callable[[Path], None], state: dict[str, Any], score: float | None
) -> Checkpoint:
    """Write a checkpoint whole, or leave nothing of it. `write` puts the model into the folder that it is given.

    Raises:
        UserError: it cannot be written (disk full, no permission); older checkpoints are untouched.
    """
    final = folder / f"step-{step:06d}"
    aside = folder / f".{final.name}.tmp"
    try:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
        write(aside)
        with (aside / _STATE).open("wb") as file:
            torch.save(state, file)
        seal(aside, step, score)
        _sync(aside)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        _sync_folder(folder)
    except (OSError, SafetensorError, RuntimeError) as error:
        shutil.rmtree(aside, ignore_errors=True)
        last = latest(folder)
        remains = f"the checkpoint of step {last.step} is whole" if last else "there is no older checkpoint"
        raise UserError(
            f"The checkpoint of step {step} cannot be written to {folder} ({reason(error)}): {remedy(error)} and "
            f"continue with --resume; {remains}."
        ) from None
    return Checkpoint(final, step, score)


def seal(folder: Path, step: int, score: float | None) -> None:
    """Write sizes and checksums of all files of a model folder into it. Raises OSError."""
    sums = _sums(folder, [str(path.relative_to(folder)) for path in _files(folder) if path != folder / _SEAL])
    files = {name: {"size": (folder / name).stat().st_size, "blake2b": sum_} for name, sum_ in sums.items()}
    write_text(folder / _SEAL, json.dumps({"step": step, "score": score, "files": files}, indent=2) + "\n")


def check_sealed(path: Path) -> None:
    """Make sure that a model folder holds what it was sealed with, if it was; its training state apart, as no model is
    read from that. Reads the other files once more, at about 2 s a gigabyte and core.

    Raises:
        UserError: a file is not the one that was sealed, or training has found so before.
    """
    if (path / _BROKEN_SEAL).exists() and not (path / _SEAL).exists():
        found = "as training found when it passed it over"
    elif (path / _SEAL).exists() and (differing := _differing(path, but=_STATE)):
        found = f"{', '.join(differing[:3])} {'is' if len(differing) == 1 else 'are'} not what {_SEAL} says"
    else:
        return
    raise UserError(
        f"{path} is damaged, or was changed after it was saved: {found}; take another checkpoint or restore this one "
        f"(to use changes of your own, copy the folder without its {_SEAL} and {_BROKEN_SEAL})."
    )


def complete(folder: Path) -> list[Checkpoint]:
    """Return all checkpoints that look whole, oldest first: sealed, with files of the sizes they were sealed with."""
    found = []
    for path in steps(folder):
        try:
            seal = _read_seal(path)
            whole = all((path / name).stat().st_size == entry["size"] for name, entry in seal["files"].items())
            checkpoint = Checkpoint(path, seal["step"], seal["score"])
        except UNREADABLE:
            continue
        if whole and checkpoint.step == number(path):
            found.append(checkpoint)
    return found


def steps(folder: Path) -> list[Path]:
    """Return the folders that are named like checkpoints, whole or not; others may keep more there."""
    named = (path for path in folder.glob("step-*/") if re.fullmatch(r"step-\d{6,}", path.name))
    return sorted(named, key=number)


def latest(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint whose files hold what they were sealed with. Older ones are not read."""
    return next((checkpoint for checkpoint in reversed(complete(folder)) if checkpoint.intact()), None)


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """Return the checkpoint to continue from, and a note for every newer one that is damaged.

    Raises:
        UserError: there are checkpoints but none is whole: starting over would throw the run away.
    """
    checkpoint, found = latest(folder), steps(folder)
    damaged = found[found.index(checkpoint.path) + 1 :] if checkpoint else found
    if damaged and not checkpoint:
        raise UserError(
            f"No checkpoint in {folder} is whole ({', '.join(path.name for path in damaged)}); restore one, or delete "
            "these folders to start the run over."
        )
    return checkpoint, [f"{path.name} is damaged and was passed over" for path in damaged]


def of_step(folder: Path, step: int) -> Checkpoint:
    """Return the checkpoint of a step. Raises UserError where there is none, or it is damaged."""
    found = {checkpoint.step: checkpoint for checkpoint in complete(folder)}
    if step not in found:
        others = (
            f"there are those of {', '.join(map(str, found))}, and 0 is the beginning"
            if found
            else "no step has a whole one"
        )
        raise UserError(f"--resume {step}: {folder} has no whole checkpoint of that step; {others}.")
    if not found[step].intact():
        raise UserError(
            f"--resume {step}: {found[step].path} is damaged; give another step, or --resume alone for the newest "
            "checkpoint that is whole."
        )
    return found[step]


def forget_scores(folder: Path) -> None:
    """Take the scores from all checkpoints: those of another evaluation do not compare with what comes."""
    for checkpoint in complete(folder):
        if checkpoint.score is not None:
            seal = _read_seal(checkpoint.path) | {"score": None, "former_score": checkpoint.score}
            write_text(checkpoint.path / _SEAL, json.dumps(seal, indent=2) + "\n")


def mark_damaged(folder: Path, after: int) -> None:
    """Take the seal from checkpoints newer than the one a run goes on from, which are damaged.

    They stay where they are, but count neither among the last ones nor as the best.
    """
    for checkpoint in complete(folder):
        if checkpoint.step > after:
            (checkpoint.path / _SEAL).rename(checkpoint.path / _BROKEN_SEAL)


def prune(folder: Path, keep_last: int, keep_best: bool) -> None:
    """Delete all but the last `keep_last` checkpoints and the one with the best score (the earliest of equals)."""
    found = complete(folder)
    kept = {checkpoint.path for checkpoint in found[-keep_last:]}
    scored = [checkpoint for checkpoint in found if checkpoint.score is not None]
    if keep_best and scored:
        kept.add(max(scored, key=lambda checkpoint: checkpoint.score or 0.0).path)
    for checkpoint in found:
        if checkpoint.path not in kept:
            # renamed first, so that a half-deleted folder is not taken for a checkpoint
            shutil.rmtree(checkpoint.path.rename(folder / f".{checkpoint.path.name}.tmp"))
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def _read_seal(path: Path) -> dict[str, Any]:
    """Return a seal. One of `UNREADABLE` where there is none, or something else."""
    seal = parsed(foreign.read_text(path / _SEAL))
    if type(seal["step"]) is not int or not (seal["score"] is None or isinstance(seal["score"], int | float)):
        raise ValueError("its step or its score is not a number")
    return seal


def sealed_files(path: Path) -> frozenset[str] | None:
    """Return the names of the files that a folder was sealed with; None where it has no seal that can be read."""
    try:
        return frozenset(_read_seal(path)["files"])
    except UNREADABLE:
        return None


def number(path: Path) -> int:
    """Tell the step of a folder that is named like a checkpoint."""
    return int(path.name.removeprefix("step-"))


def _differing(folder: Path, but: str = "") -> list[str]:
    """Return the files that are not what they were sealed as, one left out; the seal itself where it is none."""
    try:
        sealed = {name: entry["blake2b"] for name, entry in _read_seal(folder)["files"].items() if name != but}
        for name in sealed:
            foreign.inside(folder, name)
    except (*UNREADABLE, UserError):
        return [_SEAL]
    try:
        found = _sums(folder, [name for name in sealed if (folder / name).is_file()], _known_checksum)
    except OSError:
        return list(sealed)
    return [name for name, sum_ in sealed.items() if found.get(name) != sum_]


def checksums(folder: Path, names: list[str]) -> dict[str, str]:
    """Return the BLAKE2b of each of these files; one that this process has read already is not read again.

    Raises:
        OSError: one cannot be read.
    """
    return _sums(folder, names, _known_checksum)


def _sums(folder: Path, names: list[str], checksum: Callable[[Path], str] | None = None) -> dict[str, str]:
    """Return the checksum of each of these files, several at a time."""
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1)) as pool:
        return dict(zip(names, pool.map(checksum or _checksum, (folder / name for name in names)), strict=True))


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


_known: dict[tuple[int, ...], str] = {}


def _known_checksum(path: Path) -> str:
    """Return a checksum that this process may know already: training looks for a whole checkpoint, then loads it."""
    stat = path.stat()
    identity = stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns
    if identity not in _known:
        _known[identity] = _checksum(path)
    return _known[identity]


def _files(folder: Path) -> list[Path]:
    """Return all files below a folder: a tokenizer with several chat templates keeps them in one of its own."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _sync(folder: Path) -> None:
    for path in _files(folder):
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in (*folder.rglob("*/"), folder):
        _sync_folder(path)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
