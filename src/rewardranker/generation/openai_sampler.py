"""Programs from an OpenAI-compatible server: Task -> Samples.

Guarantees: requests are bounded and tried again (see `openai_client`); each sample is asked for with a seed that
depends on the sampling seed, the task and the sample's number alone, so `n`, the other tasks and their order change
nothing of what is asked; the texts end at the stop texts whatever the server makes of them; the key is in no record.

Not guaranteed: that a server draws the same for the same seed (hosted ones mostly do not; one that batches rounds
differently in other batches); that log-probabilities are those at temperature 1 and without top-p, as this package
counts them: vLLM's and llama.cpp's are, SGLang's are scaled by the temperature.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, Literal

from rewardranker.config import PromptOptions, SamplingOptions
from rewardranker.errors import ConfigError, ModelServerError
from rewardranker.generation.background import BackgroundLoop
from rewardranker.generation.openai_answers import Choice, Models, read_choices, read_models
from rewardranker.generation.openai_client import OpenAIClient
from rewardranker.generation.recording import make_sample, record_fields, stop_texts
from rewardranker.prompts import encode_prompt
from rewardranker.types import Sample, Task

Logprobs = Literal["auto", "required", "off"]

_REFUSED = (400, 422)


class OpenAISampler:
    """A `types.Sampler` on a server: `completions` for `plain` prompts, `chat/completions` for `chat` ones."""

    streams = True
    """Samples do not depend on what is drawn with them, so any number of tasks may be asked for at once."""

    def __init__(
        self,
        base_url: str,
        model: str | None,
        options: SamplingOptions,
        prompt: PromptOptions,
        *,
        api_key: str | None = None,
        max_concurrency: int = 32,
        timeout: float = 600.0,
        retries: int = 5,
        logprobs: Logprobs = "auto",
        extra: Mapping[str, Any] | None = None,
        tokenizer: Any | None = None,
    ) -> None:
        """
        Args:
            base_url: such as `http://localhost:8000/v1`.
            model: a name that the server knows; None: its only model.
            options: temperature 0 is greedy and asked for once a task; `n` and `batch_tasks` are not used.
            max_concurrency, timeout, retries: see `OpenAIClient`.
            logprobs: `auto` asks for log-probabilities and does without them where the server refuses; `required`
                fails then; `off` does not ask.
            extra: fields for every request, such as `{"chat_template_kwargs": {"enable_thinking": False}}`.
            tokenizer: the model's, to send prompts (chats too) as token ids to `completions`, which vLLM takes; None:
                as texts, which the server reads with its own.

        Raises:
            ConfigError: an empty stop text.
        """
        if not all(options.stop):
            raise ConfigError("a stop text is empty: remove it from sampling.stop")
        self.base_url, self.model = base_url, model
        self.options, self.prompt = options, prompt
        self.logprobs = logprobs
        self._client_options: dict[str, Any] = {
            "api_key": api_key,
            "max_concurrency": max_concurrency,
            "timeout": timeout,
            "retries": retries,
        }
        self._extra = dict(extra or {})
        self._tokenizer = tokenizer
        self._asks_chat = prompt.style == "chat" and tokenizer is None
        self._fields: Mapping[str, Any] = {}
        self._asks_logprobs = logprobs != "off"
        self._draws_apart = False  # the server is known to draw the choices of a request from streams of their own
        self._most_choices: int | None = None  # that the server gives in one answer, as far as it has shown

    @property
    def record_fields(self) -> dict[str, str | int | float]:
        """Columns that are the same in every sample of this sampler."""
        return record_fields(self.options, self.name)

    @property
    def name(self) -> str:
        """The model's name; the server is asked where none was given."""
        if self.model is None:
            self.check()
        assert self.model is not None
        return self.model

    def check(self) -> Models:
        """Ask the server for its models: whether it is there, and knows this one.

        Raises:
            ModelServerError: it can't be reached.
            ConfigError: it has no such model (the message lists those it has), or several and none was named.
        """

        async def ask() -> Models:
            async with OpenAIClient(self.base_url, **self._client_options) as client:
                return await self._check(client)

        with BackgroundLoop() as loop:
            return loop.submit(ask()).result()

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        """Yield the `n` samples of each task, in order; requests for later tasks are under way meanwhile.

        Raises:
            ModelServerError: the server can't be reached or used; names the task.
            ConfigError: it has no such model.
            ValueError: `n` is below 1.
        """
        if n < 1:
            raise ValueError(f"n is {n}: draw at least one sample a task")
        with BackgroundLoop() as loop:
            client = loop.submit(self._open()).result()
            waiting: deque[Future[list[Sample]]] = deque()
            try:
                for task in tasks:
                    waiting.append(loop.submit(self._task(client, task, n, round)))
                    # Enough tasks that slow ones do not leave the server idle while later ones wait.
                    if len(waiting) > 4 * self._client_options["max_concurrency"]:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
                loop.submit(client.aclose()).result()

    async def _open(self) -> OpenAIClient:
        client = OpenAIClient(self.base_url, **self._client_options)
        try:
            await self._check(client)
        except BaseException:
            await client.aclose()
            raise
        return client

    async def _check(self, client: OpenAIClient) -> Models:
        try:
            models = read_models(await client.get("models"))
        except ModelServerError as error:
            if error.status not in (404, 405, 501) or self.model is None:
                raise
            return Models((), "")  # some hosted servers do not list theirs
        listed = ", ".join(models.names[:20]) + (", ..." if len(models.names) > 20 else "")
        if self.model is None and len(models.names) == 1:
            self.model = models.names[0]
        if self.model is None:
            raise ConfigError(f"{client.url} has several models, name one with --model: {listed}")
        if models.names and self.model not in models.names:
            raise ConfigError(f"{client.url} has no model '{self.model}'; it has: {listed}")
        self._fields = {**models.request_fields, **self._extra}
        self._draws_apart = models.kind == "vllm"
        return models

    async def _task(self, client: OpenAIClient, task: Task, n: int, round: int) -> list[Sample]:
        greedy = self.options.temperature == 0
        choices = await self._draw(client, task, 1 if greedy else n)
        stops = stop_texts(self.options, self.prompt, task)
        cut = [choice.cut(stops) for choice in choices] * (n if greedy else 1)
        return [
            make_sample(
                task,
                sample_id,
                choice.text,
                self.options,
                self.prompt,
                self.name,
                token_ids=choice.token_ids,
                logprobs=choice.token_logprobs,
                finish_reason=choice.finish_reason,
                round=round,
            )
            for sample_id, choice in enumerate(cut)
        ]

    async def _draw(self, client: OpenAIClient, task: Task, n: int) -> list[Choice]:
        """The first `n` samples: in one request where the server gives so many, else in several at once."""
        found: dict[int, Choice] = {}
        together = False  # several choices in one answer; other tasks may learn meanwhile that it should be one
        while missing := [number for number in range(n) if number not in found]:
            size = min(len(missing), self._most_choices or len(missing))
            chunks = [missing[i : i + size] for i in range(0, len(missing), size)]
            answers = await asyncio.gather(*(self._ask(client, task, chunk) for chunk in chunks))
            for chunk, choices in zip(chunks, answers, strict=True):
                found.update(zip(chunk, choices, strict=False))
                together |= len(choices) > 1
                if len(choices) < len(chunk):
                    self._most_choices = min(self._most_choices or len(choices), len(choices))
        choices = [found[number] for number in range(n)]
        if together and not self._draws_apart and len({choice.text for choice in choices}) == 1:
            # Either the model is that sure, or the server used one seed for all. Asked for one by one, seeds differ.
            answers = await asyncio.gather(*(self._ask(client, task, [number]) for number in range(1, n)))
            choices[1:] = [answer[0] for answer in answers]
            if len({choice.text for choice in choices}) > 1:
                self._most_choices = 1
        return choices

    async def _ask(self, client: OpenAIClient, task: Task, numbers: Sequence[int]) -> list[Choice]:
        """Samples of these numbers, or only the first of them."""
        chat = self._asks_chat
        path = "chat/completions" if chat else "completions"
        body = self._body(task, numbers)
        try:
            choices = read_choices(await client.post(path, body), f"{client.url}/{path}")
        except ModelServerError as error:
            if error.status in _REFUSED and "logprobs" in body and "logprob" in str(error).lower():
                if self.logprobs == "auto":
                    self._asks_logprobs = False
                    return await self._ask(client, task, numbers)
            elif error.status in _REFUSED and len(numbers) > 1:
                self._most_choices = 1  # llama.cpp refuses more than it has slots, hosted servers often more than one
                return await self._ask(client, task, numbers[:1])
            raise ModelServerError(
                f"task '{task.task_id}': {error}",
                status=error.status,
                retry_after=error.retry_after,
                url=error.url,
                may_pass=error.may_pass,
            ) from None
        if self.logprobs == "required" and any(choice.text and not choice.token_logprobs for choice in choices):
            raise ModelServerError(
                f"task '{task.task_id}': {client.url} gives no log-probabilities, and they are required: sample from a "
                "server that does (vLLM, llama.cpp, SGLang), or leave out the rankers that need them and --logprobs",
                url=client.url,
            )
        return choices

    def _body(self, task: Task, numbers: Sequence[int]) -> dict[str, Any]:
        options, chat = self.options, self._asks_chat
        body: dict[str, Any] = {
            "model": self.name,
            "max_tokens": options.max_new_tokens,
            "temperature": options.temperature,
            "top_p": options.top_p,
            "seed": request_seed(options.seed, task.task_id, numbers[0]),
        }
        if self._tokenizer is not None:
            body["prompt"] = encode_prompt(self._tokenizer, task.prompt, self.prompt)
        elif chat:
            system = [] if self.prompt.system is None else [{"role": "system", "content": self.prompt.system}]
            question = self.prompt.instruction.replace("{prompt}", task.prompt)
            body["messages"] = [*system, {"role": "user", "content": question}]
        else:
            body["prompt"] = task.prompt
        if len(numbers) > 1:
            body["n"] = len(numbers)
        if stops := stop_texts(options, self.prompt, task):
            body["stop"] = list(stops)
        if self._asks_logprobs:
            # llama.cpp gives none for 0, and twenty alternatives to each token where their number is left open.
            body |= {"logprobs": True, "top_logprobs": 1} if chat else {"logprobs": 1}
        return body | dict(self._fields)


def request_seed(seed: int, task_id: str, sample_id: int) -> int:
    """The seed that a sample is asked for with: 31 bits, which every server takes."""
    digest = hashlib.shake_128(f"{seed}\0{sample_id}\0{task_id}".encode()).digest(4)
    return int.from_bytes(digest, "little") >> 1
