"""The plain way: a batch of prompts of one length goes on, in the model's own cache, until its last response ends.

For models whose layers are not all attention over keys and values (Mamba, gated delta nets, convolutions), or whose
cache is their own. Nothing is padded, so that nothing hangs on what a layer makes of padding. Rows enter together and
leave by the cache's own means; slower than continuous batching, and exact.

Legend: p prompts, n rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.policy.forward import with_own_cache
from r1zero.policy.vocabulary import check_ids
from r1zero.sampling.embedded.lowered import Lowering
from r1zero.sampling.embedded.rows import Rows
from r1zero.sampling.embedded.stops import RuleBook
from r1zero.sampling.protocol import Request, Sampled, SamplingParams


class PlainSampler:
    """Samples from a transformers model of any kind in this process; it always sees the model's current weights.

    `rows` bounds how many responses are decoded side by side (raised to G where G is larger). `autocast` opens the
    context that forward passes run in; `drops` says whether the model's cache can copy rows and let them go.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_ids: Collection[int],
        *,
        rows: int = 256,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        drops: bool = True,
    ):
        self.model, self.rows, self.autocast, self.drops = model, rows, autocast, drops
        self.lower = Lowering(model, autocast)
        self.rules = RuleBook(model, tokenizer, eos_ids)

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`. Puts the model in evaluation mode."""
        check_ids((request.prompt_ids for request in requests), self.model, self.rules.tokenizer)
        self.model.eval()
        model = self.lower()
        for lot in self._lots(requests, samples):
            rows = Rows(len(lot) * samples, self.rules.of(params.stop), params, (seed, step))
            ids = torch.tensor([requests[i].prompt_ids for i in lot], device=self.model.device)
            rows.enter(requests, [(i, sample) for i in lot for sample in range(samples)])
            yield from self._decode(model, rows, ids, samples)

    def _lots(self, requests: Sequence[Request], samples: int) -> Iterator[list[int]]:
        """Yield indices of requests whose prompts are equally long, as many as the rows have room for."""

        def length(i: int) -> int:
            return len(requests[i].prompt_ids)

        most = max(1, self.rows // samples)
        for _, same in groupby(sorted(range(len(requests)), key=length, reverse=True), key=length):
            alike = list(same)
            yield from (alike[start : start + most] for start in range(0, len(alike), most))

    def _decode(self, model: PreTrainedModel, rows: Rows, prompts_pT: Tensor, samples: int) -> Iterator[Sampled]:
        copies = torch.arange(len(prompts_pT), device=prompts_pT.device).repeat_interleave(samples)
        cached = CachedRows(model, prompts_pT, copies, self.drops, self.autocast)
        while True:
            rows.draw(slice(0, rows.active), cached.logits_nV)
            found = rows.finished()
            if found:
                ended = [row for row, _ in found]
                kept = rows.release(ended)
                yield from (sampled for _, sampled in found)
                if not rows.active:
                    return
                cached.keep(kept)
            cached.step(rows.last_S[: rows.active])


class CachedRows:
    """A model's own cache of a batch, and the logits after each row's last token.

    Where a cache cannot let rows go, they stay in it, and are computed and not looked at.
    """

    def __init__(
        self, model: PreTrainedModel, prompts_pT: Tensor, copies: Tensor, drops: bool, autocast: Callable[[], Any]
    ):
        self.model, self.autocast, self.drops = model, autocast, drops
        self.length, self.cache = 0, {}
        self.place_n = torch.arange(len(copies), device=copies.device)
        """Which of the cache's rows each row at work is."""
        if drops:
            logits_pV = self._forward(prompts_pT)
            self._reorder(copies)
            self.logits_nV = logits_pV[copies]
        else:
            self.logits_nV = self._forward(prompts_pT[copies])

    def keep(self, rows: list[int]) -> None:
        """Go on with some of the rows alone, in this order."""
        chosen = torch.tensor(rows, device=self.place_n.device)
        if self.drops:
            self._reorder(chosen)
            self.place_n = torch.arange(len(rows), device=chosen.device)
        else:
            self.place_n = self.place_n[chosen]

    def step(self, last_n: Tensor) -> None:
        """Compute the logits after one more token of each row."""
        count = len(self.place_n) if self.drops else int(self.rows)
        ids = torch.zeros(count, 1, dtype=torch.int64, device=last_n.device)
        ids[self.place_n, 0] = last_n
        self.logits_nV = self._forward(ids)[self.place_n]

    @torch.no_grad()
    def _forward(self, ids_nT: Tensor) -> Tensor:
        self.rows, new = ids_nT.shape
        positions = torch.arange(self.length, self.length + new, device=ids_nT.device).expand(self.rows, -1)
        with self.autocast():
            logits_nV, self.cache = with_own_cache(self.model, ids_nT, positions, self.cache)
        self.length += new
        return logits_nV

    def _reorder(self, rows: Tensor) -> None:
        for cache in self.cache.values():
            cache.reorder_cache(rows)  # named for beam search, it takes any rows, and any of them several times
