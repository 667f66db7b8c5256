"""A client for any OpenAI-compatible server (vLLM, llama.cpp, SGLang, hosted): pooled, bounded, patient.

Guarantees: never more than `max_concurrency` requests under way; what may pass (429, 5xx, a connection that fails or is
cut, no answer in time) is tried again, with growing waits or after the time the server asks for; what will not pass
(another 4xx) fails at once; every failure is a `ModelServerError` that says what to do, and no message holds the key
or a password in the URL.

Not guaranteed: that a request is served once. A server that did the work and lost the connection does it again.
"""

from __future__ import annotations

import asyncio
import email.utils
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ConfigError, ModelServerError

try:
    import httpx2 as httpx
except ModuleNotFoundError:  # huggingface_hub 1 brings httpx, whose continuation httpx2 is; what is used here is equal
    import httpx  # type: ignore[no-redef]

LONGEST_WAIT = 60.0
"""Seconds between two tries at most, unless the server asks for longer."""
LONGEST_RETRY_AFTER = 600.0
"""A server that asks to wait for longer than these seconds is not waited for."""
_POOL = 32
"""Requests at a time over one pool of connections, which looks at all that it has for each request: with 256 at a time
over a single one, half of a request's CPU time went there."""
_MESSAGE = 500  # characters of a server's own words that are shown


@dataclass
class _Pool:
    http: Any
    under_way: int = 0


class OpenAIClient:
    """Requests to one server; made in one event loop and closed there (`aclose`, or `async with`)."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None = None,
        timeout: float,
        max_concurrency: int,
        retries: int,
        backoff: float = 0.5,
        api_path: str = "/v1",
    ) -> None:
        """
        Args:
            base_url: what OpenAI's own clients call so, such as `http://localhost:8000/v1`; `api_path` is added to
                a URL without a path.
            api_key: sent as a bearer token.
            timeout: seconds for one answer (10 at most for the connection).
            max_concurrency: requests under way at a time; those that wait to be tried again count too, so a busy
                server gets fewer.
            retries: tries after the first.
            backoff: seconds before the second try; doubled for each one after, up to `LONGEST_WAIT`, and each wait cut
                by a random part of up to a half, so that many clients do not come back together.

        Raises:
            ConfigError: the URL is not one of http or https.
        """
        url = _parsed(base_url, api_path)
        self.url = str(url.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        """The base URL, without credentials."""
        self._api_key = api_key
        self._timeout, self._max_concurrency = timeout, max_concurrency
        self._retries, self._backoff = retries, backoff
        self._slots = asyncio.Semaphore(max_concurrency)
        self._options = {
            "base_url": url,
            "headers": {"Authorization": f"Bearer {api_key}"} if api_key else {},
            "timeout": httpx.Timeout(timeout, connect=min(timeout, 10.0), pool=None),
            "limits": httpx.Limits(max_connections=_POOL, max_keepalive_connections=_POOL),
            "verify": httpx.create_ssl_context(),
        }
        self._pools: list[_Pool] = [_Pool(httpx.AsyncClient(**self._options))]

    async def post(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] = {}) -> dict[str, Any]:
        """The answer to a JSON body.

        Args:
            path: below the base URL: `completions`, `chat/completions`, ...
            headers: sent beside, or in place of, the client's own.

        Raises:
            ModelServerError: no usable answer, after the retries that its kind allows.
        """
        return await self._send("POST", path, headers, dict(body))

    async def get(self, path: str, headers: Mapping[str, str] = {}) -> dict[str, Any]:
        """As `post`, without a body."""
        return await self._send("GET", path, headers, None)

    async def aclose(self) -> None:
        for pool in self._pools:
            await pool.http.aclose()

    async def __aenter__(self) -> OpenAIClient:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.aclose()

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any] | None
    ) -> dict[str, Any]:
        async with self._slots:
            for attempt in range(self._retries + 1):
                try:
                    return await self._try(method, path.lstrip("/"), headers, body)
                except ModelServerError as error:
                    asked = error.retry_after or 0.0
                    if not error.may_pass or attempt == self._retries or asked > LONGEST_RETRY_AFTER:
                        raise
                longest = min(self._backoff * 2**attempt, LONGEST_WAIT)
                await asyncio.sleep(max(asked, longest / 2) + random.uniform(0.0, longest / 2))
        raise AssertionError("the last try returns or raises")

    async def _try(
        self, method: str, path: str, headers: Mapping[str, str], body: dict[str, Any] | None
    ) -> dict[str, Any]:
        def error(message: str, **details: Any) -> ModelServerError:
            url = f"{self.url}/{path}"
            return ModelServerError(f"{url}: {message}", url=url, **details)

        try:
            with self._pool() as http:
                response = await http.request(method, path, json=body, headers=dict(headers))
        except httpx.TimeoutException:
            raise error(
                f"no answer within {self._timeout:g} s: raise the timeout, or send fewer requests at a time",
                may_pass=True,
            ) from None
        except httpx.ConnectError as fault:
            raise error(f"can't connect ({fault}): is the server running, and the URL right?", may_pass=True) from None
        except httpx.TransportError as fault:
            reason = str(fault) or type(fault).__name__
            raise error(f"the connection was cut ({reason}): look into the server's log", may_pass=True) from None
        status = response.status_code
        if not response.is_success:
            raise error(
                f"status {status}: {self._message_of(response)}; {self._remedy(status)}",
                status=status,
                retry_after=_retry_after(response),
                may_pass=status in (408, 429) or (status >= 500 and status != 501),
            )
        answer = _json(response)
        if not isinstance(answer, dict):
            found = self._shown(response.text)
            raise error(
                f"the answer is not a JSON object ({found!r}): is this an OpenAI-compatible server, and the URL its "
                "base (mostly .../v1)?",
                status=status,
            )
        if answer.get("error"):
            raise error(f"the server says: {self._message_of(response)}", status=status)
        return answer

    @contextmanager
    def _pool(self) -> Iterator[Any]:
        """The first pool that has room: few requests share few connections, however many there may be."""
        pool = next((pool for pool in self._pools if pool.under_way < _POOL), None)
        if pool is None:
            pool = _Pool(httpx.AsyncClient(**self._options))
            self._pools.append(pool)
        pool.under_way += 1
        try:
            yield pool.http
        finally:
            pool.under_way -= 1

    def _remedy(self, status: int) -> str:
        if status in (401, 403):
            return "give a valid API key in the environment variable that this program reads it from"
        if status == 404:
            return f"is the model's name right (see {self.url}/models), and the URL the API's base (mostly .../v1)?"
        if status == 429:
            return f"still too busy after {self._retries + 1} tries: send fewer requests at a time, or wait"
        if status >= 500:
            return f"the same after {self._retries + 1} tries: look into the server's log"
        if 300 <= status < 400:
            return "the URL leads elsewhere: give the final one"
        return "the server does not take this request"

    def _message_of(self, response: Any) -> str:
        """The server's own words: `error.message` of OpenAI's form, else the beginning of the text."""
        found = _json(response)
        found = found.get("error", found) if isinstance(found, dict) else response.text
        if isinstance(found, dict):
            found = found.get("message", found.get("detail", found))
        return self._shown(str(found)) or "no message"

    def _shown(self, text: str) -> str:
        text = " ".join(text.split())
        return (text.replace(self._api_key, "***") if self._api_key else text)[:_MESSAGE]


def _parsed(base_url: str, api_path: str) -> Any:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ConfigError(
            f"the model server's URL can't be read ({error}): it looks like http://host:8000/v1"
        ) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigError("the model server's URL needs http:// or https:// and a host: http://host:8000/v1")
    return url if url.path.strip("/") else url.copy_with(path=api_path or "/")


def _json(response: Any) -> Any:
    """The answer's JSON value, None where it is none."""
    try:
        return response.json()
    except ValueError:
        return None


def _retry_after(response: Any) -> float | None:
    """Seconds of the header Retry-After, which gives seconds or a date (RFC 9110, 10.2.3)."""
    text = response.headers.get("retry-after", "").strip()
    if text.replace(".", "", 1).isdecimal():
        return float(text)
    try:
        return max(email.utils.parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError):
        return None
