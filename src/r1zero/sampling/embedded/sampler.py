"""The embedded sampler: continuous batching for transformers' causal language models, in plain torch.

Each question is prefilled once and its cache copied to its G rows; finished rows leave the batch at once and waiting
questions enter in their place; there is Python work per decoding step, none per row. On GPUs, models that have a step
written out are decoded without that work (`static`).

Legend: G samples per question, S rows of the cache, n active rows.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from r1zero.errors import SettingName, UserError
from r1zero.policy.forward import ATTENTION_LAYERS
from r1zero.policy.load import Policy
from r1zero.policy.probe import Told, objection
from r1zero.policy.vocabulary import check_ids
from r1zero.sampling.embedded.batch import DecodingBatch, Task
from r1zero.sampling.embedded.kv_cache import KvCache
from r1zero.sampling.embedded.llama_decode import LlamaStep, make_step
from r1zero.sampling.embedded.lowered import Lowering
from r1zero.sampling.embedded.plain import PlainSampler
from r1zero.sampling.embedded.static import StaticDecoder
from r1zero.sampling.embedded.stops import RuleBook
from r1zero.sampling.protocol import Request, Sampled, Sampler, SamplingParams

_KEPT_BYTES = 1 << 28  # the largest cache kept from call to call
_LOOK_EVERY = 8  # decoding steps between two looks at a GPU


class TorchSampler:
    """Samples from a transformers model in this process; it always sees the model's current weights.

    `rows` bounds how many responses are decoded side by side (raised to G where G is larger). `autocast` opens the
    context that forward passes run in. `look_every` is the number of decoding steps between two looks at what has
    finished, in steps of static shapes (`StaticDecoder`), for models that have a step written out; 0 takes steps that
    are as large as they need be and looks at once, None that on CPUs. `graphs`: capture static steps on a GPU.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        eos_ids: Collection[int],
        *,
        rows: int = 256,
        autocast: Callable[[], AbstractContextManager[object]] = nullcontext,
        look_every: int | None = None,
        graphs: bool = True,
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
        self.look_every = (_LOOK_EVERY if model.device.type == "cuda" else 0) if look_every is None else look_every
        self.graphs = graphs
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
        task = Task(requests, samples, params, (seed, step), self.rows)
        decoder = self._decoder(task)
        while decoder.batch.waiting or decoder.batch.active:
            decoder.prefill_waiting()
            yield from decoder.take_finished()  # a first token can be the last
            while decoder.batch.active and not decoder.batch.has_room():
                decoder.step()
                yield from decoder.take_finished()
        if self.model.device.type == "cpu":  # a GPU's allocator keeps memory by itself
            self._kept = decoder.batch.cache

    def _decoder(self, task: Task) -> _Decoder | StaticDecoder:
        model = self.lower()
        fast = make_step(model, task.longest + task.budget, self.lower.dtype)
        static = fast is not None and self.look_every > 0
        sizes = task.rows, task.longest, task.limit
        cache = KvCache(self.layers, *sizes, whole=True) if static else self.kv_cache(*sizes)
        batch = DecodingBatch(task, model, self.autocast, self.rules.of(task.params.stop), cache)
        if fast is not None and static:
            return StaticDecoder(batch, fast, self.look_every, graphs=self.graphs)
        return _Decoder(batch, fast)


class _Decoder:
    """Decodes a token a row at a time, in steps that are as large as they need be, and looks at once."""

    def __init__(self, batch: DecodingBatch, fast: LlamaStep | None):
        self.batch, self.fast = batch, fast
        rows, columns = batch.task.rows, batch.cache.limit + 1
        self.mask = torch.zeros(rows, columns, dtype=torch.bool, device=batch.device)

    def prefill_waiting(self) -> None:
        """Have waiting questions enter, as many as there are free rows."""
        if not self.batch.active:
            self.mask.zero_()
        for row in self.batch.enter():
            self.mask[row, self.batch.starts[row] :] = True

    @torch.no_grad()
    def step(self) -> None:
        """Decode one token for every active row."""
        batch, cache, n = self.batch, self.batch.cache, self.batch.active
        moved = cache.make_room(min(cache.first, cache.t - batch.longest))
        if moved:
            self.mask[:, : self.mask.shape[1] - moved] = self.mask[:, moved:].clone()
            self.mask[:n, self.mask.shape[1] - moved :] = True  # what active rows will write there is theirs to see
            batch.moved(moved)
        # Columns left of the window belong to no active row. Without them a late phase, in which few long responses go
        # on, would still pay for every column of the finished ones.
        mask_nW = self.mask[:n, cache.first : cache.t + 1]
        positions_n = cache.t - batch.start_S[:n]
        last_n = batch.drawn.last_S[:n]
        if self.fast is not None:
            with batch.autocast():
                logits_nV = self.fast(last_n, positions_n, mask_nW, cache)
        else:
            logits_nV = batch.forward(last_n[:, None], mask_nW, positions_n[:, None], cache)
        cache.t += 1
        batch.drawn.draw(slice(0, n), logits_nV)

    def take_finished(self) -> list[Sampled]:
        """Take finished rows out of the batch and return what they drew."""
        batch, was = self.batch, self.batch.active
        found = batch.drawn.finished()
        if found:
            moves = batch.release([row for row, _ in found])
            if moves is not None:
                source, target = moves
                self.mask[target] = self.mask[source]
            self.mask[batch.active : was] = False
        return [sampled for _, sampled in found]


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
