"""Response tokens a second of the embedded sampler, of transformers' generate, and of its continuous batching.

What the two rates of the part `facts` allow is the bound: in every decoding step all weights and every row's keys and
values are read once in bfloat16, and each row costs two operations a weight. Prefilling is no part of it: a short run
is taken from the long one. All of `generate` runs in one autocast context, which casts the weights once, as the
embedded sampler does for each call. `ours` is the way that the device takes by itself: on a GPU static steps as CUDA
graphs, on a CPU plain ones. `ours, no graphs` has static steps, uncaptured, and `ours, plain` the plain ones.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig

from parts.bench import Bench, LeftOutError
from r1zero.policy.load import Policy
from r1zero.sampling.embedded.sampler import TorchSampler
from r1zero.sampling.protocol import Request, SamplingParams

PROMPT, TOKENS = 128, 512
LEAST, TRIED = 32, 16
"""New tokens: the fewest of a measurement, and those of the short run that is taken from it, prefilling and all."""
CASES = (
    ("qwen2.5-1.5b", 128),
    ("qwen2.5-1.5b", 512),
    ("qwen2.5-0.5b", 128),
    ("smollm2-135m", 128),
    ("qwen2.5-1.5b", 8),
    ("qwen2.5-0.5b", 512),
    ("smollm2-135m", 512),
    ("qwen2.5-0.5b", 8),
    ("smollm2-135m", 8),
)
"""Shapes and rows, those that matter most first: they get more of the time."""
_FEW = 3
"""How many of them the ways are measured on that a device does not take by itself."""
Draw = Callable[[int], int]
"""From a limit of new tokens to how many were drawn in all."""


def measure(bench: Bench) -> None:
    """Every engine, shape and number of rows; with fewer tokens, or not at all, where time runs short."""
    cases = [("qwen2.5-1.5b", 4)] if bench.tiny else list(CASES)
    policies: dict[str, Policy] = {}
    for engine, make in ENGINES.items():
        end = time.monotonic() + bench.left * SHARES[engine]
        few = cases[:_FEW] if engine.startswith("ours,") else cases
        for i, (shape, rows) in enumerate(few):
            what: dict[str, Any] = {"engine": engine, "shape": shape, "rows": rows}
            with bench.measuring(**what):
                if shape not in policies:
                    policies[shape] = bench.policy(shape)
                left = end - time.monotonic()
                one(bench, make, policies[shape], what, min(left, 2 * left / (len(few) - i)))


def one(
    bench: Bench,
    make: Callable[[Policy, list[tuple[int, ...]]], Draw],
    policy: Policy,
    what: dict[str, Any],
    left: float,
) -> None:
    """One engine on one shape, in `left` seconds."""
    begun = time.monotonic()
    prompts = bench.prompts(what["rows"], 16 if bench.tiny else PROMPT, policy.model.config.vocab_size)
    few, least, most = (2, 4, 8) if bench.tiny else (TRIED, LEAST, TOKENS)
    draw = make(policy, prompts)
    draw(2)  # kernels are loaded and tuned
    tried = bench.seconds(lambda: draw(few))
    tokens = most if bench.tiny else min(most, int((left - (time.monotonic() - begun)) / tried * few * 0.9))
    if tokens < least:
        raise LeftOutError(f"no time left: {few} tokens took {tried:.2g} s")
    found: list[int] = []
    seconds = bench.seconds(lambda: found.append(draw(tokens)))
    decoding = max(1e-9, seconds - tried)
    rate = (tokens - few) * what["rows"] / decoding
    bound = bound_of(bench, policy, what["rows"], len(prompts[0]) + (few + tokens) / 2)
    bench.say(
        **what,
        new_tokens=tokens,
        tokens_per_second=round(found[-1] / seconds),
        decoding_tokens_per_second=round(rate),
        step_ms=round(1e3 * decoding / (tokens - few), 2),
        share_of_bound=round(rate / bound, 4) if bound else None,
    )


def bound_of(bench: Bench, policy: Policy, rows: int, context: float) -> float | None:
    """Tokens a second that the device's two rates allow."""
    limits = bench.limits()
    if limits is None:
        return None
    flops, bandwidth = limits
    config: Any = policy.model.config
    width = config.hidden_size // config.num_attention_heads
    number = 2 if bench.gpu else 4
    cache = 2 * config.num_hidden_layers * config.num_key_value_heads * width * number
    read = number * policy.size + rows * context * cache
    return rows / max(read / bandwidth, 2 * policy.size * rows / flops)


def ours(policy: Policy, prompts: list[tuple[int, ...]], look_every: int | None = None, graphs: bool = True) -> Draw:
    """The embedded sampler."""
    sampler = TorchSampler(
        policy.model,
        policy.tokenizer,
        (),
        rows=len(prompts),
        autocast=policy.autocast,
        look_every=look_every,
        graphs=graphs,
    )
    requests = [Request(str(i), prompt) for i, prompt in enumerate(prompts)]

    def draw(tokens: int) -> int:
        params = SamplingParams(tokens)
        return sum(each.completion.length for each in sampler.sample(requests, 1, params, seed=0, step=0))

    return draw


def generate(policy: Policy, prompts: list[tuple[int, ...]]) -> Draw:
    """`model.generate`: a batch, from its first token to its last."""
    model: Any = policy.model
    ids = torch.tensor(prompts, device=policy.device)

    @torch.no_grad()
    def draw(tokens: int) -> int:
        with policy.autocast():
            found = model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings(policy, tokens))
        return found.shape[0] * (found.shape[1] - ids.shape[1])

    return draw


def generate_batch(policy: Policy, prompts: list[tuple[int, ...]]) -> Draw:
    """`model.generate_batch`: continuous batching with a paged cache; weights in bfloat16.

    Without flash-attn it has no CUDA graphs and makes its masks row by row. Not on a CPU, where it has been seen to
    fill the machine's whole memory with its cache.
    """
    if policy.device.type == "cpu":
        raise LeftOutError("continuous batching is measured on GPUs only")
    model: Any = policy.model
    model.to(torch.bfloat16)

    @torch.no_grad()
    def draw(tokens: int) -> int:
        found = model.generate_batch([list(each) for each in prompts], generation_config=settings(policy, tokens))
        if len(found) != len(prompts) or any(each.error for each in found.values()):
            raise RuntimeError(f"{len(found)} of {len(prompts)} were answered: {[e.error for e in found.values()][:1]}")
        return sum(len(each.generated_tokens) for each in found.values())

    return draw


def settings(policy: Policy, tokens: int) -> GenerationConfig:
    """Plain sampling at temperature 1, of exactly so many tokens: what would end a response is no token."""
    return GenerationConfig(
        do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_new_tokens=tokens, pad_token_id=0,
        eos_token_id=policy.model.config.vocab_size + 1,
    )  # fmt: skip


ENGINES = {
    "ours": ours,
    "generate": generate,
    "ours, no graphs": partial(ours, look_every=8, graphs=False),
    "ours, plain": partial(ours, look_every=0),
    "generate_batch": generate_batch,
}
SHARES = {"ours": 0.4, "generate": 0.5, "ours, no graphs": 0.3, "ours, plain": 0.4, "generate_batch": 1.0}
"""Of the time that is left when an engine begins."""
