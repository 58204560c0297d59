"""Real runs on a real Ray cluster: two learner ranks, two sampler replicas, real processes killed for real."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM

from helpers import needs_peft, needs_vllm
from processes import END_S, Process, below, process, wait_for
from r1zero.config import ClusterSettings, Recipe
from r1zero.errors import UserError
from r1zero.policy.export import export
from r1zero.policy.load import Policy, load_policy
from r1zero.runs.run import Run
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.training.setup import RunSetup
from r1zero.training.train import train
from r1zero.training.watch import View
from r1zero.types import Completion, Stop
from tiny_runs import Hold, session_folder, start, taught_model, tiny_recipe, trained, write_recipe

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="needs Ray (make setup-cluster)"),
]
# Adam's own 1e-8 is nothing beside a gradient's rounding: a weight whose gradient is all rounding would still move by
# the whole learning rate, one way here and the other way there. With 1e-4 that is 5e-4 · 1e-7 / 1e-4 = 5e-7 at most.
EPS = {"learner.eps": 1e-4}
REWARDS = [
    {"use": "verify"},
    {"use": "format", "weight": 0.25},
    {"use": "overlong", "weight": 0.5, "options": {"buffer": 8}},
    {"use": f"{session_folder() / 'mine.py'}:size", "weight": 0.125},
]
SOURCES = [
    {"name": "arithmetic", "weight": 3, "options": {"level": 1, "style": "bare", "count": 12}},
    {"name": str(session_folder() / "few.jsonl")},
]
"""A reward of every kind that pools grade by, of a mixture: what is true of one process's run is of the cluster's."""
(session_folder() / "mine.py").write_text("def size(length):\n    return length / 16\n")
(session_folder() / "few.jsonl").write_text(
    "".join(f'{{"question": "{a}+1=", "answer": "{a + 1}"}}\n' for a in range(9))
)
STEPS = EPS | {
    "train.steps": 4,
    "reward": REWARDS,
    "questions": {"sources": SOURCES},
    "sampling.batch_rows": 1,
    "objective.kl": "k3",
    "objective.kl_coefficient": 0.1,
    "learner.updates": 2,
    "learner.micro_tokens": 48,
}
TWO = {"cluster.address": "auto", "cluster.learners": 2, "cluster.samplers": 2}
ONE = TWO | {"cluster.learners": 1, "cluster.samplers": 1}


@pytest.fixture(scope="module", autouse=True)
def ray_cluster() -> Iterator[None]:
    """A cluster of this machine's cores, more of them than there are: actors are small here."""
    import ray

    ray.init(address="local", num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def process_of(actor: Any) -> Process:
    """The process of an actor, once that is free to say."""
    import ray

    return process(ray.get(actor.__ray_call__.remote(lambda _: os.getpid())))


def as_any(part: object) -> Any:
    """A part of a run whose class is only known where Ray is installed."""
    return part


class Killer(View):
    """Kills both replicas and later both pools of verifiers, each when so many responses have come."""

    def __init__(self, replicas_at: int, verifiers_at: int):
        self.at = {replicas_at: "SamplerReplica", verifiers_at: "VerifierPool"}
        self.processes: dict[str, list[Process]] = {}
        self.seen, self.killed = 0, 0

    def begin(self, parts: RunSetup, recipe: Recipe) -> None:
        """Find out who is who: from their names alone it might be another run's."""
        sampler, verifier = as_any(parts.sampler), as_any(parts.verifier).verifier
        self.processes = {
            "SamplerReplica": [process_of(each) for each in sampler.engine.replicas],
            "VerifierPool": [process_of(each) for each in verifier.pools],
        }
        for name, found in self.processes.items():
            assert all(each.words.startswith(f"ray::{name}") for each in found)

    def sampled(self, completion: Completion) -> None:
        self.seen += 1
        for each in self.processes.get(self.at.get(self.seen, ""), ()):
            assert each.runs
            each.kill()
            self.killed += 1


class Said(logging.Handler):
    """What a logger said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


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
        for row in run.responses(step)
    ]


@pytest.fixture(scope="module")
def disturbed() -> Run:
    """Four steps of two updates on the cluster, in passes so small that the ranks have unequal numbers of them.

    Both replicas die at the first response of the first batch, when one at least has given a few of its eight (it draws
    one at a time, and gives what it has every 50 ms); both verifier pools in a later one.
    """
    killer, said = Killer(replicas_at=16 + 1, verifiers_at=40), Said()
    logging.getLogger("r1zero.cluster.sampler").addHandler(said)
    run = train(tiny_recipe(STEPS | TWO | {"cluster.verifiers": 2}), session_folder() / "disturbed", view=killer)
    logging.getLogger("r1zero.cluster.sampler").removeHandler(said)
    assert killer.killed == 2 + 2
    assert sorted(said.lines) == [
        f"Sampler replica {i} died (its process was killed or crashed) and is replaced." for i in range(2)
    ]
    assert killer.seen == 4 * 16 + 3 * 16  # none twice: four batches, and evaluations of steps 0, 2 and 4
    return run


def test_the_weights_are_those_of_one_process_whoever_died_on_the_way(disturbed: Run, tmp_path: Path) -> None:
    """Promise 1, and no response lost or drawn twice: 2 ranks and 2 replicas equal 1 process to 1e-5."""
    alone = trained(STEPS)
    assert responses(disturbed) == responses(alone)
    for row in disturbed.responses(1):
        shaped = 0.25 * row["reward/format"] + 0.5 * row["reward/overlong"] + 0.125 * row["reward/size"]
        assert row["reward"] == pytest.approx(shaped + row["reward/verify"] * (row["stop"] != "length"), abs=1e-6)
        assert row["reward/size"] == row["length"] / 16
    for step in ("step-000002", "step-000004"):
        assert difference(disturbed.path / "checkpoints" / step, alone.path / "checkpoints" / step, tmp_path) < 1e-5
    for here, there in zip(disturbed.read("metrics"), alone.read("metrics"), strict=True):
        assert here.keys() == there.keys()
        for key in here:
            if key.startswith(("rollout/", "learn/", "bias/", "reward/", "source/")):
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

    class KillAtThree(View):
        def begin(self, parts: RunSetup, recipe: Recipe) -> None:
            self.rank = process_of(as_any(parts.learner).ranks[1])

        def stepped(self, step: int, numbers: dict[str, float]) -> None:
            if step == 3:
                assert self.rank.runs
                self.rank.kill()

    out = shortened(trained(STEPS), tmp_path / "run")
    recipe = tiny_recipe(STEPS | TWO | {"cluster.samplers": 1, "checkpoint.every": 1})
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
    stale = [0, 2, 2, 2]  # two updates a step
    assert [row["rollout/staleness"] for row in rows] == stale
    assert [row["learn/logprob_gap"] > 1e-5 for row in rows] == [False, True, True, True]
    assert responses(run)[:32] == responses(trained(STEPS))[:16] + responses(run)[16:32]
    resumed = train(tiny_recipe(ahead), shortened(run, tmp_path / "resumed"), resume=True)
    assert responses(resumed) == responses(run)
    assert [row["rollout/staleness"] for row in resumed.read("metrics")] == stale
    last = "checkpoints/step-000004"
    assert difference(resumed.path / last, run.path / last, tmp_path) == 0


@needs_peft
def test_adapters_are_trained_and_synced_in_turns_and_charged_for_leaving_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All on the same places, as on GPUs that learners and samplers share."""
    from r1zero.cluster.sampler import ClusterSampler

    lora = EPS | {"train.steps": 2, "lora.rank": 4, "learner.learning_rate": 1e-2}
    lora |= {"objective.kl": "k1_reward", "objective.kl_coefficient": 0.1}
    rest, rests = ClusterSampler.sleep, []

    def rested(sampler: ClusterSampler) -> None:
        rests.append(sampler)
        rest(sampler)

    monkeypatch.setattr(ClusterSampler, "sleep", rested)
    run = train(tiny_recipe(lora | TWO | {"cluster.share_gpus": True}), tmp_path / "run")
    assert len(rests) == 2
    assert run.facts["parameters"] == trained(lora).facts["parameters"]
    penalties = [[row["rollout/kl_penalty"] for row in each.read("metrics")] for each in (run, trained(lora))]
    # in nats a response, β = 0.1 times: at first adapters do nothing, and one step moves them by a tenth of a nat
    assert penalties[1][0] == pytest.approx(0, abs=1e-6)
    assert abs(penalties[1][1]) > 1e-3
    assert penalties[0] == pytest.approx(penalties[1], abs=1e-5)
    out = tmp_path / "adapters"
    export(run.path / "checkpoints" / "step-000002", out)
    assert (out / "adapter_config.json").exists()
    expected = trained(lora).path / "checkpoints" / "step-000002"
    assert difference(out, expected, tmp_path) < 1e-5
    assert any("lora_B" in name and each.abs().max() > 0 for name, each in weights(expected, tmp_path).items())


def test_a_head_node_that_is_gone_is_said_plainly(tmp_path: Path) -> None:
    recipe, out = write_recipe(tmp_path / "recipe.toml"), tmp_path / "run"
    command = start(
        "train", recipe, "--out", out, "--evaluation.every", "4", "--cluster.address", "local", "--cluster.learners",
        "1", "--cluster.samplers", "1", hold=Hold("r1zero.runs.checkpoints:prune"),
    )  # fmt: skip
    command.held()
    assert (out / "checkpoints" / "step-000002").exists()
    for name in ("gcs_server", "raylet"):
        [each] = [each for each in below(command.pid, f"/{name} ") if each.parent == command.pid]
        each.kill()
    command.go()
    assert command.wait(END_S) != 0
    said = wait_for(lambda: re.search("r1zero: .*", command.err), "a last word", END_S)
    assert re.fullmatch(
        r"r1zero: this run or its local Ray cluster was killed, and all actors with it; the run stands at its last "
        r"checkpoint: give the same command with --resume\.",
        said[0],
    )


@pytest.mark.parametrize(
    ("overrides", "sentence"),
    [
        (
            {"cluster.learners": 99},
            "cluster.learners = 99, cluster.samplers = 2 and cluster.verifiers = 1 need 102 CPUs",
        ),
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


def test_what_is_owed_of_a_question_comes_once() -> None:
    """A replica gives three responses at a time, of four to each question, and dies instead of giving more."""
    import ray

    from r1zero.cluster.sampler import ClusterSampler

    class Replica:
        def __init__(self, dies: bool):
            self.dies, self.gave = dies, False

        def here(self) -> None:
            pass

        def open(self) -> None:
            pass

        def load(self, weights: object) -> None:
            pass

        def begin(self, requests: list[Request], samples: int, *how: object) -> None:
            self.found = [
                Sampled(r, g, Completion((7,), (-1.0,), f"{request.key}/{g}", Stop.EOS))
                for r, request in enumerate(requests)
                for g in range(samples)
            ]

        def more(self) -> list[Sampled]:
            if self.dies and self.gave:
                os._exit(1)
            self.gave = True
            piece, self.found = self.found[:3], self.found[3:]
            return piece

    class Sampler(ClusterSampler):
        started = 0

        def _start(self, i: int) -> object:
            self.started += 1
            replica = ray.remote(num_cpus=0)(Replica).remote(self.started <= 2)
            self.placed[i] = replica.here.remote()
            return replica

    sampler = Sampler(None, None, [{}])  # pyright: ignore[reportArgumentType]
    sampler.open()
    requests = [Request(f"q{i}", (1,)) for i in range(3)]
    found = list(sampler.sample(requests, 4, SamplingParams(8), seed=0, step=0))
    assert sampler.started == 3
    assert sorted(each.completion.text for each in found) == sorted(f"q{i}/{g}" for i in range(3) for g in range(4))
    assert all(each.completion.text == f"q{each.request}/{each.sample}" for each in found)
    sampler.close()


def test_a_full_cluster_is_said_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    from r1zero.cluster import ray_session
    from r1zero.cluster.verifier import ClusterVerifier

    monkeypatch.setattr(ray_session, "_PLACING_S", 1.0)
    others = placement_group([{"CPU": 8}])
    ray.get(others.ready())
    try:
        with (
            pytest.raises(UserError, match=r"No place for cluster\.learners = 1 within 1 s"),
            ray_session.placed(ClusterSettings(), gpus=False),
        ):
            pass
        with pytest.raises(UserError, match="No place for verifier pool 0 within 1 s"):
            ClusterVerifier(tiny_recipe().verifier, 1)
    finally:
        remove_placement_group(others)


@needs_vllm
def test_a_replica_of_vllm_has_the_learners_weights(tmp_path: Path) -> None:
    engine = {"sampling.engine": "vllm", "sampling.check_every": 1, "train.steps": 3}
    run = train(tiny_recipe(ONE | engine, taught_model(64, 2)), tmp_path / "run")
    live = [row for row in run.read("metrics") if row["learn/live_responses"]]
    assert len(live) > 1
    assert max(row["learn/logprob_gap"] for row in live) < 1e-4


def test_actors_are_told_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They work in folders of their own."""
    from r1zero.cluster.launch import _located

    for name in ("model", "reference"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    changes = {"model.path": "model", "objective.reference": "reference", "objective.kl": "k3"}
    for given, expected in (
        ("mine.py:f", f"{tmp_path}/mine.py:f"),
        ("mine:f", "mine:f"),
        ("cmd: ./a.py", "cmd: ./a.py"),
    ):
        found = _located(tiny_recipe(changes | {"verifier.reward": given}))
        assert found.verifier.reward == expected
        assert (found.model.path, found.objective.reference) == (f"{tmp_path}/model", f"{tmp_path}/reference")
    plain = tiny_recipe({"model.path": "owner/name"})
    assert _located(plain) == plain


def test_what_is_missing_of_a_checkpoint_is_known(disturbed: Run, tmp_path: Path) -> None:
    from r1zero.policy.sharded import missing_shards

    folder = tmp_path / "step"
    shutil.copytree(disturbed.path / "checkpoints" / "step-000004", folder)
    assert missing_shards(folder) == []
    [gone] = (folder / "shards").glob("__1_*.distcp")
    gone.unlink()
    assert missing_shards(folder) == [gone.name]

    from r1zero.cluster.learner import ClusterLearner

    class Saved(ClusterLearner):
        """Its ranks have written, rank 1 to a disk of its own."""

        def __init__(self) -> None:
            self.ranks = []

        def all(self, method: str, *arguments: object) -> list[object]:
            return []

    with pytest.raises(UserError, match=r"The ranks' shards are not all in .*; choose an --out on a file system that"):
        Saved().save(folder)
    Saved().save(disturbed.path / "checkpoints" / "step-000004")


def test_an_interrupt_while_shards_are_read_is_no_damage_and_damage_is_named(
    disturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch.distributed.checkpoint.filesystem import FileSystemReader

    folder = tmp_path / "step"
    shutil.copytree(disturbed.path / "checkpoints" / "step-000004", folder)

    def interrupted(*words: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemReader, "read_data", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load_policy(str(folder), device="cpu")
    load_policy(str(folder), device="cpu")
    for shard in (folder / "shards").glob("*.distcp"):
        shard.unlink()
    with pytest.raises(UserError, match=r"shards/__0_0\.distcp, shards/__1_0\.distcp are not what complete\.json says"):
        load_policy(str(folder), device="cpu")
    (folder / "complete.json").unlink()  # then reading them tells
    with pytest.raises(UserError, match=r"The shards in .* cannot be read \(\[Errno 2\] No such file .* before it"):
        load_policy(str(folder), device="cpu")


def test_an_export_that_fails_leaves_nothing(disturbed: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(policy: Policy, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(UserError, match=r"nothing does not exist; give a checkpoint's folder"):
        export(tmp_path / "nothing", tmp_path / "out")
    monkeypatch.setattr(Policy, "save", full)
    with pytest.raises(UserError, match=r"cannot be written \(.*No space left.*\): make room there\.$"):
        export(disturbed.path / "checkpoints" / "step-000004", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("address", ["auto", "local"])
def test_the_last_word_is_said_where_nobody_said_goodbye_and_the_head_is_gone(address: str) -> None:
    from r1zero.cluster import watchdog

    def said(word: bytes, port: int) -> str:
        command = [sys.executable, "-m", watchdog.__name__, "127.0.0.1", str(port), address]
        return subprocess.run(command, input=word, capture_output=True, timeout=END_S, check=True).stderr.decode()

    with socket.create_server(("127.0.0.1", 0)) as head:
        assert said(b"", head.getsockname()[1]) == ""  # the driver was killed, the cluster goes on
    what = "the head node of the Ray cluster" if address == "auto" else "this run or its local Ray cluster"
    with socket.socket() as gone:
        gone.bind(("127.0.0.1", 0))  # nobody listens there, nor can anybody else
        port = gone.getsockname()[1]
        assert said(watchdog.FAREWELL, port) == ""
        assert said(b"", port).startswith(f"r1zero: {what}")
