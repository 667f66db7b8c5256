"""Where candidates come from: what the engine asks of a model server, and of the model in this process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from rewardranker.errors import ModelServerError
from rewardranker.types import Json

Api = Literal["chat", "completions"]
PATHS: dict[Api, str] = {"chat": "chat/completions", "completions": "completions"}


@dataclass(slots=True)
class Drawn:
    """What one draw gave."""

    choices: list[Json] = field(default_factory=list)
    """In OpenAI's form: `message` or `text`, `finish_reason`, `logprobs`."""
    failures: list[ModelServerError] = field(default_factory=list)
    """One for each candidate that did not come."""
    usages: list[Json] = field(default_factory=list)
    """One for each answer that told."""
    late: bool = False
    """The time was over before all candidates came."""
    about: Json = field(default_factory=dict)
    """`model`, `system_fingerprint` and the like of the first answer."""


class Source(Protocol):
    """Draws candidates."""

    plain: bool
    """Answers to chats are code as they stand: a model that continues its prompt."""

    async def models(self) -> list[Json]:
        """The models that can be asked, as `/v1/models` lists them.

        Raises:
            ModelServerError: they can't be found out.
        """
        ...

    async def draw(self, api: Api, body: Json, count: int, first: int, seconds: float) -> Drawn:
        """Draw candidates.

        Args:
            body: of the request, without `n`, `best_of` and `stream`.
            first: the number of the first candidate; those before it have been drawn.
            seconds: what has not come by then has failed.

        Raises:
            ApiError: the request can't be served at all.
        """
        ...

    async def close(self) -> None: ...


def total_usage(usages: Sequence[Json]) -> Json:
    """The sum of what answers charged, also of the details; empty if none told."""
    total: Json = {}
    for usage in usages:
        _add(total, usage)
    return total


def _add(total: Json, usage: Json) -> None:
    for key, value in usage.items():
        if isinstance(value, dict):
            inner = total.setdefault(key, {})
            if isinstance(inner, dict):
                _add(inner, value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            before = total.get(key)
            total[key] = value + (before if isinstance(before, int | float) else 0)
        else:
            total.setdefault(key, value)
