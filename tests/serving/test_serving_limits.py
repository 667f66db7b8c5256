"""What keeps the server standing and silent: limits, keys, errors that tell nothing, logs without text."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from fake_openai import FakeOpenAI
from serving_world import QUICK, CountedRanker, Running, running

from rewardranker.errors import ConfigError
from rewardranker.serving.auth import Keys
from rewardranker.serving.server import Parts, listen

SCORE = {"text_1": "q", "text_2": "x 1"}
CHAT = {"messages": [{"role": "user", "content": "my secret task"}]}


@pytest.fixture
def ranker() -> CountedRanker:
    return CountedRanker()


@pytest.fixture
def guarded(ranker: CountedRanker) -> Iterator[Running]:
    with running(Parts(reranker=ranker), api_keys=("first-key", "second-key")) as server:
        yield server


@pytest.fixture(scope="module")
def plain() -> Iterator[Running]:
    """In front of a model server that counts what it is asked."""
    with FakeOpenAI() as fake, running(Parts(reranker=CountedRanker(), upstream=fake.url)) as server:
        server.asked = fake.requests  # type: ignore[attr-defined]
        yield server


# --- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/v1/score", "/rerank", "/v1/chat/completions", "/metrics", "/v1/models", "/nope"])
def test_without_a_key_nothing_is_answered(path: str, guarded: Running) -> None:
    for given in ("", "Bearer first", "first-key", "Basic first-key"):
        response = guarded.post(path, SCORE, headers={"Authorization": given})
        assert (response.status_code, response.json()["error"]["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize("key", ["first-key", "second-key"])
def test_each_key_is_accepted(key: str, guarded: Running) -> None:
    assert guarded.post("/score", SCORE, headers={"Authorization": f"Bearer {key}"}).status_code == 200


@pytest.mark.parametrize("path", ["/health", "/health/live", "/health/ready"])
def test_health_needs_no_key(path: str, guarded: Running) -> None:
    assert guarded.get(path).status_code == 200


def test_every_known_key_is_compared_whichever_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr("rewardranker.serving.auth.hmac.compare_digest", lambda a, b: compared.append(b) or a == b)
    keys = Keys(["a", "b", "c"])
    assert keys.accept("Bearer a")
    assert not keys.accept("Bearer z")
    assert len(compared) == 6
    assert {len(digest) for digest in compared} == {32}


# --- limits -----------------------------------------------------------------------------------------------------------


def test_a_body_that_says_it_is_too_large_is_refused_unread(ranker: CountedRanker) -> None:
    with running(Parts(reranker=ranker), max_body_bytes=1000) as server:
        response = server.post("/score", SCORE | {"text_2": "x" * 2000})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


def test_a_body_that_turns_out_too_large_is_refused(ranker: CountedRanker) -> None:
    parts = (b"x" * 600 for _ in range(10))
    with running(Parts(reranker=ranker), max_body_bytes=1000) as server, server.client() as client:
        response = client.post("/score", content=parts, headers={"content-type": "application/json"})
    assert (response.status_code, response.json()["error"]["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", CHAT | {"n": 65}, "n"),
        ("/v1/chat/completions", CHAT | {"best_of": 65}, "best_of"),
        ("/v1/chat/completions", CHAT | {"n": 4, "best_of": 3}, "best_of"),
        ("/v1/chat/completions", CHAT | {"n": "many"}, "n"),
        ("/v1/chat/completions", {"messages": []}, "messages"),
        ("/v1/chat/completions", {"messages": [{"content": "x"}]}, "messages.0.role"),
        ("/v1/chat/completions", CHAT | {"rewardranker": {"entrypoint": "f"}}, "rewardranker.entrypoint"),
        ("/v1/chat/completions", CHAT | {"rewardranker": {"tests": ["assert f()"]}}, "rewardranker.tests"),
        ("/v1/completions", {"prompt": ["x"] * 17}, "prompt"),
        ("/v1/completions", {"prompt": "x", "echo": True}, "echo"),
        ("/v1/rerank", {"query": "q", "documents": ["x"] * 1001}, "documents"),
        ("/v1/rerank", {"query": "q", "documents": ["x"], "top_n": 0}, "top_n"),
    ],
)
def test_a_wrong_field_is_named(path: str, body: dict, param: str, plain: Running) -> None:
    response = plain.post(path, body)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_one_request_too_many_is_told_when_to_come_back(ranker: CountedRanker) -> None:
    ranker.gate.clear()
    with running(Parts(reranker=ranker), max_requests=1) as server, ThreadPoolExecutor(1) as pool:
        first = pool.submit(server.post, "/score", SCORE)
        assert ranker.entered.acquire(timeout=10)
        second = server.post("/score", SCORE)
        ranker.gate.set()
        assert first.result().status_code == 200
        assert server.post("/score", SCORE).status_code == 200
    assert (second.status_code, second.json()["error"]["code"]) == (429, "busy")
    assert 1 <= int(second.headers["retry-after"]) <= 60


def test_a_request_ends_at_its_deadline(ranker: CountedRanker) -> None:
    ranker.gate.clear()
    with running(Parts(reranker=ranker), timeout=0.05) as server:
        response = server.post("/score", SCORE)
        ranker.gate.set()
    assert (response.status_code, response.json()["error"]["code"]) == (504, "deadline_exceeded")


def test_a_request_may_ask_for_less_time(ranker: CountedRanker) -> None:
    with FakeOpenAI(seconds=0.6) as fake, running(Parts(reranker=ranker, upstream=fake.url)) as server:
        response = server.post("/v1/chat/completions", CHAT | {"rewardranker": {"timeout": 0.05}})
    assert (response.status_code, response.json()["error"]["code"]) == (408, "deadline_exceeded")


def test_work_ends_when_its_client_goes(ranker: CountedRanker) -> None:
    ranker.gate.clear()
    with running(Parts(reranker=ranker)) as server:
        with server.client() as client, pytest.raises(Exception, match="timed out"):
            client.post("/score", json=SCORE, timeout=0.2)
        gone = threading.Event()
        for _ in range(1000):
            if "rewardranker_requests_under_way 0.0" in server.get("/metrics").text:
                break
            gone.wait(0.005)
        else:
            pytest.fail("the request is still under way")
        ranker.gate.set()


# --- errors and logs --------------------------------------------------------------------------------------------------


WORDS = "my secret task, seen in /secret/place"


def broken(*arguments: object) -> None:
    raise RuntimeError(WORDS)


def test_an_unexpected_fault_tells_nothing_to_clients(
    ranker: CountedRanker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ranker, "score_rows", broken)
    with running(Parts(reranker=ranker)) as server:
        response = server.post("/score", SCORE, headers={"x-request-id": "my-id"})
    assert response.status_code == 500
    assert "secret" not in response.text
    assert "my-id" in response.json()["error"]["message"]
    assert response.headers["x-request-id"] == "my-id"
    assert "RuntimeError" in caplog.text  # where it happened is in the log, what it said is not
    assert "secret" not in caplog.text


@pytest.mark.parametrize("log_text", [False, True])
def test_the_log_has_no_text_of_requests_unless_asked(log_text: bool, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    with (
        FakeOpenAI(lambda *rest: ["private answer 1"]) as fake,
        running(Parts(reranker=CountedRanker(), upstream=fake.url), log_text=log_text) as server,
    ):
        server.post("/v1/chat/completions", CHAT)
    assert ("my secret task" in caplog.text) is log_text
    assert ("private answer" in caplog.text) is log_text
    assert "/v1/chat/completions 200" in caplog.text


def test_paths_and_methods_that_do_not_exist_are_told_in_openais_form(guarded: Running) -> None:
    key = {"Authorization": "Bearer first-key"}
    assert guarded.get("/v1/nope", headers=key).json()["error"]["type"] == "not_found_error"
    assert guarded.get("/v1/score", headers=key).status_code == 405


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'"x"', b'{"text_1": "\\ud800", "text_2": "x"}', b'{"text_1":' + b"[" * 50_000]
)
def test_broken_bodies_are_refused(content: bytes, plain: Running) -> None:
    with plain.client() as client:
        response = client.post("/score", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert response.json()["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"', "1e999"])
def test_what_is_no_json_is_not_passed_on(value: str, plain: Running) -> None:
    text = '{"messages": [{"role": "user", "content": "x"}], "other": {"deep": [VALUE]}}'.replace("VALUE", value)
    before = len(plain.asked)  # type: ignore[attr-defined]
    with plain.client() as client:
        response = client.post("/v1/chat/completions", content=text, headers={"content-type": "application/json"})
    assert response.status_code == 400
    assert len(plain.asked) == before  # type: ignore[attr-defined]


@pytest.mark.parametrize(("origins", "allowed"), [((), None), (("https://a.example",), "https://a.example")])
def test_pages_of_other_origins_are_not_let_in_by_default(
    origins: tuple[str, ...], allowed: str | None, ranker: CountedRanker
) -> None:
    with running(Parts(reranker=ranker), cors_origins=origins) as server:
        headers = {"Origin": "https://a.example"}
        assert server.post("/score", SCORE, headers=headers).headers.get("access-control-allow-origin") == allowed


def test_a_form_of_a_foreign_page_is_not_read(ranker: CountedRanker) -> None:
    """Browsers send such a request without asking the server first."""
    with running(Parts(reranker=ranker)) as server, server.client() as client:
        content = b'{"text_1": "q", "text_2": "x"}'
        response = client.post("/score", content=content, headers={"content-type": "text/plain"})
    assert response.status_code == 400
    assert ranker.batches == []


def test_the_default_is_loopback() -> None:
    assert replace(QUICK).host == "127.0.0.1"


def test_a_port_that_is_taken_is_told() -> None:
    first = listen("127.0.0.1", 0)
    with pytest.raises(ConfigError, match="choose --host and --port"):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
