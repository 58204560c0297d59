"""Counter-based noise: a uniform number per token that is a pure function of what it is for.

    u(seed, step, question, sample, position) ∈ [0, 1)

A stateful generator would make a response depend on which rows happened to be decoded beside it, and a resumed run on
where it was cut. Here there is no state: the row's 64-bit key is a hash, and each position is one step of SplitMix64
(Steele, Lea & Flood 2014) from it. Legend: N rows.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

_BITS = 48  # granularity of u; leaves room below 1.0 so that u · total < total survives rounding in float64


def row_key(seed: int, step: int, question: str, sample: int) -> int:
    """Return the 64-bit key of one response's noise, as a signed integer (torch has no unsigned 64-bit arithmetic)."""
    text = f"{seed}/{step}/{sample}/{question}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)


def uniforms(keys_N: Tensor, positions_N: Tensor) -> Tensor:
    """Return u_N ∈ [0, 1) as float64, from the rows' keys and the positions of the tokens to draw (both int64)."""
    z = keys_N + (positions_N + 1) * _signed(0x9E3779B97F4A7C15)
    z = (z ^ _shift(z, 30)) * _signed(0xBF58476D1CE4E5B9)
    z = (z ^ _shift(z, 27)) * _signed(0x94D049BB133111EB)
    z = z ^ _shift(z, 31)
    return _shift(z, 64 - _BITS).to(torch.float64) * 2.0**-_BITS


def _shift(z: Tensor, bits: int) -> Tensor:
    """Return logical right shift: torch's own copies the sign bit."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value
