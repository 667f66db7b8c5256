"""Every option of the server, declared once; `rewardranker serve` gives each a flag."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How the server behaves; what it serves (reranker, upstream or model) is given apart."""

    host: str = "127.0.0.1"
    port: int = 8080
    """0 takes a free one."""
    best_of: int = 8
    """Candidates of a request that does not say `best_of`."""
    max_best_of: int = 64
    max_prompts: int = 16
    """Prompts in the body of one `/v1/completions` request."""
    max_documents: int = 1000
    """Pairs in one request for rerank or score."""
    max_body_bytes: int = 8 << 20
    max_requests: int = 512
    """Requests under way; one more is refused with 429."""
    max_waiting: int = 4096
    """Programs that wait to be scored or requests are refused with 429."""
    batch_tokens: int = 8192
    """Tokens of the programs that are scored together."""
    timeout: float = 600.0
    """Seconds for one request, from its arrival to its answer."""
    drain: float = 60.0
    """Seconds that requests under way get when the server is asked to stop."""
    api_keys: tuple[str, ...] = ()
    """Keys that clients may use; none: no key is asked for."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose pages may call the server from a browser."""
    log_text: bool = False
    """Write prompts and answers into the log."""
    upstream_concurrency: int = 256
    """Requests to the model server under way."""
    upstream_retries: int = 3
    upstream_timeout: float = 300.0
    """Seconds for one answer of the model server."""
