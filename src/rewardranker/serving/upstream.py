"""Candidates from an OpenAI-compatible server.

All candidates are asked for in one request (`n`); a server that gives fewer (llama.cpp gives one whatever `n` is) or
refuses `n` is asked for the rest one by one, in parallel, and that is remembered for each model. A `seed` is raised by
the number of the candidates before, as equal seeds would give equal candidates.
"""

from __future__ import annotations

import asyncio
from time import monotonic

from rewardranker.errors import ModelServerError
from rewardranker.generation.openai_client import OpenAIClient
from rewardranker.serving.source import PATHS, Api, Drawn
from rewardranker.types import Json

_REFUSES_N = (400, 404, 422, 501)
_MODELS_SECONDS = 10.0
_REMEMBERED = 64  # models, whose names clients choose


class Upstream:
    """A `Source`."""

    plain = False

    def __init__(self, client: OpenAIClient, watcher: OpenAIClient, model: str | None = None) -> None:
        """
        Args:
            client: draws candidates.
            watcher: asks the same server what it has; one of its own, as it must not wait behind draws to say that the
                server is there.
            model: the name that the server is asked for whatever a request says; None: the request's, or the server's
                first.
        """
        self._client, self._watcher, self._model = client, watcher, model
        self._gives_one: dict[str, None] = {}
        """Models that are asked for one candidate at a time."""
        self._listed: list[Json] = []
        self._listed_at = float("-inf")

    async def models(self) -> list[Json]:
        if monotonic() - self._listed_at > _MODELS_SECONDS:
            answer = await self._watcher.get("models")
            data = answer.get("data")
            rows = data if isinstance(data, list) else []
            self._listed = [row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)]
            self._listed_at = monotonic()
        return self._listed

    async def draw(self, api: Api, body: Json, count: int, first: int, seconds: float) -> Drawn:
        drawn = Drawn()
        try:
            async with asyncio.timeout(seconds) as limit:
                body = await self._with_model(body)
                if count > 1 and body["model"] not in self._gives_one:
                    await self._draw_together(drawn, PATHS[api], body, count, first)
                missing = count - len(drawn.choices)
                if missing and not drawn.failures:
                    await self._draw_apart(drawn, PATHS[api], body, missing, first + len(drawn.choices))
        except ModelServerError as error:
            drawn.failures = [error] * (count - len(drawn.choices))
        except TimeoutError:
            if not limit.expired():
                raise
            drawn.late = True
            late = ModelServerError(f"no answer within {seconds:g} s", may_pass=True)
            drawn.failures += [late] * (count - len(drawn.choices) - len(drawn.failures))
        return drawn

    async def close(self) -> None:
        await self._client.aclose()
        await self._watcher.aclose()

    async def _with_model(self, body: Json) -> Json:
        name = self._model or body.get("model")
        if not name:
            listed = await self.models()
            if not listed:
                raise ModelServerError("the model server lists no model: say which one in 'model'", status=400)
            name = listed[0]["id"]
        return body | {"model": name}

    async def _draw_together(self, drawn: Drawn, path: str, body: Json, count: int, first: int) -> None:
        try:
            answer = await self._client.post(path, _seeded(body, first) | {"n": count})
        except ModelServerError as error:
            if error.status not in _REFUSES_N:
                raise
            # What it refused, `n` or something else, shows when one candidate is asked for.
            await self._take(drawn, path, _seeded(body, first), count)
        else:
            _add(drawn, answer, count)
        if len(drawn.choices) < count:
            while len(self._gives_one) >= _REMEMBERED:
                del self._gives_one[next(iter(self._gives_one))]
            self._gives_one[body["model"]] = None

    async def _draw_apart(self, drawn: Drawn, path: str, body: Json, count: int, first: int) -> None:
        async def one(number: int) -> None:
            try:
                await self._take(drawn, path, _seeded(body, number), 1)
            except ModelServerError as error:
                drawn.failures.append(error)

        tasks = [asyncio.create_task(one(first + i)) for i in range(count)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()

    async def _take(self, drawn: Drawn, path: str, body: Json, most: int) -> None:
        if _add(drawn, await self._client.post(path, body), most) == 0:
            raise ModelServerError("the answer has no choice")


def check_url(url: str) -> None:
    """
    Raises:
        ConfigError: a model server can't have this URL.
    """
    OpenAIClient(url, timeout=1.0, max_concurrency=1, retries=0)


def _seeded(body: Json, number: int) -> Json:
    return body | {"seed": body["seed"] + number} if isinstance(body.get("seed"), int) else body


def _add(drawn: Drawn, answer: Json, most: int) -> int:
    """Take in an answer's choices; how many there were."""
    found = answer.get("choices")
    choices = [choice for choice in found if _is_choice(choice)][:most] if isinstance(found, list) else []
    drawn.choices += choices
    if isinstance(answer.get("usage"), dict):
        drawn.usages.append(answer["usage"])
    for key in ("model", "system_fingerprint", "service_tier"):
        if answer.get(key) is not None:
            drawn.about.setdefault(key, answer[key])
    return len(choices)


def _is_choice(choice: object) -> bool:
    return isinstance(choice, dict) and (isinstance(choice.get("message"), dict) or isinstance(choice.get("text"), str))
