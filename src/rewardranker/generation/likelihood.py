"""How likely a text is after another, under a causal language model; what `ranking.likelihood` ranks by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.training import length_limit, padded


class CausalLikelihood:
    """Log-probabilities of continuations; implements `ranking.LikelihoodScorer`.

    Context and continuation are encoded apart and joined as tokens, as prompts and programs are everywhere here. A
    beginning-of-sequence token is put in front where the tokenizer has one; no end token is scored.
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

    @torch.inference_mode()
    def log_likelihoods(self, pairs: Sequence[tuple[str, str]]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Natural log-probability at temperature 1 of each continuation given its context, and its number of tokens.

        Returns:
            float64 `[pairs]` and int64 `[pairs]`. A first token without anything before it is not counted.

        Raises:
            DataError: a pair has more tokens than the model can read.
        """
        rows = [self._encode(index, *pair) for index, pair in enumerate(pairs)]
        sums, counts = np.zeros(len(rows)), np.array([max(len(ids) - start, 0) for ids, start in rows], np.int64)
        order = sorted(range(len(rows)), key=lambda i: -len(rows[i][0]))
        self._model.eval()
        while order:
            longest = len(rows[order[0]][0])
            size = max(1, self._batch_tokens // max(longest, 1))
            batch, order = order[:size], order[size:]
            if longest < 2:
                continue
            ids = padded([rows[i][0] for i in batch], pad=0).to(self._model.device)
            mask = padded([[1] * len(rows[i][0]) for i in batch], pad=0).to(self._model.device)
            logits = self._model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
            chosen = logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0].double().cpu().numpy()
            for row, i in enumerate(batch):
                tokens, start = rows[i]
                sums[i] = chosen[row, start - 1 : len(tokens) - 1].sum() if len(tokens) > start else 0.0
        return sums, counts

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
