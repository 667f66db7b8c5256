"""A server for tests: uvicorn on a loopback port, in a thread of its own, and reward models that tests can predict."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import numpy as np
import torch
from numpy.typing import NDArray
from reward_world import byte_tokenizer, tiny_causal_lm

from rewardranker.reward import RewardRanker
from rewardranker.reward.model import RewardSettings, from_causal_lm
from rewardranker.serving.options import ServeOptions
from rewardranker.serving.server import Parts, build_app, listen, make_server

QUICK = ServeOptions(port=0, best_of=4, upstream_retries=0, drain=5)


def tiny_ranker(max_length: int = 64, **settings: Any) -> RewardRanker:
    """A random reward model of one layer that reads bytes."""
    tokenizer = byte_tokenizer()
    model = from_causal_lm(tiny_causal_lm(), tokenizer, seed=0)
    return RewardRanker(model, tokenizer, RewardSettings(max_length=max_length, **settings))


@functools.cache
def _unread_model() -> tuple[Any, Any]:
    """A model that only says how long its rows may be, and its tokenizer; made once."""
    tokenizer = byte_tokenizer()
    model = from_causal_lm(tiny_causal_lm(), tokenizer, seed=0)
    model.config.max_position_embeddings = 1 << 20
    return model, tokenizer


class CountedRanker(RewardRanker):
    """Scores a program by its last digit (so tests know the order), and remembers what it was given.

    The tokens are those of a real reward model's tokenizer: one a byte.
    """

    def __init__(self, max_length: int = 2000, **settings: Any) -> None:
        super().__init__(*_unread_model(), RewardSettings(max_length=max_length, **settings))
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        """Cleared, batches wait."""
        self.gate.set()
        self.entered = threading.Semaphore(0)
        """Released once for each batch that begins."""

    def score_rows(self, rows: Sequence[Any], batch_tokens: int = 8192, progress: Any = None) -> NDArray[np.float32]:
        texts = [self.tokenizer.decode(list(tokens), skip_special_tokens=True) for tokens, _ in rows]
        self.batches.append(texts)
        self.entered.release()
        assert self.gate.wait(20)
        digits = [[int(char) for char in text if char in "0123456789"] for text in texts]
        return np.array([found[-1] if found else -1.0 for found in digits], dtype=np.float32)


@dataclass
class Running:
    """A server under way."""

    url: str
    server: Any
    thread: threading.Thread

    def client(self, **options: Any) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30, **options)

    def post(self, path: str, body: Any, **options: Any) -> httpx2.Response:
        with self.client() as client:
            return client.post(path, json=body, **options)

    def get(self, path: str, **options: Any) -> httpx2.Response:
        with self.client() as client:
            return client.get(path, **options)

    def stop(self) -> None:
        """What SIGTERM does."""
        self.server.should_exit = True


@contextlib.contextmanager
def running(parts: Parts, options: ServeOptions = QUICK, **changed: Any) -> Iterator[Running]:
    """A server with these parts, ready for requests inside, ended after."""
    options = replace(options, **changed)
    torch.set_num_threads(1)
    server = make_server(build_app(parts, options), options)
    listening = listen("127.0.0.1", 0)
    started = threading.Event()
    startup = server.startup

    async def startup_and_tell(*arguments: Any, **named: Any) -> None:
        try:
            await startup(*arguments, **named)
        finally:
            started.set()

    server.startup = startup_and_tell
    server.config.load()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    assert started.wait(20)
    assert server.started
    try:
        yield Running(f"http://127.0.0.1:{listening.getsockname()[1]}", server, thread)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
