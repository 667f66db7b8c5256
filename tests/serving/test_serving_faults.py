"""The model server dies and comes back; the server is asked to stop while requests run."""

from __future__ import annotations

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest
from fake_openai import CUT, FakeOpenAI, Fault
from serving_world import CountedRanker, Running, running

from rewardranker.serving.server import Parts

CHAT = {"messages": [{"role": "user", "content": "x"}], "model": "tiny"}
PATH = "/v1/chat/completions"


@pytest.mark.parametrize("fault", [Fault(500), Fault(429, {"Retry-After": "0"}), CUT], ids=["500", "429", "cut"])
def test_a_fault_that_passes_is_not_noticed(fault: Fault) -> None:
    with (
        FakeOpenAI() as fake,
        running(Parts(reranker=CountedRanker(), upstream=fake.url), upstream_retries=2) as server,
    ):
        fake.faults += [fault]
        told = server.post(PATH, CHAT).json()["rewardranker"]
    assert (told["candidates"], told["failed"]) == (4, 0)


def unused_address() -> tuple[str, int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()


def test_a_model_server_that_is_away_is_told_and_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewardranker.serving.upstream._MODELS_SECONDS", 0.0)
    host, port = unused_address()
    with running(Parts(reranker=CountedRanker(), upstream=f"http://{host}:{port}/v1")) as server:
        away = server.post(PATH, CHAT)
        assert (away.status_code, away.json()["error"]["code"]) == (502, "upstream_failed")
        assert away.headers["retry-after"] == "1"
        assert server.get("/health/ready").status_code == 503
        assert server.get("/health/live").status_code == 200
        with FakeOpenAI(port=port):
            assert server.post(PATH, CHAT).status_code == 200
            assert server.get("/health/ready").status_code == 200


def test_requests_outlast_a_restart_of_the_model_server() -> None:
    with FakeOpenAI(seconds=0.3) as fake:
        port = int(fake.url.split(":")[2].split("/")[0])
        with (
            running(Parts(reranker=CountedRanker(), upstream=fake.url), upstream_retries=6) as server,
            ThreadPoolExecutor(8) as pool,
        ):
            waiting = [pool.submit(server.post, PATH, CHAT) for _ in range(8)]
            wait_until(lambda: len(fake.requests) == 8)
            fake.faults += [CUT] * 8
            fake.__exit__()
            with FakeOpenAI(port=port):
                answers = [each.result() for each in waiting]
            fake.__enter__()
    assert [answer.status_code for answer in answers] == [200] * 8


def wait_until(condition) -> None:
    pause = threading.Event()
    for _ in range(2000):
        if condition():
            return
        pause.wait(0.005)
    raise AssertionError("it never came true")


def test_a_model_server_that_is_busy_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rewardranker.serving.upstream._MODELS_SECONDS", 0.0)
    monkeypatch.setattr("rewardranker.serving.app._READY_SECONDS", 0.5)
    with (
        FakeOpenAI(seconds=1.0) as fake,
        running(Parts(reranker=CountedRanker(), upstream=fake.url), upstream_concurrency=1) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(server.post, PATH, CHAT)
        wait_until(lambda: fake.requests)
        assert server.get("/health/ready").status_code == 200
        assert not waiting.done()


def test_a_server_asked_to_stop_finishes_what_runs() -> None:
    ranker = CountedRanker()
    ranker.gate.clear()
    with running(Parts(reranker=ranker)) as server, ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(server.post, "/score", {"text_1": "q", "text_2": f"x {i}"}) for i in range(4)]
        wait_until(lambda: "rewardranker_requests_under_way 4.0" in server.get("/metrics").text)
        server.stop()
        wait_until(lambda: refused(server))
        ranker.gate.set()
        assert [each.result().json()["data"][0]["score"] for each in waiting] == [0, 1, 2, 3]
        # else clients ask again over a connection that the server is about to close
        assert [each.result().headers["connection"] for each in waiting] == ["close"] * 4
        server.thread.join(10)
        assert not server.thread.is_alive()


def refused(server: Running) -> bool:
    try:
        server.get("/health/live")
    except httpx2.TransportError:
        return True
    return False


def test_a_server_that_can_not_finish_in_time_ends_all_the_same() -> None:
    with (
        FakeOpenAI(seconds=3.0) as fake,
        running(Parts(reranker=CountedRanker(), upstream=fake.url), drain=1) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        waiting = pool.submit(server.post, PATH, CHAT)
        wait_until(lambda: fake.requests)
        server.stop()
        server.thread.join(2.5)
        assert not server.thread.is_alive()
        assert waiting.result().status_code == 503
        assert waiting.result().json()["error"]["code"] == "stopping"
