"""Exact resume: a run that is killed again and again ends with the bits of one that never was."""

import json
import os
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from processes import END_S, below, wait_ended, wait_for
from r1zero.errors import UserError
from r1zero.runs import checkpoints
from r1zero.runs.run import Run
from r1zero.training.train import train
from regime import seeded
from tiny_runs import Hold, graded, start, sums_of, tiny_recipe, trained, untimed, write_recipe

STEPS = 14
SETTINGS: dict[str, object] = {"train.steps": STEPS, "evaluation.every": 3, "checkpoint.every": 2}


def same_state(one: Any, two: Any) -> bool:
    """Whether two training states are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, two)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same_state(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(same_state, one, two))
    return one == two


def assert_same_run(run: Run, reference: Run) -> None:
    """Everything but clocks is equal: lines, responses, evaluations, weights and optimiser states."""
    assert [row["step"] for row in run.read("metrics")] == [row["step"] for row in reference.read("metrics")]
    assert untimed(run.read("metrics")) == untimed(reference.read("metrics"))
    assert run.read("evaluations") == reference.read("evaluations")
    for path in sorted(reference.path.glob("*/*.parquet")) + sorted(reference.path.glob("*/*/*.parquet")):
        mine = run.path / path.relative_to(reference.path)
        assert graded(pq.read_table(mine).to_pylist()) == graded(pq.read_table(path).to_pylist())
    names = [sorted(p.name for p in (each.path / "checkpoints").iterdir()) for each in (run, reference)]
    assert names[0] == names[1]
    assert sums_of(run.path) == sums_of(reference.path)
    states = [checkpoints.latest(each.path / "checkpoints") for each in (run, reference)]
    assert states[0]
    assert states[1]
    assert states[0].step == states[1].step == STEPS
    assert same_state(states[0].state(), states[1].state())


# ---- SIGKILL


LOG, DECODE = "r1zero.runs.run:Run.log", "r1zero.sampling.embedded.sampler:_Decoder.step"
_RNG = random.Random(seeded())
# Moments at which lives of a run are ended, one after the other. Calls are counted anew in every life, which does again
# what the one before it did after its last checkpoint.
KILLS = {
    1: (
        Hold(LOG, first="evaluations"),  # the responses of step 0's evaluation are saved, its result is not logged
        Hold(LOG, 2, "metrics", after=True),  # a step is logged, and its checkpoint, the first, is still to come
        Hold("r1zero.runs.checkpoints:write_text"),  # a checkpoint has all its files but the seal
        Hold("r1zero.runs.checkpoints:write_text", after=True),  # it is sealed, and not yet where checkpoints are
        Hold("r1zero.runs.checkpoints:prune", 2),  # it is there, and those that it is to replace as well
        Hold("os:unlink", first="model.safetensors", after=True),  # one of those is half deleted
        Hold("r1zero.runs.run:Run.rewind", after=True),  # going on has begun: the lines of lost steps are gone
        Hold(LOG, first="evaluations", after=True),  # an evaluation is logged, its step is not
    ),
    2: (
        Hold(DECODE, _RNG.randrange(1, 12)),  # in the evaluation before the first step
        Hold("r1zero.learner.learner:Learner.gradient", 4),  # between the two updates of step 2
        Hold(LOG, 2, "metrics"),  # learning is over and the responses are saved, but the step is not logged
        Hold("torch:save"),  # a checkpoint has weights, and no training state
        Hold("r1zero.runs.checkpoints:prune"),
        Hold("torch.serialization:_save", after=True),  # the file of the training state is half written
        Hold("r1zero.learner.optimiser:Optimiser.step", 4, after=True),  # weights are moved, nothing is saved of it
        Hold(DECODE, _RNG.randrange(12, 60)),  # in one of the next batches
    ),
}  # fmt: skip


def last_step(out: Path) -> int:
    rows = Run(out).read("metrics")
    return rows[-1]["step"] if rows else 0


@pytest.mark.slow
@pytest.mark.parametrize("updates", [1, 2])
def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path, updates: int) -> None:
    recipe, out = write_recipe(tmp_path / "r.toml"), tmp_path / "run"
    settings = SETTINGS | {"learner.updates": updates}
    words = ["train", recipe, "--out", out, "--resume", *(f"--{key}={value}" for key, value in settings.items())]
    for moment in KILLS[updates]:
        process = start(*words, hold=moment)
        process.held()
        assert process.kill() == -signal.SIGKILL, process.err
    assert 0 < last_step(out) < STEPS
    assert "continuing after step" in start(*words).done()
    reference = trained(settings)
    assert sum(row["learn/grad_norm"] > 0 for row in reference.read("metrics")) > STEPS / 2
    assert_same_run(Run.open(out), reference)


def tear(checkpoint: Path) -> None:
    os.truncate(checkpoint / "training_state.pt", 100)


def flip_a_bit(checkpoint: Path) -> None:
    data = bytearray((checkpoint / "model.safetensors").read_bytes())
    data[-3] ^= 64
    (checkpoint / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize("damage", [tear, flip_a_bit])
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(tmp_path: Path, damage) -> None:
    reference = trained(SETTINGS)
    shutil.copytree(reference.path, tmp_path / "run")
    newest = checkpoints.latest(tmp_path / "run" / "checkpoints")
    assert newest
    damage(newest.path)
    run = train(tiny_recipe(SETTINGS), tmp_path / "run", resume=True)
    assert_same_run(run, reference)
    assert [row["note"] for row in run.read("notes")] == [f"{newest.path.name} is damaged and was passed over"]


# ---- resuming what needs no resuming, or other things


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    reference = trained(SETTINGS)
    shutil.copytree(reference.path, tmp_path / "run")
    before = contents(tmp_path / "run")
    train(tiny_recipe(SETTINGS), tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == before


def test_resume_where_there_is_no_run_starts_one(tmp_path: Path) -> None:
    run = train(tiny_recipe({"train.steps": 5, "checkpoint.every": 1}), tmp_path / "run", resume=True)
    assert untimed(run.read("metrics")) == untimed(trained({"train.steps": 5, "checkpoint.every": 1}).read("metrics"))


def test_more_steps_make_the_longer_run(tmp_path: Path) -> None:
    shutil.copytree(trained({"train.steps": 3}).path, tmp_path / "run")
    run = train(tiny_recipe({"train.steps": 6}), tmp_path / "run", resume=True)
    longer = trained({"train.steps": 6})
    assert untimed(run.read("metrics")) == untimed(longer.read("metrics"))
    assert [row["step"] for row in run.read("evaluations")] == [0, 2, 3, 4, 6]  # 3 was an end
    assert [row for row in run.read("evaluations") if row["step"] != 3] == longer.read("evaluations")
    name = "checkpoints/step-000006/model.safetensors"
    assert (run.path / name).read_bytes() == (longer.path / name).read_bytes()
    assert run.recipe.train.steps == 6  # so that the next resume by the directory alone goes on to 6 too


def test_another_torch_is_said_and_written_down(tmp_path: Path) -> None:
    shutil.copytree(trained({"train.steps": 3}).path, tmp_path / "run")
    facts = json.loads((tmp_path / "run" / "run.json").read_text())
    facts["versions"]["torch"] = "1.0.0"
    (tmp_path / "run" / "run.json").write_text(json.dumps(facts))
    out = start("train", tmp_path / "run", "--resume", "--train.steps=4").done()
    said = [line for line in out.splitlines() if line.startswith("note ")]
    assert len(said) == 1
    assert said[0].startswith("note started with torch 1.0.0 on cpu, now torch ")
    notes = Run(tmp_path / "run").read("notes")
    assert [(row["step"], f"note {row['note']}") for row in notes] == [(3, said[0])]


def test_the_questions_may_lie_elsewhere_when_a_run_goes_on(tmp_path: Path) -> None:
    rows = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(8)]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings: dict[str, object] = {
        "questions.name": "sums.jsonl", "questions.options": {}, "questions.data_dir": str(tmp_path / "one"),
        "evaluation.benchmarks": [{"name": "sums.jsonl"}],
    }  # fmt: skip
    train(tiny_recipe(settings | {"train.steps": 1}), tmp_path / "run")
    moved = settings | {"train.steps": 2, "questions.data_dir": str(tmp_path / "two")}
    assert len(train(tiny_recipe(moved), tmp_path / "run", resume=True).read("metrics")) == 2


OTHERS = {"learner.eps": 1e-4, "train.seed": 5, "rollout.samples": 8, "objective.name": "grpo"}


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"train.steps": 2}, r"train\.steps = 2 is less than the 3 steps that .*run has done; set train"),
        *(
            ({"train.steps": 6, key: value}, f"was started with other settings of {key}; resume it with the recipe it")
            for key, value in OTHERS.items()
        ),
    ],
)
def test_another_run_is_not_continued(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    shutil.copytree(trained({"train.steps": 3}).path, tmp_path / "run")
    before = contents(tmp_path / "run")
    with pytest.raises(UserError, match=says):
        train(tiny_recipe(changes), tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == before


# ---- another course, and back


def test_a_lower_learning_rate_takes_hold_and_what_it_replaces_is_kept(tmp_path: Path) -> None:
    """Killed in step 3, after the checkpoint of step 2, and gone on with another learning rate: the rest is that of a
    run that had it from step 3 on, and what was lost of step 3 is still there."""
    settings = {"train.steps": 4, "learner.schedule": "linear", "learner.warmup_steps": 1}
    whole = trained(settings)
    shutil.copytree(whole.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    shutil.rmtree(run.path / "checkpoints" / "step-000004")
    before = run.read("metrics"), run.read("evaluations")
    halved = settings | {"learner.learning_rate": 2.5e-4}
    train(tiny_recipe(halved), run.path, resume=True)
    rates = [row["learn/learning_rate"] for row in run.read("metrics")]
    # warm-up of one update, then linear to 0 after four: 1, 1, 2/3, 1/3 of the rate
    assert rates == pytest.approx([5e-4, 5e-4, 2.5e-4 * 2 / 3, 2.5e-4 / 3])
    assert untimed(run.read("metrics")[:2]) == untimed(before[0][:2])
    aside = run.path / "aside-001"
    assert Run(aside).read("metrics") == before[0][2:]
    assert Run(aside).read("evaluations") == before[1][2:]
    assert (aside / "rollouts" / "step-000003.parquet").read_bytes() == (
        whole.path / "rollouts" / "step-000003.parquet"
    ).read_bytes()
    notes = [row["note"] for row in run.read("notes")]
    assert notes == [
        "from here on with learner.learning_rate = 0.00025 (before 0.0005)",
        "went back to step 2: what steps 3 to 4 had made is kept in aside-001",
    ]
    assert sums_of(run.path / "checkpoints" / "step-000004") != sums_of(whole.path / "checkpoints" / "step-000004")
    train(tiny_recipe(halved | {"train.steps": 5}), run.path, resume=True)  # and on from there, with that recipe


def test_the_command_goes_back_to_an_older_checkpoint_and_makes_the_same_again(tmp_path: Path) -> None:
    reference = trained({"train.steps": 6, "checkpoint.keep_last": 3})
    shutil.copytree(reference.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    for words, aside in ((("--resume", "2"), "aside-001"), (("--resume=4",), "aside-002")):
        command = start("train", run.path, *words, "--log.rollouts_every", "1")
        assert command.wait() == 0, command.err
        assert f"is kept in {aside}" in command.out
        assert untimed(run.read("metrics")) == untimed(reference.read("metrics"))
        assert run.read("evaluations") == reference.read("evaluations")
        assert sums_of(run.path / "checkpoints") == sums_of(reference.path / "checkpoints")
        assert [row["step"] for row in Run(run.path / aside).read("metrics")][-1] == 6
        assert sums_of(run.path / aside / "checkpoints")
    kept = sums_of(run.path / "aside-001" / "checkpoints")
    older = {name: sum_ for name, sum_ in sums_of(reference.path / "checkpoints").items() if "step-000002" not in name}
    assert kept == older
    command = start("train", run.path, "--resume", "3")
    assert command.wait() == 2
    assert "has no whole checkpoint of that step; there are those of 2, 4, 6, and 0 is" in command.err
    command = start("train", tmp_path / "none", "--resume", "3")
    assert command.wait() == 2


def test_step_0_is_the_beginning(tmp_path: Path) -> None:
    reference = trained({"train.steps": 3})
    shutil.copytree(reference.path, tmp_path / "run")
    run = train(reference.recipe, tmp_path / "run", resume=True, from_step=0)
    assert untimed(run.read("metrics")) == untimed(reference.read("metrics"))
    assert run.read("evaluations") == reference.read("evaluations")
    assert sums_of(run.path / "checkpoints") == sums_of(reference.path / "checkpoints")
    assert Run(run.path / "aside-001").read("metrics") == reference.read("metrics")


def test_the_remedy_for_a_gradient_that_is_not_finite_works(tmp_path: Path) -> None:
    """Weights of 1e10 have no finite logits: the sentences say to go back and to lower the rate, and that is taken."""
    settings: dict[str, object] = {"train.steps": 3, "checkpoint.every": 1, "evaluation.benchmarks": []}
    with pytest.raises(UserError, match=r"go on from an older checkpoint with a lower learner\.learning_rate"):
        train(tiny_recipe(settings | {"learner.learning_rate": 1e10}), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert [row["step"] for row in run.read("metrics")] == [1]
    with pytest.raises(UserError, match="whose logits are not finite: it is damaged, or its training went astray"):
        train(run.recipe, run.path, resume=True)
    mended = tiny_recipe(settings | {"learner.learning_rate": 1e-5})
    train(mended, run.path, resume=True, from_step=0)
    assert untimed(run.read("metrics")) == untimed(train(mended, tmp_path / "other").read("metrics"))


def test_a_going_back_that_is_killed_leaves_a_whole_run(tmp_path: Path) -> None:
    reference = trained({"train.steps": 6, "checkpoint.keep_last": 3})
    shutil.copytree(reference.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    hold = Hold("r1zero.runs.aside:write_text")  # checkpoints and responses are moved, no line is
    command = start("train", run.path, "--resume", "2", hold=hold)
    command.held()
    command.kill()
    assert train(run.recipe, run.path, resume=True).path == run.path
    assert untimed(run.read("metrics")) == untimed(reference.read("metrics"))
    assert sums_of(run.path / "checkpoints") == sums_of(reference.path / "checkpoints")
    assert sums_of(run.path / "aside-001" / "checkpoints")


def test_changed_questions_are_noticed(tmp_path: Path) -> None:
    data = tmp_path / "sums.jsonl"
    rows = [{"question": f"{i}+1=", "answer": str(i + 1)} for i in range(8)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {"train.steps": 1, "questions.name": str(data), "questions.options": {}, "evaluation.benchmarks": []}
    train(tiny_recipe(settings), tmp_path / "run")
    data.write_text(data.read_text().replace('"answer": "5"', '"answer": "6"'))
    with pytest.raises(UserError, match=r"started with another questions fingerprint \(\w+, now \w+\)"):
        train(tiny_recipe(settings | {"train.steps": 2}), tmp_path / "run", resume=True)


# ---- Ctrl-C, and what the graders do


TRIAL = "    if 'to try the grader on' in response:\n        return 0.0\n"
"""What a reward says before the run begins."""


@pytest.mark.slow
def test_no_grader_outlives_a_run_that_is_interrupted(tmp_path: Path) -> None:
    """Both are in the middle of a user's own function, and would be for an hour."""
    (tmp_path / "busy").mkdir()
    busy = f"pathlib.Path({str(tmp_path / 'busy')!r}, str(os.getpid())).touch()"
    hangs = f"import os, pathlib, time\ndef reward(response, gold):\n{TRIAL}    {busy}\n    time.sleep(3600)\n"
    (tmp_path / "grader.py").write_text(hangs)
    recipe, out = write_recipe(tmp_path / "r.toml"), tmp_path / "run"
    words = ["train", recipe, "--out", out, f"--verifier.reward={tmp_path / 'grader.py'}:reward"]
    words += ["--verifier.workers=2", "--verifier.timeout_s=3600", "--evaluation.benchmarks=[]"]
    run = start(*words)
    wait_for(lambda: len(list((tmp_path / "busy").iterdir())) == 2 or run.poll(), "two graders at work", END_S)
    graders = below(run.pid, "r1zero.verify.workers.worker")
    assert {str(each.pid) for each in graders} == {path.name for path in (tmp_path / "busy").iterdir()}
    assert run.kill(signal.SIGINT) == 130
    assert run.err == (
        "r1zero: interrupted; train and pretrain go on from their last checkpoints with --resume, other commands "
        "when given again.\n"
    )
    assert [each for each in graders if each.runs] == []  # it has waited for their end


@pytest.mark.slow
def test_no_grader_outlives_a_run_that_is_killed(tmp_path: Path) -> None:
    """Both wait for their next task; the first had to wait until the second had one too."""
    (tmp_path / "busy").mkdir()
    (tmp_path / "grader.py").write_text(
        "import os, pathlib, time\n"
        "def reward(response, gold):\n"
        f"{TRIAL}"
        f"    busy = pathlib.Path({str(tmp_path / 'busy')!r})\n"
        "    (busy / str(os.getpid())).touch()\n"
        "    while len(list(busy.iterdir())) < 2:\n"
        "        time.sleep(0.01)\n"
        "    return float(len(response) % 2)\n"
    )
    words = ["train", write_recipe(tmp_path / "r.toml"), "--out", tmp_path / "run"]
    words += [f"--verifier.reward={tmp_path / 'grader.py'}:reward", "--verifier.workers=2"]
    words += ["--verifier.timeout_s=3600", "--evaluation.benchmarks=[]"]
    run = start(*words, hold=Hold(LOG, first="metrics"))
    run.held()
    graders = below(run.pid, "r1zero.verify.workers.worker")
    assert {str(each.pid) for each in graders} == {path.name for path in (tmp_path / "busy").iterdir()}
    assert len(graders) == 2
    assert run.kill() == -signal.SIGKILL
    wait_ended(graders)
