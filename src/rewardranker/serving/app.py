"""The routes. The only module that imports FastAPI.

Answers are plain dictionaries in the shape of the APIs that clients know; `answers` and `errors` say which.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from rewardranker.errors import MissingExtraError, ModelServerError
from rewardranker.serving import answers, schemas
from rewardranker.serving.engine import Engine, Job, Result
from rewardranker.serving.errors import DEADLINE, ApiError, bad, from_model_server, out_of_time
from rewardranker.serving.frame import App, Frame, unexpected
from rewardranker.serving.limits import Admission, ClientGone, while_connected
from rewardranker.serving.metrics import CONTENT_TYPE, Metrics
from rewardranker.serving.options import ServeOptions
from rewardranker.serving.scoring import Pair, Score
from rewardranker.serving.source import Api
from rewardranker.serving.streaming import events
from rewardranker.serving.tasktext import entry_point_of, task_of_messages
from rewardranker.serving.wire import dumps
from rewardranker.types import Json

try:
    from fastapi import FastAPI, Request
    from fastapi.exceptions import RequestValidationError
    from fastapi.middleware.cors import CORSMiddleware
    from fastapi.responses import Response, StreamingResponse
    from starlette.exceptions import HTTPException
except ModuleNotFoundError:
    raise MissingExtraError("fastapi", "serve") from None

T = TypeVar("T")
PAGE = "rewardranker.serving.page"
_READY_SECONDS = 3.0
log = logging.getLogger("rewardranker.serving")


def create_app(engine_of: Callable[[], Awaitable[Engine]], options: ServeOptions, metrics: Metrics) -> App:
    """The server's ASGI application.

    Args:
        engine_of: makes the engine, inside the server's event loop; the application closes it at its end.
        metrics: those of the engine.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        server.engine = await engine_of()
        yield
        await server.engine.close()

    server = _Server(options)
    api = FastAPI(
        title="rewardranker",
        description="Best-of-n behind OpenAI's API; rerank and score in the shapes of Cohere, Jina and vLLM.",
        version=_version(),
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from elsewhere
        redoc_url=None,
        responses={
            status: {"description": "OpenAI's error object", "model": schemas.ErrorBody}
            for status in (400, 401, 404, 405, 408, 413, 429, 500, 502, 503, 504)
        },
    )
    server.add_routes(api)
    if find_spec(PAGE) is not None:
        import_module(PAGE).mount(api)
    if options.cors_origins:
        api.add_middleware(
            CORSMiddleware, allow_origins=list(options.cors_origins), allow_methods=["*"], allow_headers=["*"]
        )
    api.add_exception_handler(ApiError, _answer_error)
    api.add_exception_handler(RequestValidationError, _answer_invalid)
    api.add_exception_handler(HTTPException, _answer_http_error)
    api.add_exception_handler(Exception, _answer_unexpected)
    return Frame(api, options, metrics)


class _Server:
    """The routes' common ground."""

    engine: Engine

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self._admission: Admission | None = None

    def add_routes(self, api: FastAPI) -> None:
        json_answer = {200: {"description": "The answer", "content": {"application/json": {"schema": {}}}}}
        for path, route, tags in (
            ("/v1/chat/completions", self.chat, ["best-of-n"]),
            ("/v1/completions", self.completions, ["best-of-n"]),
            ("/v1/rerank", self.rerank, ["rerank"]),
            ("/v2/rerank", self.rerank, ["rerank"]),
            ("/rerank", self.rerank, ["rerank"]),
            ("/v1/score", self.score, ["score"]),
            ("/score", self.score, ["score"]),
        ):
            name = path.strip("/").replace("/", "_")
            api.add_api_route(path, route, methods=["POST"], tags=tags, operation_id=name, responses=json_answer)  # type: ignore[arg-type]
        for path, get_route in (
            ("/v1/models", self.models),
            ("/health", self.ready),
            ("/health/ready", self.ready),
            ("/health/live", self.live),
            ("/metrics", self.metrics),
        ):
            name = path.strip("/").replace("/", "_")
            api.add_api_route(path, get_route, methods=["GET"], tags=["server"], operation_id=name)

    # --- best-of-n ------------------------------------------------------------------------------------------------

    async def chat(self, request: Request, body: schemas.ChatBody) -> Response:
        """The best of several answers to a chat, as OpenAI's API gives one."""
        plain = schemas.forwarded(body)
        messages = [message.model_dump() for message in body.messages]
        task = task_of_messages(messages, self.engine.scorer.settings.prompt)
        return await self._best_of(request, "chat", body, [(plain, task)])

    async def completions(self, request: Request, body: schemas.CompletionBody) -> Response:
        """The best of several continuations of a text, as OpenAI's API gives one."""
        plain = schemas.forwarded(body)
        if body.echo:
            raise bad("the prompt can't be given back", "echo")
        prompts = [body.prompt] if isinstance(body.prompt, str) else body.prompt
        if len(prompts) > self.options.max_prompts:
            raise bad(f"at most {self.options.max_prompts} prompts in one request", "prompt")
        return await self._best_of(request, "completions", body, [(plain | {"prompt": text}, text) for text in prompts])

    async def _best_of(
        self, request: Request, api: Api, body: schemas.Generation, tasks: list[tuple[Json, str]]
    ) -> Response:
        if self.engine.source is None:
            raise bad("this server only scores: start it with --upstream or --model to draw candidates")
        own = body.rewardranker or schemas.Own()
        jobs = [self._job(api, body, own, plain, task) for plain, task in tasks]
        if self.options.log_text:
            for job in jobs:
                log.info("%s asks: %s", request.scope["rewardranker.request_id"], dumps(job.body))
        results = await self._work(request, own.timeout, lambda seconds: self._run_all(jobs, seconds))
        answer = answers.answer(api, results, own.return_candidates)
        headers = answers.headers(results)
        if self.options.log_text:
            log.info("%s gets: %s", request.scope["rewardranker.request_id"], dumps(answer["choices"]))
        if body.stream:
            include_usage = bool(body.stream_options and body.stream_options.include_usage)
            headers |= {"cache-control": "no-cache", "x-accel-buffering": "no"}
            stream = _in_order(events(api, answer, include_usage))
            return StreamingResponse(stream, media_type="text/event-stream", headers=headers)
        return _json(answer, headers)

    def _job(self, api: Api, body: schemas.Generation, own: schemas.Own, plain: Json, task: str) -> Job:
        """
        Raises:
            ApiError: counts above the server's limits, or tests where no program is run.
        """
        n = body.n or 1
        best_of = body.best_of or max(self.options.best_of, n)
        most = self.options.max_best_of
        if n > most:
            raise bad(f"at most {most}", "n")
        if best_of > most:
            raise bad(f"at most {most}", "best_of")
        if best_of < n:
            raise bad(f"draws fewer candidates than the {n} answers that n asks for", "best_of")
        if (own.tests or own.verify) and self.engine.verifier is None:
            raise bad("this server runs no programs: start it with --verify", "rewardranker.tests")
        entry_point = own.entry_point or (entry_point_of(task) if own.language == "python" else None)
        return Job(
            api=api,
            body=plain,
            task=task,
            n=n,
            best_of=best_of,
            language=own.language,
            entry_point=entry_point,
            tests=tuple(own.tests),
            verify=bool(own.tests) or own.verify,
            adaptive=own.adaptive,
        )

    async def _run_all(self, jobs: list[Job], seconds: float) -> list[Result]:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self.engine.run(job, seconds)) for job in jobs]
        except ExceptionGroup as failed:  # the first prompt that failed, as if it were the only one
            raise failed.exceptions[0] from None
        return [task.result() for task in tasks]

    # --- scores ---------------------------------------------------------------------------------------------------

    async def rerank(self, request: Request, body: schemas.RerankBody) -> Response:
        """Programs for a task, the best first. `relevance_score` is the reward model's: it compares within a query."""
        texts = body.texts
        scores = await self._score(request, [(body.query, text) for text in texts], "documents")
        order = sorted(range(len(texts)), key=lambda i: -scores[i].value)[: body.top_n]  # type: ignore[operator]
        results: list[Json] = [{"index": i, "relevance_score": scores[i].value} for i in order]
        if body.return_documents is not False:
            results = [row | {"document": {"text": texts[row["index"]]}} for row in results]
        usage = _tokens(scores)
        return _json(
            {
                "id": f"rerank-{uuid.uuid4().hex}",
                "model": self.engine.scorer.name,
                "results": results,
                "usage": usage,
                "meta": {
                    "api_version": {"version": "2" if request.url.path.startswith("/v2") else "1"},
                    "billed_units": {"search_units": 1},
                    "tokens": {"input_tokens": usage["total_tokens"], "output_tokens": 0},
                },
            }
        )

    async def score(self, request: Request, body: schemas.ScoreBody) -> Response:
        """The reward model's score of each pair of task and program."""
        scores = await self._score(request, body.pairs(), "text_2")
        return _json(
            {
                "id": f"score-{uuid.uuid4().hex}",
                "object": "list",
                "created": int(time.time()),
                "model": self.engine.scorer.name,
                "data": [{"index": i, "object": "score", "score": score.value} for i, score in enumerate(scores)],
                "usage": _tokens(scores),
            }
        )

    async def _score(self, request: Request, pairs: list[Pair], field: str) -> list[Score]:
        if len(pairs) > self.options.max_documents:
            raise bad(f"at most {self.options.max_documents} in one request", field)

        async def work(seconds: float) -> list[Score]:
            try:
                async with asyncio.timeout(seconds) as limit:
                    return await self.engine.scorer.score(pairs)
            except TimeoutError:
                if not limit.expired():
                    raise
                raise out_of_time(seconds) from None

        scores = await self._work(request, None, work)
        for i, score in enumerate(scores):
            if score.value is None:
                raise bad(score.problem, f"{field}.{i}")
        return scores

    async def _work(self, request: Request, timeout: float | None, work: Callable[[float], Awaitable[T]]) -> T:
        """Work for a request that is let in, for as long as its client waits and its time lasts."""
        if self._admission is None:
            self._admission = Admission(self.options.max_requests, self.engine.scorer, self.engine.metrics)
        if timeout is not None and timeout >= self.options.timeout:
            timeout = None
        seconds = timeout or self.options.timeout
        with self._admission():
            try:
                return await while_connected(request.receive, work(seconds))
            except ApiError as error:
                if error.code == DEADLINE and timeout is not None:
                    error.status = 408  # the request's own wish
                raise
            except ClientGone:
                raise ApiError(499, "the client closed the connection", code="client_gone") from None

    # --- the server -----------------------------------------------------------------------------------------------

    async def models(self) -> Response:
        """The models that can be asked for candidates, and the reranker."""
        listed: list[Json] = []
        if self.engine.source is not None:
            try:
                async with asyncio.timeout(self.options.timeout):
                    listed = await self.engine.source.models()
            except ModelServerError as error:
                raise from_model_server(error) from None
        reranker = {"id": self.engine.scorer.name, "object": "model", "created": 0, "owned_by": "rewardranker"}
        return _json({"object": "list", "data": [*listed, reranker]})

    async def live(self) -> Response:
        """The process answers."""
        return _json({"status": "ok"})

    async def ready(self) -> Response:
        """Requests can be served: the model server answers."""
        told: Json = {"status": "ok", "live": True, "ready": True, "reranker": self.engine.scorer.name}
        if self.engine.source is not None:
            try:
                async with asyncio.timeout(_READY_SECONDS):
                    await self.engine.source.models()
            except (ModelServerError, TimeoutError):
                told |= {"status": "the model server does not answer", "ready": False}
        return _json(told, status=200 if told["ready"] else 503)

    async def metrics(self) -> Response:
        """Figures for Prometheus."""
        return Response(self.engine.metrics.text(), media_type=CONTENT_TYPE)


# --- answers --------------------------------------------------------------------------------------------------------


def _json(body: Json, headers: dict[str, str] | None = None, status: int = 200) -> Response:
    return Response(dumps(body), status, headers, "application/json")


async def _in_order(items: Iterator[str]) -> AsyncIterator[str]:
    for item in items:
        yield item


def _tokens(scores: list[Score]) -> Json:
    total = sum(score.tokens for score in scores)
    return {"prompt_tokens": total, "total_tokens": total}


async def _answer_error(request: Request, error: Any) -> Response:
    request.scope["rewardranker.error"] = error.code
    return _json(error.body(), error.headers(), error.status)


async def _answer_invalid(request: Request, error: Any) -> Response:
    """What is wrong with a body, and where; all of it in the message, the first place as `param`."""
    problems = [(".".join(map(str, _place(fault["loc"]))), fault["msg"]) for fault in error.errors()]
    message = "; ".join(f"{place}: {words}" if place else words for place, words in problems[:5])
    return await _answer_error(request, bad(message, problems[0][0] or None))


def _place(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """A place in the body without `body` in front, and without what pydantic adds for alternatives of a type."""
    inner = loc[1:] if loc[:1] in (("body",), ("query",), ("path",)) else loc
    if loc[-1:] and isinstance(loc[-1], int) and len(loc) == 2:
        return ()  # a position in broken JSON
    return tuple(part for part in inner if isinstance(part, int) or str(part).replace("_", "").isalnum())


async def _answer_http_error(request: Request, error: Any) -> Response:
    if isinstance(error.__cause__, ApiError):  # a body that turned out too large while it was read
        return await _answer_error(request, error.__cause__)
    words = {404: "there is no such path", 405: "this path has other methods"}
    return await _answer_error(request, ApiError(error.status_code, words.get(error.status_code, str(error.detail))))


async def _answer_unexpected(request: Request, error: Any) -> Response:
    told = unexpected(request.scope["rewardranker.request_id"])  # `Frame` gets the exception too, and logs it
    return _json(told.body(), status=told.status)


def _version() -> str:
    from importlib.metadata import version

    return version("rewardranker")
