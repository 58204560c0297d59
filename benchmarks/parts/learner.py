"""The learner: response tokens a second, model FLOPs utilisation (MFU) and peak memory, by layout and checkpointing.

A step's work is that of its tokens alone, whatever a layout pads: 6 operations a weight of the layers and token, 6 a
weight of the head and response token, and 6·L·d·T² for attention over a row of T tokens (causal). What gradient
checkpointing computes again is no work. MFU is that over the time and over the rate of one large product.
"""

from __future__ import annotations

import random
import tempfile
from typing import Any

import torch

from parts.bench import SHAPES, Bench, LeftOutError
from r1zero.config import make_recipe
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.plan.machine import Machine
from r1zero.plan.memory import devices
from r1zero.plan.model_size import Shape, shape_of
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy

GROUPS, SAMPLES, PROMPT, LONGEST = 8, 8, 128, 512
LAYOUTS = (("padded", False), ("packed", False), ("shared", False), ("padded", True), ("packed", True))


def measure(bench: Bench) -> None:
    """Every shape, layout, and with and without gradient checkpointing."""
    for shape in list(SHAPES)[: 1 if bench.tiny else None]:
        policy = bench.policy(shape)
        counted = shape_counted(bench, policy)
        for layout, checkpointing in LAYOUTS:
            what: dict[str, Any] = {"shape": shape, "layout": layout, "checkpointing": checkpointing}
            with bench.measuring(**what):
                one(bench, policy, what, counted)
        del policy
        bench.tidy()


def one(bench: Bench, policy: Policy, what: dict[str, Any], counted: Shape) -> None:
    """One layout on one model; the first of three steps is a warm-up."""
    if bench.left < 3:
        raise LeftOutError("no time left")
    policy.model.gradient_checkpointing_disable()
    recipe = recipe_of(bench, policy, what)
    learner = Learner(policy, make_objective("dr_grpo", constant=LONGEST), recipe.learner, temperature=1.0, seed=0,
                      total_updates=1, max_logprob_gap=1e9)  # fmt: skip
    rows = trajectories(bench, policy)
    bench.tidy()
    learner.learn(rows, 0, Tally())
    seconds = bench.seconds(lambda: learner.learn(rows, 0, Tally()), 2)
    work, limits = operations(policy, rows, shared=what["layout"] == "shared"), bench.limits()
    peak = torch.cuda.max_memory_allocated() if bench.gpu else None
    bench.say(
        **what,
        response_tokens=sum(row.length for row in rows),
        tokens_per_second=round(sum(row.length for row in rows) / seconds),
        mfu=round(work / seconds / limits[0], 4) if limits else None,
        peak_gib=peak and round(peak / 2**30, 2),
        planned_gib=round(planned(bench, counted, recipe) / 2**30, 2),
    )
    policy.model.zero_grad(set_to_none=True)


def recipe_of(bench: Bench, policy: Policy, what: dict[str, Any]) -> Any:
    """The settings of a run like this."""
    return make_recipe(
        {
            "model": {"path": "x", "device": str(policy.device)},
            "train": {"steps": 1},
            "questions": {"name": "arithmetic", "max_prompt_tokens": len(prompt(bench))},
            "sampling": {"max_new_tokens": longest(bench), "batch_rows": 1},
            "rollout": {"prompts": GROUPS, "samples": SAMPLES},
            "learner": {
                "micro_tokens": 512 if bench.tiny else 16384,
                "layout": what["layout"],
                "gradient_checkpointing": what["checkpointing"],
            },
        }
    )


def shape_counted(bench: Bench, policy: Policy) -> Shape:
    """What the plan needs to know of the model."""
    with tempfile.TemporaryDirectory() as folder:
        policy.model.config.save_pretrained(folder)
        return shape_of(folder, None, "sdpa", policy.autocast, len(prompt(bench)) + longest(bench))


def planned(bench: Bench, shape: Shape, recipe: Any) -> int:
    """Bytes that `r1zero doctor` counts on for weights, gradients, moments, and one micro-batch."""
    one = devices(recipe, shape, Machine("", 2**40, 1.0, 1.0, bench.gpu))[0]
    return sum(one.always.values()) + sum(one.learning.values())


def longest(bench: Bench) -> int:
    """The most tokens of a response."""
    return 32 if bench.tiny else LONGEST


def prompt(bench: Bench) -> range:
    """The places of a prompt's tokens."""
    return range(16 if bench.tiny else PROMPT)


def trajectories(bench: Bench, policy: Policy) -> list[Trajectory]:
    """Groups of responses of random tokens, of all lengths up to the limit, half of them right."""
    rng, vocabulary = random.Random(0), policy.model.config.vocab_size
    rows = []
    for group in range(GROUPS):
        ids = tuple(rng.randrange(vocabulary) for _ in prompt(bench))
        for sample in range(SAMPLES):
            length = rng.randint(1, longest(bench))
            response = tuple(rng.randrange(vocabulary) for _ in range(length))
            rows.append(Trajectory(ids, response, (0.0,) * length, 0.5 if sample % 2 else -0.5, group=group))
    return rows


def operations(policy: Policy, rows: list[Trajectory], *, shared: bool) -> float:
    """Floating-point operations of one step, forward and backward."""
    config: Any = policy.model.config
    head = config.vocab_size * config.hidden_size
    tokens = sum(row.length for row in rows)
    prompts = {row.prompt_ids for row in rows} if shared else [row.prompt_ids for row in rows]
    places = tokens + sum(map(len, prompts))
    squares = sum((len(row.prompt_ids) + row.length) ** 2 for row in rows)
    if shared:  # the prompts' own squares once
        squares -= sum(len(row.prompt_ids) ** 2 for row in rows) - sum(len(each) ** 2 for each in prompts)
    attention = 6 * config.num_hidden_layers * config.hidden_size * squares
    return 6.0 * (policy.size - head) * places + 6.0 * head * tokens + attention
