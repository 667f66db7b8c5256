"""The reward model in this process, shared by all requests: what waits is scored together, batch after batch.

Guarantees: the model runs in one thread; a batch holds whatever waits, oldest first, up to `batch_tokens` tokens, so
nothing waits for a batch to fill; a pair that two requests ask for at the same time is scored once; what belongs to a
request that has ended (client gone, deadline) is left out of the next batch.

Not guaranteed: that a batch already at work stops for anything.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING

from rewardranker.serving.metrics import Metrics
from rewardranker.serving.scoring import Pair, Row, RowEncoder, Score, as_score
from rewardranker.training import length_limit

if TYPE_CHECKING:
    from rewardranker.reward import RewardRanker

_FIRST_GUESS = 2000.0  # tokens a second, until the first batch has been timed


@dataclass(slots=True)
class _Waiting:
    row: Row
    future: asyncio.Future[float]


class ScoringQueue:
    """A `Scorer`. Made and used in one event loop."""

    def __init__(
        self, ranker: RewardRanker, *, name: str, batch_tokens: int, max_waiting: int, metrics: Metrics
    ) -> None:
        """
        Args:
            batch_tokens: tokens scored together; a longer program is scored alone.
            max_waiting: pairs waiting from which on no more should be sent.
        """
        self.name, self.settings = name, ranker.options
        self._ranker, self._batch_tokens, self._max_waiting = ranker, batch_tokens, max_waiting
        self._encoder = RowEncoder(
            ranker.tokenizer, ranker.options, length_limit(ranker.options.max_length, ranker.model)
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="scorer")
        self._waiting: deque[_Waiting] = deque()
        self._wakes = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._metrics = metrics
        self._tokens_per_second = _FIRST_GUESS

    async def score(self, pairs: Sequence[Pair]) -> list[Score]:
        rows = await self._encoder.encode(pairs)
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        loop = asyncio.get_running_loop()
        futures = {i: loop.create_future() for i, row in enumerate(rows) if row.tokens}
        self._waiting.extend(_Waiting(rows[i], future) for i, future in futures.items())
        self._wakes.set()
        self._metrics.waiting.set(len(self._waiting))
        try:
            values = dict(zip(futures, await asyncio.gather(*futures.values()), strict=True))
        finally:  # a request that ends early takes its pairs along
            for future in futures.values():
                future.cancel()
        return [
            as_score(values[i], len(row.tokens)) if row.tokens else Score(None, 0, row.problem)
            for i, row in enumerate(rows)
        ]

    def seconds_of_waiting(self) -> float | None:
        if len(self._waiting) < self._max_waiting:
            return None
        return sum(len(item.row.tokens) for item in self._waiting) / self._tokens_per_second

    async def close(self) -> None:
        """Ends the worker; a batch at work comes to its end."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for item in self._waiting:
            item.future.cancel()
        self._encoder.close()
        await asyncio.to_thread(self._thread.shutdown)

    async def _work(self) -> None:
        while True:
            await self._wakes.wait()
            batch = self._next_batch()
            self._metrics.waiting.set(len(self._waiting))
            if batch:
                await self._score_batch(batch)
            if not self._waiting:
                self._wakes.clear()

    def _next_batch(self) -> dict[Row, list[asyncio.Future[float]]]:
        """The distinct rows that are oldest, each with all who wait for it."""
        batch: dict[Row, list[asyncio.Future[float]]] = {}
        tokens = 0
        while self._waiting:
            item = self._waiting[0]
            if not item.future.done():
                if item.row not in batch:
                    tokens += len(item.row.tokens)
                    if batch and tokens > self._batch_tokens:
                        break
                batch.setdefault(item.row, []).append(item.future)
            self._waiting.popleft()
        return batch

    async def _score_batch(self, batch: dict[Row, list[asyncio.Future[float]]]) -> None:
        rows = [(row.tokens, row.start) for row in batch]
        tokens = sum(len(row.tokens) for row in batch)
        started = perf_counter()
        try:
            scores = await asyncio.get_running_loop().run_in_executor(
                self._thread, self._ranker.score_rows, rows, self._batch_tokens
            )
        except Exception as error:
            for future in (future for futures in batch.values() for future in futures):
                if not future.done():
                    future.set_exception(error)
            return
        seconds = perf_counter() - started
        self._tokens_per_second += 0.3 * (tokens / max(seconds, 1e-6) - self._tokens_per_second)
        self._metrics.batch(len(rows), tokens, seconds)
        for value, futures in zip(scores.tolist(), batch.values(), strict=True):
            for future in futures:
                if not future.done():
                    future.set_result(value)
