"""The sampler's key–value cache: one block of rows and columns, written in place.

All rows share a write column `t`; a row that entered late simply starts further right, as if padded on the left. So
one forward pass serves rows of any age, a finished row's place is taken by copying the last row over it, and a model
sees ordinary left padding (a 2-D mask and position ids), which every transformers decoder understands.

    columns:   0 ........ start_b ........ t ........ capacity
    row b:     (garbage)  prompt response  ↑ next token of every row
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, DynamicLayer


class KvLayer(CacheLayerMixin):
    """One attention layer's keys and values, [rows, heads, columns, head size]; it shows the window of the cache."""

    is_sliding = False
    keys: Tensor
    values: Tensor

    def __init__(self, cache: KvCache):
        super().__init__()
        self.cache = cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate storage shaped like the first keys and values seen, in the precision that attention reads."""

        def shape(states: Tensor) -> tuple[int, ...]:  # values may be of another width than keys: DeepSeek's are
            return self.cache.rows, states.shape[1], self.cache.capacity, states.shape[3]

        # Under autocast they come in float32 (positions are applied in it), and attention casts what it reads: kept in
        # its precision, they are the same numbers in half the memory.
        kind = key_states.device.type
        lower = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else key_states.dtype
        self.keys = key_states.new_zeros(shape(key_states), dtype=lower)  # pyright: ignore[reportIncompatibleVariableOverride]
        self.values = value_states.new_zeros(shape(value_states), dtype=lower)  # pyright: ignore[reportIncompatibleVariableOverride]
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Write one new column at t for the active rows; return the visible window, new column included."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        cache = self.cache
        self.keys[: cache.active, :, cache.t : cache.t + 1] = key_states
        self.values[: cache.active, :, cache.t : cache.t + 1] = value_states
        window = slice(cache.first, cache.t + 1)
        return self.keys[: cache.active, :, window], self.values[: cache.active, :, window]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Return (columns visible to the query, offset)."""
        return self.get_seq_length() + query_length, 0

    def get_seq_length(self) -> int:
        """Return columns before the write column, within the window."""
        return self.cache.t - self.cache.first

    def get_max_length(self) -> int:
        """Return the cache grows as needed."""
        return -1


class KvCache(Cache):
    """Keys and values of all layers. `first` is the leftmost column an active row uses, `t` the one written next.
    `whole`: all columns are there from the start, and stay where they are.
    """

    def __init__(self, layers: int, rows: int, t: int, limit: int, *, whole: bool = False):
        self.rows, self.capacity = rows, limit if whole else min(limit, t + 64)
        self.kv_layers = [KvLayer(self) for _ in range(layers)]
        super().__init__(layers=[*self.kv_layers])
        self.restart(t, limit)

    def restart(self, t: int, limit: int) -> None:
        """Begin anew in the storage there is: prompts end at column t, and `limit` columns are the most there may be.

        What the storage holds stays: finite numbers that no mask shows.
        """
        self.t = self.first = t
        self.active = 0
        self.limit = max(limit, self.capacity)

    @property
    def size(self) -> int:
        """Bytes allocated."""
        return sum(layer.keys.nbytes + layer.values.nbytes for layer in self._used())

    def holds(self, rows: int, t: int) -> bool:
        """Tell whether the storage serves `rows` rows whose prompts end at column t."""
        return self.rows == rows and t < self.capacity

    def insert(self, prefill: DynamicCache, copies: int, first_row: int) -> None:
        """Copy every prefilled prompt `copies` times into consecutive rows from `first_row`, ending at column t."""
        # layers that use the keys and values of others (Gemma 3n) have none: at the end they are not even there
        for layer, source in zip(self.kv_layers, prefill.layers, strict=False):
            assert isinstance(source, DynamicLayer)
            if not source.is_initialized:
                continue
            assert source.keys is not None
            assert source.values is not None
            keys, values = source.keys.repeat_interleave(copies, 0), source.values.repeat_interleave(copies, 0)
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values)
            rows = slice(first_row, first_row + keys.shape[0])
            layer.keys[rows, :, self.t - keys.shape[2] : self.t] = keys
            layer.values[rows, :, self.t - values.shape[2] : self.t] = values

    def move(self, source: Tensor, target: Tensor) -> None:
        """Copy rows `source` over rows `target` (a finished row's place)."""
        columns = slice(self.first, self.t)
        for layer in self._used():
            layer.keys[target, :, columns] = layer.keys[source, :, columns]
            layer.values[target, :, columns] = layer.values[source, :, columns]

    def make_room(self, leftmost: int) -> int:
        """Make column t writable. Returns by how many columns everything moved left: 0 while the cache can grow."""
        if self.t < self.capacity:
            return 0
        if self.capacity < self.limit:
            self.capacity = min(self.limit, self.capacity + max(64, self.capacity // 2))
            for layer in self._used():
                layer.keys, layer.values = self._widened(layer.keys), self._widened(layer.values)
            return 0
        self.shift(leftmost)
        return leftmost

    def shift(self, leftmost: int) -> None:
        """Move everything left by so many columns, which no active row uses."""
        for layer in self._used():
            for tensor in (layer.keys, layer.values):
                tensor[: self.active, :, : self.t - leftmost] = tensor[: self.active, :, leftmost : self.t].clone()
        self.t -= leftmost
        self.first -= leftmost

    def _used(self) -> Iterator[KvLayer]:
        return (layer for layer in self.kv_layers if layer.is_initialized)

    def _widened(self, tensor: Tensor) -> Tensor:
        wide = tensor.new_zeros(*tensor.shape[:2], self.capacity, tensor.shape[3])
        wide[: self.active, :, self.first : self.t] = tensor[: self.active, :, self.first : self.t]
        return wide
