"""The embedded sampler and vLLM side by side: response tokens per second, and the time of a weight sync.

    python benchmarks/engines.py [--model FOLDER] [--questions 32] [--samples 8] [--tokens 64] [--runs 3] [--json]

One process, one model (a random one of 3 × 128 where none is given), the same prompts and budget; runs alternate, so
that whatever else the machine does falls on both. Medians, and their ratio.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from contextlib import closing
from pathlib import Path

import torch

from r1zero.config import make_recipe
from r1zero.policy.load import load_policy
from r1zero.policy.tiny import character_tokenizer, tiny_model
from r1zero.questions.arithmetic import arithmetic
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, Sampler, SamplingParams
from r1zero.sampling.vllm.build import make_sampler as make_engine
from r1zero.sampling.vllm.build import own_transfer


def tokens_per_second(sampler: Sampler, requests: list[Request], samples: int, tokens: int, step: int) -> float:
    begin = time.perf_counter()
    params = SamplingParams(tokens)
    drawn = sum(each.completion.length for each in sampler.sample(requests, samples, params, seed=0, step=step))
    return drawn / (time.perf_counter() - begin)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--questions", type=int, default=32)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.model or Path(folder)
        if chosen.model is None:
            tokenizer = character_tokenizer()
            tiny_model(tokenizer).save_pretrained(path)
            tokenizer.save_pretrained(path)
        measure(chosen, path)


def measure(chosen: argparse.Namespace, path: Path) -> None:
    recipe = make_recipe(
        {"model": {"path": str(path)}, "questions": {"name": "arithmetic"}, "train": {"steps": 1}},
        {"sampling.engine": "vllm", "sampling.batch_rows": chosen.questions * chosen.samples},
    )
    policy = load_policy(str(path))
    questions = arithmetic(level=2, style="bare", count=chosen.questions)
    requests = [Request(each.id, policy.encode(each.text)) for each in questions]
    context = max(len(each.prompt_ids) for each in requests) + chosen.tokens
    ours = make_sampler(policy, recipe.sampling.batch_rows)
    begin = time.perf_counter()
    with closing(
        make_engine(recipe, policy, own_transfer(policy, recipe), context, policy.device, sleeps=True)
    ) as engine:
        start = time.perf_counter() - begin
        rates: dict[str, list[float]] = {"torch": [], "vllm": []}
        syncs: list[float] = []
        for run in range(chosen.runs + 1):  # the first is a warm-up
            begin = time.perf_counter()
            engine.update_weights()
            syncs.append(time.perf_counter() - begin)
            for name, sampler in (("torch", ours), ("vllm", engine)):
                rates[name].append(tokens_per_second(sampler, requests, chosen.samples, chosen.tokens, run))
    medians = {name: statistics.median(found[1:]) for name, found in rates.items()}
    result = {
        "parameters": policy.size,
        "device": str(policy.device),
        "threads": torch.get_num_threads(),
        "torch_tokens_per_second": round(medians["torch"]),
        "vllm_tokens_per_second": round(medians["vllm"]),
        "ratio_vllm_torch": round(medians["vllm"] / medians["torch"], 3),
        "sync_seconds": round(statistics.median(syncs[1:]), 3),
        "start_seconds": round(start, 1),
    }
    print(json.dumps(result) if chosen.json else "\n".join(f"{key:26}{value}" for key, value in result.items()))


if __name__ == "__main__":
    main()
