"""Rerank and score in the shapes of Cohere, Jina and vLLM, and the queue that scores for all requests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serving_world import CountedRanker, Running, running, tiny_ranker

from rewardranker.errors import ModelError
from rewardranker.serving.metrics import Metrics
from rewardranker.serving.scoring_queue import ScoringQueue
from rewardranker.serving.server import Parts

BODY = {"query": "q", "documents": ["a 1", {"text": "b 3"}, "c 2"]}


@pytest.fixture
def ranker() -> CountedRanker:
    return CountedRanker()


@pytest.fixture
def server(ranker: CountedRanker) -> Iterator[Running]:
    with running(Parts(reranker=ranker)) as under_way:
        yield under_way


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
def test_documents_come_back_best_first(path: str, server: Running) -> None:
    results = server.post(path, BODY).json()["results"]
    assert [(row["index"], row["relevance_score"]) for row in results] == [(1, 3.0), (2, 2.0), (0, 1.0)]
    assert results[0]["document"] == {"text": "b 3"}


def test_top_n_and_leaving_documents_out(server: Running) -> None:
    results = server.post("/v1/rerank", BODY | {"top_n": 1, "return_documents": False}).json()["results"]
    assert results == [{"index": 1, "relevance_score": 3.0}]


@pytest.mark.parametrize("path", ["/v1/score", "/score"])
def test_one_task_is_scored_with_all_programs(path: str, server: Running) -> None:
    data = server.post(path, {"text_1": "q", "text_2": ["a 1", "b 3"]}).json()["data"]
    assert data == [{"index": 0, "object": "score", "score": 1.0}, {"index": 1, "object": "score", "score": 3.0}]


def test_pairs_and_vllms_newer_names(server: Running, ranker: CountedRanker) -> None:
    server.post("/v1/score", {"queries": ["p", "q"], "documents": ["a 1", "b 3"]})
    assert ranker.batches == [["pa 1", "qb 3"]]


def test_unequal_numbers_of_texts_are_refused(server: Running) -> None:
    response = server.post("/v1/score", {"text_1": ["a", "b"], "text_2": ["a", "b", "c"]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "text_1")


def test_a_document_that_is_too_long_is_named() -> None:
    with running(Parts(reranker=CountedRanker(max_length=50))) as server:
        response = server.post("/v1/rerank", {"query": "q", "documents": ["a", "b" * 60]})
    assert (response.status_code, response.json()["error"]["param"]) == (400, "documents.1")
    assert "50" in response.json()["error"]["message"]


def test_the_scores_are_those_of_the_reward_model() -> None:
    ranker = tiny_ranker(max_length=60)
    pairs = [("def f(x):", text) for text in ("return x", "pass", "return x + 1")]
    with running(Parts(reranker=ranker)) as server:
        data = server.post("/v1/score", {"text_1": pairs[0][0], "text_2": [text for _, text in pairs]}).json()["data"]
    np.testing.assert_allclose([row["score"] for row in data], ranker.predict(pairs), rtol=1e-5, atol=1e-5)


def test_usage_counts_the_tokens_read(server: Running) -> None:
    assert server.post("/rerank", BODY).json()["usage"]["total_tokens"] == 3 * len("<bos>qa 1".replace("<bos>", "."))


# --- the queue --------------------------------------------------------------------------------------------------------


def test_requests_that_wait_are_scored_together(server: Running, ranker: CountedRanker) -> None:
    ranker.gate.clear()
    with ThreadPoolExecutor(6) as pool:
        first = pool.submit(server.post, "/score", {"text_1": "q", "text_2": "x 0"})
        assert ranker.entered.acquire(timeout=10)
        rest = [pool.submit(server.post, "/score", {"text_1": "q", "text_2": f"x {i}"}) for i in range(1, 6)]
        wait_for(lambda: "rewardranker_scoring_waiting 5.0" in server.get("/metrics").text)
        ranker.gate.set()
        assert [answer.result().json()["data"][0]["score"] for answer in [first, *rest]] == [0, 1, 2, 3, 4, 5]
    assert [len(batch) for batch in ranker.batches] == [1, 5]


def wait_for(condition) -> None:
    """Until it holds, or the test's time is over."""
    deadline = threading.Event()
    for _ in range(2000):
        if condition():
            return
        deadline.wait(0.005)
    raise AssertionError("it never came true")


def queue(ranker: CountedRanker, batch_tokens: int = 1000, max_waiting: int = 100) -> ScoringQueue:
    return ScoringQueue(ranker, name="r", batch_tokens=batch_tokens, max_waiting=max_waiting, metrics=Metrics())


async def scored(queue_: ScoringQueue, *requests: list[str]) -> list[list[float | None]]:
    answers = await asyncio.gather(*(queue_.score([("q", text) for text in texts]) for texts in requests))
    await queue_.close()
    return [[score.value for score in answer] for answer in answers]


def test_batches_hold_no_more_tokens_than_said(ranker: CountedRanker) -> None:
    texts = [f"{'x' * 6} {i}" for i in range(6)]  # of 10 tokens with prompt and start
    values = asyncio.run(scored(queue(ranker, batch_tokens=25), texts))
    assert values == [[0, 1, 2, 3, 4, 5]]
    assert [len(batch) for batch in ranker.batches] == [2, 2, 2]


def test_a_program_longer_than_a_batch_is_scored_alone(ranker: CountedRanker) -> None:
    assert asyncio.run(scored(queue(ranker, batch_tokens=5), ["xxxxxxxx 1", "xxxxxxxx 2"])) == [[1, 2]]


def test_equal_pairs_of_a_batch_are_scored_once(ranker: CountedRanker) -> None:
    assert asyncio.run(scored(queue(ranker), ["x 1", "x 1"], ["x 1"])) == [[1, 1], [1]]
    assert sum(map(len, ranker.batches)) <= 2


def test_what_a_cancelled_request_left_is_not_scored(ranker: CountedRanker) -> None:
    async def story() -> list[float | None]:
        own = queue(ranker)
        ranker.gate.clear()
        first = asyncio.create_task(own.score([("q", "first 1")]))
        await asyncio.to_thread(ranker.entered.acquire, timeout=10)
        gone, stays = (asyncio.create_task(own.score([("q", text)])) for text in ("gone 2", "stays 3"))
        while len(own._waiting) < 2:
            await asyncio.sleep(0.001)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        ranker.gate.set()
        scores = [(await first)[0].value, (await stays)[0].value]
        await own.close()
        return scores

    assert asyncio.run(story()) == [1, 3]
    assert ranker.batches == [["qfirst 1"], ["qstays 3"]]


def test_a_model_that_fails_fails_its_batch_alone(ranker: CountedRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> list[object]:
        own = queue(ranker)
        with monkeypatch.context() as patch:
            patch.setattr(ranker, "score_rows", lambda *rest: (_ for _ in ()).throw(ModelError("out of memory")))
            first = await asyncio.gather(own.score([("q", "x 1")]), return_exceptions=True)
        second = await own.score([("q", "x 1")])
        await own.close()
        return [type(first[0]), second[0].value]

    assert asyncio.run(story()) == [ModelError, 1.0]


def test_a_full_queue_says_when_to_come_back(ranker: CountedRanker) -> None:
    async def story() -> tuple[float | None, float | None]:
        own = queue(ranker, max_waiting=2)
        empty = own.seconds_of_waiting()
        ranker.gate.clear()
        task = asyncio.create_task(own.score([("q", "x 0")]))
        await asyncio.to_thread(ranker.entered.acquire, timeout=10)
        more = asyncio.create_task(own.score([("q", "x 1"), ("q", "x 2")]))
        while len(own._waiting) < 2:
            await asyncio.sleep(0.001)
        full = own.seconds_of_waiting()
        ranker.gate.set()
        await asyncio.gather(task, more)
        await own.close()
        return empty, full

    empty, full = asyncio.run(story())
    assert empty is None
    assert full is not None
    assert full > 0
