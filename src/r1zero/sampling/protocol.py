"""What a sampler is: prompts in, completions out, token ids all the way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from r1zero.types import Completion, Stop


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to draw. Temperature 0 is greedy; `top_k` 0 and `top_p` 1 leave the distribution whole. ValueError for what
    nothing can be drawn with.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()
    positions: int | None = None
    """The most tokens of prompt and response together that the model has positions for; None sets no bound."""

    def __post_init__(self) -> None:
        for name, fits, range_ in (
            ("max_new_tokens", self.max_new_tokens >= 1, "1 or more"),
            ("temperature", 0 <= self.temperature < math.inf, "0 or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0, up to 1"),
            ("top_k", self.top_k >= 0, "0 or more"),
            ("stop", all(self.stop) and not isinstance(self.stop, str), "texts that are not empty"),
        ):
            if not fits:
                raise ValueError(f"{name} = {getattr(self, name)!r} is not a valid {name}: give {range_}")

    def budget(self, prompt_tokens: int) -> int:
        """Return the most tokens of a response to a prompt of so many. ValueError where it has no room at all."""
        if self.positions is None:
            return self.max_new_tokens
        if prompt_tokens >= self.positions:
            raise ValueError(f"a prompt of {prompt_tokens} tokens leaves no room among {self.positions} positions")
        return min(self.max_new_tokens, self.positions - prompt_tokens)

    def cut(self, budget: int) -> Stop:
        """Tell how a response ends that fills its budget."""
        return Stop.LENGTH if budget >= self.max_new_tokens else Stop.CONTEXT


@dataclass(frozen=True, slots=True)
class Request:
    """One prompt. `key` names the question in the sampling noise: equal keys in one step draw equal responses."""

    key: str
    prompt_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """A finished response: the `sample`-th of the `request`-th request."""

    request: int
    sample: int
    completion: Completion


class Sampler(Protocol):
    """Draws responses from the current policy."""

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """Yield `samples` responses to every request, in the order they finish.

        The noise behind token t of a response is a pure function of (seed, step, request.key, sample, t), so what is
        drawn does not depend on batching or order.
        """
        ...
