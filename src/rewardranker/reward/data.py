"""Preference groups as tokens: a model reads a candidate once for all its pairs, a prompt once for all candidates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from rewardranker.config import PromptOptions
from rewardranker.errors import DataError
from rewardranker.prompts import encode_completion, encode_prompt
from rewardranker.reward.model import score_start
from rewardranker.shared_prompts import PLAIN, SharedBatch, Sharing, single_batch
from rewardranker.training import fit_tokens
from rewardranker.types import PreferenceGroup


@dataclass(frozen=True, slots=True)
class EncodedGroup:
    """The candidates of one task: rows of prompt and program tokens."""

    rows: tuple[tuple[int, ...], ...]
    starts: tuple[int, ...]
    """Where each row's program starts."""
    passed: tuple[bool, ...]
    fraction: tuple[float, ...]

    @property
    def longest(self) -> int:
        return max(map(len, self.rows))


def encode_row(
    tokenizer: Any,
    prompt_ids: Sequence[int],
    completion: str,
    prompt: PromptOptions,
    limit: int,
    truncate: bool,
    where: str,
) -> tuple[list[int], int]:
    """Tokens of prompt and program, and where the program starts. There is no end token: the last is the program's.

    Raises:
        DataError: no token at all, or more than `limit`.
    """
    completion_ids = encode_completion(tokenizer, completion, prompt, end=False)
    before, after = fit_tokens(prompt_ids, completion_ids, limit, truncate, tokenizer.bos_token_id, where)
    if not before and not after:
        raise DataError(f"{where} has no tokens: prompt and program are empty")
    return before + after, score_start(len(before), len(before) + len(after))


def encode_groups(
    groups: Sequence[PreferenceGroup], tokenizer: Any, prompt: PromptOptions, limit: int, truncate: bool
) -> list[EncodedGroup]:
    """The groups that state a preference, as tokens; those without both a correct and a wrong candidate are left out.

    Raises:
        DataError: a candidate is too long; names its task and number.
    """
    encoded = []
    for group in groups:
        if not group.pairs:
            continue
        prompt_ids = encode_prompt(tokenizer, group.prompt, prompt)
        rows = [
            encode_row(
                tokenizer,
                prompt_ids,
                candidate.completion,
                prompt,
                limit,
                truncate,
                f"task {group.task_id}, candidate {number}",
            )
            for number, candidate in enumerate(group.candidates)
        ]
        encoded.append(
            EncodedGroup(
                tuple(tuple(tokens) for tokens, _ in rows),
                tuple(start for _, start in rows),
                tuple(candidate.passed for candidate in group.candidates),
                tuple(candidate.fraction for candidate in group.candidates),
            )
        )
    return encoded


def collate(groups: Sequence[EncodedGroup], sharing: Sharing = PLAIN) -> dict[str, torch.Tensor]:
    """The tensors of a batch of whole groups.

    Args:
        sharing: how the model can be read (`shared_prompts.sharing_of`); by default one row for each candidate.

    Returns:
        What `states_of` reads: `input_ids`, `places` `[candidates, tokens]` and, of trees, `depths` and `last`;
        `starts`, `ends`, `passed`, `fraction` `[candidates]`; `sizes` `[groups]`.
    """
    rows = [row for group in groups for row in group.rows]
    starts = [start for group in groups for start in group.starts]
    shared = single_batch(rows, starts, sharing)
    trees = {} if shared.depths is None else {"depths": shared.depths, "last": shared.last}
    return trees | {
        "input_ids": shared.input_ids,
        "places": shared.places,
        "starts": torch.tensor(starts),
        "ends": shared.lengths,
        "passed": torch.tensor([passed for group in groups for passed in group.passed]),
        "fraction": torch.tensor([fraction for group in groups for fraction in group.fraction]),
        "sizes": torch.tensor([len(group.rows) for group in groups]),
    }


def states_of(model: Any, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Hidden states `[nodes, hidden]` of a collated batch, whose `places` say whose they are."""
    shared = SharedBatch(
        rows=tuple(range(len(batch["ends"]))),
        places=batch["places"],
        lengths=batch["ends"],
        input_ids=batch["input_ids"],
        depths=batch.get("depths"),
        last=batch.get("last"),
    )
    return shared.states(model)
