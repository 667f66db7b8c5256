"""The client of OpenAI-compatible servers: retries, waits, bounds, and messages that say what to do."""

import asyncio
import socket
import time
from email.utils import formatdate

import pytest
from fake_openai import CUT, FakeOpenAI, Fault

from rewardranker.errors import ConfigError, ModelServerError
from rewardranker.generation.openai_client import LONGEST_RETRY_AFTER, OpenAIClient

BODY = {"model": "tiny", "prompt": "def f():", "max_tokens": 4}


@pytest.fixture
def server():
    with FakeOpenAI() as fake:
        yield fake


def ask(url, bodies=(BODY,), path="completions", retries=3, max_concurrency=4, timeout=5.0, **options):
    """The answers to bodies sent at once."""

    async def run():
        async with OpenAIClient(
            url, timeout=timeout, max_concurrency=max_concurrency, retries=retries, backoff=0.002, **options
        ) as client:
            return await asyncio.gather(*(client.post(path, body) for body in bodies))

    return asyncio.run(run())


def refusal(url, **options):
    with pytest.raises(ModelServerError) as caught:
        ask(url, **options)
    return caught.value


@pytest.mark.parametrize("fault", [Fault(429), Fault(500), Fault(503), CUT], ids=["429", "500", "503", "cut"])
def test_what_may_pass_is_tried_again(server, fault):
    server.faults += [fault, fault, fault]
    assert ask(server.url)[0]["choices"][0]["text"].startswith("    return")
    assert len(server.requests) == 4


@pytest.mark.parametrize("status", [400, 401, 404, 422, 501])
def test_what_will_not_pass_fails_at_once(server, status):
    server.faults += [Fault(status)]
    error = refusal(server.url)
    assert (error.status, error.may_pass, len(server.requests)) == (status, False, 1)
    assert "injected" in str(error)


def test_the_last_fault_is_raised_when_all_tries_are_used(server):
    server.faults += [Fault(500), Fault(500), Fault(503, {"Retry-After": "7"})]
    error = refusal(server.url, retries=2)
    assert (error.status, error.retry_after, error.may_pass) == (503, 7.0, True)
    assert error.url == f"{server.url}/completions"


def test_retry_after_is_waited_for(server):
    server.faults += [Fault(429, {"Retry-After": "0.3"})]
    start = time.monotonic()
    ask(server.url)
    assert 0.3 <= time.monotonic() - start < 20


def test_retry_after_may_be_a_date(server):
    server.faults += [Fault(503, {"Retry-After": formatdate(time.time() + 3600, usegmt=True)})]
    error = refusal(server.url)
    assert 3590 < error.retry_after <= 3600
    assert error.retry_after > LONGEST_RETRY_AFTER  # so it was not waited for
    assert len(server.requests) == 1


def test_no_more_requests_at_once_than_allowed(server):
    server.seconds = 0.02
    ask(server.url, [BODY] * 12, max_concurrency=3)
    assert server.most_at_once == 3
    assert len(server.requests) == 12


def test_more_requests_at_a_time_than_one_pool_has_connections_for():
    with FakeOpenAI(seconds=0.3) as server:
        ask(server.url, [BODY] * 40, max_concurrency=40)
        assert server.most_at_once == 40


def test_connections_are_kept(server):
    ports = set()
    accept = server._server.process_request
    server._server.process_request = lambda request, address: ports.add(address[1]) or accept(request, address)
    ask(server.url, [BODY] * 12, max_concurrency=2)
    assert len(ports) == 2


def test_a_server_that_is_down_is_named_with_what_to_do():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"  # bound, not listening
        error = refusal(url, retries=1)
    assert error.status is None
    assert error.may_pass
    assert f"{url}/v1/completions: can't connect" in str(error)
    assert "is the server running" in str(error)


def test_no_answer_in_time(server):
    server.seconds = 0.3
    error = refusal(server.url, timeout=0.05, retries=0)
    assert error.may_pass
    assert "no answer within 0.05 s: raise the timeout" in str(error)


@pytest.mark.parametrize("body", ["<html>hello</html>", "[]"])
def test_something_else_than_an_api_is_recognised(server, body):
    server.faults += [Fault(200, {}, body)]
    assert "OpenAI-compatible" in str(refusal(server.url))
    assert len(server.requests) == 1


def test_an_error_with_status_200_is_an_error(server):
    server.faults += [Fault(200, {}, '{"error": {"message": "overloaded"}}')]
    assert "the server says: overloaded" in str(refusal(server.url))


def test_neither_key_nor_password_is_in_a_message(server):
    server.faults += [Fault(401, {}, '{"error": {"message": "key sk-secret is not known"}}')]
    url = server.url.replace("//", "//someone:password@")
    error = refusal(url, api_key="sk-secret")
    assert "API key" in str(error)
    for secret in ("sk-secret", "password", "someone"):
        assert secret not in str(error) + error.url


def test_key_and_headers_are_sent(server):
    async def run():
        async with OpenAIClient(server.url, api_key="sk-1", timeout=5, max_concurrency=1, retries=0) as client:
            await client.post("completions", BODY, {"X-Request-Id": "7"})
            return await client.get("models")

    assert asyncio.run(run())["data"] == [{"id": "tiny"}]
    headers = server.requests[0][2]
    assert (headers["Authorization"], headers["X-Request-Id"]) == ("Bearer sk-1", "7")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "http://host:port/v1"])
def test_a_url_that_is_none_is_refused(url):
    with pytest.raises(ConfigError, match="http://host:8000/v1"):
        ask(url)
