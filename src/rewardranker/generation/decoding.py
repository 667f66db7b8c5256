"""Decoding with a key/value cache for any decoder-only transformers model: the inner loop of sampling and of PPO.

Three things make it faster than `model.generate` for many samples of a task: a prompt that several rows share is read
once, a row that has ended leaves the batch at once, and the cache is written in place instead of copied at each step.

Guarantees: a row's tokens depend on its prompt and its random stream, not on the other rows, their order or number,
up to floating-point noise (matrix kernels round differently for other batch shapes, so now and then a token on the
edge between two may fall the other way). Not guaranteed: support for models whose state is not a key/value cache
(Mamba, RWKV, encoder-decoders); they are refused with a ModelError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import ModelError
from rewardranker.generation.cache import forward_arguments, new_cache, release_rows
from rewardranker.generation.streams import RandomStream

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
        rows = _Rows(model, prompts, max_new_tokens, pad_token_id)
        device_uniforms = None if uniforms is None else torch.from_numpy(uniforms).to(rows.device)
        return _decode(rows, device_uniforms, temperature, top_p, max_new_tokens, eos_token_ids, stop_check)


def _decode(
    rows: _Rows,
    uniforms: torch.Tensor | None,
    temperature: float,
    top_p: float,
    max_new_tokens: int,
    eos_token_ids: Collection[int],
    stop_check: StopCheck | None,
) -> list[Decoded]:
    total = rows.count
    tokens = np.zeros((total, max_new_tokens), dtype=np.int64)
    logprobs = np.zeros((total, max_new_tokens), dtype=np.float32)
    lengths = np.full(total, max_new_tokens)
    stopped = np.zeros(total, dtype=bool)
    ends = np.array(sorted(eos_token_ids), dtype=np.int64)
    active = np.arange(total)  # the row that each place of the batch holds
    logits = rows.prefill()
    for step in range(max_new_tokens):
        if uniforms is None:
            chosen = logits.argmax(-1)
        else:
            place = torch.from_numpy(active).to(rows.device)
            chosen = draw(logits, uniforms[place, step], temperature, top_p)
        chosen_logprobs = logits.gather(-1, chosen[:, None])[:, 0] - logits.logsumexp(-1)
        new_tokens, new_logprobs = chosen.cpu().numpy(), chosen_logprobs.cpu().numpy()
        if not np.isfinite(new_logprobs).all():
            raise ModelError(
                "the model's logits hold NaN or infinity: its weights are damaged or its precision overflows"
            )
        tokens[active, step], logprobs[active, step] = new_tokens, new_logprobs

        ended = np.isin(new_tokens, ends)
        if stop_check is not None:
            for place_index in np.flatnonzero(~ended):
                row = int(active[place_index])
                ended[place_index] = stop_check(row, tokens[row, : step + 1].tolist())
        lengths[active[ended]] = step + 1
        stopped[active[ended]] = True
        if step == max_new_tokens - 1 or ended.all():
            break
        if ended.any():
            order = rows.release(ended)
            active, chosen = active[order], chosen[torch.from_numpy(order).to(rows.device)]
        logits = rows.step(chosen)
    return [
        Decoded(
            tokens[row, : lengths[row]].tolist(),
            logprobs[row, : lengths[row]].tolist(),
            "stop" if stopped[row] else "length",
        )
        for row in range(total)
    ]


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


class _Rows:
    """The batch: the rows still writing, their cache, mask and positions."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], max_new_tokens: int, pad_token_id: int) -> None:
        self._model = model
        self.device = model.get_input_embeddings().weight.device
        self.count = len(prompts)
        self._cache = new_cache(model)
        self._keep_last = {"logits_to_keep": 1} if "logits_to_keep" in forward_arguments(model) else {}

        distinct: dict[tuple[int, ...], int] = {}
        self._source = [distinct.setdefault(tuple(prompt), len(distinct)) for prompt in prompts]
        lengths = np.array([len(prompt) for prompt in distinct])
        self._width = int(lengths.max())
        ids = np.full((len(distinct), self._width), pad_token_id, dtype=np.int64)
        mask = np.ones((len(distinct), self._width + max_new_tokens), dtype=np.int64)
        for index, prompt in enumerate(distinct):
            ids[index, self._width - len(prompt) :] = prompt
            mask[index, : self._width - len(prompt)] = 0
        self._ids = torch.from_numpy(ids).to(self.device)
        # Without padding no mask is needed, and attention takes its fastest path.
        self._mask = torch.from_numpy(mask).to(self.device) if lengths.min() < self._width else None
        self._next_position = torch.from_numpy(lengths).to(self.device)

    def prefill(self) -> torch.Tensor:
        """Read each distinct prompt once; float32 logits [rows, vocabulary] for the first new token."""
        positions = torch.arange(self._width, device=self.device) - (self._width - self._next_position)[:, None]
        logits = self._forward(self._ids, positions.clamp_(min=0))
        if self._cache.get_seq_length() != self._width:
            raise ModelError(
                f"{type(self._model).__name__} does not keep a key/value cache, so it can't be decoded here"
            )
        source = torch.tensor(self._source, device=self.device)
        self._cache.batch_select_indices(source)
        self._next_position = self._next_position[source]
        if self._mask is not None:
            self._mask = self._mask[source]
        return logits[source]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to each row; float32 logits [rows, vocabulary] for the next."""
        self._width += 1
        logits = self._forward(tokens[:, None], self._next_position[:, None])
        self._next_position += 1
        return logits

    def release(self, ended: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Take ended rows out of the batch; the old place of the row that each place now holds."""
        order = release_rows(self._cache, ended)
        index = torch.from_numpy(order).to(self.device)
        self._next_position = self._next_position[index]
        if self._mask is not None:
            self._mask = self._mask[index]
        return order

    def _forward(self, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        output = self._model(
            input_ids=ids,
            attention_mask=None if self._mask is None else self._mask[:, : self._width],
            position_ids=positions,
            past_key_values=self._cache,
            use_cache=True,
            **self._keep_last,
        )
        return output.logits[:, -1].float()


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
