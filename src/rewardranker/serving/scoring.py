"""What every scorer of the server is, and the tokens that it reads: those of the reward model's training."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

from rewardranker.errors import DataError
from rewardranker.prompts import encode_prompt
from rewardranker.reward.data import encode_row
from rewardranker.reward.model import RewardSettings

Pair = tuple[str, str]
"""Prompt and completion."""


@dataclass(frozen=True, slots=True)
class Score:
    """What became of one pair."""

    value: float | None
    """None: it can't be scored, see `problem`."""
    tokens: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A pair as the reward model reads it."""

    tokens: tuple[int, ...]
    start: int
    """Where the program starts."""
    problem: str = ""
    """Why it can't be scored; there are no tokens then."""


class Scorer(Protocol):
    """Scores pairs of many requests at once."""

    name: str
    settings: RewardSettings

    async def score(self, pairs: Sequence[Pair]) -> list[Score]:
        """One score a pair, in order. Cancelling the call takes the work back that has not begun.

        Raises:
            ApiError: the scorer fails.
        """
        ...

    def seconds_of_waiting(self) -> float | None:
        """When to come back, if no more should be sent now; None: there is room."""
        ...

    async def close(self) -> None: ...


class RowEncoder:
    """Turns pairs into tokens in a thread of its own, for a tokenizer is not made for several at a time."""

    def __init__(self, tokenizer: Any, settings: RewardSettings, limit: int) -> None:
        """
        Args:
            limit: tokens that the model reads at most.
        """
        self._tokenizer, self._settings, self._limit = tokenizer, settings, limit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tokenizer")

    async def encode(self, pairs: Sequence[Pair]) -> list[Row]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._encode, pairs)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _encode(self, pairs: Sequence[Pair]) -> list[Row]:
        options = self._settings
        prompts: dict[str, list[int]] = {}
        rows = []
        for prompt, completion in pairs:
            if prompt not in prompts:
                prompts[prompt] = encode_prompt(self._tokenizer, prompt, options.prompt)
            try:
                tokens, start = encode_row(
                    self._tokenizer,
                    prompts[prompt],
                    completion,
                    options.prompt,
                    self._limit,
                    options.truncate_prompt,
                    "prompt and program",
                )
            except DataError as error:
                rows.append(Row((), 0, str(error)))
            else:
                rows.append(Row(tuple(tokens), start))
        return rows


def as_score(value: float, tokens: int) -> Score:
    """A score, or what is wrong with a number that is none."""
    if not math.isfinite(value):
        return Score(None, tokens, "the reward model gave no finite number")
    return Score(value, tokens)
