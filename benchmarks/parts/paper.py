"""The paper's 1.5B run (table 6): 128 × 8 responses of up to 3,000 tokens, eight updates; seconds by phase.

Weights are random, in the shape of Qwen2.5-1.5B; so many tokens end a response that it has 500 tokens on average, as
in the paper's own run, and half of the rewards are 1. Grading is a user's function of no cost. Nothing is saved.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from parts.bench import Bench
from r1zero.config import make_recipe
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.rollouts.collector import collect
from r1zero.rollouts.prompts import Prompt
from r1zero.rollouts.rewards import Truncation, rewards_of, trajectories_of
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import SamplingParams
from r1zero.templates import get_template
from r1zero.types import Question
from r1zero.verify import Verifier

STEPS, WHOLE_RUN, MEAN = 2, 150, 500
COIN = "import zlib\n\n\ndef reward(response, gold):\n    return float(zlib.crc32(response.encode()) % 2)\n"


def measure(bench: Bench) -> None:
    """Two steps, or as many as there is time for; each is a figure, and so is what a whole run would take."""
    size: dict[str, Any] = {"prompts": 128, "samples": 8, "limit": 3000, "prompt": 160, "mean": MEAN}
    if bench.tiny:
        size = {"prompts": 16, "samples": 4, "limit": 40, "prompt": 16, "mean": 20}
    policy = bench.policy("qwen2.5-1.5b", mean_length=size["mean"])
    recipe = make_recipe(
        {"model": {"path": "x"}, "questions": {"name": "arithmetic"}, "train": {"steps": 1}},
        {"learner.updates": 8, "learner.micro_tokens": 16384, "learner.gradient_checkpointing": True,
         "rollout.prompts": size["prompts"], "rollout.samples": size["samples"]},
    )  # fmt: skip
    objective = make_objective("dr_grpo", constant=size["limit"])
    learner = Learner(policy, objective, recipe.learner, temperature=1.0, seed=0, total_updates=1, max_logprob_gap=1e9)
    rows = size["prompts"] * size["samples"]
    sampler = TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, rows=rows, autocast=policy.autocast)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "coin.py").write_text(COIN, encoding="utf-8")
        with Verifier(workers=8, reward=f"{folder}/coin.py:reward") as verifier:
            verifier.check()
            for step in range(1, STEPS + 1):
                with bench.measuring(step=step):
                    found.append(one(bench, size, step, (policy, sampler, verifier, objective, learner)))
                    hours = WHOLE_RUN * sum(found) / len(found) / 3600
                    bench.say(after=step, hours_of_150_steps=round(hours, 2), without="evaluation and checkpoints")


def one(bench: Bench, size: dict[str, Any], step: int, parts: tuple[Any, ...]) -> float:
    """One step: its seconds."""
    policy, sampler, verifier, objective, learner = parts
    ids = bench.prompts(STEPS * size["prompts"], size["prompt"], policy.model.config.vocab_size)
    ids = ids[(step - 1) * size["prompts"] : step * size["prompts"]]
    prompts = [Prompt(Question(f"{step}/{i}", "", ("x",)), "", each, f"{step}/{i}") for i, each in enumerate(ids)]
    bench.tidy()
    begun = time.perf_counter()
    got = collect(
        prompts, sampler, verifier, get_template("no"), SamplingParams(size["limit"]),
        samples=size["samples"], seed=0, step=step,
    )  # fmt: skip
    bench.wait()
    sampled = time.perf_counter()
    peak_sampling = torch.cuda.max_memory_allocated() if bench.gpu else None
    lengths = [each.length for rollout in got.rollouts for each in rollout.completions]
    bench.say(
        step=step,
        sample_seconds=round(sampled - begun, 2),
        of_it_waiting_for_grades=round(got.grade_seconds, 2),
        responses=len(lengths),
        mean_length=round(sum(lengths) / len(lengths), 1),
        at_limit=sum(length == size["limit"] for length in lengths) / len(lengths),
        sample_tokens_per_second=round(sum(lengths) / (sampled - begun)),
        peak_gib_sampling=peak_sampling and round(peak_sampling / 2**30, 1),
    )
    rewards, graded = rewards_of(got.rollouts, Truncation())
    rows = trajectories_of(got.rollouts, objective.advantages(rewards, graded), graded)
    bench.tidy()
    learning = time.perf_counter()
    learner.learn(rows, step, Tally())
    bench.wait()
    seconds = time.perf_counter() - learning
    peak = torch.cuda.max_memory_allocated() if bench.gpu else None
    total = sampled - begun + seconds
    bench.say(
        step=step,
        learn_seconds=round(seconds, 2),
        updates=learner.updates,
        mean_reward=float(rewards.mean()),
        learn_tokens_per_second=round(sum(lengths) / seconds),
        step_seconds=round(total, 2),
        peak_gib_learning=peak and round(peak / 2**30, 1),
    )
    return total
