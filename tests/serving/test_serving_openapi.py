"""Whatever is sent, the server answers as its OpenAPI document says, and never with a fault of its own (5xx)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from fake_openai import FakeOpenAI
from reward_world import byte_tokenizer, tiny_causal_lm
from serving_world import CountedRanker, Running, running

from rewardranker.serving.server import Parts

schemathesis = pytest.importorskip("schemathesis")
hypothesis = pytest.importorskip("hypothesis")

EXAMPLES = int(os.environ.get("REWARDRANKER_API_EXAMPLES", "8"))
"""More of them search longer: REWARDRANKER_API_EXAMPLES=1000 pytest tests/serving/test_serving_openapi.py."""
QUIET = [
    hypothesis.HealthCheck.too_slow,
    hypothesis.HealthCheck.data_too_large,
    hypothesis.HealthCheck.filter_too_much,
    hypothesis.HealthCheck.large_base_example,
]


@pytest.fixture(scope="module")
def upstream_server() -> Iterator[Running]:
    """In front of a model server that takes any model and answers anything."""
    with FakeOpenAI(lambda *rest: ["x = 1"]) as fake:
        fake.answer = lambda path, body: (200, {"choices": [_choice(path)] * (body.get("n") or 1)})  # type: ignore[method-assign]
        with running(Parts(reranker=CountedRanker(), upstream=fake.url)) as server:
            yield server


@pytest.fixture(scope="module")
def local_server() -> Iterator[Running]:
    """With a model in its process."""
    with running(Parts(reranker=CountedRanker(), model=(tiny_causal_lm(), byte_tokenizer(), "local"))) as server:
        yield server


def _choice(path: str) -> dict:
    said = {"message": {"role": "assistant", "content": "x = 1"}} if "chat" in path else {"text": "x = 1"}
    return said | {"finish_reason": "stop"}


def document(server: Running) -> dict:
    return server.get("/openapi.json").json()


def routes() -> list[tuple[str, str]]:
    posts = ("/v1/chat/completions", "/v1/completions", "/v1/rerank", "/v2/rerank", "/rerank", "/v1/score", "/score")
    gets = ("/v1/models", "/health", "/health/ready", "/health/live", "/metrics")
    return [("POST", path) for path in posts] + [("GET", path) for path in gets]


def test_every_route_of_the_document_is_tried(upstream_server: Running) -> None:
    listed = {(method.upper(), path) for path, item in document(upstream_server)["paths"].items() for method in item}
    assert listed == set(routes())


@pytest.mark.parametrize(("method", "path"), routes())
def test_no_input_is_a_fault_of_the_server(method: str, path: str, upstream_server: Running) -> None:
    attack(upstream_server, method, path)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_no_input_is_a_fault_of_the_model_in_the_process(path: str, local_server: Running) -> None:
    attack(local_server, "POST", path)


def attack(server: Running, method: str, path: str) -> None:
    """Requests that fit the document and requests that do not, and what the answers must be like."""
    schema = schemathesis.openapi.from_dict(document(server))
    with server.client() as client:

        @hypothesis.seed(0)
        @hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=QUIET, derandomize=False
        )
        @hypothesis.given(case=schema[path][method].as_strategy())
        def answered(case) -> None:
            arguments = case.as_transport_kwargs(base_url=server.url)
            response = client.request(
                arguments["method"],
                arguments["url"],
                headers=dict(arguments.get("headers") or {}),
                content=_content(arguments),
            )
            assert response.status_code < 500, response.text
            if response.status_code >= 400:
                assert set(response.json()["error"]) == {"message", "type", "param", "code"}

        answered()


def _content(arguments: dict) -> bytes | None:
    if "json" in arguments:
        return json.dumps(arguments["json"]).encode()
    data = arguments.get("data")
    return data if isinstance(data, bytes | None) else str(data).encode()
