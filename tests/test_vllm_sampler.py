"""`sampling.engine = "vllm"` with a real engine: it draws from the learner's policy, before and after every sync.

On CPUs its build comes with `make setup-cluster`. One engine serves all tests of the sampler: it takes half a minute to
start.
"""

import importlib.util
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from helpers import full_logprobs, needs_vllm
from processes import END_S, Process, below, process, wait_ended
from r1zero.config import Recipe
from r1zero.errors import UserError
from r1zero.learner.build import make_learner
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.from_recipe import recipe_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy, load_policy
from r1zero.runs.run import Run
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.synced_engine import Engine, EngineLostError, SyncedEngine
from r1zero.training.train import train
from r1zero.training.workers import WorkerSpec, vllm_module
from r1zero.types import Completion, Stop
from regime import SEED, seeded
from tiny_runs import Hold, start, taught_model, tiny_recipe, write_recipe

slow = pytest.mark.slow
CONTEXT = 192
SUMS = ("9+7=", "8+5=", "2+2=", "9+4=", "1+6=")


def recipe(changes: dict[str, object] | None = None) -> Recipe:
    """The tiny recipe with an engine, whose attention wants heads of 32 on a CPU."""
    return tiny_recipe({"sampling.engine": "vllm", **(changes or {})}, taught_model(64, 2))


@dataclass
class World:
    """A policy and an engine that has its weights."""

    policy: Policy
    engine: Any

    def requests(self, *prompts: str) -> list[Request]:
        return [Request(f"q/{prompt}", self.policy.encode(prompt)) for prompt in prompts]

    def sample(
        self, prompts: Sequence[str], samples: int, params: SamplingParams, *, seed: int = SEED, step: int = 0
    ) -> dict[tuple[str, int], Completion]:
        """Every completion by (prompt, sample)."""
        drawn = self.engine.sample(self.requests(*prompts), samples, params, seed=seed, step=step)
        return {(prompts[each.request], each.sample): each.completion for each in drawn}

    def ours(self, prompt: str, ids: Sequence[int], temperature: float = 1.0) -> Tensor:
        return full_logprobs(self.policy.model, self.policy.encode(prompt), ids, temperature).detach()

    def gap(self, found: dict[tuple[str, int], Completion], temperature: float = 1.0) -> float:
        """The largest difference of a log-prob from a plain forward pass's."""
        return max(
            float((torch.tensor(each.logprobs) - self.ours(prompt, each.token_ids, temperature)).abs().max())
            for (prompt, _), each in found.items()
        )

    def move(self, seed: int, size: float = 0.05) -> None:
        """Change every weight."""
        generator = torch.Generator().manual_seed(seeded(seed))
        with torch.no_grad():
            for parameter in self.policy.model.parameters():
                parameter.mul_(1 + size * torch.randn(parameter.shape, generator=generator))

    def synced(self, learner: Learner, engine: Engine) -> SyncedEngine:
        """What a run makes of an engine, checked after every sync."""
        checked = recipe({"sampling.check_every": 1})
        job = WorkerSpec(checked, self.policy, recipe_objective(checked), None, CONTEXT, tuple(self.requests(*SUMS)))
        return job.synced(engine, learner, exact=True)


@pytest.fixture(scope="module")
def started() -> Iterator[World]:
    vllm, policy = vllm_module(), load_policy(str(taught_model(64, 2)), device="cpu")
    transfer = vllm.own_transfer(policy, recipe())
    sampler = vllm.make_sampler(recipe(), policy, transfer, CONTEXT, torch.device("cpu"), sleeps=False)
    with closing(sampler) as engine:
        yield World(policy, engine)


@pytest.fixture
def world(started: World) -> World:
    """The engine with the weights of the model's folder, whatever the last test did to them."""
    started.policy.model.load_state_dict(AutoModelForCausalLM.from_pretrained(taught_model(64, 2)).state_dict())
    started.engine.update_weights()
    return started


def learner_of(world: World) -> Learner:
    made = recipe({"learner.learning_rate": 1e-3})
    return make_learner(made, world.policy, recipe_objective(made))


def learn(learner: Learner, world: World, step: int) -> None:
    """One update on drawn responses, every other of them good: with engine and learner apart it would refuse."""
    found = world.sample(SUMS, 4, SamplingParams(8), step=step)
    rows = [
        Trajectory(world.policy.encode(prompt), each.token_ids, each.logprobs, 1.0 if sample % 2 else -1.0)
        for (prompt, sample), each in found.items()
    ]
    learner.learn(rows, step, Tally())


def core_below(pid: int) -> Process:
    """The engine's process that this one has started."""
    [core] = below(pid, "VLLM::EngineCore")
    return core


# -- what is drawn


@needs_vllm
@slow
def test_ids_logprobs_stops_and_texts_are_those_of_the_model(world: World) -> None:
    seen = set()
    for stop in ((), ("+1+1",)):
        found = world.sample(SUMS, 16, SamplingParams(12, temperature=1.3, stop=stop))
        assert len(found) == 5 * 16
        assert world.gap(found, 1.3) < 1e-4
        for each in found.values():
            seen.add(each.stop)
            assert (each.stop is Stop.EOS) == (each.token_ids[-1] in world.policy.eos_ids)
            assert (each.stop is Stop.STOP_STRING) == (bool(stop) and each.text.endswith("+1+1"))
            assert each.stop is not Stop.LENGTH or each.length == 12
            ids = each.token_ids[:-1] if each.stop is Stop.EOS else each.token_ids
            assert each.text == world.policy.tokenizer.decode(ids)
    assert seen == {Stop.EOS, Stop.STOP_STRING, Stop.LENGTH}


@needs_vllm
@slow
def test_a_response_ends_where_the_context_does(world: World) -> None:
    whole = world.sample(SUMS, 8, SamplingParams(12, temperature=1.3))
    cut = world.sample(SUMS, 8, SamplingParams(12, temperature=1.3, positions=11))
    seen = set()
    for (prompt, sample), each in cut.items():
        room = 11 - len(world.policy.encode(prompt))
        assert each.token_ids == whole[prompt, sample].token_ids[:room]
        assert (each.stop is Stop.CONTEXT) == (each.length == room and whole[prompt, sample].stop is not each.stop)
        seen.add(each.stop)
    assert Stop.CONTEXT in seen


@needs_vllm
@slow
def test_a_special_token_stops_where_it_is_asked_to(world: World) -> None:
    """As with the embedded sampler, the text is without it."""
    with torch.no_grad():
        world.policy.model.get_output_embeddings().weight.zero_()  # every token is as likely as any other
    world.engine.update_weights()
    params = SamplingParams(60, stop=("<unk>",))
    unknown = world.policy.tokenizer.unk_token_id
    found = world.sample(SUMS, 16, params)
    assert {each.stop for each in found.values()} >= {Stop.STOP_STRING, Stop.EOS}
    for each in found.values():
        assert (each.stop is Stop.STOP_STRING) == (unknown in each.token_ids) == (each.token_ids[-1] == unknown)
        assert each.text == world.policy.tokenizer.decode(each.token_ids, skip_special_tokens=True)


@needs_vllm
@slow
def test_greedy_responses_are_the_torch_samplers(world: World) -> None:
    params = SamplingParams(12, temperature=0.0)
    ours = TorchSampler(world.policy.model, world.policy.tokenizer, world.policy.eos_ids, rows=8)
    expected = {SUMS[s.request]: s.completion for s in ours.sample(world.requests(*SUMS), 1, params, seed=SEED, step=0)}
    for (prompt, _), each in world.sample(SUMS, 1, params).items():
        theirs = expected[prompt]
        assert (each.token_ids, each.text, each.stop) == (theirs.token_ids, theirs.text, theirs.stop)
        assert each.logprobs == pytest.approx(theirs.logprobs, abs=1e-4)


@needs_vllm
@slow
def test_first_tokens_come_as_often_as_the_model_says(world: World) -> None:
    """Total variation of 600 draws from the exact distribution is 0.101 ± 0.012 by chance (of 2000 times 600 draws with
    torch), from that of another temperature, 1, it is 0.313 ± 0.020: 0.18 is more than six deviations from both."""
    prompt, draws = "9+7= 1", 600
    with torch.no_grad():
        logits = world.policy.model(torch.tensor([world.policy.encode(prompt)])).logits[0, -1]
    exact, untempered = (logits / 2).softmax(-1), logits.softmax(-1)
    found = world.sample([prompt], draws, SamplingParams(1, temperature=2.0))
    counts = Counter(each.token_ids[0] for each in found.values())
    seen = torch.tensor([counts[token] / draws for token in range(len(exact))])
    assert 0.5 * float((seen - exact).abs().sum()) < 0.18
    assert 0.5 * float((seen - untempered).abs().sum()) > 0.18


@needs_vllm
@slow
def test_a_response_depends_on_seed_step_key_and_sample_alone(world: World) -> None:
    params = SamplingParams(12, temperature=1.3)
    alone = world.sample(SUMS[1:2], 2, params, seed=seeded(3), step=5)
    beside = world.sample(SUMS, 6, params, seed=seeded(3), step=5)
    for key, each in alone.items():
        assert each.token_ids == beside[key].token_ids
    drawn = {sample: beside[SUMS[1], sample].token_ids for sample in range(6)}
    assert len(set(drawn.values())) > 1
    for other in ({"seed": seeded(4), "step": 5}, {"seed": seeded(3), "step": 6}):
        again = world.sample(SUMS[1:2], 6, params, **other)
        assert [each.token_ids for each in again.values()] != list(drawn.values())


# -- weights


@needs_vllm
@slow
def test_after_every_sync_the_engine_has_the_learners_weights(world: World) -> None:
    learner = learner_of(world)
    synced = world.synced(learner, world.engine)
    drawn = []
    for step in range(5):
        found = {
            (SUMS[each.request], each.sample): each.completion
            for each in synced.sample(world.requests(*SUMS), 2, SamplingParams(8), seed=SEED, step=0)
        }
        assert world.gap(found) < 1e-4
        drawn.append([each.logprobs for each in found.values()])
        learn(learner, world, step)
        world.move(step)
        assert world.gap(found) > 1e-2  # the next sync has something to bring
    assert synced.syncs == 5
    assert all(drawn[i] != drawn[i + 1] for i in range(4))


@needs_vllm
@slow
def test_cached_prompts_are_forgotten_when_the_weights_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The prompt is longer than a block of 128 tokens, whose keys and values are kept between calls."""
    prompt, params = "1+" * 70 + "1=", SamplingParams(4)
    assert world.gap(world.sample([prompt], 2, params)) < 1e-4
    world.move(0)
    world.engine.update_weights()
    assert world.gap(world.sample([prompt], 2, params)) < 1e-4
    monkeypatch.setattr(world.engine.llm, "reset_prefix_cache", lambda: True)
    world.move(1)
    world.engine.update_weights()
    assert world.gap(world.sample([prompt], 2, params)) > 1e-3  # old keys and values, new weights


@dataclass
class Stale:
    """An engine that says that it has taken over the weights."""

    engine: Any

    def update_weights(self) -> None:
        pass

    def sample(self, *words: Any, **how: Any) -> Iterator[Sampled]:
        return self.engine.sample(*words, **how)


@needs_vllm
@slow
def test_an_engine_that_keeps_old_weights_is_found_out(world: World) -> None:
    learner = learner_of(world)
    synced = world.synced(learner, Stale(world.engine))
    synced.update_weights()
    learn(learner, world, 0)
    with pytest.raises(UserError, match=r"After sync 2 .* \(train\.max_logprob_gap = 0\.0001\)"):
        synced.update_weights()


def leave_the_head(worker: object) -> None:
    """In the engine's process: finish a sync without packing the tied head again."""
    from r1zero.sampling.vllm import weight_transfer

    class Unpacked(weight_transfer.VocabParallelEmbedding):
        pass

    weight_transfer.VocabParallelEmbedding = Unpacked  # no module is one


def pack_the_head(worker: object) -> None:
    """Undo it."""
    from r1zero.sampling.vllm import weight_transfer

    [weight_transfer.VocabParallelEmbedding] = weight_transfer.VocabParallelEmbedding.__bases__


@needs_vllm
@slow
def test_a_stale_output_head_is_found_out(world: World) -> None:
    learner = learner_of(world)
    synced = world.synced(learner, world.engine)
    synced.update_weights()
    world.engine.llm.collective_rpc(leave_the_head)
    try:
        learn(learner, world, 0)
        world.move(0)
        with pytest.raises(UserError, match=r"train\.max_logprob_gap"):
            synced.update_weights()
    finally:
        world.engine.llm.collective_rpc(pack_the_head)
    world.engine.update_weights()
    assert world.gap(world.sample(SUMS, 2, SamplingParams(8))) < 1e-4


def stop_after(worker: Any, steps: int) -> None:
    """In the engine's process: be in the middle of a batch for ever once it has taken so many steps of it."""
    import threading

    taken, execute = [], worker.execute_model

    def stopping(*words: Any, **how: Any) -> Any:
        taken.append(1)
        if len(taken) > steps:
            threading.Event().wait()
        return execute(*words, **how)

    worker.execute_model = stopping


@needs_vllm
@slow
def test_whoever_waits_for_an_engine_that_is_killed_is_told(world: World) -> None:
    """The last test of this engine: killed in the middle of a batch, and then given weights all the same."""
    world.engine.llm.collective_rpc(stop_after, args=(30,))  # responses of 4 tokens are out by then, of 100 not
    drawing = world.engine.sample(world.requests(*SUMS), 200, SamplingParams(100), seed=SEED, step=0)
    next(drawing)
    core_below(os.getpid()).kill()
    with pytest.raises(EngineLostError, match=r"^The vLLM engine has died"):
        list(drawing)
    with pytest.raises(EngineLostError, match=r"^The vLLM engine has died"):
        world.engine.update_weights()


# -- runs


def column(run: Run, name: str) -> list[float]:
    """A metric in every step that had something to learn from."""
    return [row[name] for row in run.read("metrics") if row["learn/live_responses"]]


@needs_vllm
@slow
def test_a_run_learns_and_engine_and_learner_agree_in_every_step(tmp_path: Path) -> None:
    changes = {
        "train.steps": 40,
        "rollout.prompts": 8,
        "rollout.samples": 8,
        "learner.learning_rate": 2e-3,
        "evaluation.every": 40,
        "checkpoint.every": 40,
    }
    run = train(recipe(changes), tmp_path / "run")
    rewards = [row["rollout/reward"] for row in run.read("metrics")]
    assert len(rewards) == 40
    assert len(column(run, "learn/logprob_gap")) > 20
    assert max(column(run, "learn/logprob_gap")) < 1e-4
    assert rewards[0] < 0.64
    assert fmean(rewards[-10:]) > 0.64  # the taught model earns less than ½: see test_train


@needs_vllm
@slow
def test_adapters_alone_are_handed_over(tmp_path: Path) -> None:
    run = train(recipe({"lora.rank": 4, "learner.learning_rate": 1e-2, "sampling.check_every": 1}), tmp_path / "run")
    assert max(column(run, "learn/logprob_gap")) < 1e-4
    base = AutoModelForCausalLM.from_pretrained(taught_model(64, 2)).eval()
    gaps = []
    for step in (1, 3):
        rows = run.responses(step)
        without = [full_logprobs(base, row["prompt_ids"], row["response_ids"]).detach() for row in rows]
        pairs = zip(without, (torch.tensor(row["logprobs"]) for row in rows), strict=True)
        gaps.append(max(float((a - b).abs().max()) for a, b in pairs))
    assert gaps[0] < 1e-4 < 1e-2 < gaps[1]  # at first adapters do nothing, and then the engine has them


@needs_vllm
@slow
def test_a_run_one_step_ahead_ends_in_one_sentence_when_its_engine_is_killed(tmp_path: Path) -> None:
    """Whoever draws ahead is held at a response of the fifth batch, so its engine is killed before that is complete."""
    more = "\n[objective]\nimportance_cap = 2.0\n"
    path, out = write_recipe(tmp_path / "recipe.toml", taught_model(64, 2), more), tmp_path / "run"
    responses = 8 + 16 + 4 * 16 + 8  # of a check, an evaluation, four batches, and half of the fifth
    command = start("train", path, "--sampling.engine", "vllm", "--rollout.max_staleness", "1", "--train.steps", "50",
                    "--evaluation.every", "50", "--checkpoint.every", "50", "--out", out,
                    hold=Hold("r1zero.sampling.vllm.sampler:VllmSampler._completion", responses))  # fmt: skip
    command.held()
    started = below(command.pid)
    core_below(command.pid).kill()
    command.go()
    assert command.wait(END_S) == 2
    [said] = [line for line in command.err.splitlines() if line.startswith("r1zero: ")]
    assert "The vLLM engine has died" in said
    assert "--resume" in said
    assert "Traceback" not in command.err
    wait_ended(started)
    staleness = [row["rollout/staleness"] for row in Run.open(out).read("metrics")]
    assert staleness == [0, 1, 1, 1]


@needs_vllm
@slow
def test_heads_that_vllm_cannot_do_are_one_sentence_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"its attention heads are 8 wide and vLLM knows 32, .*engine = \"torch\""):
        train(tiny_recipe({"sampling.engine": "vllm"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


PARENT = """
import multiprocessing, sys, time
from r1zero.sampling.vllm import weight_transfer

def child():
    weight_transfer.register()
    print("ready", flush=True)
    time.sleep(3600)

if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    print(process.pid, flush=True)
    process.join()
"""


@needs_vllm
@slow
def test_an_engine_ends_with_the_parent_that_was_killed() -> None:
    """vLLM's own would live on, and keep a GPU's memory from the run that goes on."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = {parent.stdout.readline().strip() for _ in range(2)}
        [pid] = [int(line) for line in lines - {"ready"}]
        engine = process(pid)
        assert os.getpgid(pid) == pid != os.getpgid(parent.pid)  # Ctrl-C does not reach it
        parent.kill()
    wait_ended([engine])


def test_a_recipe_that_needs_vllm_says_so_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs the package vllm, .*; run `pip install "r1zero\[vllm\]"`'):
        vllm_module()
