"""The embedded sampler: continuous batching for transformers' causal language models, in plain torch.

Each question is prefilled once and its cache copied to its G rows; finished rows leave the batch at once and waiting
questions enter in their place; there is Python work per decoding step, none per row.

Legend: G samples per question, S rows of the cache, n active rows.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, DynamicCache

from r1zero.errors import SettingName, UserError
from r1zero.policy.forward import ATTENTION_LAYERS, forward
from r1zero.policy.load import Policy
from r1zero.policy.probe import Told, objection
from r1zero.policy.vocabulary import check_ids
from r1zero.sampling.embedded.kv_cache import KvCache
from r1zero.sampling.embedded.llama_decode import make_step
from r1zero.sampling.embedded.lowered import Lowering
from r1zero.sampling.embedded.plain import PlainSampler
from r1zero.sampling.embedded.rows import Rows
from r1zero.sampling.embedded.stops import RuleBook
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams

_PREFILL_TOKENS = 8192  # padded prompt tokens per prefill pass
_KEPT_BYTES = 1 << 28  # the largest cache kept from call to call


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
        recurrent = set(getattr(config, "layer_types", None) or ()) - ATTENTION_LAYERS
        if recurrent:
            raise UserError(
                f"model.path names a {config.model_type} model with {', '.join(sorted(recurrent))} layers, which the "
                "embedded sampler cannot batch; take the one that `make_sampler` chooses."
            )
        self.model, self.rows, self.autocast = model, rows, autocast
        self.lower = Lowering(model, autocast)
        self.rules = RuleBook(model, tokenizer, eos_ids)
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
        check_ids((request.prompt_ids for request in requests), self.model, self.rules.tokenizer)
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
        self.sampler, self.requests, self.samples = sampler, requests, samples
        self.model = sampler.lower()
        self.device = sampler.model.device
        rules = sampler.rules.of(params.stop)
        # longest prompts first: rows that enter together are padded least, and the longest wait is not at the end
        self.waiting = deque(sorted(range(len(requests)), key=lambda i: -len(requests[i].prompt_ids)))
        self.rows = min(max(sampler.rows, samples), samples * len(requests))
        self.longest = len(requests[self.waiting[0]].prompt_ids)
        refills = self.rows < samples * len(requests)
        budget = params.budget(min(len(request.prompt_ids) for request in requests))
        limit = self.longest + budget + (max(budget, 64) if refills else 0)
        self.cache = sampler.kv_cache(self.rows, self.longest, limit)
        self.fast = make_step(self.model, self.longest + budget, sampler.lower.dtype)
        self.mask = torch.zeros(self.rows, self.cache.limit + 1, dtype=torch.bool, device=self.device)
        self.drawn = Rows(self.rows, rules, params, seed)
        self.starts: list[int] = []  # first column of each active row
        self.start_S = torch.zeros(self.rows, dtype=torch.int64, device=self.device)

    @property
    def active(self) -> int:
        """Rows at work."""
        return self.drawn.active

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
        t = self.cache.t
        with self.sampler.autocast():
            self.cache.insert(prefill, self.samples, self.active)
        for start in (t - len(prompt) for prompt in prompts for _ in range(self.samples)):
            self.mask[len(self.starts), start:] = True
            self.starts.append(start)
        rows = self.drawn.enter(self.requests, [(i, sample) for i in group for sample in range(self.samples)])
        self.start_S[rows] = torch.tensor(self.starts[rows], device=self.device)
        self.drawn.draw(rows, logits_pV.repeat_interleave(self.samples, 0))

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
            return forward(self.model, ids, mask, positions, cache)

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
        last_n = self.drawn.last_S[:n]
        if self.fast is not None:
            with self.sampler.autocast():
                logits_nV = self.fast(last_n, positions_n, mask_nW, cache)
        else:
            logits_nV = self._forward(last_n[:, None], mask_nW, positions_n[:, None], cache)
        cache.t += 1
        self.drawn.draw(slice(0, n), logits_nV)

    def take_finished(self) -> list[Sampled]:
        """Take finished rows out of the batch and return what they drew."""
        found = self.drawn.finished()
        if found:
            self._release([row for row, _ in found])
        return [sampled for _, sampled in found]

    @torch.no_grad()
    def _release(self, finished: list[int]) -> None:
        """Close the gaps that finished rows leave with the last rows that go on."""
        was, (sources, targets) = self.active, self.drawn.gaps(finished)
        if targets:
            source, target = torch.tensor(sources, device=self.device), torch.tensor(targets, device=self.device)
            self.cache.move(source, target)
            self.mask[target], self.start_S[target] = self.mask[source], self.start_S[source]
            for src, dst in zip(sources, targets, strict=True):
                self.starts[dst] = self.starts[src]
        self.drawn.release(finished)
        del self.starts[self.active :]
        self.mask[self.active : was] = False
        self.cache.active = self.active
        self.cache.first = min(self.starts, default=self.cache.t)


def make_sampler(policy: Policy, rows: int) -> Sampler:
    """Return the embedded sampler on a policy: with continuous batching where that is what the model computes alone.

    Raises:
        UserError: neither that nor the plain way is.
    """
    objections: list[str] = []
    for kind in (TorchSampler, PlainSampler, partial(PlainSampler, drops=False)):
        said = objection(policy.model, partial(_tried, kind, policy), _context(policy))
        if not said:
            return kind(policy.model, policy.tokenizer, policy.eos_ids, rows=rows, autocast=policy.autocast)
        objections.append(said)
    raise UserError(
        SettingName("model.path"),
        f" names a {policy.model.config.model_type} model that the embedded sampler cannot sample from as the model "
        f"itself would ({objections[-1]}); choose another architecture.",
    )


def _tried(kind: Callable[..., TorchSampler | PlainSampler], policy: Policy) -> Iterator[Told]:
    """Draw a few short responses in a way: prompts of several lengths side by side, rows that come and go."""
    ids = [i % policy.model.config.get_text_config().vocab_size for i in range(3, 12)]
    requests = [Request(str(n), tuple(ids[:n])) for n in (2, 9, 5, 5)]
    sampler = kind(policy.model, policy.tokenizer, policy.eos_ids, rows=4, autocast=_context(policy))
    for done in sampler.sample(requests, 2, SamplingParams(5), seed=0, step=0):
        found = done.completion
        yield requests[done.request].prompt_ids, found.token_ids, torch.tensor(found.logprobs)


def _context(policy: Policy) -> Callable[[], AbstractContextManager[object]]:
    """Rounding would hide what is tried: only FlashAttention must have it."""
    flash = "flash" in str(policy.model.config._attn_implementation)
    return policy.autocast if flash else nullcontext
