"""What the server counts, for Prometheus. The only module that imports prometheus_client.

Labels are routes, statuses and kinds: nothing that a client chooses, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rewardranker.errors import MissingExtraError

try:
    from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
except ModuleNotFoundError:
    raise MissingExtraError("prometheus-client", "serve") from None

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_POWERS = tuple(2**i for i in range(11))
_TOKENS = tuple(2**i for i in range(4, 18))


class Metrics:
    """One server's figures, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        place: Any = {"namespace": "rewardranker", "registry": registry}
        self._seconds = Histogram(
            "request_seconds", "Time from a request to the end of its answer", ["route"], buckets=_SECONDS, **place
        )
        self._requests = Counter("requests", "Requests answered", ["route", "status"], **place)
        self.under_way = Gauge("requests_under_way", "Requests being worked on", **place)
        self.waiting = Gauge("scoring_waiting", "Programs that wait to be scored", **place)
        self._batch_rows = Histogram("scoring_batch_rows", "Programs scored together", buckets=_POWERS, **place)
        self._batch_tokens = Histogram("scoring_batch_tokens", "Tokens scored together", buckets=_TOKENS, **place)
        self._batch_seconds = Histogram("scoring_batch_seconds", "Time of a batch", buckets=_SECONDS, **place)
        self._candidates = Histogram("candidates", "Candidates drawn for a request", buckets=_POWERS, **place)
        self._failed = Counter("candidates_failed", "Candidates that the model server did not give", **place)
        self._distinct = Counter("candidates_distinct", "Different candidates", **place)
        self._tokens = Counter("tokens", "Tokens that the model server charged", ["kind"], **place)
        self._early = Counter("early_stops", "Requests for which fewer candidates than asked for were enough", **place)
        self._errors = Counter("errors", "Requests that failed", ["code"], **place)
        self._verified = Counter("programs_run", "Programs run against tests of requests", ["outcome"], **place)

    def request(self, route: str, status: int, seconds: float) -> None:
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def error(self, code: str) -> None:
        self._errors.labels(code).inc()

    def batch(self, rows: int, tokens: int, seconds: float) -> None:
        self._batch_rows.observe(rows)
        self._batch_tokens.observe(tokens)
        self._batch_seconds.observe(seconds)

    def drawn(self, candidates: int, distinct: int, failed: int, early: bool, usage: Mapping[str, object]) -> None:
        """One finished best-of-n."""
        self._candidates.observe(candidates)
        self._distinct.inc(distinct)
        self._failed.inc(failed)
        self._early.inc(early)
        for kind in ("prompt", "completion"):
            count = usage.get(f"{kind}_tokens")
            if isinstance(count, int | float):
                self._tokens.labels(kind).inc(max(count, 0))

    def verified(self, passed: bool) -> None:
        self._verified.labels("passed" if passed else "failed").inc()

    def text(self) -> bytes:
        """The figures in Prometheus' text format."""
        return generate_latest(self.registry)
