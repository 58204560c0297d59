"""Engines whose weights stay as they are: those of a model's own files, which nobody trains."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from r1zero.errors import SettingName
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams
from r1zero.sampling.synced_engine import EngineLostError


class Started(Sampler, Protocol):
    """A sampler in a process of its own."""

    def close(self) -> None:
        """End the process."""
        ...


class StandingEngine:
    """An engine that `start` starts for a context, in tokens of prompt and response together, once that is known; and
    anew where more is asked for.
    """

    def __init__(self, start: Callable[[int], Started]):
        self.start = start
        self.context = 0
        self.engine: Started | None = None

    def reach(self, context: int) -> Started:
        """Have an engine of at least this context. Raises UserError where it cannot be started."""
        if self.engine is None or context > self.context:
            self.close()
            self.engine = self.start(context)
            self.context = context
        return self.engine

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`."""
        if not requests:
            return
        longest = max(len(request.prompt_ids) for request in requests)
        engine = self.reach(longest + params.budget(longest))
        try:
            yield from engine.sample(requests, samples, params, seed=seed, step=step)
        except EngineLostError:
            self.engine = None
            raise EngineLostError(
                "The vLLM engine has died; what it said stands above. Give the same command again to go on, with a "
                "smaller ",
                SettingName("sampling.batch_rows"),
                " or ",
                SettingName("sampling.memory"),
                " if it ran out of memory.",
            ) from None

    def close(self) -> None:
        """End the engine's process, if there is one."""
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()
