"""What every way of decoding works on: questions that wait, rows at work, and the cache of what they have seen.

Each question is prefilled once, when there are rows for its samples, and its keys and values copied to them; rows that
end leave gaps, which the last ones that go on close. Legend: G samples per question, S rows of the cache, p prompts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache

from r1zero.policy.forward import forward
from r1zero.sampling.embedded.kv_cache import KvCache
from r1zero.sampling.embedded.rows import Rows
from r1zero.sampling.embedded.stops import StopRules
from r1zero.sampling.protocol import Request, SamplingParams

_PREFILL_TOKENS = 8192  # padded prompt tokens per prefill pass


@dataclass(frozen=True, slots=True)
class Task:
    """One call's questions. `most_rows` bounds the rows (raised to G where G is larger), `seed` is (seed, step)."""

    requests: Sequence[Request]
    samples: int
    params: SamplingParams
    seed: tuple[int, int]
    most_rows: int

    @property
    def rows(self) -> int:
        """Rows of the cache."""
        return min(max(self.most_rows, self.samples), self.samples * len(self.requests))

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(len(request.prompt_ids) for request in self.requests)

    @property
    def budget(self) -> int:
        """The most tokens of any response."""
        return self.params.budget(min(len(request.prompt_ids) for request in self.requests))

    @property
    def limit(self) -> int:
        """Columns of the cache at its widest: as much again where waiting questions enter."""
        refills = self.rows < self.samples * len(self.requests)
        return self.longest + self.budget + (max(self.budget, 64) if refills else 0)


class DecodingBatch:
    """The state of one sampling call that no way of decoding can do without."""

    def __init__(
        self,
        task: Task,
        model: PreTrainedModel,
        autocast: Callable[[], AbstractContextManager[object]],
        rules: StopRules,
        cache: KvCache,
    ):
        self.task, self.model, self.autocast, self.cache = task, model, autocast, cache
        self.device, self.longest = model.device, task.longest
        requests = task.requests
        # longest prompts first: rows that enter together are padded least, and the longest wait is not at the end
        self.waiting = deque(sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids)))
        self.drawn = Rows(task.rows, rules, task.params, task.seed)
        self.starts: list[int] = []  # first column of each active row
        self.start_S = torch.zeros(task.rows, dtype=torch.int64, device=self.device)

    @property
    def active(self) -> int:
        """Rows at work."""
        return self.drawn.active

    @property
    def free(self) -> int:
        """Rows that questions may enter."""
        return self.task.rows - self.active

    def has_room(self) -> bool:
        """Tell whether enough rows are free for waiting questions to enter (a quarter of the cache, to prefill in
        bulk).
        """
        return bool(self.waiting) and self.free >= max(self.task.samples, self.task.rows // 4)

    def enter(self) -> range:
        """Prefill as many waiting questions as there are free rows, each once, and draw their first tokens; which rows
        they are.
        """
        before = self.active
        if not before:
            self.cache.t = self.cache.first = self.longest
        while self.waiting and self.free >= self.task.samples:
            fits = self.free // self.task.samples
            width = len(self.task.requests[self.waiting[0]].prompt_ids)
            count = min(fits, len(self.waiting), max(1, _PREFILL_TOKENS // width))
            self._enter([self.waiting.popleft() for _ in range(count)])
        self._settle()
        return range(before, self.active)

    @torch.no_grad()
    def _enter(self, group: list[int]) -> None:
        requests, samples = self.task.requests, self.task.samples
        prompts = [requests[i].prompt_ids for i in group]
        logits_pV, prefill = self._prefill(prompts)
        t = self.cache.t
        with self.autocast():
            self.cache.insert(prefill, samples, self.active)
        self.starts += [t - len(prompt) for prompt in prompts for _ in range(samples)]
        rows = self.drawn.enter(requests, [(i, sample) for i in group for sample in range(samples)])
        self.start_S[rows] = torch.tensor(self.starts[rows], device=self.device)
        self.drawn.draw(rows, logits_pV.repeat_interleave(samples, 0))

    def _prefill(self, prompts: list[tuple[int, ...]]) -> tuple[Tensor, DynamicCache]:
        """Return one pass over left-padded prompts: the logits after each, and their keys and values."""
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.int64)
        mask = torch.zeros(len(prompts), width, dtype=torch.int64)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = DynamicCache()  # without a config: plain layers that keep every column, whatever the window
        logits = self.forward(ids.to(self.device), mask.to(self.device), positions.to(self.device), cache)
        return logits, cache

    def forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        """Compute the logits after the last of `ids` by the model's own forward."""
        with self.autocast():
            return forward(self.model, ids, mask, positions, cache)

    def moved(self, columns: int) -> None:
        """Take note that everything in the cache has moved left."""
        self.starts = [start - columns for start in self.starts]
        self.start_S -= columns

    @torch.no_grad()
    def release(self, finished: list[int]) -> tuple[Tensor, Tensor] | None:
        """Close the gaps that finished rows leave with the last rows that go on; from which rows to which, if any."""
        sources, targets = self.drawn.gaps(finished)
        moves = None
        if targets:
            source, target = torch.tensor(sources, device=self.device), torch.tensor(targets, device=self.device)
            moves = source, target
            self.cache.move(source, target)
            self.start_S[target] = self.start_S[source]
            for src, dst in zip(sources, targets, strict=True):
                self.starts[dst] = self.starts[src]
        self.drawn.release(finished)
        self._settle()
        return moves

    def _settle(self) -> None:
        del self.starts[self.active :]
        self.cache.active = self.active
        self.cache.first = min(self.starts, default=self.cache.t)
