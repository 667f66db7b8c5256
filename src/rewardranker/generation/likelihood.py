"""How likely a text is after another, under a causal language model; what `ranking.likelihood` ranks by."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.shared_prompts import PLAIN, plan_batches, sharing_of
from rewardranker.training import has_plain_head, length_limit, padded

CHUNK_LOGITS = 1 << 26
"""Logits computed at a time: 256 MB in float32."""
_log = logging.getLogger(__name__)


class CausalLikelihood:
    """Log-probabilities of continuations; implements `ranking.LikelihoodScorer`.

    Context and continuation are encoded apart and joined as tokens, as prompts and programs are everywhere here. A
    beginning-of-sequence token is put in front where the tokenizer has one; no end token is scored. What the
    continuations of a context share is read once (see `shared_prompts`).
    """

    def __init__(self, model: Any, tokenizer: Any, batch_tokens: int = 8192, max_length: int | None = None) -> None:
        """
        Args:
            batch_tokens: tokens of a forward pass, padding included. It changes figures by rounding alone.
            max_length: longest text in tokens; None: what the model can read.
        """
        self._model, self._tokenizer = model, tokenizer
        self._batch_tokens = batch_tokens
        self._limit = length_limit(max_length or 1 << 30, model)
        self._plain_head: bool | None = None

    @torch.inference_mode()
    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Natural log-probability at temperature 1 of each continuation given its context, and its number of tokens.

        Returns:
            float64 `[pairs]` and int64 `[pairs]`. A first token without anything before it is not counted.

        Raises:
            DataError: a pair has more tokens than the model can read.
        """
        encoded = [self._encode(index, *pair) for index, pair in enumerate(pairs)]
        rows, starts = [ids for ids, _ in encoded], [start for _, start in encoded]
        sums, counts = np.zeros(len(rows)), np.array([max(len(ids) - start, 0) for ids, start in encoded], np.int64)
        scored = [i for i, count in enumerate(counts) if count]
        if not scored:
            return sums, counts
        self._model.eval()
        score = self._shared if self._has_plain_head() else self._plain
        for batch, found in score([rows[i] for i in scored], [starts[i] for i in scored]):
            sums[[scored[row] for row in batch]] = found.cpu().numpy()
        return sums, counts

    def _shared(self, rows: Sequence[list[int]], starts: Sequence[int]) -> Iterator[tuple[Sequence[int], torch.Tensor]]:
        """Indices of rows and their float64 sums; what rows share is read once, and only chosen tokens are kept."""
        head = self._model.get_output_embeddings()
        for batch in plan_batches(rows, starts, self._batch_tokens, sharing_of(self._model)):
            batch = batch.to(self._model.device)
            states, places = batch.states(self._model), batch.places
            inside = _scored(batch.rows, starts, batch.lengths, places.shape[1])
            # A state and the token after it are one step, which all rows with this beginning have in common.
            steps = torch.stack([places[:, :-1][inside], places[:, 1:][inside]])
            steps, step_of = steps.unique(dim=1, return_inverse=True)
            before, chosen = steps[0], batch.flat_ids[steps[1]]
            size = max(1, CHUNK_LOGITS // head.weight.shape[0])
            logprobs = [
                head(states[some]).float().log_softmax(-1).gather(-1, after[:, None])[:, 0].double()
                for some, after in zip(before.split(size), chosen.split(size), strict=True)
            ]
            every = torch.zeros(inside.shape, dtype=torch.float64, device=places.device)
            every[inside] = torch.cat(logprobs)[step_of]
            yield batch.rows, every.sum(1)

    def _plain(self, rows: Sequence[list[int]], starts: Sequence[int]) -> Iterator[tuple[Sequence[int], torch.Tensor]]:
        """The same by the model's own logits, each row read whole."""
        for batch in plan_batches(rows, starts, self._batch_tokens, PLAIN):
            ids = padded([rows[row] for row in batch.rows], pad=0).to(self._model.device)
            lengths = batch.lengths.to(ids.device)
            logprobs = self._model(input_ids=ids, use_cache=False).logits[:, :-1].float().log_softmax(-1)
            chosen = logprobs.gather(-1, ids[:, 1:, None])[..., 0].double()
            yield batch.rows, chosen.masked_fill(~_scored(batch.rows, starts, lengths, ids.shape[1]), 0.0).sum(1)

    def _has_plain_head(self) -> bool:
        if self._plain_head is None:
            self._plain_head = has_plain_head(self._model)
            if not self._plain_head:
                _log.warning(
                    "%s scales or caps its logits: texts are read one by one in plain padded batches, which is slower",
                    type(self._model).__name__,
                )
        return self._plain_head

    def _encode(self, index: int, context: str, continuation: str) -> tuple[list[int], int]:
        bos = self._tokenizer.bos_token_id
        before = [] if bos is None else [int(bos)]
        before += self._tokenizer.encode(context, add_special_tokens=False)
        after = self._tokenizer.encode(continuation, add_special_tokens=False)
        ids = [*before, *after]
        if len(ids) > self._limit:
            raise DataError(
                f"text {index} has {len(ids)} tokens and the model reads {self._limit} ({continuation[:40]!r}...): "
                "leave this task out, or take a model with more positions"
            )
        return ids, max(len(before), 1)


def _scored(rows: Sequence[int], starts: Sequence[int], lengths: torch.Tensor, width: int) -> torch.Tensor:
    """bool `[rows, width - 1]`: whether the token behind each place counts."""
    start = torch.tensor([starts[row] for row in rows], device=lengths.device)
    after = torch.arange(1, width, device=lengths.device)
    return (after >= start[:, None]) & (after < lengths[:, None])
