"""Is it right on this device? Sampler against learner and generate, gradients, training, a run killed and resumed.

The base model of `recipes/arithmetic.toml` is the one that knows something; random weights in the shape of
SmolLM2-135M are the larger one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import GenerationConfig

import r1zero
from parts.bench import Bench
from r1zero.config import LearnerSettings, Recipe
from r1zero.config.load import packaged_recipe
from r1zero.learner.experience import Experience
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy, load_policy
from r1zero.pretrain.sums import LEVEL, make_base_model
from r1zero.questions.arithmetic import arithmetic
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import Request, Sampled, SamplingParams

PRETRAIN_STEPS, STEPS = 1300, 40


def measure(bench: Bench) -> None:
    """From the quickest to the slowest."""
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch) / "base"
        with bench.measuring(check="random weights"):
            random_weights(bench)
        with bench.measuring(check="arithmetic base model"):
            make_base_model(base, 0, 60 if bench.tiny else PRETRAIN_STEPS)
            for bfloat16 in (False, True):
                policy = load_policy(str(base), device=bench.device_name, autocast="bfloat16" if bfloat16 else "off")
                on_policy_gap(bench, policy, "arithmetic base", sums(policy, 16), bfloat16)
                if not bfloat16:
                    greedy(bench, policy, "arithmetic base", sums(policy, 16))
        with bench.measuring(check="arithmetic's reward"):
            reward_climbs(bench, Path(scratch) / "run", base)
        with bench.measuring(check="killed and resumed"):
            killed_and_resumed(bench, Path(scratch), base)


def random_weights(bench: Bench) -> None:
    """What needs no knowledge, on a model of some size."""
    for bfloat16 in (False, True):
        policy = bench.policy("smollm2-135m", autocast="bfloat16" if bfloat16 else "off")
        prompts = bench.prompts(4 if bench.tiny else 16, 16 if bench.tiny else 64, policy.model.config.vocab_size)
        requests = [Request(str(i), prompt) for i, prompt in enumerate(prompts)]
        rows = on_policy_gap(bench, policy, "smollm2-135m, random", requests, bfloat16)
        if not bfloat16:
            greedy(bench, policy, "smollm2-135m, random", requests)
        gradients(bench, policy, rows, bfloat16)


def sums(policy: Policy, count: int) -> list[Request]:
    """Questions that the arithmetic base model knows."""
    return [Request(q.id, policy.encode(q.text)) for q in arithmetic(level=LEVEL, style="bare", count=count)]


def sampled(policy: Policy, requests: Sequence[Request], samples: int, params: SamplingParams) -> list[Sampled]:
    """What the embedded sampler draws, in order."""
    sampler = TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, autocast=policy.autocast)
    found = sampler.sample(requests, samples, params, seed=0, step=0)
    return sorted(found, key=lambda each: (each.request, each.sample))


def learner_of(policy: Policy, layout: str, micro_tokens: int) -> Learner:
    """A learner that only looks."""
    settings = LearnerSettings(layout=layout, micro_tokens=micro_tokens)  # type: ignore[arg-type]
    return Learner(policy, make_objective("dr_grpo", constant=64), settings, temperature=1.0, seed=0, total_updates=1,
                   max_logprob_gap=1e9)  # fmt: skip


def on_policy_gap(
    bench: Bench, policy: Policy, model: str, requests: list[Request], bfloat16: bool
) -> list[Trajectory]:
    """How far the learner's log-probs are from the sampler's on the same tokens and weights."""
    drawn = sampled(policy, requests, 4, SamplingParams(16 if bench.tiny else 64))
    rows = [trajectory(requests[each.request], each) for each in drawn]
    theirs = chain.from_iterable(learner_of(policy, "padded", 4096).logprobs(rows))
    pairs = zip(theirs, chain.from_iterable(row.sampler_logprobs for row in rows), strict=True)
    gaps = torch.tensor([learner - sampler for learner, sampler in pairs], dtype=torch.float64)
    ratios = gaps.exp()
    bench.say(
        check="on-policy gap, nats a token",
        model=model,
        precision="bfloat16" if bfloat16 else "float32",
        tokens=len(gaps),
        mean=float(gaps.abs().mean()),
        p99=float(gaps.abs().quantile(0.99)),
        ratio_outside_09_11=float(((ratios < 0.9) | (ratios > 1.1)).double().mean()),
    )
    return rows


def trajectory(request: Request, drawn: Sampled) -> Trajectory:
    """A response as the learner sees it, right if it is an odd sample of its question."""
    found = drawn.completion
    advantage = 1.0 if drawn.sample % 2 else -1.0
    return Trajectory(request.prompt_ids, found.token_ids, found.logprobs, advantage, group=drawn.request)


@torch.no_grad()
def greedy(bench: Bench, policy: Policy, model: str, requests: list[Request]) -> None:
    """The likeliest tokens of the embedded sampler and of transformers' generate, prompts of one length at a time."""
    tokens = 16 if bench.tiny else 64
    ours = [each.completion.token_ids for each in sampled(policy, requests, 1, SamplingParams(tokens, temperature=0))]
    ends = list(policy.eos_ids) or [policy.model.config.vocab_size + 1]  # which is no token
    settings = GenerationConfig(do_sample=False, max_new_tokens=tokens, eos_token_id=ends, pad_token_id=0)
    generating: Any = policy.model
    found: dict[int, tuple[int, ...]] = {}
    for length in {len(request.prompt_ids) for request in requests}:
        alike = [i for i, request in enumerate(requests) if len(request.prompt_ids) == length]
        ids = torch.tensor([requests[i].prompt_ids for i in alike], device=policy.device)
        rows = generating.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        found |= {i: ended(row[length:].tolist(), ends) for i, row in zip(alike, rows, strict=True)}
    theirs = [found[i] for i in range(len(requests))]
    same = [a == b for a, b in zip(ours, theirs, strict=True)]
    margins = [margin(policy, request, a, b) for request, a, b in zip(requests, ours, theirs, strict=True) if a != b]
    bench.say(
        check="greedy responses that are generate's, float32",
        model=model,
        responses=len(same),
        equal=sum(same) / len(same),
        largest_margin_where_not=max(margins, default=None),
    )


def ended(ids: list[int], ends: list[int]) -> tuple[int, ...]:
    """A response up to what ends it, without the padding after that."""
    at = next((i for i, token in enumerate(ids) if token in ends), len(ids) - 1)
    return tuple(ids[: at + 1])


def margin(policy: Policy, request: Request, ours: Sequence[int], theirs: Sequence[int]) -> float:
    """How far apart the two likeliest logits are where two responses part: rounding decides between equal ones."""
    at = next((i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs)))
    ids = torch.tensor([[*request.prompt_ids, *ours[:at]]], device=policy.device)
    top = policy.model(ids).logits[0, -1].topk(2).values
    return float(top[0] - top[1])


def gradients(bench: Bench, policy: Policy, rows: list[Trajectory], bfloat16: bool) -> None:
    """One optimiser step's gradient by every layout and two budgets, against padded rows under the large one."""
    found: dict[tuple[str, int], Tensor] = {}
    for layout in ("padded", "packed", "shared"):
        for budget in (8192, 512):
            policy.model.zero_grad(set_to_none=True)
            learner_of(policy, layout, budget).gradient(rows, Experience(), Tally())
            parts = [p.grad.flatten().float() for p in policy.model.parameters() if p.grad is not None]
            found[layout, budget] = torch.cat(parts)
    reference = found["padded", 8192]
    for (layout, budget), gradient in found.items():
        if (layout, budget) != ("padded", 8192):
            bench.say(
                check="gradient against padded rows of 8192 tokens, relative",
                layout=layout,
                micro_tokens=budget,
                precision="bfloat16" if bfloat16 else "float32",
                difference=float((gradient - reference).norm() / reference.norm()),
            )
    policy.model.zero_grad(set_to_none=True)


def reward_climbs(bench: Bench, out: Path, base: Path) -> None:
    """Some steps of the arithmetic recipe on this device: the mean reward of its first and last ten."""
    from r1zero.training.train import train

    steps = 4 if bench.tiny else STEPS
    changes = {"model.path": str(base), "model.device": bench.device_name, "train.steps": steps,
               "evaluation.benchmarks": []}  # fmt: skip
    begun = time.monotonic()
    run = train(packaged_recipe("arithmetic", Recipe, changes), out)
    rewards = [row["rollout/reward"] for row in run.read("metrics")]
    ten = min(10, steps // 2)
    bench.say(
        check="arithmetic's reward",
        steps=steps,
        first=sum(rewards[:ten]) / ten,
        last=sum(rewards[-ten:]) / ten,
        seconds_per_step=round((time.monotonic() - begun) / steps, 3),
    )


def killed_and_resumed(bench: Bench, scratch: Path, base: Path) -> None:
    """A run that is killed by SIGKILL and goes on, against one that never was: the largest difference of a weight."""
    steps = 4 if bench.tiny else 8
    sure, killed = scratch / "sure", scratch / "killed"
    processes = [start(bench, base, out, steps) for out in (sure, killed)]
    while processes[1].poll() is None and logged(killed) < steps // 2:
        time.sleep(0.01)
    at = logged(killed)
    processes[1].kill()
    for process in processes:
        said = process.communicate()[1]
        if process.returncode not in (0, -signal.SIGKILL):
            raise RuntimeError(said.strip().splitlines()[-1])
    again = start(bench, base, killed, steps, "--resume")
    said = again.communicate()[1]
    if again.returncode:
        raise RuntimeError(said.strip().splitlines()[-1])
    one, two = (load_file(out / "checkpoints" / f"step-{steps:06d}" / "model.safetensors") for out in (sure, killed))
    apart = max(float((one[name].double() - two[name].double()).abs().max()) for name in one)
    bench.say(check="killed and resumed", steps=steps, killed_after=at, same_bits=apart == 0, largest_difference=apart)


def start(bench: Bench, base: Path, out: Path, steps: int, *more: str) -> subprocess.Popen[str]:
    """`r1zero train` on the arithmetic recipe."""
    words = [
        "--model.path", base, "--model.device", bench.device_name, "--train.steps", steps, "--checkpoint.every", 2,
        "--evaluation.benchmarks", "[]", "--out", out, *more,
    ]  # fmt: skip
    recipe = Path(r1zero.__file__).parent / "recipes" / "arithmetic.toml"
    command = [sys.executable, "-m", "r1zero", "train", str(recipe), *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "1000"}
    )


def logged(out: Path) -> int:
    """Steps that a run has logged."""
    path = out / "metrics.jsonl"
    if not path.exists():
        return 0
    return max((json.loads(line)["step"] for line in path.read_text().splitlines() if line.endswith("}")), default=0)
