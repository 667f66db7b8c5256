"""A `vllm serve` of the reward model as the scorer, for reward models that want a GPU of their own.

`vllm serve FOLDER --runner pooling` answers `POST /classify` for a plain sequence classification. It is sent the tokens
of each pair, made here from the same reward model's tokenizer and settings, so it reads what the model was trained on;
and it is asked for the number before any activation, which would round high scores together.

Not guaranteed: reward models with other pooling than `last`. vLLM does not know them, so they are refused here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rewardranker.config import validate
from rewardranker.errors import ConfigError, ModelError, ModelServerError
from rewardranker.generation.openai_client import OpenAIClient
from rewardranker.models import load_tokenizer
from rewardranker.reward.model import SETTINGS, RewardSettings
from rewardranker.reward.ranker import find_reward_model
from rewardranker.serving.errors import ApiError, from_model_server
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.options import ServeOptions
from rewardranker.serving.scoring import Pair, Row, RowEncoder, Score, as_score
from rewardranker.serving.upstream import check_url

_ROWS = 64
"""Programs in one request; vLLM makes its own batches of them."""


class RemoteReranker:
    """Where the reward model is served, and what must be known of it here."""

    def __init__(self, url: str, files: str | Path, key: str | None = None, truncate_prompt: bool = False) -> None:
        """
        Args:
            url: of the server, with or without `/v1`.
            files: folder of the same reward model; its weights are not read.
            truncate_prompt: cut tasks that are too long at their start.

        Raises:
            ModelError: no reward model there, or one that vLLM can't serve.
        """
        folder = find_reward_model(files)
        self.settings = _read_settings(folder / SETTINGS)
        if self.settings.pooling != "last":
            raise ModelError(
                f"{folder}: its pooling is '{self.settings.pooling}', which vLLM does not know: serve it in this "
                f"process (--reranker {folder}), or train one with reward.pooling=last"
            )
        if truncate_prompt:
            self.settings = self.settings.model_copy(update={"truncate_prompt": True})
        self.tokenizer: Any = load_tokenizer(str(folder))
        self.url, self.key, self.name = url.rstrip("/").removesuffix("/v1"), key, Path(files).resolve().name
        check_url(self.url)

    def scorer(self, options: ServeOptions, metrics: Metrics) -> RemoteScorer:
        return RemoteScorer(self, options, metrics)


class RemoteScorer:
    """A `Scorer`. Made and used in one event loop."""

    def __init__(self, reranker: RemoteReranker, options: ServeOptions, metrics: Metrics) -> None:
        self.name, self.settings = reranker.name, reranker.settings
        self._encoder = RowEncoder(reranker.tokenizer, reranker.settings, reranker.settings.max_length)
        self._client = OpenAIClient(
            reranker.url,
            api_key=reranker.key,
            timeout=options.upstream_timeout,
            max_concurrency=options.upstream_concurrency,
            retries=options.upstream_retries,
        )
        self._url = f"{reranker.url}/classify"  # beside /v1, not below it
        self._max_waiting, self._metrics = options.max_waiting, metrics
        self._waiting = 0

    async def score(self, pairs: Sequence[Pair]) -> list[Score]:
        rows = await self._encoder.encode(pairs)
        good = list({row: None for row in rows if row.tokens})
        self._count(len(good))
        try:
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(self._ask(good[i : i + _ROWS])) for i in range(0, len(good), _ROWS)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        finally:
            self._count(-len(good))
        values = dict(zip(good, (value for part in parts for value in part.result()), strict=True))
        return [as_score(values[row], len(row.tokens)) if row.tokens else Score(None, 0, row.problem) for row in rows]

    def seconds_of_waiting(self) -> float | None:
        return 1.0 if self._waiting >= self._max_waiting else None

    async def close(self) -> None:
        self._encoder.close()
        await self._client.aclose()

    def _count(self, more: int) -> None:
        self._waiting += more
        self._metrics.waiting.set(self._waiting)

    async def _ask(self, rows: Sequence[Row]) -> list[float]:
        body = {"input": [list(row.tokens) for row in rows], "use_activation": False, "activation": False}
        try:
            answer = await self._client.post(self._url, body)
            data = sorted(answer["data"], key=lambda item: item["index"])
            values = [float(item["probs"][0]) for item in data]
            if len(values) != len(rows):
                raise ValueError
        except ModelServerError as error:
            raise from_model_server(error) from None
        except (KeyError, TypeError, ValueError, IndexError):
            raise ApiError(
                502, "the reward model's server answers in another form than vLLM's /classify", code="upstream_failed"
            ) from None
        return values


def _read_settings(path: Path) -> RewardSettings:
    try:
        return validate(RewardSettings, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError, ConfigError) as error:
        raise ModelError(f"{path} can't be read ({error}): give the folder that `rewardranker reward` wrote") from None
