"""Candidates from a model in this process, decoded together with those of other requests.

Requests with equal temperature, `top_p` and `max_tokens` share a batch. Candidates of a request that has ended stop at
their next token.

Not guaranteed: the speed of a server made for it; this is for small models and for trying things out. Tools, log-
probabilities of other tokens than the drawn ones, and penalties are refused, not ignored.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rewardranker.errors import ModelError, ModelServerError
from rewardranker.generation import Decoded, decode, random_streams
from rewardranker.generation.decoding import positions_of
from rewardranker.generation.sampler import find_end_tokens
from rewardranker.generation.stopping import StopTexts, decode_text
from rewardranker.prompts import encode_prompt
from rewardranker.serving.errors import bad
from rewardranker.serving.source import Api, Drawn
from rewardranker.serving.tasktext import task_of_messages
from rewardranker.types import Json

if TYPE_CHECKING:
    from rewardranker.config import PromptOptions

_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "top_logprobs": (None, 0),
    "frequency_penalty": (None, 0),
    "presence_penalty": (None, 0),
    "logit_bias": (None, {}),
    "response_format": (None, {"type": "text"}),
    "suffix": (None, ""),
}
"""Fields that this model can't follow, with the values that ask for nothing."""
_MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class _Settings:
    """What rows of one batch have in common."""

    temperature: float
    top_p: float
    max_new_tokens: int


@dataclass(slots=True)
class _Row:
    prompt: list[int]
    seed: int
    number: int
    stop: StopTexts
    settings: _Settings
    future: asyncio.Future[Decoded]
    ended: bool = False


class LocalModel:
    """A `Source`."""

    def __init__(self, model: Any, tokenizer: Any, name: str, prompt: PromptOptions, batch_rows: int = 64) -> None:
        """
        Args:
            prompt: of the reranker's training: how a task is told from the message around it.
            batch_rows: candidates decoded together.
        """
        self.plain = not tokenizer.chat_template
        self._model, self._tokenizer, self._name, self._prompt = model, tokenizer, name, prompt
        self._ends = find_end_tokens(model, tokenizer)
        if not self._ends:
            raise ModelError(f"neither the tokenizer nor the model '{name}' names an end token: it would never stop")
        self._batch_rows = batch_rows
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="generator")
        self._waiting: deque[_Row] = deque()
        self._wakes = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None

    async def models(self) -> list[Json]:
        return [{"id": self._name, "object": "model", "created": 0, "owned_by": "rewardranker"}]

    async def draw(self, api: Api, body: Json, count: int, first: int, seconds: float) -> Drawn:
        rows = self._rows(api, body, count, first)
        drawn = Drawn(about={"model": self._name})
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        self._waiting.extend(rows)
        self._wakes.set()
        decoded: list[Decoded] = []
        try:
            async with asyncio.timeout(seconds) as limit:
                decoded = await asyncio.gather(*(row.future for row in rows))
        except ModelServerError as error:
            drawn.failures = [error] * count
        except TimeoutError:
            if not limit.expired():
                raise
            drawn.late = True
            late = ModelServerError(f"no answer within {seconds:g} s", may_pass=True)
            decoded = [row.future.result() for row in rows if row.future.done() and not row.future.cancelled()]
            drawn.failures = [late] * (count - len(decoded))
        finally:
            for row in rows:
                row.ended = True
                row.future.cancel()
        wanted = body.get("logprobs")
        wants_logprobs = wanted is not None and wanted is not False  # 0 of /v1/completions asks for them, too
        drawn.choices = [
            self._choice(api, result, row, wants_logprobs) for result, row in zip(decoded, rows, strict=False)
        ]
        read, written = len(rows[0].prompt), sum(len(result.token_ids) for result in decoded)
        drawn.usages = [{"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}]
        return drawn

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        for row in self._waiting:
            row.future.cancel()
        await asyncio.to_thread(self._thread.shutdown)

    # --- a request ----------------------------------------------------------------------------------------------

    def _rows(self, api: Api, body: Json, count: int, first: int) -> list[_Row]:
        """
        Raises:
            ApiError: the request asks for what this model can't do, or is too long for it.
        """
        for field, neutral in _NEUTRAL.items():
            if body.get(field) not in neutral:
                raise bad("the model in this process can't follow this: serve it with --upstream", field)
        if api == "completions" and body.get("logprobs") not in (None, 0, 1):
            raise bad("the model in this process tells the drawn tokens' alone: 0 or 1", "logprobs")
        prompt = self._encode(api, body)
        settings = _settings(body)
        limit = positions_of(self._model)
        if not prompt:
            raise bad("there is no text to continue", "messages" if api == "chat" else "prompt")
        if limit is not None:
            room = limit - len(prompt)
            if room < 1 or (_asked_tokens(body) is not None and settings.max_new_tokens > room):
                raise bad(
                    f"the prompt has {len(prompt)} tokens and the model {limit} positions: too few are left for "
                    f"max_tokens={settings.max_new_tokens}",
                    "messages" if api == "chat" else "prompt",
                )
            settings = _Settings(settings.temperature, settings.top_p, min(settings.max_new_tokens, room))
        stop = StopTexts(self._tokenizer, _stop_texts(body))
        seed = body.get("seed")
        seed = secrets.randbits(62) if seed is None else seed
        loop = asyncio.get_running_loop()
        return [_Row(prompt, seed, first + i, stop, settings, loop.create_future()) for i in range(count)]

    def _encode(self, api: Api, body: Json) -> list[int]:
        if api == "completions":
            ids = list(self._tokenizer.encode(body["prompt"], add_special_tokens=False))
            bos = self._tokenizer.bos_token_id
            return [bos, *ids] if bos is not None else ids
        if self.plain:
            task = task_of_messages(body["messages"], self._prompt)
            return encode_prompt(self._tokenizer, task, self._prompt.model_copy(update={"style": "plain"}))
        try:
            text = self._tokenizer.apply_chat_template(body["messages"], add_generation_prompt=True, tokenize=False)
        except Exception as error:  # templates raise what they like
            raise bad(f"the model's chat template does not take these messages: {error}", "messages") from None
        return list(self._tokenizer.encode(text, add_special_tokens=False))

    def _choice(self, api: Api, result: Decoded, row: _Row, wants_logprobs: bool) -> Json:
        ids = result.token_ids
        written = ids[:-1] if ids and ids[-1] in self._ends else ids
        text, count = row.stop.cut(written)
        kept = written if count is None else written[:count]
        choice: Json = {"finish_reason": "stop" if count is not None else result.finish_reason, "logprobs": None}
        if wants_logprobs:
            tokens = [decode_text(self._tokenizer, [token]) for token in kept]
            values = result.logprobs[: len(kept)]
            listed = [
                {"token": token, "logprob": value, "bytes": list(token.encode()), "top_logprobs": []}
                for token, value in zip(tokens, values, strict=True)
            ]
            places = [sum(map(len, tokens[:i])) for i in range(len(tokens))]
            choice["logprobs"] = (
                {"content": listed, "refusal": None}
                if api == "chat"
                else {"tokens": tokens, "token_logprobs": values, "top_logprobs": None, "text_offset": places}
            )
        said: Json = {"message": {"role": "assistant", "content": text}} if api == "chat" else {"text": text}
        return choice | said

    # --- the batch ----------------------------------------------------------------------------------------------

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wakes.wait()
            rows = self._next_rows()
            if not rows:
                self._wakes.clear()
                continue
            try:
                decoded = await loop.run_in_executor(self._thread, self._decode, rows)
            except Exception as error:
                fault = ModelServerError(f"decoding failed: {error}")
                for row in rows:
                    if not row.future.done():
                        row.future.set_exception(fault)
            else:
                for row, result in zip(rows, decoded, strict=True):
                    if not row.future.done():
                        row.future.set_result(result)

    def _next_rows(self) -> list[_Row]:
        """The oldest rows that wait and have their settings in common."""
        self._waiting = deque(row for row in self._waiting if not row.ended)
        if not self._waiting:
            return []
        settings = self._waiting[0].settings
        rows = [row for row in self._waiting if row.settings == settings][: self._batch_rows]
        taken = {id(row) for row in rows}
        self._waiting = deque(row for row in self._waiting if id(row) not in taken)
        return rows

    def _decode(self, rows: Sequence[_Row]) -> list[Decoded]:
        settings = rows[0].settings
        streams = None
        if settings.temperature > 0:
            # The stream of a candidate depends on the request's seed, its prompt and its number, not on the batch.
            names = [" ".join(map(str, row.prompt)) for row in rows]
            streams = [
                random_streams(row.seed, [name], [row.number], settings.max_new_tokens)[0]
                for row, name in zip(rows, names, strict=True)
            ]
        return decode(
            self._model,
            [row.prompt for row in rows],
            streams,
            temperature=settings.temperature or 1.0,
            top_p=settings.top_p,
            max_new_tokens=settings.max_new_tokens,
            eos_token_ids=self._ends,
            pad_token_id=self._tokenizer.pad_token_id or 0,
            stop_check=lambda row, ids: rows[row].ended or rows[row].stop.completed(ids),
        )


def _settings(body: Json) -> _Settings:
    """
    Raises:
        ApiError: a value is out of range.
    """
    temperature = _number(body, "temperature", 1.0, 0.0, 2.0)
    top_p = _number(body, "top_p", 1.0, 0.0, 1.0)
    if top_p == 0:
        raise bad("must be above 0", "top_p")
    tokens = _asked_tokens(body)
    return _Settings(temperature, top_p, _MAX_TOKENS if tokens is None else tokens)


def _asked_tokens(body: Json) -> int | None:
    for field in ("max_completion_tokens", "max_tokens"):
        value = body.get(field)
        if value is not None:
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise bad("must be a whole number above 0", field)
            return value
    return None


def _number(body: Json, field: str, default: float, low: float, high: float) -> float:
    value = body.get(field)
    if value is None:
        return default
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise bad(f"must be a number between {low:g} and {high:g}", field)
    return float(value)


def _stop_texts(body: Json) -> tuple[str, ...]:
    stop = body.get("stop")
    texts = [stop] if isinstance(stop, str) else stop
    if texts is None:
        return ()
    if not isinstance(texts, list) or len(texts) > 16 or not all(isinstance(text, str) and text for text in texts):
        raise bad("must be a text or a list of up to 16 texts", "stop")
    return tuple(texts)
