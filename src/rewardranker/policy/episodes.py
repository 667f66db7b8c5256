"""Prompts and sampled completions as tensors, and one forward over them.

Batches are right-padded and carry no attention mask: under causal attention no real token sees the padding behind it.
Only the states before a completion's tokens go through the language-model head; no logits outlive their chunk.
Not guaranteed: equal bits for the same episode in differently shaped batches (matrix kernels choose by shape); use the
same `batches` where equality matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardranker.errors import DataError
from rewardranker.policy.logprobs import chosen_logprobs
from rewardranker.policy.value_head import ValueHead


class TokenScores(NamedTuple):
    """One number for each completion token of the rows asked for, row after row, without padding: `[tokens]`."""

    logprobs: Tensor
    values: Any
    """Value of the state before the token; None without a value head."""
    entropy: Tensor
    """Entropy of the distribution that the token was drawn from, in nats; carries no gradient."""


@dataclass(frozen=True, slots=True)
class Episodes:
    """Prompts with their completions. `mask[i, t]`: episode i has a t-th completion token."""

    input_ids: Tensor
    """`[episodes, prompt + completion]`, right-padded, on the model's device."""
    prompt_lengths: Tensor
    lengths: Tensor
    """Completion tokens of each episode, the end token included; at least 1."""
    mask: Tensor
    """`[episodes, longest completion]`, bool."""
    totals: tuple[int, ...]
    """Prompt and completion tokens of each episode."""
    prompts: tuple[int, ...]
    """A number for each episode's prompt; equal prompts have equal ones."""

    @classmethod
    def build(
        cls, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], pad_token_id: int, device: str
    ) -> Episodes:
        """
        Raises:
            DataError: a prompt or a completion has no tokens.
        """
        for i, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            if not prompt or not completion:
                raise DataError(
                    f"episode {i} has {len(prompt)} prompt and {len(completion)} completion tokens: both must have one "
                    "or more (a tokenizer without a begin token can't start from an empty prompt; a sample needs its "
                    "token_ids)"
                )
        numbers: dict[tuple[int, ...], int] = {}
        rows = [torch.tensor([*p, *c]) for p, c in zip(prompts, completions, strict=True)]
        input_ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=pad_token_id).to(device)
        lengths = torch.tensor([len(c) for c in completions], device=device)
        return cls(
            input_ids=input_ids,
            prompt_lengths=torch.tensor([len(p) for p in prompts], device=device),
            lengths=lengths,
            mask=torch.arange(int(lengths.max()), device=device) < lengths[:, None],
            totals=tuple(len(row) for row in rows),
            prompts=tuple(numbers.setdefault(tuple(p), len(numbers)) for p in prompts),
        )

    def __len__(self) -> int:
        return len(self.totals)

    def rows_by_prompt(self, rows: Iterable[int]) -> list[list[int]]:
        """`rows` with equal prompts together, in the order in which the prompts first come."""
        groups: dict[int, list[int]] = {}
        for row in rows:
            groups.setdefault(self.prompts[row], []).append(row)
        return list(groups.values())

    def batches(self, rows: Sequence[int], tokens: int) -> Iterator[list[int]]:
        """Split `rows` into batches of at most `tokens` tokens, padding included (a longer row stands alone).

        Rows of like length come together, so that little of a batch is padding.
        """
        batch: list[int] = []
        longest = 0
        for row in sorted(rows, key=lambda r: -self.totals[r]):
            longest = longest or self.totals[row]
            if batch and longest * (len(batch) + 1) > tokens:
                yield batch
                batch, longest = [], self.totals[row]
            batch.append(row)
        if batch:
            yield batch

    def score(self, model: Any, value_head: ValueHead | None, rows: Sequence[int], temperature: float) -> TokenScores:
        """Log-probability, entropy and value at each completion token of `rows`: one forward.

        Log-probabilities and entropies are those of the distribution at `temperature`, in float32.
        """
        index = torch.tensor(rows, device=self.input_ids.device)
        width = max(self.totals[row] for row in rows)
        input_ids = self.input_ids[index, :width]
        states = model.base_model(input_ids=input_ids, use_cache=False).last_hidden_state
        mask = self.mask[index]
        # A token at position p is drawn from the state at p - 1; the first one of a completion from the prompt's end.
        offset = torch.arange(mask.shape[1], device=index.device)
        positions = (torch.arange(len(rows), device=index.device) * width + self.prompt_lengths[index])[
            :, None
        ] + offset
        positions = positions[mask]
        chosen = input_ids.reshape(-1)[positions]
        before = states.reshape(-1, states.shape[-1]).index_select(0, positions - 1)
        logprobs, entropy = chosen_logprobs(before, model.get_output_embeddings(), chosen, temperature)
        return TokenScores(logprobs, value_head(before) if value_head is not None else None, entropy)

    def padded(self, flat: Tensor, rows: Sequence[int]) -> Tensor:
        """Numbers of `score(rows)` as `[len(rows), longest completion]`, 0 on padding."""
        mask = self.mask[torch.tensor(rows, device=self.mask.device)]
        return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask, flat)
