"""Decoding with a key/value cache for any decoder-only transformers model: the inner loop of sampling and of PPO.

Four things make it faster than `model.generate` for many samples of a task: a prompt that several rows share is read
once, a row that has ended leaves the batch at once, its place may be taken by a row that waits, and the cache is
written in place instead of copied at each step.

Guarantees: a row's tokens depend on its prompt and its random stream, not on the other rows, their order or number,
up to floating-point noise (matrix kernels round differently for other batch shapes, so now and then a token on the
edge between two may fall the other way). Not guaranteed: support for models whose state is not a key/value cache
(Mamba, RWKV, encoder-decoders); they are refused with a ModelError.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import ModelError
from rewardranker.generation.cache import can_refill
from rewardranker.generation.rows import Rows
from rewardranker.generation.streams import RandomStream

_REFILLS = 8
"""Free places are filled when they are a batch's share of this."""

StopCheck = Callable[[int, list[int]], bool]
"""(row, its token ids so far) -> whether the row is finished with the last of them."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one row wrote."""

    token_ids: list[int]
    """The end token is included if it was written."""
    logprobs: list[float]
    """Natural log-probability of each token under the model at temperature 1 and without top-p."""
    finish_reason: str
    """`stop` (an end token or `stop_check`), or `length`."""


def decode(
    model: Any,
    prompts: Sequence[Sequence[int]],
    streams: Sequence[RandomStream] | NDArray[np.float32] | None,
    *,
    temperature: float = 1.0,
    top_p: float = 1.0,
    max_new_tokens: int,
    eos_token_ids: Collection[int],
    pad_token_id: int,
    stop_check: StopCheck | None = None,
    max_rows: int | None = None,
) -> list[Decoded]:
    """Continue each prompt by at most `max_new_tokens` tokens.

    A token is the inverse of the cumulative distribution at the stream's number for its step. Equal prompts are read
    once, so the samples of one task are simply its prompt given n times. The model is run in evaluation mode (put
    back after).

    Args:
        prompts: token ids, one list for each row, unequal lengths allowed.
        streams: uniform numbers in [0, 1), one stream for each row (see `random_streams`), each with at least
            `max_new_tokens` numbers. None decodes greedily; `temperature` and `top_p` then mean nothing.
        temperature: logits are divided by it; above 0.
        top_p: draw from the smallest set of most probable tokens with at least this share of probability (nucleus
            sampling, Holtzman et al. 2020).
        eos_token_ids: a row ends with the first of these it writes; may be empty.
        pad_token_id: any id of the vocabulary; fills shorter prompts at the left, unseen by the model.
        stop_check: called for each row after each token that is not an end token.
        max_rows: rows decoded at a time; the others wait, and take the places of rows that have ended (continuous
            batching). It bounds memory, and keeps the batch full where lengths differ much. Models whose layers keep
            a window of tokens are decoded `max_rows` rows after `max_rows` rows. None: all rows at once.

    Returns:
        One `Decoded` for each prompt, in order.

    Raises:
        ModelError: the architecture is not supported, an empty prompt, a prompt that leaves the model too few
            positions, or logits that are not numbers.
        ValueError: arguments that do not fit each other.
    """
    if not prompts:
        return []
    if streams is not None and temperature <= 0:
        raise ValueError("temperature must be above 0 to sample; pass streams=None for greedy decoding")
    uniforms = None
    if streams is not None:
        if len(streams) != len(prompts) or min(len(stream) for stream in streams) < max_new_tokens:
            raise ValueError(f"need a stream of {max_new_tokens} numbers for each of the {len(prompts)} prompts")
        uniforms = np.stack([np.asarray(stream[:max_new_tokens], dtype=np.float32) for stream in streams])
    check_positions(model, prompts, max_new_tokens)
    with torch.inference_mode(), _evaluation_mode(model):
        uniform_rows = None if uniforms is None else torch.from_numpy(uniforms)
        loop = _Loop(model, prompts, uniform_rows, temperature, top_p, max_new_tokens, eos_token_ids, stop_check)
        total = len(prompts)
        size = min(max_rows or total, total)
        if size == total or can_refill(model):
            loop.run(pad_token_id, range(total), size)
        else:
            for start in range(0, total, size):
                loop.run(pad_token_id, range(start, min(start + size, total)), size)
        return loop.decoded()


class _Loop:
    """What has been written so far, and the steps that go on with it."""

    def __init__(
        self,
        model: Any,
        prompts: Sequence[Sequence[int]],
        uniforms: torch.Tensor | None,
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        eos_token_ids: Collection[int],
        stop_check: StopCheck | None,
    ) -> None:
        self._model, self._prompts = model, prompts
        self._temperature, self._top_p = temperature, top_p
        self._ends = np.array(sorted(eos_token_ids), dtype=np.int64)
        self._stop_check, self._limit = stop_check, max_new_tokens
        self._tokens = np.zeros((len(prompts), max_new_tokens), dtype=np.int64)
        self._logprobs = np.zeros((len(prompts), max_new_tokens), dtype=np.float32)
        self._counts = np.zeros(len(prompts), dtype=np.int64)
        self._stopped = np.zeros(len(prompts), dtype=bool)
        self._uniforms = uniforms

    def run(self, pad_token_id: int, numbers: Sequence[int], size: int) -> None:
        """Decode these rows, at most `size` at a time."""
        rows = Rows(self._model, pad_token_id)
        if self._uniforms is not None:
            self._uniforms = self._uniforms.to(rows.device)
        waiting = deque(numbers)
        # A few places are let come free before they are filled: each filling reads prompts and copies states.
        enough = max(1, size // _REFILLS)
        active = np.zeros(0, dtype=np.int64)  # the row that each place of the batch holds
        logits = torch.zeros(0, 0, device=rows.device)
        while True:
            if waiting and (not len(active) or size - len(active) >= enough):
                taken = [waiting.popleft() for _ in range(min(size - len(active), len(waiting)))]
                first = rows.admit([self._prompts[row] for row in taken])
                logits = torch.cat([logits, first]) if len(active) else first
                active = np.concatenate([active, np.array(taken)])
            chosen = self._choose(logits, active)
            ended = self._write(chosen, logits, active)
            if ended.all() and not waiting:
                return
            if ended.any():
                order = rows.release(ended)
                active, chosen = active[order], chosen[torch.from_numpy(order).to(rows.device)]
            if len(active):
                logits = rows.step(chosen)

    def decoded(self) -> list[Decoded]:
        return [
            Decoded(
                self._tokens[row, :count].tolist(),
                self._logprobs[row, :count].tolist(),
                "stop" if self._stopped[row] else "length",
            )
            for row, count in enumerate(self._counts)
        ]

    def _choose(self, logits: torch.Tensor, active: NDArray[np.int64]) -> torch.Tensor:
        if self._uniforms is None:
            return logits.argmax(-1)
        place, step = (torch.from_numpy(array).to(logits.device) for array in (active, self._counts[active]))
        return draw(logits, self._uniforms[place, step], self._temperature, self._top_p)

    def _write(self, chosen: torch.Tensor, logits: torch.Tensor, active: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Note each row's new token; which places have ended with it."""
        logprobs = (logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)).cpu().numpy()
        if not np.isfinite(logprobs).all():
            raise ModelError(
                "the model's logits hold NaN or infinity: its weights are damaged or its precision overflows"
            )
        tokens, steps = chosen.cpu().numpy(), self._counts[active]
        self._tokens[active, steps], self._logprobs[active, steps] = tokens, logprobs
        self._counts[active] += 1
        ended = np.isin(tokens, self._ends)
        if self._stop_check is not None:
            for place in np.flatnonzero(~ended):
                row = int(active[place])
                ended[place] = self._stop_check(row, self._tokens[row, : self._counts[row]].tolist())
        self._stopped[active[ended]] = True
        return ended | (self._counts[active] == self._limit)


def draw(logits: torch.Tensor, uniforms: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """One token for each row by inversion of the cumulative distribution.

    Args:
        logits: float32 [rows, vocabulary].
        uniforms: float32 [rows], in [0, 1).

    Returns:
        int64 [rows]. A token of probability 0 or outside the nucleus is never drawn.
    """
    if temperature != 1.0:
        logits = logits / temperature
    weights = (logits - logits.amax(-1, keepdim=True)).exp_()
    order = None
    if top_p < 1.0:
        weights, order = weights.sort(dim=-1, descending=True, stable=True)
        mass_before = weights.cumsum(-1) - weights
        weights = weights * (mass_before < top_p * weights.sum(-1, keepdim=True))
    cumulative = weights.cumsum(-1)
    target = uniforms[:, None] * cumulative[:, -1:]
    # The first index whose cumulative weight is above the target: its own weight is then above 0.
    index = torch.searchsorted(cumulative, target, right=True).clamp_(max=weights.shape[-1] - 1)
    return (index if order is None else order.gather(-1, index))[:, 0]


def check_positions(model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int) -> None:
    """Refuse prompts that are empty or, with `max_new_tokens`, longer than the model's positions.

    Raises:
        ModelError: names the first such row.
    """
    limit = positions_of(model)
    for row, prompt in enumerate(prompts):
        if not prompt:
            raise ModelError(f"prompt {row} has no tokens: the model needs at least one to start from")
        if limit is not None and len(prompt) + max_new_tokens > limit:
            raise ModelError(
                f"prompt {row} has {len(prompt)} tokens, with max_new_tokens={max_new_tokens} more than the "
                f"model's {limit} positions: lower max_new_tokens or shorten the prompt"
            )


def positions_of(model: Any) -> int | None:
    """Longest sequence the model was made for; None where its configuration does not say."""
    config = model.config.get_text_config(decoder=True)
    return getattr(config, "max_position_embeddings", None)


@contextlib.contextmanager
def _evaluation_mode(model: Any) -> Iterator[None]:
    """Dropout off inside; afterwards each module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
