"""A key/value cache that is written in place and that rows can leave.

transformers' own layers append by concatenation, which copies the whole cache at every step, and drop rows by copying
it once more. Here the full-attention layers get a buffer with room ahead, and a row that leaves is overwritten by one
from the batch's end. Sliding-window layers, which are short, stay transformers' own.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from rewardranker.errors import ModelError

_ROOM = 64  # tokens; the cache is copied once in so many steps, and at most this much of it lies idle


class RoomyLayer(DynamicLayer):
    """Keys and values [rows, heads, length, size] as views of buffers that have room for more tokens."""

    keys: Any
    values: Any
    _buffers: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._hold(key_states, value_states)
            return self.keys, self.values
        rows, _, length, _ = self.keys.shape
        end = length + key_states.shape[-2]
        if end > self._buffers[0].shape[-2]:
            self._hold(_with_room(self.keys, end + _ROOM), _with_room(self.values, end + _ROOM))
        keys, values = self._buffers
        keys[:rows, :, length:end] = key_states
        values[:rows, :, length:end] = value_states
        self.keys, self.values = keys[:rows, :, :end], values[:rows, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Row i becomes what row `indices[i]` was; rows may be repeated."""
        self._hold(self.keys[indices], self.values[indices])

    def fill_gaps(self, gaps: torch.Tensor, movers: torch.Tensor, rows: int) -> None:
        """Rows `movers` take the places `gaps`; then only the first `rows` remain."""
        self.keys[gaps] = self.keys[movers]
        self.values[gaps] = self.values[movers]
        self.keys, self.values = self.keys[:rows], self.values[:rows]

    def append_rows(self, other: RoomyLayer) -> None:
        """Add another layer's rows behind these; the shorter of the two gets columns of zeros at its left."""
        rows, more = self.keys.shape[0], other.keys.shape[0]
        length = max(self.keys.shape[2], other.keys.shape[2])
        buffers = []
        for mine, buffer, theirs in zip(
            (self.keys, self.values), self._buffers, (other.keys, other.values), strict=True
        ):
            if mine.shape[2] < length or buffer.shape[0] < rows + more:
                whole = buffer.new_empty(
                    max(rows + more, buffer.shape[0]), *buffer.shape[1:2], length + _ROOM, *buffer.shape[3:]
                )
                whole[:rows, :, : length - mine.shape[2]] = 0
                whole[:rows, :, length - mine.shape[2] : length] = mine
                buffer = whole
            # Zeros, as what was never written may be NaN, which attention would not keep out.
            buffer[rows : rows + more, :, : length - theirs.shape[2]] = 0
            buffer[rows : rows + more, :, length - theirs.shape[2] : length] = theirs
            buffers.append(buffer)
        self._buffers = (buffers[0], buffers[1])
        self.keys, self.values = (buffer[: rows + more, :, :length] for buffer in buffers)

    def drop_columns(self, count: int) -> None:
        """Forget the first `count` tokens of all rows; the buffers keep their number of rows."""
        rows, _, length, _ = self.keys.shape
        # A copy first: the places overlap. The room of the buffers stays.
        for buffer in self._buffers:
            buffer[:rows, :, : length - count] = buffer[:rows, :, count:length].clone()
        keys, values = self._buffers
        self.keys, self.values = keys[:rows, :, : length - count], values[:rows, :, : length - count]

    def _hold(self, keys: torch.Tensor, values: torch.Tensor) -> None:
        self._buffers = (keys, values)
        self.keys, self.values = keys, values


def _with_room(states: torch.Tensor, length: int) -> torch.Tensor:
    rows, heads, old_length, size = states.shape
    buffer = states.new_empty(rows, heads, length, size)
    buffer[:, :, :old_length] = states
    return buffer


def new_cache(model: Any) -> DynamicCache:
    """An empty cache for this model.

    Raises:
        ModelError: the architecture keeps another kind of state, or positions can't be given to it.
    """
    name = type(model).__name__
    if getattr(model.config, "is_encoder_decoder", False):
        raise ModelError(f"{name} is an encoder-decoder: only decoder-only models can be sampled in-process")
    missing = {"past_key_values", "position_ids", "attention_mask"} - set(forward_arguments(model))
    if missing:
        raise ModelError(
            f"{name} does not take {', '.join(sorted(missing))}: models without a key/value cache "
            "and explicit positions can't be sampled in-process"
        )
    cache = DynamicCache(config=model.config)
    for index, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer:
            cache.layers[index] = RoomyLayer()
        elif type(layer) is not DynamicSlidingWindowLayer:
            raise ModelError(
                f"{name} keeps state of the kind {type(layer).__name__}, which can't be sampled in-process"
            )
    return cache


def release_rows(cache: DynamicCache, ended: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Take the rows marked in `ended` out: the last rows that go on move into their places.

    Returns:
        int64 [rows left]: the old place of the row that each place now holds.
    """
    rows = int((~ended).sum())
    gaps = np.flatnonzero(ended[:rows])
    movers = rows + np.flatnonzero(~ended[rows:])
    order = np.arange(rows)
    order[gaps] = movers
    device = cache.layers[0].keys.device
    gap_index, mover_index, order_index = (torch.from_numpy(array).to(device) for array in (gaps, movers, order))
    for layer in cache.layers:
        if isinstance(layer, RoomyLayer):
            layer.fill_gaps(gap_index, mover_index, rows)
        else:
            layer.batch_select_indices(order_index)
    return order


def can_refill(model: Any) -> bool:
    """Whether rows can join a cache of this model later: not where layers keep only a window of tokens.

    Raises:
        ModelError: as `new_cache`.
    """
    return all(isinstance(layer, RoomyLayer) for layer in new_cache(model).layers)


def append_rows(cache: DynamicCache, other: DynamicCache) -> None:
    """Add the rows of another cache behind those of this one, aligned at the right."""
    for layer, more in zip(cache.layers, other.layers, strict=True):
        layer.append_rows(more)


def drop_columns(cache: DynamicCache, count: int) -> None:
    """Forget the first `count` tokens of all rows."""
    for layer in cache.layers:
        layer.drop_columns(count)


def forward_arguments(model: Any) -> Collection[str]:
    """Names that the model's `forward` accepts (of the model inside, where adapters wrap it)."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    return inspect.signature(inner.forward).parameters.keys()
