"""Whether bfloat16 pays on this processor: a few products of a model's own shapes, tried both ways.

A flag of the processor tells little: with AVX-512-BF16 alone, products in bfloat16 have been seen at twice and at half
the speed of float32, and so narrow ones that casting takes longer than the product are slower even with AMX.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from r1zero.errors import first_line
from r1zero.policy.device import pick_autocast
from r1zero.policy.load import Policy

PAYS = 1.3
"""How many times as fast bfloat16 must be: measurements on a shared machine differ by less."""
_SMALL = 1 << 25  # parameters; with fewer, `auto` keeps float32: it is fast enough, and exact
_ROWS = (64, 256)  # a decoding step's, and a part of a micro-batch's
_WIDEST = 1024  # wider products are like these, and would take long
_RUNS = 8
Shapes = Mapping[tuple[int, int], int]
"""How often a model has a product of so many numbers into so many."""
USUAL: Shapes = {(576, 576): 2, (576, 192): 2, (576, 1536): 2, (1536, 576): 1}
"""A layer's of SmolLM2-135M, for who has no model at hand."""


@dataclass(frozen=True, slots=True)
class Speedup:
    """How many times as fast as in float32 products are in bfloat16, of few rows (decoding) and of many (learning)."""

    few: float
    many: float

    @property
    def pays(self) -> bool:
        """Whether bfloat16 is faster enough in both."""
        return min(self.few, self.many) >= PAYS

    def __str__(self) -> str:
        few, many = _ROWS
        return f"{self.few:.1f} × as fast as float32 in products of {few} rows, {self.many:.1f} × in those of {many}"


def settled(policy: Policy, asked: str) -> tuple[Policy, dict[str, str]]:
    """Return a policy in the precision that is asked for, where `auto` is decided now, and what a run records of it:
    `autocast`, and `autocast_reason` where something was measured.
    """
    chosen, reason = choose(policy.model, asked, policy.device)
    facts = {"autocast": chosen} | ({"autocast_reason": reason} if reason else {})
    return replace(policy, autocast=pick_autocast(chosen, policy.device)), facts


def choose(model: nn.Module, asked: str, device: torch.device) -> tuple[str, str]:
    """Return what `learner.autocast` is with this model, and why where that was measured.

    `auto` is bfloat16 on GPUs, and on CPUs where it pays for a model that is not small. Of the model only the shapes
    are looked at.
    """
    if asked != "auto" or device.type != "cpu":
        return "bfloat16" if asked == "auto" else asked, ""
    if sum(p.numel() for p in model.parameters()) < _SMALL:
        return "off", ""
    if fault := attention_fault():
        return "off", f"attention in bfloat16 fails here ({fault})"
    found = measure(shapes_of(model))
    if found.pays:
        return "bfloat16", f'bfloat16 is {found} here; learner.autocast = "off" would be exact'
    return "off", f"bfloat16 is {found} here"


def shapes_of(model: nn.Module) -> Shapes:
    """Return the shapes of a model's products."""
    return Counter((part.in_features, part.out_features) for part in model.modules() if type(part) is nn.Linear)


@torch.no_grad()
def attention_fault() -> str:
    """Return how attention in bfloat16 fails on a CPU; "" where it does not. Torch's does with more than a few tokens
    where a processor's instructions are there and torch is told not to use them (ATEN_CPU_CAPABILITY).
    """
    x = torch.zeros(1, 1, 64, 64, dtype=torch.bfloat16)
    try:
        functional.scaled_dot_product_attention(x, x, x, is_causal=True)
    except RuntimeError as error:
        return first_line(error)
    return ""


@torch.no_grad()
def measure(shapes: Shapes) -> Speedup:
    """Return how bfloat16 does on this processor, by the shortest of a few runs (well under a second): where others
    compute as well, most runs are lengthened by being interrupted.
    """
    cut = Counter[tuple[int, int]]()
    for (into, out), count in shapes.items():
        cut[min(into, _WIDEST), min(out, _WIDEST)] += count
    few, many = (_ratio(cut, rows) for rows in _ROWS)
    return Speedup(few, many)


def _ratio(shapes: Shapes, rows: int) -> float:
    totals = [0.0, 0.0]
    for (into, out), count in shapes.items():
        x, weights = torch.randn(rows, into), torch.randn(out, into)
        for kind, seconds in enumerate(_seconds(x, weights)):
            totals[kind] += count * seconds
    return totals[0] / totals[1] if totals[1] else 1.0


def _seconds(x: Tensor, weights: Tensor) -> tuple[float, float]:
    """Return the time of a product in float32, and in bfloat16 with what casts its other factor; in turns."""
    low = weights.bfloat16()
    ways: tuple[Callable[[], Tensor], ...] = (
        lambda: functional.linear(x, weights),
        lambda: functional.linear(x.bfloat16(), low),
    )
    took: tuple[list[float], ...] = ([], [])
    for _ in range(_RUNS):
        for way, each in zip(ways, took, strict=True):
            begun = time.perf_counter()
            way()
            each.append(time.perf_counter() - begun)
    return min(took[0]), min(took[1])
