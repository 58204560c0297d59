"""Checkpoints: whole or not there at all, plain Hugging Face folders, and what a full disk does."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers import needs_peft
from r1zero.config.sections import LoraSettings
from r1zero.errors import UserError
from r1zero.policy.load import Policy, load_policy
from r1zero.policy.lora import add_lora
from r1zero.runs import checkpoints
from r1zero.runs.exclusive import LOCK
from r1zero.runs.run import Run
from tiny_runs import start, sums_of, taught_model, trained, untimed, write_recipe

STATE = {"learner": {"updates": 3, "moment": torch.arange(4.0)}, "stream": {"position": 7, "dropped": 0}}


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(str(taught_model()), device="cpu")


def save(folder: Path, policy: Policy, step: int, score: float | None = None) -> checkpoints.Checkpoint:
    return checkpoints.save(folder, step, policy.save, STATE, score)


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in checkpoints.complete(folder)]


def test_what_was_saved_is_there(tmp_path: Path, policy: Policy) -> None:
    saved = save(tmp_path, policy, 12, 0.25)
    assert checkpoints.latest(tmp_path) == saved
    assert (saved.path.name, saved.step, saved.score) == ("step-000012", 12, 0.25)
    state = saved.state()
    assert state["stream"] == {"position": 7, "dropped": 0}
    assert torch.equal(state["learner"]["moment"], torch.arange(4.0))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000012"]


def test_no_checkpoint_is_none(tmp_path: Path) -> None:
    assert checkpoints.latest(tmp_path) is None
    assert checkpoints.latest(tmp_path / "nowhere") is None


def test_plain_transformers_reads_a_checkpoint_and_gives_the_same_logits(tmp_path: Path, policy: Policy) -> None:
    folder = save(tmp_path, policy, 1).path
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("3+8=", return_tensors="pt").input_ids
    assert ids[0].tolist() == list(policy.encode("3+8="))
    with torch.no_grad():
        assert torch.equal(model(ids).logits, policy.model(ids).logits)
    assert model.lm_head.weight is model.get_input_embeddings().weight  # tied as before
    assert model.generate(ids, max_new_tokens=4, do_sample=False).shape[1] <= 8


def test_a_checkpoint_of_the_same_step_is_replaced(tmp_path: Path, policy: Policy) -> None:
    save(tmp_path, policy, 1, 0.25)
    save(tmp_path, policy, 1, 0.5)
    assert [checkpoint.score for checkpoint in checkpoints.complete(tmp_path)] == [0.5]


def test_a_tokenizer_that_keeps_files_in_a_folder_is_saved_whole(tmp_path: Path, policy: Policy) -> None:
    tokenizer = AutoTokenizer.from_pretrained(taught_model())
    tokenizer.chat_template = {"default": "{{ messages }}", "tool_use": "tools"}
    chatty = Policy(policy.model, tokenizer, policy.eos_ids, policy.autocast)
    saved = save(tmp_path, chatty, 1)
    inside = [path for path in saved.path.rglob("*") if path.is_file() and path.parent != saved.path]
    assert inside, "this tokenizer no longer makes a folder: the test has lost its point"
    assert steps(tmp_path) == [1]
    inside[0].write_text("torn")
    assert steps(tmp_path) == []


# ---- torn ones


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def seal(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "complete.json").read_text())


def seal_one_outside(folder: Path) -> None:
    """Seal a file that lies beside the folder, with its true size and checksum."""
    (folder.parent / "secret").write_bytes(b"secret")
    entry = {"size": 6, "blake2b": hashlib.blake2b(b"secret").hexdigest()}
    put_seal(folder, seal(folder) | {"files": seal(folder)["files"] | {"../secret": entry}})


def put_seal(folder: Path, content: object) -> None:
    (folder / "complete.json").write_text(json.dumps(content))


WEIGHTS, STATES, TOKENIZER = "model.safetensors", "training_state.pt", "tokenizer.json"
TEARS = {
    "no weights": lambda folder: (folder / WEIGHTS).unlink(),
    "half the weights": lambda folder: os.truncate(folder / WEIGHTS, 1000),
    "most of a state": lambda folder: os.truncate(folder / STATES, (folder / STATES).stat().st_size - 1),
    "no tokenizer": lambda folder: (folder / TOKENIZER).unlink(),
    "no seal": lambda folder: (folder / "complete.json").unlink(),
    "half a seal": lambda folder: os.truncate(folder / "complete.json", 20),
    "a foreign seal": lambda folder: put_seal(folder, []),
    "a seal without a step": lambda folder: put_seal(folder, {"files": {}}),
    "a seal of a list": lambda folder: put_seal(folder, {"step": 2, "score": None, "files": [WEIGHTS]}),
    "a seal that is a pipe": lambda folder: [(folder / "complete.json").unlink(), os.mkfifo(folder / "complete.json")],
    "a seal of another step": lambda folder: put_seal(folder, seal(folder) | {"step": 3}),
    "nothing": lambda folder: [path.unlink() for path in folder.iterdir()],
}
SAME_SIZE = {
    "weights": lambda folder: flip(folder / WEIGHTS),
    "a state": lambda folder: flip(folder / STATES),
    "a tokenizer": lambda folder: flip(folder / TOKENIZER),
    "a seal of another folder's file": seal_one_outside,
    "a seal without sums": lambda folder: put_seal(
        folder,
        seal(folder) | {"files": {name: {"size": entry["size"]} for name, entry in seal(folder)["files"].items()}},
    ),
}


@pytest.mark.parametrize("tear", TEARS)
def test_a_torn_checkpoint_is_never_chosen(tmp_path: Path, policy: Policy, tear: str) -> None:
    save(tmp_path, policy, 1)
    newer = save(tmp_path, policy, 2)
    assert steps(tmp_path) == [1, 2]
    TEARS[tear](newer.path)
    assert steps(tmp_path) == [1]
    assert checkpoints.latest(tmp_path) == checkpoints.complete(tmp_path)[0]
    assert save(tmp_path, policy, 2).step == 2  # done again by the resumed run
    assert steps(tmp_path) == [1, 2]


def test_a_leftover_is_never_chosen_and_only_ours_goes_with_the_next_pruning(tmp_path: Path, policy: Policy) -> None:
    newer = save(tmp_path, policy, 2)
    shutil.copytree(newer.path, tmp_path / ".step-000003.tmp")
    shutil.copytree(newer.path, tmp_path / "step-000004")
    (tmp_path / "step-000004" / "complete.json").unlink()
    (tmp_path / "step-notes").mkdir()  # a user's own
    shutil.copytree(newer.path, tmp_path / "step-000002-mine")
    assert steps(tmp_path) == [2]
    checkpoints.prune(tmp_path, keep_last=1, keep_best=True)
    kept = ["step-000002", "step-000002-mine", "step-000004", "step-notes"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


@pytest.mark.parametrize("damage", SAME_SIZE)
def test_damage_that_keeps_the_size_is_noticed(tmp_path: Path, policy: Policy, damage: str) -> None:
    older, newer = save(tmp_path, policy, 1), save(tmp_path, policy, 2)
    assert checkpoints.latest(tmp_path) == newer
    SAME_SIZE[damage](newer.path)
    assert not newer.intact()
    assert checkpoints.latest(tmp_path) == older
    SAME_SIZE[damage](older.path)
    assert checkpoints.latest(tmp_path) is None


@pytest.mark.parametrize(
    "damage",
    [
        "weights", "a tokenizer", "half the weights", "half a seal", "a seal of a list", "a seal that is a pipe",
        "a seal of another folder's file",
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_never_loaded(tmp_path: Path, policy: Policy, damage: str) -> None:
    folder = save(tmp_path, policy, 1).path
    load_policy(str(folder), device="cpu")
    (TEARS | SAME_SIZE)[damage](folder)
    with pytest.raises(UserError, match=r"is damaged, or was changed after it was saved|which is a pipe or a device"):
        load_policy(str(folder), device="cpu")


def test_what_training_found_damaged_is_not_loaded_either(tmp_path: Path, policy: Policy) -> None:
    folder = save(tmp_path, policy, 2).path
    checkpoints.mark_damaged(tmp_path, after=1)
    with pytest.raises(UserError, match="as training found"):
        load_policy(str(folder), device="cpu")


def test_a_training_state_that_is_damaged_or_gone_is_no_matter_where_no_training_goes_on(
    tmp_path: Path, policy: Policy
) -> None:
    folder = save(tmp_path, policy, 1).path
    flip(folder / STATES)
    load_policy(str(folder), device="cpu")
    (folder / "training_state.pt").unlink()
    load_policy(str(folder), device="cpu")


def test_a_checkpoint_that_was_changed_on_purpose_can_be_used_as_the_sentence_says(
    tmp_path: Path, policy: Policy
) -> None:
    folder = save(tmp_path, policy, 1).path
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"mine": 1}), encoding="utf-8")
    with pytest.raises(UserError, match=r"config\.json is not what complete\.json says.*copy the folder without its"):
        load_policy(str(folder), device="cpu")
    copied = tmp_path / "mine"
    shutil.copytree(folder, copied, ignore=shutil.ignore_patterns("complete.json", "damaged.json"))
    assert load_policy(str(copied), device="cpu").model.config.mine == 1


@needs_peft
def test_adapters_whose_base_is_a_damaged_checkpoint_are_not_loaded(tmp_path: Path, policy: Policy) -> None:
    base = save(tmp_path, policy, 1).path
    adapted = load_policy(str(base), device="cpu")
    add_lora(adapted, LoraSettings(rank=2), seed=0)
    adapters = checkpoints.save(tmp_path, 2, adapted.save, STATE, None).path
    load_policy(str(adapters), device="cpu")
    flip(base / WEIGHTS)
    with pytest.raises(UserError, match="step-000001 is damaged"):
        load_policy(str(adapters), device="cpu")


COMMANDS = (
    ("evaluate", "{folder}", "--template", "no", "--benchmarks", "arithmetic", "--limit", "4", "--out", "{out}"),
    ("analyze", "{folder}", "--templates", "no", "--questions", "arithmetic", "--limit", "4", "--out", "{out}"),
    ("audit", "--run", "{run}", "--step", "3"),
    ("train", "{recipe}", "--model.path", "{folder}", "--out", "{out}"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=[words[0] for words in COMMANDS])
def test_every_command_refuses_a_damaged_checkpoint(tmp_path: Path, words: tuple[str, ...]) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained({"checkpoint.keep_last": 9}).path, run)
    folder = run / "checkpoints" / "step-000002"
    flip(folder / "model.safetensors")
    recipe = write_recipe(tmp_path / "recipe.toml")
    command = start(*(word.format(folder=folder, run=run, recipe=recipe, out=tmp_path / "out") for word in words))
    assert command.wait() != 0
    said = " ".join((command.out + command.err).split())
    assert "step-000002 is damaged" in said, said
    assert "model.safetensors is not what complete.json says" in said
    assert "Traceback" not in said
    assert not list(tmp_path.glob("out/**/*.parquet"))


def test_only_the_checkpoint_that_is_chosen_is_read(
    tmp_path: Path, policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3):
        save(tmp_path, policy, step)
    read: list[int] = []
    whole = checkpoints.Checkpoint.intact
    monkeypatch.setattr(checkpoints.Checkpoint, "intact", lambda self: read.append(self.step) or whole(self))
    assert checkpoints.latest(tmp_path)
    assert read == [3]
    flip(tmp_path / "step-000003" / "model.safetensors")
    assert checkpoints.latest(tmp_path)
    assert read == [3, 3, 2]


def test_what_was_passed_over_neither_counts_as_last_nor_as_best(tmp_path: Path, policy: Policy) -> None:
    """Otherwise the next pruning would keep the damaged one and delete the good one."""
    for step, score in ((1, 0.25), (2, 0.75)):
        save(tmp_path, policy, step, score)
    flip(tmp_path / "step-000002" / "model.safetensors")
    checkpoints.mark_damaged(tmp_path, after=1)
    assert steps(tmp_path) == [1]
    assert [path.name for path in checkpoints.steps(tmp_path)] == ["step-000001", "step-000002"]
    checkpoints.prune(tmp_path, keep_last=1, keep_best=True)
    assert steps(tmp_path) == [1]
    assert save(tmp_path, policy, 2, 0.5).intact()


def test_checkpoints_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000, 5):
        (tmp_path / f"step-{step:06d}").mkdir()
    assert [path.name for path in checkpoints.steps(tmp_path)] == ["step-000005", "step-999999", "step-1000000"]


def test_a_damaged_training_state_is_one_sentence(tmp_path: Path, policy: Policy) -> None:
    checkpoint = save(tmp_path, policy, 2)
    state = checkpoint.path / "training_state.pt"
    state.write_bytes(bytes(state.stat().st_size))
    with pytest.raises(UserError, match=r"training_state.pt is damaged .*delete the folder step-000002"):
        checkpoint.state()


def test_a_leftover_of_the_same_step_does_not_get_into_the_checkpoint(tmp_path: Path, policy: Policy) -> None:
    (tmp_path / ".step-000003.tmp").mkdir()
    (tmp_path / ".step-000003.tmp" / "stray").write_text("stray")
    assert not (save(tmp_path, policy, 3).path / "stray").exists()


# ---- pruning


def pruned(folder: Path, policy: Policy, scores: list[float | None], keep_last: int, keep_best: bool) -> list[int]:
    for step, score in enumerate(scores, start=1):
        save(folder, policy, step, score)
    checkpoints.prune(folder, keep_last, keep_best)
    assert sorted(path.name for path in folder.iterdir()) == [f"step-{step:06d}" for step in steps(folder)]
    return steps(folder)


@pytest.mark.parametrize(
    "scores, keep_last, keep_best, kept",
    [
        ([None, None, None], 2, True, [2, 3]),
        ([0.5, 0.25, 0.25], 1, True, [1, 3]),
        ([0.5, 0.25, 0.25], 1, False, [3]),
        ([0.25, 0.5, 0.5, 0.0], 1, True, [2, 4]),  # of equals, the earliest
        ([0.0, None, None], 1, True, [1, 3]),  # a score of 0 is a score
        ([0.25, None, 0.5], 2, True, [2, 3]),
        ([0.5], 3, True, [1]),
    ],
)
def test_the_last_and_the_best_are_kept(
    tmp_path: Path, policy: Policy, scores: list[float | None], keep_last: int, keep_best: bool, kept: list[int]
) -> None:
    assert pruned(tmp_path, policy, scores, keep_last, keep_best) == kept


# ---- a full disk


def test_nothing_can_be_written_at_all(tmp_path: Path, policy: Policy) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"cannot be written to .*: mend that .*; there is no older checkpoint\.$"):
        save(tmp_path / "file", policy, 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small file system is not permitted here")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """A file that leaves only `leave` bytes free."""
    status = os.statvfs(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(b"x" * (status.f_bavail * status.f_bsize - leave))
    return ballast


@pytest.mark.slow
def test_a_full_disk_loses_nothing(tmp_path: Path, small_disk: Path) -> None:
    recipe, out = write_recipe(tmp_path / "r.toml"), small_disk / "run"
    start("train", recipe, "--out", out, "--train.steps=2").done()
    before = sums_of(out)
    # A checkpoint takes about 460 KiB, 150 of them weights: one disk is full in the middle of the training state, one
    # in the middle of the weights, and one before the first step can be logged.
    for leave, says in ((300 << 10, "step 4 cannot"), (100 << 10, "step 4 cannot"), (0, "No space left on device")):
        ballast = fill(small_disk, leave)
        start("train", recipe, "--out", out, "--train.steps=4", "--resume").refused(says)
        ballast.unlink()
        assert steps(out / "checkpoints") == [2]
        assert sums_of(out) == before
        assert [path.name for path in out.rglob(".*")] == [LOCK]
    start("train", recipe, "--out", out, "--train.steps=4", "--resume").done()
    whole = trained({"train.steps": 4})
    assert untimed(Run.open(out).read("metrics")) == untimed(whole.read("metrics"))
    assert sums_of(out / "checkpoints" / "step-000004") == sums_of(whole.path / "checkpoints" / "step-000004")


def test_a_checkpoint_too_large_for_the_disk_loses_nothing(tmp_path: Path) -> None:
    """The same without a mount: no file may grow beyond 100 kB, which the weights do."""
    recipe, out = write_recipe(tmp_path / "r.toml"), tmp_path / "run"
    start("train", recipe, "--out", out, "--train.steps=1").done()
    before = sums_of(out)
    cut = start("train", recipe, "--out", out, "--train.steps=2", "--resume", file_bytes=100_000)
    cut.refused("The checkpoint of step 2 cannot be written")
    assert "File too large" in cut.err
    assert "mend that and continue with --resume; the checkpoint of step 1 is whole." in cut.err
    assert sums_of(out) == before
    assert [path.name for path in out.rglob(".*")] == [LOCK]
    start("train", out, "--resume").done()  # with the two steps it was last given
    assert steps(out / "checkpoints") == [1, 2]
    assert json.loads((out / "checkpoints" / "step-000002" / "complete.json").read_text())["step"] == 2
