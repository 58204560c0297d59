"""How the time of a step grows: with tokens, vocabulary, group size and prompt length, one at a time.

    python benchmarks/growth.py                             # a model of SmolLM2-135M's shape, minutes on a CPU
    python benchmarks/growth.py --only vocabulary draw      # some of it
    python benchmarks/growth.py --quick                     # tries the script itself, on a small model

A step samples and learns once, all in this process, on random weights: every response has the whole budget, whatever
is drawn. Each axis doubles (or quadruples) one number of the step and keeps the others; the points of an axis are
measured in turns, and of each the median counts. The exponent b of time ≈ a · x^b is the slope of a line through the
logarithms, of wall and of CPU seconds, of the whole step and of its parts; the last pair's is what it tends to, where a
small step's overheads no longer count. `draw` measures the drawing of tokens from given logits beside the plain way, in
turns.

Ends with 1 where a bar is missed. On a shared machine what other processes take is in wall seconds and, where several
threads wait for each other, in CPU seconds too. With --threads 1 CPU seconds are work, and bars are held against them.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent))

from parts.bench import Bench  # beside this file, wherever it is called from
from plain_draw import plain_draw

from r1zero.config import make_recipe
from r1zero.learner.learner import Learner
from r1zero.metrics import Tally
from r1zero.objectives.table import make_objective
from r1zero.policy.batch import Trajectory
from r1zero.policy.load import Policy
from r1zero.sampling.embedded.draw import draw
from r1zero.sampling.embedded.sampler import make_sampler
from r1zero.sampling.protocol import Request, SamplingParams


@dataclass(frozen=True, slots=True)
class Work:
    """What a step does."""

    vocabulary: int
    prompts: int = 2
    samples: int = 4
    prompt_tokens: int = 32
    new_tokens: int = 32


@dataclass(frozen=True, slots=True)
class Axis:
    """Which number grows, over which values, and how large its exponent may be."""

    number: str
    values: tuple[int, ...]
    quick: tuple[int, ...]
    bar: float | None = None


BASE, QUICK = Work(49_152), Work(512, prompt_tokens=8, new_tokens=8)
AXES = {
    "tokens": Axis("new_tokens", (16, 32, 64, 128, 256), (4, 8), 1.1),
    "vocabulary": Axis("vocabulary", (1_024, 4_096, 16_384, 49_152, 151_936), (512, 2_048), 0.3),
    "samples": Axis("samples", (2, 4, 8, 16), (2, 4)),
    "prompt": Axis("prompt_tokens", (16, 32, 64, 128, 256), (4, 8)),
}
DRAW_ROWS, DRAW_SIZES, DRAW_BAR = 64, (49_152, 151_936), 1 / 3
Seconds = dict[str, float]
"""Of a step, and of its two parts: wall and CPU seconds."""


def exponent(xs: Sequence[float], seconds: Sequence[float]) -> float:
    """The slope of the line of least squares through (log x, log seconds)."""
    return statistics.linear_regression([math.log(x) for x in xs], [math.log(y) for y in seconds]).slope


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print; ends with 1 where a bar is missed."""
    options = parse(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    begin = {"threads": torch.get_num_threads(), "torch": torch.__version__, "runs": options.runs}
    print(json.dumps({"part": "begin", **begin}) if options.json else begin, flush=True)
    missed = []
    for name in options.only:
        found = measure_draw(options) if name == "draw" else measure_axis(name, options)
        print(json.dumps({"part": name, **found}) if options.json else told(name, found), flush=True)
        missed += [name] if found.get("holds") is False else []
    if missed and not options.quick:
        sys.exit(f"a bar is missed: {', '.join(missed)}")


def measure_axis(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Every point of an axis, in turns, and the exponents of its medians."""
    axis, base = AXES[name], QUICK if options.quick else BASE
    values = axis.quick if options.quick else axis.values
    runs: dict[int, list[Seconds]] = {value: [] for value in values}
    policy: Policy | None = None
    for run in range(options.runs):
        for value in values:
            work = replace(base, **{axis.number: value})
            if policy is None or policy.model.config.vocab_size != work.vocabulary:
                policy = None  # before the next one needs its memory
                policy = make_policy(options, work.vocabulary)
            runs[value].append(one_step(policy, work, run))
    points = [{name: value, **medians(runs[value])} for value in values]
    return points_and_exponents(name, axis, points, judged()) | {"base": asdict(base)}


def judged() -> str:
    """The seconds that bars are held against."""
    return "cpu_seconds" if torch.get_num_threads() == 1 else "seconds"


def points_and_exponents(name: str, axis: Axis, points: list[dict[str, float]], kind: str) -> dict[str, Any]:
    """The points with their exponents, and whether the bar holds for seconds of a kind."""
    xs = [point[name] for point in points]
    fitted = {key: round(exponent(xs, [point[key] for point in points]), 3) for key in points[0] if key != name}
    last = round(exponent(xs[-2:], [point[kind] for point in points[-2:]]), 3)
    found: dict[str, Any] = {"points": points, "exponents": fitted, "exponent_of_the_last_pair": last}
    return found if axis.bar is None else found | {"bar": axis.bar, "bar_of": kind, "holds": fitted[kind] <= axis.bar}


def medians(runs: Sequence[Seconds]) -> Seconds:
    """The median of every number."""
    return {kind: round(statistics.median(run[kind] for run in runs), 4) for kind in runs[0]}


def make_policy(options: argparse.Namespace, vocabulary: int) -> Policy:
    """Random weights in SmolLM2-135M's shape, or a small one's, with a vocabulary of so many tokens."""
    policy = Bench("growth", Path(), "cpu", options.quick, 0.0).policy("smollm2-135m", vocabulary=vocabulary)
    one_step(policy, replace(QUICK, vocabulary=vocabulary), -1)  # kernels are chosen, memory is touched
    return policy


def one_step(policy: Policy, work: Work, run: int) -> Seconds:
    """Sample and learn once."""
    rows = work.prompts * work.samples
    prompts = Bench("growth", Path(), "cpu", False, 0.0).prompts(work.prompts, work.prompt_tokens, work.vocabulary)
    requests = [Request(f"{run}/{i}", prompt) for i, prompt in enumerate(prompts)]
    sampler, learner = make_sampler(policy, rows), make_learner(policy, work)
    begun = clocks()
    sampled = list(sampler.sample(requests, work.samples, SamplingParams(work.new_tokens), seed=0, step=run))
    drawn = clocks()
    learner.learn([trajectory(prompts, each) for each in sampled], 0, Tally())
    learnt = clocks()
    policy.model.zero_grad(set_to_none=True)
    return {
        "seconds": learnt[0] - begun[0],
        "sampling": drawn[0] - begun[0],
        "learning": learnt[0] - drawn[0],
        "cpu_seconds": learnt[1] - begun[1],
        "cpu_sampling": drawn[1] - begun[1],
        "cpu_learning": learnt[1] - drawn[1],
    }


def clocks() -> tuple[float, float]:
    """Wall and CPU seconds."""
    return time.perf_counter(), time.process_time()


def trajectory(prompts: Sequence[tuple[int, ...]], sampled: Any) -> Trajectory:
    """A sampled response as the learner sees it, half of a group right."""
    found = sampled.completion
    advantage = 0.5 if sampled.sample % 2 else -0.5
    return Trajectory(prompts[sampled.request], found.token_ids, found.logprobs, advantage, group=sampled.request)


def make_learner(policy: Policy, work: Work) -> Learner:
    """The learner of a run like this; its learning rate leaves the weights as they are."""
    recipe = make_recipe(
        {
            "model": {"path": "x", "device": "cpu"},
            "train": {"steps": 1},
            "questions": {"name": "arithmetic", "max_prompt_tokens": work.prompt_tokens},
            "sampling": {"max_new_tokens": work.new_tokens},
            "rollout": {"prompts": work.prompts, "samples": work.samples},
            "learner": {"learning_rate": 1e-12},
        }
    )
    objective = make_objective("dr_grpo", constant=float(work.new_tokens))
    return Learner(policy, objective, recipe.learner, temperature=1.0, seed=0, total_updates=1, max_logprob_gap=1e9)


def measure_draw(options: argparse.Namespace) -> dict[str, Any]:
    """Tokens from given logits, ours and the plain way in turns: milliseconds of a decoding step, and their ratio."""
    rows, sizes = (4, (512, 2_048)) if options.quick else (DRAW_ROWS, DRAW_SIZES)
    generator, points = torch.Generator().manual_seed(0), []
    for size in sizes:
        logits = 3 * torch.randn(rows, size, generator=generator)
        u = torch.rand(rows, dtype=torch.float64, generator=generator)
        ways: dict[str, Callable[..., Any]] = {"plain": plain_draw, "ours": draw}
        found: dict[str, list[float]] = {key: [] for way in ways for key in (f"{way}_ms", f"{way}_cpu_ms")}
        for _ in range(1 + 3 * options.runs):  # the first is a warm-up
            for way, function in ways.items():
                begun = clocks()
                function(logits, u, SamplingParams(1))
                for key, end, begin in zip((f"{way}_ms", f"{way}_cpu_ms"), clocks(), begun, strict=True):
                    found[key].append(1e3 * (end - begin))
        middle = {key: round(statistics.median(times[1:]), 2) for key, times in found.items()}
        ratios = {
            "ratio": middle["ours_ms"] / middle["plain_ms"],
            "cpu_ratio": middle["ours_cpu_ms"] / middle["plain_cpu_ms"],
        }
        points.append(
            {"vocabulary": size, "rows": rows, **middle, **{key: round(each, 3) for key, each in ratios.items()}}
        )
    kind = "cpu_ratio" if judged() == "cpu_seconds" else "ratio"
    holds = all(point[kind] <= DRAW_BAR for point in points)
    return {"points": points, "bar": round(DRAW_BAR, 3), "bar_of": kind, "holds": holds}


def told(name: str, found: dict[str, Any]) -> str:
    """A part as a table."""
    lines = [f"\n{name}", row(found["points"][0])]
    lines += [row(point.values()) for point in found["points"]]
    if "exponents" in found:
        lines.append(row(["exponent", *found["exponents"].values()]))
        lines.append(f"exponent of the last pair {found['exponent_of_the_last_pair']}")
    if "bar" in found:
        lines.append(f"{found['bar_of']} at most {found['bar']}: {'holds' if found['holds'] else 'missed'}")
    return "\n".join(lines)


def row(cells: Iterable[object]) -> str:
    """Cells side by side."""
    return "".join(f"{cell:>14}" for cell in cells)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = [*AXES, "draw"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, metavar="PART", help=", ".join(parts))
    parser.add_argument("--runs", type=int, default=3, help="of every point, in turns (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="torch's; as many as it takes by itself where none are given")
    parser.add_argument("--quick", action="store_true", help="a small model and few points, to try the script; no bars")
    parser.add_argument("--json", action="store_true", help="a line of JSON a part")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
