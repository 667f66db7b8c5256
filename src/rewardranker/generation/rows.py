"""The batch of a decoding loop: the rows still writing, their cache, attention mask and positions.

Rows may leave at any step and others may take their places, also ones with other prompts: all are aligned at the right,
so a row that comes has unseen columns at its left. Columns that no row sees any more are dropped now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import ModelError
from rewardranker.generation.cache import append_rows, drop_columns, forward_arguments, new_cache, release_rows

_UNSEEN = 64
"""Columns that no row sees are dropped when they are so many: dropping copies the cache."""


class Rows:
    """Places in the batch are numbered from 0; `released` and `admitted` rows change what row a place holds."""

    def __init__(self, model: Any, pad_token_id: int) -> None:
        self._model, self._pad = model, pad_token_id
        self.device = model.get_input_embeddings().weight.device
        self._keep_last = {"logits_to_keep": 1} if "logits_to_keep" in forward_arguments(model) else {}
        self._cache: Any = None
        self._width = 0
        self._starts = np.zeros(0, dtype=np.int64)  # the first column that each place sees
        self._mask: torch.Tensor | None = None  # int64 [places, columns and some to come]; None: all see all
        self._next_position = torch.zeros(0, dtype=torch.int64, device=self.device)

    def admit(self, prompts: Sequence[Sequence[int]]) -> torch.Tensor:
        """Add a row for each prompt, behind those there are; each distinct prompt is read once.

        Returns:
            float32 [prompts, vocabulary]: logits for the first new token of each.
        """
        distinct: dict[tuple[int, ...], int] = {}
        source = torch.tensor([distinct.setdefault(tuple(prompt), len(distinct)) for prompt in prompts])
        lengths = np.array([len(prompt) for prompt in distinct])
        width = int(lengths.max())
        ids = np.full((len(distinct), width), self._pad, dtype=np.int64)
        for index, prompt in enumerate(distinct):
            ids[index, width - len(prompt) :] = prompt
        starts = width - lengths
        positions = torch.from_numpy(np.maximum(np.arange(width) - starts[:, None], 0)).to(self.device)
        cache = new_cache(self._model)
        logits = self._forward(torch.from_numpy(ids).to(self.device), positions, cache, _mask(starts, width))
        if cache.get_seq_length() != width:
            raise ModelError(
                f"{type(self._model).__name__} does not keep a key/value cache, so it can't be decoded here"
            )
        index = source.to(self.device)
        cache.batch_select_indices(index)
        next_position = torch.from_numpy(lengths).to(self.device)[index]
        if not len(self._starts):
            self._cache, self._width, self._starts = cache, width, starts[source.numpy()]
            self._next_position = next_position
        else:
            self._join(cache, width, starts[source.numpy()])
            self._next_position = torch.cat([self._next_position, next_position])
        self._mask = None
        return logits[index]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append a token to each row, int64 [places]; float32 logits [places, vocabulary] for the next."""
        if self._mask is None or self._mask.shape[1] <= self._width:
            # Without padding no mask is needed, and attention takes its fastest path.
            self._mask = _mask(self._starts, self._width + _UNSEEN)
            if self._mask is not None:
                self._mask = self._mask.to(self.device)
        self._width += 1
        mask = None if self._mask is None else self._mask[:, : self._width]
        logits = self._forward(tokens[:, None], self._next_position[:, None], self._cache, mask)
        self._next_position += 1
        return logits

    def release(self, ended: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Take ended rows out; the old place of the row that each place now holds."""
        if ended.all():
            self._cache, self._starts = None, self._starts[:0]
            self._mask, self._next_position = None, self._next_position[:0]
            return np.zeros(0, dtype=np.int64)
        order = release_rows(self._cache, ended)
        index = torch.from_numpy(order).to(self.device)
        self._starts, self._next_position = self._starts[order], self._next_position[index]
        if self._mask is not None:
            self._mask = self._mask[index]
        return order

    def _join(self, cache: Any, width: int, starts: NDArray[np.int64]) -> None:
        unseen = int(self._starts.min())
        if unseen >= _UNSEEN:
            drop_columns(self._cache, unseen)
            self._starts, self._width = self._starts - unseen, self._width - unseen
        joint = max(width, self._width)
        append_rows(self._cache, cache)
        self._starts = np.concatenate([self._starts + joint - self._width, starts + joint - width])
        self._width = joint

    def _forward(
        self, ids: torch.Tensor, positions: torch.Tensor, cache: Any, mask: torch.Tensor | None
    ) -> torch.Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=None if mask is None else mask.to(self.device),
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            **self._keep_last,
        )
        return output.logits[:, -1].float()


def _mask(starts: NDArray[np.int64], width: int) -> torch.Tensor | None:
    """int64 [rows, width], 1 from each row's start; None where all start at 0."""
    if not starts.any():
        return None
    return torch.from_numpy((np.arange(width) >= starts[:, None]).astype(np.int64))
