"""What stands around every request, as ASGI: an id, the key, the body's size, the time it took, faults nobody expected.

Guarantees: an unexpected exception is a 500 without any word of it; the log holds where it happened, and its message,
which may quote a request, only with `log_text`.
"""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from rewardranker.serving.auth import Keys
from rewardranker.serving.errors import ApiError
from rewardranker.serving.limits import limited, too_large
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.options import ServeOptions
from rewardranker.serving.wire import dumps

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

OPEN = ("/", "/health", "/health/live", "/health/ready", "/favicon.ico")
OPEN_FOLDER = "/page/"
"""Paths that need no key: the page without anything typed into it, and what load balancers ask."""
_ID = re.compile(r"[\w.-]{1,64}")
log = logging.getLogger("rewardranker.serving")


class Frame:
    """The outermost ASGI application."""

    def __init__(self, app: App, options: ServeOptions, metrics: Metrics) -> None:
        self._app, self._options, self._metrics = app, options, metrics
        self._keys = Keys(options.api_keys)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        given = headers.get("x-request-id", "")
        scope["rewardranker.request_id"] = request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        status, started = 0, perf_counter()

        async def send_with_id(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            self._check(scope["method"], scope["path"], headers)
            await self._app(scope, limited(receive, self._options.max_body_bytes), send_with_id)
        except ApiError as error:
            if not status:
                self._metrics.error(error.code or "other")
                await _send_error(error, send_with_id)
        except asyncio.CancelledError:  # the server ends, and the time to finish in is over
            if not status:
                await _send_error(
                    ApiError(503, "the server is being stopped", code="stopping", retry_after=1), send_with_id
                )
        except Exception as error:
            shown = traceback.format_exception(error) if self._options.log_text else _places(error)
            log.error("request %s failed unexpectedly: %s", request_id, "".join(shown).rstrip())
            self._metrics.error("internal")
            if not status:
                await _send_error(unexpected(request_id), send_with_id)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            seconds = perf_counter() - started
            if "rewardranker.error" in scope:
                self._metrics.error(scope["rewardranker.error"] or "other")
            self._metrics.request(route, status, seconds)
            log.info("%s %s %s %d %.3f s", request_id, scope["method"], route, status, seconds)

    def _check(self, method: str, path: str, headers: dict[str, str]) -> None:
        """
        Raises:
            ApiError: no valid key, or a body that is said to be too large.
        """
        is_open = path in OPEN or path.startswith(OPEN_FOLDER) or method == "OPTIONS"
        if self._keys and not is_open and not self._keys.accept(headers.get("authorization", "")):
            raise ApiError(401, "send a valid key as 'Authorization: Bearer KEY'", code="invalid_api_key")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._options.max_body_bytes:
            raise too_large(self._options.max_body_bytes)


def unexpected(request_id: str) -> ApiError:
    """What a client is told of a fault that nobody expected."""
    return ApiError(500, f"internal error; the server's log has it as {request_id}", code="internal")


def _places(error: BaseException) -> list[str]:
    """The traceback without what the exception says."""
    return [*traceback.format_tb(error.__traceback__), type(error).__name__]


async def _send_error(error: ApiError, send: Send) -> None:
    body = dumps(error.body()).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **error.headers()}
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": error.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
