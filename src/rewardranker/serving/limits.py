"""What keeps the server standing: bodies of a bounded size, not too many requests, clients that are still there."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from rewardranker.serving.errors import ApiError
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.scoring import Scorer

T = TypeVar("T")
Receive = Callable[[], Awaitable[Any]]
_LONGEST_WAIT = 60


class Admission:
    """Lets requests in as long as there is room."""

    def __init__(self, most: int, scorer: Scorer, metrics: Metrics) -> None:
        self._most, self._scorer, self._metrics = most, scorer, metrics
        self._inside = 0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, the request counts.

        Raises:
            ApiError: too many are inside, or too many programs wait to be scored: 429 with the time to come back.
        """
        seconds = self._scorer.seconds_of_waiting()
        if seconds is None and self._inside >= self._most:
            seconds = 1.0
        if seconds is not None:
            wait = min(max(math.ceil(seconds), 1), _LONGEST_WAIT)
            message = f"the server is busy: try again in {wait} s"
            raise ApiError(429, message, code="busy", retry_after=wait)
        self._inside += 1
        self._metrics.under_way.set(self._inside)
        try:
            yield
        finally:
            self._inside -= 1
            self._metrics.under_way.set(self._inside)


class ClientGone(Exception):
    """Nobody waits for the answer any more."""


async def while_connected(receive: Receive, work: Awaitable[T]) -> T:
    """The result of work that is cancelled as soon as the client closes the connection.

    Args:
        receive: of the ASGI request, whose body has been read.

    Raises:
        ClientGone: it has.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.create_task(_disconnect(receive))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        return task.result()
    finally:
        for each in (task, gone):
            each.cancel()
        await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def limited(receive: Receive, most: int) -> Receive:
    """`receive` that refuses a body of more than `most` bytes while it comes in."""
    got = 0

    async def receive_within() -> Any:
        nonlocal got
        message = await receive()
        got += len(message.get("body", b""))
        if got > most:
            raise too_large(most)
        return message

    return receive_within


def too_large(most: int) -> ApiError:
    return ApiError(413, f"the body is larger than {most:,} bytes", code="body_too_large")
