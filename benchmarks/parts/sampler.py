"""Response tokens a second of the embedded sampler, of transformers' generate, and of its continuous batching.

What the two rates of the part `facts` allow is the bound: in every decoding step all weights and every row's keys and
values are read once in bfloat16, and each row costs two operations a weight; prefilling is left out of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from transformers import GenerationConfig

from parts.bench import SHAPES, Bench, LeftOutError
from r1zero.policy.load import Policy
from r1zero.sampling import Request, SamplingParams
from r1zero.sampling.torch_sampler import TorchSampler

PROMPT, TOKENS, ROWS = 128, 512, (128, 512, 8)
LEAST, TRIED = 64, 16  # new tokens: of a measurement, and of the try before it
Draw = Callable[[int], int]
"""From a limit of new tokens to how many were drawn in all."""


def measure(bench: Bench) -> None:
    """Every shape, number of rows, and engine; with fewer tokens, or not at all, where time runs short."""
    order = ["qwen2.5-1.5b", "qwen2.5-0.5b", "smollm2-135m"]
    assert set(order) == set(SHAPES)
    cases = [(shape, rows) for shape in order for rows in ((4,) if bench.tiny else ROWS)]
    for engine, make in ENGINES.items():
        share = bench.left * {"ours": 0.45, "generate": 0.6, "generate_batch": 1.0}[engine]
        end = time.monotonic() + share
        for i, (shape, rows) in enumerate(cases[:1] if bench.tiny else cases):
            what = {"engine": engine, "shape": shape, "rows": rows}
            with bench.measuring(**what):
                one(bench, make, what, (end - time.monotonic()) / (len(cases) - i))


def one(bench: Bench, make: Callable[[Policy, list[tuple[int, ...]]], Draw], what: dict[str, Any], left: float) -> None:
    """One engine on one shape, in `left` seconds."""
    begun = time.monotonic()
    policy = bench.policy(what["shape"])
    prompts = bench.prompts(what["rows"], 16 if bench.tiny else PROMPT, policy.model.config.vocab_size)
    draw = make(policy, prompts)
    draw(2)  # kernels are loaded and tuned
    few = 2 if bench.tiny else TRIED
    tried = bench.seconds(lambda: draw(few))
    tokens = 8 if bench.tiny else min(TOKENS, int((left - (time.monotonic() - begun)) / tried * TRIED * 0.9))
    if tokens < LEAST and not bench.tiny:
        raise LeftOutError(f"no time left: {TRIED} tokens took {tried:.2g} s")
    found: list[int] = []
    seconds = bench.seconds(lambda: found.append(draw(tokens)))
    rate = found[-1] / seconds
    bound = bound_of(bench, policy, what["rows"], len(prompts[0]) + tokens / 2)
    bench.say(
        **what,
        new_tokens=tokens,
        tokens_per_second=round(rate),
        step_ms=round(1e3 * seconds / tokens, 2),
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


def ours(policy: Policy, prompts: list[tuple[int, ...]]) -> Draw:
    """The embedded sampler."""
    sampler = TorchSampler(policy.model, policy.tokenizer, (), rows=len(prompts), autocast=policy.autocast)
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
    """`model.generate_batch`: continuous batching with a paged cache and CUDA graphs; weights in bfloat16.

    Not on a CPU, where it has been seen to fill the machine's whole memory with its cache.
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


ENGINES = {"ours": ours, "generate": generate, "generate_batch": generate_batch}
