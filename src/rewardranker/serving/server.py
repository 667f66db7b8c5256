"""Puts the server together from paths and URLs, and runs it until it is asked to stop. Imports uvicorn.

Asked to stop (SIGTERM, Ctrl-C) it takes no new connection, finishes what runs, for up to `ServeOptions.drain` seconds,
and ends.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import socket
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import ConfigError, MissingExtraError
from rewardranker.serving.app import create_app
from rewardranker.serving.engine import Engine, Stopping
from rewardranker.serving.frame import App, Receive, Scope, Send
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.options import ServeOptions
from rewardranker.serving.scoring import Scorer
from rewardranker.serving.scoring_queue import ScoringQueue
from rewardranker.serving.source import Source
from rewardranker.serving.upstream import Upstream
from rewardranker.serving.verification import Verifier

try:
    import uvicorn
except ModuleNotFoundError:
    raise MissingExtraError("uvicorn", "serve") from None

if TYPE_CHECKING:
    from rewardranker.reward import RewardRanker

_WATCHERS = 4
"""Questions at a time whether the model server is there."""
log = logging.getLogger("rewardranker.serving")


@dataclass(frozen=True)
class Parts:
    """What is served. Models are loaded before the server starts, so that a fault is an ordinary error."""

    reranker: RewardRanker | None = None
    reranker_name: str = "reranker"
    remote_reranker: Any = None
    """A `remote_scorer.RemoteReranker` in place of `reranker`."""
    upstream: str | None = None
    upstream_key: str | None = None
    upstream_model: str | None = None
    model: tuple[Any, Any, str] | None = None
    """A causal language model, its tokenizer and its name, in place of an upstream."""
    stopping: Stopping | None = None
    logprob_weight: float = 0.0
    judge: JudgeOptions | None = None
    """Set: requests may have programs run."""
    judge_workers: int | None = None


def build_app(parts: Parts, options: ServeOptions) -> App:
    """The ASGI application that serves these parts."""
    metrics = Metrics()

    async def engine() -> Engine:
        scorer = _scorer(parts, options, metrics)
        return Engine(
            _source(parts, options, scorer),
            scorer,
            metrics,
            stopping=parts.stopping,
            verifier=_verifier(parts, metrics),
            logprob_weight=parts.logprob_weight,
        )

    return create_app(engine, options, metrics)


def run_server(app: App, options: ServeOptions) -> None:
    """Serve until asked to stop.

    Raises:
        ConfigError: the address can't be listened on.
    """
    listening = listen(options.host, options.port)
    host, port = listening.getsockname()[:2]
    log.info("serving on http://%s:%d", f"[{host}]" if ":" in host else host, port)
    # What is loaded stays: the garbage collector, which would stop all requests to look through it, leaves it out.
    gc.collect()
    gc.freeze()
    make_server(app, options).run(sockets=[listening])


def make_server(app: App, options: ServeOptions) -> uvicorn.Server:
    """uvicorn with this application, not yet started."""

    async def closing(scope: Scope, receive: Receive, send: Send) -> None:
        """Once the server is to stop, answers end their connection; uvicorn with h11 ends it, but does not say so."""

        async def send_and_close(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and server.should_exit:
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await app(scope, receive, send_and_close)

    server = uvicorn.Server(
        uvicorn.Config(
            closing,
            log_config=None,
            access_log=False,  # `Frame` writes a line for each request, without its text
            timeout_graceful_shutdown=max(round(options.drain), 1),
            timeout_keep_alive=75,  # longer than clients keep idle connections, so that they close them first
            backlog=2048,
            lifespan="on",
        )
    )
    return server


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        ConfigError: no such address, or it is taken.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listening = socket.socket(family, kind, protocol)
        with contextlib.suppress(OSError):
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(2048)
    except OSError as error:
        raise ConfigError(
            f"can't listen on {host}:{port} ({error.strerror or error}): choose --host and --port"
        ) from None
    return listening


def _scorer(parts: Parts, options: ServeOptions, metrics: Metrics) -> Scorer:
    if parts.remote_reranker is not None:
        scorer: Scorer = parts.remote_reranker.scorer(options, metrics)
        return scorer
    assert parts.reranker is not None
    return ScoringQueue(
        parts.reranker,
        name=parts.reranker_name,
        batch_tokens=options.batch_tokens,
        max_waiting=options.max_waiting,
        metrics=metrics,
    )


def _source(parts: Parts, options: ServeOptions, scorer: Scorer) -> Source | None:
    if parts.model is not None:
        from rewardranker.serving.local import LocalModel

        model, tokenizer, name = parts.model
        return LocalModel(model, tokenizer, name, scorer.settings.prompt)
    if parts.upstream is None:
        return None
    from rewardranker.generation.openai_client import OpenAIClient

    def client(concurrency: int, retries: int) -> OpenAIClient:
        assert parts.upstream is not None
        return OpenAIClient(
            parts.upstream,
            api_key=parts.upstream_key,
            timeout=options.upstream_timeout,
            max_concurrency=concurrency,
            retries=retries,
        )

    drawing = client(options.upstream_concurrency, options.upstream_retries)
    return Upstream(drawing, client(_WATCHERS, 0), parts.upstream_model)


def _verifier(parts: Parts, metrics: Metrics) -> Verifier | None:
    if parts.judge is None:
        return None
    from rewardranker.execution.opening import open_judge

    stack = contextlib.ExitStack()
    judge = stack.enter_context(open_judge(parts.judge, parts.judge_workers))
    log.info("programs of requests are run with isolation '%s'", judge.isolation)
    return Verifier(judge, stack.close, metrics)
