"""A `vllm serve` of the reward model as the scorer: what it is sent, what is made of its answers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI, Fault
from serving_world import running, tiny_ranker

from rewardranker.errors import ModelError
from rewardranker.serving.remote_scorer import RemoteReranker
from rewardranker.serving.server import Parts


class FakeVllm(FakeOpenAI):
    """`POST /classify` as vLLM answers it, with the real reward model behind it."""

    def __init__(self, ranker: Any) -> None:
        super().__init__()
        self.ranker = ranker

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if path != "/classify" or body.get("use_activation") is not False:
            return 404, {"error": {"message": "no such path"}}
        rows = [(tokens, len(tokens) - 1) for tokens in body["input"]]
        scores = self.ranker.score_rows(rows).tolist()
        data = [{"index": i, "label": None, "probs": [s], "num_classes": 1} for i, s in enumerate(scores)]
        return 200, {"object": "list", "data": data[::-1], "usage": {"total_tokens": sum(map(len, body["input"]))}}


@pytest.fixture
def ranker() -> Any:
    return tiny_ranker(max_length=60)


@pytest.fixture
def folder(ranker: Any, tmp_path: Path) -> Path:
    ranker.save_pretrained(tmp_path / "reward")
    return tmp_path / "reward"


@pytest.fixture
def vllm(ranker: Any) -> Iterator[FakeVllm]:
    with FakeVllm(ranker) as fake:
        yield fake


BODY = {"text_1": "def f(x):", "text_2": ["return x", "pass", "pass"]}


@pytest.mark.parametrize("ending", ["", "/", "/v1"])
def test_scores_are_those_of_the_model_on_the_tokens_of_its_training(
    ending: str, vllm: FakeVllm, ranker: Any, folder: Path
) -> None:
    remote = RemoteReranker(vllm.url.removesuffix("/v1") + ending, folder)
    with running(Parts(remote_reranker=remote)) as server:
        data = server.post("/v1/score", BODY).json()["data"]
    expected = ranker.predict([("def f(x):", text) for text in BODY["text_2"]]).tolist()
    assert [row["score"] for row in data] == pytest.approx(expected, abs=1e-5)
    assert len(vllm.bodies[0]["input"]) == 2  # equal programs once


def test_a_server_that_fails_is_told_without_its_address(vllm: FakeVllm, folder: Path) -> None:
    with running(Parts(remote_reranker=RemoteReranker(vllm.url, folder))) as server:
        vllm.faults += [Fault(500)]
        response = server.post("/v1/score", BODY)
    assert response.status_code == 502
    assert "127.0.0.1" not in response.text


def test_an_answer_of_another_form_is_told(folder: Path, vllm: FakeVllm) -> None:
    vllm.faults += [Fault(200, body='{"data": [{"index": 0}]}')]
    with running(Parts(remote_reranker=RemoteReranker(vllm.url, folder))) as server:
        response = server.post("/v1/score", BODY)
    assert (response.status_code, response.json()["error"]["code"]) == (502, "upstream_failed")


def test_a_pooling_that_vllm_does_not_know_is_refused(tmp_path: Path) -> None:
    tiny_ranker(pooling="mean").save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="pooling is 'mean'"):
        RemoteReranker("http://127.0.0.1:9", tmp_path)
