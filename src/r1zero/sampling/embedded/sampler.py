"""The embedded sampler: continuous batching for any transformers causal language model, in plain torch.

Each question is prefilled once and its cache copied to its G rows; finished rows leave the batch at once and waiting
questions enter in their place; there is Python work per decoding step, none per row.

Legend: G samples per question, S rows of the cache, n active rows.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, DynamicCache

from r1zero.errors import UserError
from r1zero.policy.forward import forward
from r1zero.policy.load import Policy
from r1zero.sampling.embedded.draw import draw
from r1zero.sampling.embedded.kv_cache import KvCache
from r1zero.sampling.embedded.llama_decode import make_step
from r1zero.sampling.embedded.stops import StopRules
from r1zero.sampling.noise import row_key, uniforms
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams
from r1zero.types import Completion, Stop

_PREFILL_TOKENS = 8192  # padded prompt tokens per prefill pass
_KEPT_BYTES = 1 << 28  # the largest cache kept from call to call
_ATTENTION_LAYERS = frozenset({"full_attention", "sliding_attention", "chunked_attention"})


class TorchSampler:
    """Samples from a transformers model in this process; it always sees the model's current weights.

    `rows` bounds how many responses are decoded side by side (raised to G where G is larger). `autocast` opens the
    context that forward passes run in.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_ids: Collection[int],
        *,
        rows: int = 256,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
    ):
        config = model.config.get_text_config()
        recurrent = set(getattr(config, "layer_types", None) or ()) - _ATTENTION_LAYERS
        if recurrent:
            raise UserError(
                f"model.path names a {config.model_type} model with {', '.join(sorted(recurrent))} layers, which the "
                "embedded sampler cannot batch; choose a model whose layers are all attention."
            )
        self.model, self.tokenizer, self.eos_ids = model, tokenizer, frozenset(eos_ids)
        self.rows, self.autocast = rows, autocast
        self.rules: dict[tuple[str, ...], StopRules] = {}  # by stop strings; a table over the vocabulary each
        self.layers: int = config.num_hidden_layers
        self._kept: KvCache | None = None

    def kv_cache(self, rows: int, t: int, limit: int) -> KvCache:
        """Return an empty cache: the last one's storage where it is small and fits, since fresh memory is slow to
        touch.
        """
        kept, self._kept = self._kept, None
        if kept is None or not kept.holds(rows, t) or kept.size > _KEPT_BYTES:
            return KvCache(self.layers, rows, t, limit)
        kept.restart(t, limit)
        return kept

    def sample(
        self, requests: Sequence[Request], samples: int, params: SamplingParams, *, seed: int, step: int
    ) -> Iterator[Sampled]:
        """See `Sampler`. Puts the model in evaluation mode."""
        if not requests:
            return
        self.model.eval()
        decoder = _Decoder(self, requests, samples, params, (seed, step))
        while decoder.waiting or decoder.active:
            decoder.prefill_waiting()
            yield from decoder.take_finished()  # a first token can be the last
            while decoder.active and not decoder.has_room():
                decoder.step()
                yield from decoder.take_finished()
        if self.model.device.type == "cpu":  # a GPU's allocator keeps memory by itself
            self._kept = decoder.cache


class _Decoder:
    """The state of one sampling call: the cache, and per row what was drawn so far."""

    def __init__(
        self,
        sampler: TorchSampler,
        requests: Sequence[Request],
        samples: int,
        params: SamplingParams,
        seed: tuple[int, int],
    ):
        self.sampler, self.requests, self.samples, self.params, self.seed = sampler, requests, samples, params, seed
        model = sampler.model
        self.device = model.device
        vocabulary: int = model.config.get_text_config().vocab_size
        if params.stop not in sampler.rules:
            rules = StopRules(sampler.tokenizer, sampler.eos_ids, params.stop, vocabulary, self.device)
            sampler.rules[params.stop] = rules
        self.rules = sampler.rules[params.stop]
        # longest prompts first: rows that enter together are padded least, and the longest wait is not at the end
        self.waiting = deque(sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids)))
        self.rows = min(max(sampler.rows, samples), samples * len(requests))
        self.longest = len(requests[self.waiting[0]].prompt_ids)
        refills = self.rows < samples * len(requests)
        budget = params.max_new_tokens
        limit = self.longest + budget + (max(budget, 64) if refills else 0)
        self.cache = sampler.kv_cache(self.rows, self.longest, limit)
        exact = sampler.autocast is nullcontext
        self.fast = make_step(model, self.longest + budget) if exact else None
        self.mask = torch.zeros(self.rows, self.cache.limit + 1, dtype=torch.bool, device=self.device)
        self.active = 0
        self.ids: list[tuple[int, int]] = []  # (request, sample) of each active row
        self.starts: list[int] = []  # first column of each active row
        numbers = torch.zeros(4, self.rows, dtype=torch.int64, device=self.device)
        self.keys_S, self.start_S, self.count_S, self.last_S = numbers.unbind()
        self.tokens_SL = torch.zeros(self.rows, budget, dtype=torch.int64, device=self.device)
        self.logprobs_SL = torch.zeros(self.rows, budget, device=self.device)
        self.row_states = (
            self.mask, self.keys_S, self.start_S, self.count_S, self.last_S, self.tokens_SL, self.logprobs_SL
        )  # fmt: skip

    def has_room(self) -> bool:
        """Tell whether enough rows are free for waiting questions to enter (a quarter of the cache, to prefill in
        bulk).
        """
        free = self.rows - self.active
        return bool(self.waiting) and free >= max(self.samples, self.rows // 4)

    def prefill_waiting(self) -> None:
        """Prefill as many waiting questions as there are free rows, each once, and draw their first tokens."""
        if not self.active:
            self.cache.t = self.cache.first = self.longest
            self.mask.zero_()
        while self.waiting and self.rows - self.active >= self.samples:
            fits = (self.rows - self.active) // self.samples
            width = len(self.requests[self.waiting[0]].prompt_ids)
            count = min(fits, len(self.waiting), max(1, _PREFILL_TOKENS // width))
            self._prefill_group([self.waiting.popleft() for _ in range(count)])
        self.cache.first = min(self.starts, default=self.cache.t)
        self.cache.active = self.active

    @torch.no_grad()
    def _prefill_group(self, group: list[int]) -> None:
        prompts = [self.requests[i].prompt_ids for i in group]
        logits_pV, prefill = self._prefill(prompts)
        n, new, t = self.active, len(group) * self.samples, self.cache.t
        with self.sampler.autocast():
            self.cache.insert(prefill, self.samples, n)
        rows = slice(n, n + new)
        for i, prompt in zip(group, prompts, strict=True):
            for sample in range(self.samples):
                self.mask[len(self.ids), t - len(prompt) :] = True
                self.ids.append((i, sample))
                self.starts.append(t - len(prompt))
        keys = [row_key(*self.seed, self.requests[i].key, sample) for i, sample in self.ids[n:]]
        self.keys_S[rows] = torch.tensor(keys, device=self.device)
        self.start_S[rows] = torch.tensor(self.starts[n:], device=self.device)
        self.count_S[rows] = 0
        self.active += new
        self._append(rows, logits_pV.repeat_interleave(self.samples, 0))

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
        logits = self._forward(ids.to(self.device), mask.to(self.device), positions.to(self.device), cache)
        return logits, cache

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache) -> Tensor:
        with self.sampler.autocast():
            return forward(self.sampler.model, ids, mask, positions, cache)

    @torch.no_grad()
    def step(self) -> None:
        """Decode one token for every active row."""
        cache, n = self.cache, self.active
        moved = cache.make_room(min(cache.first, cache.t - self.longest))
        if moved:
            self.mask[:, : self.mask.shape[1] - moved] = self.mask[:, moved:].clone()
            self.mask[:n, self.mask.shape[1] - moved :] = True  # what active rows will write there is theirs to see
            self.starts = [start - moved for start in self.starts]
            self.start_S -= moved
        # Columns left of the window belong to no active row. Without them a late phase, in which few long responses go
        # on, would still pay for every column of the finished ones.
        mask_nW = self.mask[:n, cache.first : cache.t + 1]
        positions_n = cache.t - self.start_S[:n]
        if self.fast is not None:
            logits_nV = self.fast(self.last_S[:n], positions_n, mask_nW, cache)
        else:
            logits_nV = self._forward(self.last_S[:n, None], mask_nW, positions_n[:, None], cache)
        cache.t += 1
        self._append(slice(0, n), logits_nV)

    def _append(self, rows: slice, logits: Tensor) -> None:
        count = self.count_S[rows]
        tokens, logprobs = draw(logits, uniforms(self.keys_S[rows], count), self.params)
        index = torch.arange(rows.start, rows.stop, device=self.device)
        self.tokens_SL[index, count] = tokens
        self.logprobs_SL[index, count] = logprobs
        self.last_S[rows] = tokens
        self.count_S[rows] = count + 1

    def take_finished(self) -> list[Sampled]:
        """Take finished rows out of the batch and return what they drew."""
        n = self.active
        full_n = self.count_S[:n] >= self.params.max_new_tokens
        suspects = (self.rules.may_end(self.last_S[:n]) | full_n).nonzero()[:, 0].tolist()
        if not suspects:
            return []
        counts = self.count_S[suspects].tolist()
        finished: list[int] = []
        sampled: list[Sampled] = []
        for row, count in zip(suspects, counts, strict=True):
            tokens = self.tokens_SL[row, :count].tolist()
            how = self.rules.ended(tokens) or (Stop.LENGTH if count >= self.params.max_new_tokens else None)
            if how is not None:
                finished.append(row)
                request, sample = self.ids[row]
                sampled.append(Sampled(request, sample, self._completion(row, tokens, how)))
        if finished:
            self._release(finished)
        return sampled

    def _completion(self, row: int, tokens: list[int], how: Stop) -> Completion:
        logprobs = tuple(self.logprobs_SL[row, : len(tokens)].tolist())
        if not math.isfinite(sum(logprobs)):
            raise UserError(
                "The policy's logits are not finite, so nothing can be sampled from it: training has diverged, or the "
                "weights of model.path are damaged; go on from an older checkpoint with a lower learner.learning_rate."
            )
        return Completion(tuple(tokens), logprobs, self.rules.text(tokens, how), how)

    @torch.no_grad()
    def _release(self, finished: list[int]) -> None:
        """Close the gaps that finished rows leave with the last rows that go on."""
        keep = self.active - len(finished)
        gone = set(finished)
        targets = [row for row in finished if row < keep]
        sources = [row for row in range(keep, self.active) if row not in gone]
        if targets:
            source, target = torch.tensor(sources, device=self.device), torch.tensor(targets, device=self.device)
            self.cache.move(source, target)
            for state in self.row_states:
                state[target] = state[source]
            for src, dst in zip(sources, targets, strict=True):
                self.ids[dst], self.starts[dst] = self.ids[src], self.starts[src]
        del self.ids[keep:], self.starts[keep:]
        self.mask[keep : self.active] = False
        self.active = self.cache.active = keep
        self.cache.first = min(self.starts, default=self.cache.t)


def make_sampler(policy: Policy, rows: int) -> Sampler:
    """Return the embedded sampler on a policy."""
    return TorchSampler(policy.model, policy.tokenizer, policy.eos_ids, rows=rows, autocast=policy.autocast)
