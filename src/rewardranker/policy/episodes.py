"""Prompts and sampled completions as batches of tokens, and one forward over a batch.

What the episodes of a prompt share, above all the prompt itself, is read once (see `shared_prompts`), in the forward
and in the backward pass. Only the states before a completion's tokens go through the language-model head; no logits
outlive their chunk. Not guaranteed: equal bits for the same episode in different batches (matrix kernels choose by
shape); use the same batches where equality matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rewardranker.errors import DataError
from rewardranker.policy.logprobs import chosen_logprobs
from rewardranker.policy.value_head import Critic, ValueHead
from rewardranker.shared_prompts import SharedBatch, Sharing, plan_batches


class TokenScores(NamedTuple):
    """One number for each completion token of a batch's rows, row after row, without padding: `[tokens]`."""

    logprobs: Tensor
    values: Any
    """Value of the state before the token; None without a value head."""
    entropy: Tensor
    """Entropy of the distribution that the token was drawn from, in nats; carries no gradient."""


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """One forward's episodes."""

    rows: list[int]
    shared: SharedBatch
    before: Tensor
    """`[choices]`: where among the states is the one before each choice of a token."""
    chosen: Tensor
    """`[choices]`: the token chosen. Episodes that begin alike have the same choices."""
    choice_of: Tensor
    """`[tokens]`: the choice of each completion token, row after row."""

    def score(self, model: Any, value_head: ValueHead | None, temperature: float) -> TokenScores:
        """Log-probability, entropy and value at each completion token: one forward.

        Log-probabilities and entropies are those of the distribution at `temperature`, in float32.
        """
        states = self.shared.states(model)[self.before]
        logprobs, entropy = chosen_logprobs(states, model.get_output_embeddings(), self.chosen, temperature)
        values = value_head(states)[self.choice_of] if value_head is not None else None
        return TokenScores(logprobs[self.choice_of], values, entropy[self.choice_of])

    def values(self, critic: Critic) -> Tensor:
        """Value of the state before each completion token, `[tokens]`, as a critic of its own reads it: one forward."""
        values: Tensor = critic.head(self.shared.states(critic.body)[self.before])[self.choice_of]
        return values


@dataclass(frozen=True, slots=True)
class Episodes:
    """Prompts with their completions. `mask[i, t]`: episode i has a t-th completion token."""

    prompts: Sequence[Sequence[int]]
    completions: Sequence[Sequence[int]]
    lengths: Tensor
    """Completion tokens of each episode, the end token included; at least 1. On the model's device, as `mask` is."""
    mask: Tensor
    """`[episodes, longest completion]`, bool."""

    @classmethod
    def build(cls, prompts: Sequence[Sequence[int]], completions: Sequence[Sequence[int]], device: str) -> Episodes:
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
        lengths = torch.tensor([len(completion) for completion in completions], device=device)
        mask = torch.arange(int(lengths.max()), device=device) < lengths[:, None]
        return cls(prompts, completions, lengths, mask)

    def __len__(self) -> int:
        return len(self.prompts)

    def rows_by_prompt(self, rows: Iterable[int]) -> list[list[int]]:
        """`rows` with equal prompts together, in the order in which the prompts first come."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for row in rows:
            groups.setdefault(tuple(self.prompts[row]), []).append(row)
        return list(groups.values())

    def batches(self, rows: Sequence[int], tokens: int, sharing: Sharing) -> list[EpisodeBatch]:
        """`rows` in batches of which the model reads at most `tokens` tokens, padding included.

        An episode, or a group with a shared beginning, that is longer stands alone. Like lengths come together, so
        that little of a batch is padding.

        Args:
            sharing: what the model can share (`shared_prompts.sharing_of`).
        """
        whole = [[*self.prompts[row], *self.completions[row]] for row in rows]
        shared = plan_batches(whole, [len(self.prompts[row]) for row in rows], tokens, sharing)
        return [self._batch([rows[i] for i in batch.rows], batch) for batch in shared]

    def _batch(self, rows: list[int], shared: SharedBatch) -> EpisodeBatch:
        # A token at position p is drawn from the state at p - 1; the first one of a completion from the prompt's end.
        starts = torch.tensor([len(self.prompts[row]) for row in rows])[:, None]
        position = torch.arange(shared.places.shape[1])
        before = shared.places[(position >= starts - 1) & (position < shared.lengths[:, None] - 1)]
        chosen = torch.tensor([token for row in rows for token in self.completions[row]])
        choices, choice_of = torch.stack([before, chosen]).unique(dim=1, return_inverse=True)
        device = self.mask.device
        return EpisodeBatch(rows, shared.to(device), *(t.to(device) for t in (choices[0], choices[1], choice_of)))

    def padded(self, flat: Tensor, rows: Sequence[int]) -> Tensor:
        """Numbers of `score(rows)` as `[len(rows), longest completion]`, 0 on padding."""
        mask = self.mask[torch.tensor(rows, device=self.mask.device)]
        return torch.zeros(mask.shape, dtype=flat.dtype, device=flat.device).masked_scatter(mask, flat)
