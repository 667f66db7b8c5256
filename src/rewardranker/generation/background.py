"""An event loop in a thread of its own, so that requests go on while the caller works, also where it has a loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class BackgroundLoop:
    """`with BackgroundLoop() as loop: loop.submit(coroutine).result()`; at the end what is left is cancelled."""

    def __enter__(self) -> BackgroundLoop:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="rewardranker-requests", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.submit(self._cancel_all()).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine; its result is waited for with `result()`."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    async def _cancel_all(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
