"""Decoding for devices that run ahead of Python: every step has static shapes, and none waits for the host.

A GPU works through what Python has queued; whoever asks it something (is a row finished?) waits for all of it, and
then lets it idle while Python goes on. So finished rows are looked for after every k-th step only. Till then a row that
has certainly ended (an EOS id, its budget) is computed and draws nothing more, one whose text may hold a stop string
draws on, and is cut where it ended: what is drawn is a pure function of the row and the position, so the tokens are
those of looking at once.

Rows and columns come in buckets, so that steps of a few shapes are all there are. On a GPU the second step of a shape
is captured as a CUDA graph, and from then on a step is one call instead of hundreds. The write column is a number on
the device, and the window begins at column 0: what lies left of every row is moved away, now and then.

Untried on a GPU until a measurement says otherwise; on CPUs the plain decoder is the default, whose bits are those of
the model's own forward. Legend: R rows of a step's shape, W columns of it, C of the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r1zero.sampling.embedded.batch import DecodingBatch
from r1zero.sampling.embedded.kv_cache import KvLayer
from r1zero.sampling.embedded.llama_decode import LlamaStep, mask_bias
from r1zero.sampling.protocol import Sampled

COLUMNS = 128
"""Windows are multiples of this, and what lies left of every row moves away once it is as wide."""


def rows_of(active: int, most: int) -> int:
    """Return the rows of a step with so many at work: a power of two up to 8, from there four sizes an octave."""
    if active <= 8:
        return min(most, 1 << (active - 1).bit_length())
    size = max(8, 1 << (active.bit_length() - 3))
    return min(most, -(-active // size) * size)


class StaticDecoder:
    """Decodes `every` tokens a row between two looks at what has finished. `graphs`: capture steps on a GPU."""

    def __init__(self, batch: DecodingBatch, step: LlamaStep, every: int, *, graphs: bool = True):
        self.batch, self.compute, self.every = batch, step, every
        cache, device, rows = batch.cache, batch.device, batch.task.rows
        self.ends: list[int] = []  # the write column at which each active row's budget is filled
        self.new = 1  # tokens that a row has drawn since the last look, at most
        self.column_1 = torch.zeros(1, dtype=torch.int64, device=device)
        self.columns_C = torch.arange(cache.capacity, device=device)
        self.alive_S = torch.zeros(rows, dtype=torch.bool, device=device)
        self.looked_S = torch.zeros(rows, dtype=torch.int64, device=device)
        self.steps = _Captured(self) if graphs and device.type == "cuda" else None

    def prefill_waiting(self) -> None:
        """Have waiting questions enter, as many as there are free rows; a first token can be the last."""
        task, entered = self.batch.task, self.batch.enter()
        for row in entered:
            request, _ = self.batch.drawn.ids[row]
            budget = task.params.budget(len(task.requests[request].prompt_ids))
            self.ends.append(self.batch.cache.t + budget - 1)  # its first token is drawn already
        self.looked_S[entered.start : entered.stop] = 0
        self.new = 1

    def step(self) -> None:
        """Decode `every` tokens for every active row, or as many as the longest budget leaves."""
        cache = self.batch.cache
        count = min(self.every, max(self.ends) - cache.t)
        self._make_room(count)
        self.column_1.fill_(cache.t)
        rows = rows_of(self.batch.active, self.batch.task.rows)
        width = min(cache.capacity, -(-(cache.t + count) // COLUMNS) * COLUMNS)
        for _ in range(count):
            if self.steps:
                self.steps.run(rows, width)
            else:
                self.advance(rows, width)
        cache.t += count
        self.new = count

    @torch.no_grad()
    def advance(self, rows: int, width: int) -> None:
        """Decode one token for the first `rows` rows over the first `width` columns; nothing here asks the device."""
        start_R1, columns_W = self.batch.start_S[:rows, None], self.columns_C[:width]
        # a row that is not at work sees its own column at least: no softmax is over nothing
        seen_RW = ((columns_W >= start_R1) & (columns_W <= self.column_1)) | (columns_W == self.column_1)
        positions_R = (self.column_1 - start_R1[:, 0]).clamp(0, self.compute.columns - 1)
        layers = [_Column(layer, rows, width, self.column_1) for layer in self.batch.cache.kv_layers]
        bias = mask_bias(seen_RW, layers[0].layer.keys.dtype)
        with self.batch.autocast():
            logits_RV = self.compute.logits(self.batch.drawn.last_S[:rows], positions_R, bias, layers)
        self.batch.drawn.advance(logits_RV, self.alive_S[:rows])
        self.column_1 += 1

    def take_finished(self) -> list[Sampled]:
        """Take finished rows out of the batch and return what they drew, cut where they ended."""
        batch = self.batch
        found = batch.drawn.finished_since(self.looked_S[: batch.active], self.new)
        if found:
            finished = [row for row, _ in found]
            sources, targets = batch.drawn.gaps(finished)
            for source, target in zip(sources, targets, strict=True):
                self.ends[target] = self.ends[source]
            batch.release(finished)
            del self.ends[batch.active :]
        n = batch.active
        self.looked_S[:n] = batch.drawn.count_S[:n]
        self.alive_S[:n], self.alive_S[n:] = True, False
        return [sampled for _, sampled in found]

    def _make_room(self, count: int) -> None:
        """Move everything left where there are no columns for so many steps, or many that no row sees."""
        cache = self.batch.cache
        moved = min(cache.first, cache.t - self.batch.longest)
        if moved > 0 and (moved >= COLUMNS or cache.t + count > cache.capacity):
            cache.shift(moved)
            self.batch.moved(moved)
            self.ends = [end - moved for end in self.ends]


@dataclass(frozen=True, slots=True)
class _Column:
    """A layer of the cache as a step of static shape sees it: it writes at a column that the device knows."""

    layer: KvLayer
    rows: int
    width: int
    column_1: Tensor

    def update(self, key_states: Tensor, value_states: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new column; return the window."""
        window: list[Tensor] = []
        for kept, new in ((self.layer.keys, key_states), (self.layer.values, value_states)):
            kept[: self.rows].index_copy_(2, self.column_1, new.to(kept.dtype))
            window.append(kept[: self.rows, :, : self.width])
        return window[0], window[1]


class _Captured:
    """Steps as CUDA graphs, one for each shape; a shape's first step runs as it is, which loads what it needs."""

    def __init__(self, decoder: StaticDecoder):
        self.decoder = decoder
        self.pool = torch.cuda.graph_pool_handle()
        self.graphs: dict[tuple[int, int], torch.cuda.CUDAGraph | None] = {}

    def run(self, rows: int, width: int) -> None:
        """Decode one token for every row."""
        shape = rows, width
        if shape not in self.graphs:
            self.graphs[shape] = None
            self.decoder.advance(rows, width)
            return
        graph = self.graphs[shape]
        if graph is None:
            graph = self.graphs[shape] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self.pool):
                self.decoder.advance(rows, width)
        graph.replay()
