"""Real runs on a real Ray cluster: two learner ranks, two sampler replicas, real processes killed for real."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from r1zero.errors import UserError
from r1zero.export import export
from r1zero.runs import Run
from r1zero.train import Unwatched, train
from r1zero.types import Completion
from tiny_runs import session_folder, start, tiny_recipe, trained, wait_for, write_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (make setup-cluster)"),
]
STEPS = {"train.steps": 4, "learner.updates": 2}
TWO = {"cluster.address": "auto", "cluster.learners": 2, "cluster.samplers": 2}
ONE = TWO | {"cluster.learners": 1, "cluster.samplers": 1}


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[None]:
    """A cluster of this machine's cores, more of them than there are: actors are small here."""
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def actors(name: str) -> list[int]:
    """The processes of this machine that are such actors."""
    return [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if path.read_bytes().startswith(b"ray::" + name.encode())
    ]


class Killer(Unwatched):
    """Kills one process of these actors, the first time that the `at`-th response comes."""

    def __init__(self, at: Mapping[int, str]):
        self.at, self.seen = dict(at), 0
        self.killed: list[str] = []

    def sampled(self, completion: Completion) -> None:
        self.seen += 1
        if name := self.at.pop(self.seen, None):
            os.kill(actors(name)[0], signal.SIGKILL)
            self.killed.append(name)


def weights(folder: Path, tmp_path: Path) -> dict[str, torch.Tensor]:
    """The weights of a checkpoint, exported where it is sharded."""
    if (folder / "shards").exists():
        out = tmp_path / f"exported-{folder.parent.parent.name}-{folder.name}"
        export(folder, out)
        folder = out
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).state_dict()


def difference(one: Path, other: Path, tmp_path: Path) -> float:
    left, right = weights(one, tmp_path), weights(other, tmp_path)
    assert left.keys() == right.keys()
    return max((left[name] - right[name]).abs().max().item() for name in left)


def responses(run: Run) -> list[tuple[object, ...]]:
    return [
        (step, row["question_id"], row["sample"], tuple(row["response_ids"]))
        for step in range(1, 5)
        for row in run.rollouts(step)
    ]


@pytest.fixture(scope="module")
def disturbed() -> Run:
    """Four steps of two updates on the cluster; a replica dies in the first batch, a verifier pool in a later one."""
    killer = Killer({5 + 16: "SamplerReplica", 40: "VerifierPool"})
    run = train(tiny_recipe(STEPS | TWO), session_folder() / "disturbed", view=killer)
    assert killer.killed == ["SamplerReplica", "VerifierPool"]
    return run


def test_the_weights_are_those_of_one_process_whoever_died_on_the_way(disturbed: Run, tmp_path: Path) -> None:
    """Promise 1, and no response lost or drawn twice: 2 ranks and 2 replicas equal 1 process to 1e-5."""
    alone = trained(STEPS)
    assert responses(disturbed) == responses(alone)
    for step in ("step-000002", "step-000004"):
        assert difference(disturbed.path / "checkpoints" / step, alone.path / "checkpoints" / step, tmp_path) < 1e-5
    for here, there in zip(disturbed.read("metrics"), alone.read("metrics"), strict=True):
        assert here.keys() == there.keys()
        for key in here:
            if key.startswith(("rollout/", "learn/", "bias/")):
                assert here[key] == pytest.approx(there[key], rel=1e-4, abs=2e-6), key


def shortened(run: Run, out: Path) -> Path:
    """A copy of a run as it was when its second step was saved."""
    shutil.copytree(run.path, out)
    shutil.rmtree(out / "checkpoints" / "step-000004")
    return out


def test_a_run_of_two_ranks_goes_on_with_one_and_without_any(disturbed: Run, tmp_path: Path) -> None:
    expected = trained(STEPS).path / "checkpoints" / "step-000004"
    one = train(tiny_recipe(STEPS | ONE), shortened(disturbed, tmp_path / "one"), resume=True)
    assert difference(one.path / "checkpoints" / "step-000004", expected, tmp_path) < 1e-5
    alone = train(tiny_recipe(STEPS), shortened(disturbed, tmp_path / "alone"), resume=True)
    assert difference(alone.path / "checkpoints" / "step-000004", expected, tmp_path) < 1e-5
    assert responses(alone) == responses(one) == responses(disturbed)


def test_a_lost_learner_rank_ends_the_run_at_its_last_checkpoint(tmp_path: Path) -> None:
    """The run of one process goes on with two ranks; one is killed; it goes on again and ends with the same weights."""

    class KillAtThree(Unwatched):
        def stepped(self, step: int, numbers: dict[str, float]) -> None:
            if step == 3:
                os.kill(actors("LearnerRank")[1], signal.SIGKILL)

    out, recipe = shortened(trained(STEPS), tmp_path / "run"), tiny_recipe(STEPS | TWO | {"checkpoint.every": 1})
    with pytest.raises(
        UserError, match=r"Learner rank [01] of 2 is gone \(its process was killed or crashed\)"
    ) as lost:
        train(recipe, out, resume=True, view=KillAtThree())
    assert str(lost.value).endswith("the run stands at its last checkpoint: give the same command with --resume.")
    assert not (out / "checkpoints" / "step-000003").exists()
    run = train(recipe, out, resume=True)
    expected = trained(STEPS).path / "checkpoints" / "step-000004"
    assert difference(run.path / "checkpoints" / "step-000004", expected, tmp_path) < 1e-5


def test_one_step_ahead_weighs_what_an_older_policy_drew_and_resumes_exactly(tmp_path: Path) -> None:
    ahead = STEPS | ONE | {"rollout.max_staleness": 1, "objective.importance_cap": 2.0}
    run = train(tiny_recipe(ahead), tmp_path / "run")
    rows = run.read("metrics")
    assert [row["rollout/staleness"] for row in rows] == [0, 2, 2, 2]  # two updates a step
    assert [row["learn/logprob_gap"] > 1e-5 for row in rows] == [False, True, True, True]
    assert responses(run)[:32] == responses(trained(STEPS))[:16] + responses(run)[16:32]
    resumed = train(tiny_recipe(ahead), shortened(run, tmp_path / "resumed"), resume=True)
    assert responses(resumed) == responses(run)
    last = "checkpoints/step-000004"
    assert difference(resumed.path / last, run.path / last, tmp_path) == 0


def test_adapters_are_trained_and_synced_on_the_cluster(tmp_path: Path) -> None:
    if importlib.util.find_spec("peft") is None:
        pytest.skip("needs peft")
    lora = {"train.steps": 2, "lora.rank": 4, "learner.learning_rate": 1e-2}
    run = train(tiny_recipe(lora | TWO), tmp_path / "run")
    out = tmp_path / "adapters"
    export(run.path / "checkpoints" / "step-000002", out)
    assert (out / "adapter_config.json").exists()
    expected = trained(lora).path / "checkpoints" / "step-000002"
    left, right = (
        AutoModelForCausalLM.from_pretrained(each, dtype=torch.float32).state_dict() for each in (out, expected)
    )
    assert left.keys() == right.keys()
    assert max((left[name] - right[name]).abs().max().item() for name in left) < 1e-5
    assert any("lora_B" in name and right[name].abs().max() > 0 for name in right)


def test_a_head_node_that_is_gone_is_said_plainly(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path / "recipe.toml"), tmp_path / "run"
    command = start(
        "train", recipe, "--out", out, "--train.steps", "4000", "--evaluation.every", "4000", "--cluster.address",
        "local", "--cluster.learners", "1", "--cluster.samplers", "1",
    )  # fmt: skip
    wait_for(lambda: (out / "checkpoints" / "step-000002").exists() or None, "a checkpoint", 120)
    for name in ("gcs_server", "raylet"):
        for process in children(command.pid, name):
            os.kill(process, signal.SIGKILL)
    assert command.wait(60) != 0
    said = wait_for(lambda: re.search("r1zero: .*", command.err), "a last word")
    assert re.fullmatch(
        r"r1zero: this run or its local Ray cluster was killed, and all actors with it; the run stands at its last "
        r"checkpoint: give the same command with --resume\.",
        said[0],
    )


def children(parent: int, name: str) -> list[int]:
    """Processes of this name that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        fields = path.read_text().rpartition(")")
        if fields[0].partition("(")[2] == name and int(fields[2].split()[1]) == parent:
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        ({"cluster.learners": 99}, "cluster.learners = 99 and cluster.samplers = 2 need"),
        ({"objective.name": "ppo"}, "has a critic, which learns in one process only"),
        ({"verifier.reward": "nowhere:f"}, "verifier.reward = 'nowhere:f' does not start"),
    ],
)
def test_what_a_cluster_cannot_do_is_one_sentence(
    overrides: Mapping[str, object], sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=re.escape(sentence)):
        train(tiny_recipe(TWO | overrides), tmp_path / "run")
    assert not (tmp_path / "run").exists()
