"""One step ahead: the next rollout batch is drawn while this one is learnt from.

The batch of step s + 1 is begun before the learner takes step s, so the weights that draw it are one step old. No
response is thrown away for its age: a batch is complete when its last response is, however long that takes, and what
finishes early is graded meanwhile.

    samplers   | draw 1 | draw 2        | draw 3        |
    learner             | learn from 1  | learn from 2  |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from r1zero.metrics import Tally
from r1zero.rollouts.collector import Batch, GradedRollouts, RolloutCollector
from r1zero.runs.rollout_rows import rollouts_of, rows_of, rows_of_before
from r1zero.sampling.protocol import Request, Sampled, SamplingParams
from r1zero.sampling.synced_engine import SyncedEngine
from r1zero.types import Completion

Progress = Callable[[Completion], None] | None


class AsyncCollector:
    """A collector that is one step ahead of the learner. As a sampler it is the engine between two batches.

    `collector` samples from the engine as it is; the engine is brought up to date here, between batches. `last` is the
    run's last step, after which nothing is begun.
    """

    def __init__(self, collector: RolloutCollector, engine: SyncedEngine, last: int):
        self.collector, self.engine, self.last = collector, engine, last
        self.drawing: _Drawing | None = None
        self.pool, self.closed = ThreadPoolExecutor(1, "drawing ahead"), False

    def __call__(self, step: int, tally: Tally, progress: Progress = None) -> Batch:
        """Return the rollout batch of a step, begun a step ago; begins that of the next one."""
        drawing = self.drawing or self._begin(step, progress)
        batch = drawing.wait()
        tally.merge(drawing.tally)
        tally.add("rollout/staleness", self.engine.version() - drawing.version)
        self.drawing = self._begin(step + 1, progress) if step < self.last else None
        return batch

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`: from the policy as it is now, once the batch that is being drawn is there."""
        if self.drawing is not None:
            self.drawing.wait()
        yield from self.engine.sample(requests, samples, params, seed=seed, step=step)

    def state(self) -> dict[str, Any]:
        """Return the batch that was drawn ahead, to the last response, and where the question set stands after it."""
        if self.drawing is None:
            return self.collector.state()
        return {"ahead": self.drawing.state()} | self.collector.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.collector.restore(state)
        if "ahead" in state:
            self.drawing = _Drawing.restored(state["ahead"])

    def close(self) -> None:
        """Give up the batch that is being drawn, if any, at its next response."""
        self.closed = True
        self.pool.shutdown(cancel_futures=True)

    def _begin(self, step: int, progress: Progress) -> _Drawing:
        self.engine.update_weights()
        assert self.engine.loaded_version is not None
        tally = Tally()

        def watched(completion: Completion) -> None:
            if self.closed:
                raise CancelledError
            if progress is not None:
                progress(completion)

        return _Drawing(self.engine.loaded_version, tally, self.pool.submit(self.collector, step, tally, watched))


@dataclass(frozen=True, slots=True)
class _Drawing:
    """A batch that is being drawn, or was, by weights of a version."""

    version: int
    tally: Tally
    batch: Future[Batch]

    def wait(self) -> Batch:
        """Return the batch, when it is complete. Raises what drawing it raised."""
        return self.batch.result()

    def state(self) -> dict[str, Any]:
        """Return the batch in plain values and tensors."""
        graded = self.wait().graded
        return {
            "version": self.version,
            "tally": self.tally.state(),
            "rollouts": rows_of(graded.rollouts),
            "rewards": graded.rewards_PG,
            "graded": graded.graded_PG,
            "penalties": graded.penalties_PG,
            "advantages": self.wait().advantages_PG,
        }

    @classmethod
    def restored(cls, state: dict[str, Any]) -> _Drawing:
        """From `state()`."""
        rows = state["rollouts"]
        if "completions" in rows[0]:
            rows = [row for group in rows for row in rows_of_before(group)]
        graded = GradedRollouts(rollouts_of(rows), state["rewards"], state["graded"], state["penalties"])
        batch: Future[Batch] = Future()
        batch.set_result(Batch(graded, state["advantages"]))
        return cls(state["version"], Tally.restored(state["tally"]), batch)
