"""The clients of `serving.py`: each keeps one connection and asks again as soon as it is answered.

Written on asyncio's streams, because a full HTTP client costs more CPU than the servers that are measured. It does not
try again: whatever is lost is counted.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

ANSWER_SECONDS = 60.0
MARK = "Way number"
"""In every text of the fake model server: without it, an answer is none (optillm answers 200 with an error's text)."""


@dataclass
class Load:
    """What became of the requests of one stretch."""

    started: float
    """`time.monotonic()` before the first request."""
    answered: list[tuple[float, float]] = field(default_factory=list)
    """When each request was sent and answered (with 200 and a text of the model server's), as `time.monotonic()`."""
    window: tuple[float, float] | None = None
    """What is measured by `run_for`: it begins when each client has been answered once."""
    statuses: Counter[str] = field(default_factory=Counter)
    """How many requests ended with which status; `lost`: none came."""
    lost_at: list[float] = field(default_factory=list)
    """When the requests that got no answer had been sent, as `time.monotonic()`."""
    refused: int = 0
    """Clients that could not connect: nothing of theirs was taken."""

    def latencies(self) -> list[float]:
        """Seconds, of the requests that were answered in the window."""
        assert self.window is not None
        start, end = self.window
        return [done - sent for sent, done in self.answered if start < done <= end]


async def run_load(load: Load, port: int, body: dict[str, Any], clients: int, until: Callable[[], bool]) -> None:
    """Ask from so many clients at once until `until()`; requests under way are waited for."""
    await asyncio.gather(*(_client(load, port, body, until) for _ in range(clients)))


def run_for(port: int, body: dict[str, Any], clients: int, seconds: float) -> Load:
    """Ask from so many clients at once, for so many seconds after each of them was answered once."""
    load = Load(time.monotonic())

    def is_over() -> bool:
        if load.window is None and sum(load.statuses.values()) >= clients:
            load.window = (time.monotonic(), time.monotonic() + seconds)
        return load.window is not None and time.monotonic() > load.window[1]

    asyncio.run(run_load(load, port, body, clients, is_over))
    return load


def run_while(port: int, body: dict[str, Any], clients: int, events: Callable[[], Awaitable[None]]) -> Load:
    """Ask from so many clients at once until `events()` has ended or nothing can be connected to any more."""
    load = Load(time.monotonic())

    async def both() -> None:
        task = asyncio.ensure_future(events())
        await run_load(load, port, body, clients, task.done)
        await task

    asyncio.run(both())
    return load


async def _client(load: Load, port: int, body: dict[str, Any], until: Callable[[], bool]) -> None:
    content = json.dumps(body).encode()
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer none\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    connection = None
    while not until():
        if connection is None:
            try:
                connection = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                load.refused += 1
                return
        sent = time.monotonic()
        try:
            connection[1].write(head.encode() + content)
            async with asyncio.timeout(ANSWER_SECONDS):
                status, close, answer = await _answer(connection[0])
        except (OSError, asyncio.IncompleteReadError):
            load.statuses["lost"] += 1
            load.lost_at.append(sent)
            close = True
        else:
            is_right = status == 200 and MARK in json.loads(answer)["choices"][0]["message"]["content"]
            load.statuses["200 without an answer" if status == 200 and not is_right else str(status)] += 1
            if is_right:
                load.answered.append((sent, time.monotonic()))
        if close:
            connection[1].close()
            connection = None
    if connection is not None:
        connection[1].close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bool, bytes]:
    """Status, whether the server closes the connection, and the body."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    lines = head.split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if ": " in line)
    content = await reader.readexactly(int(fields["content-length"]))
    is_closing = fields.get("connection") == "close" or lines[0].startswith("HTTP/1.0")
    return int(lines[0].split(" ")[1]), is_closing, content
