"""Streams in OpenAI's event format: joined, the events are the answer that comes without a stream."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from fake_openai import FakeOpenAI, Fault
from serving_world import CountedRanker, Running, running

from rewardranker.serving.server import Parts
from rewardranker.serving.streaming import events, pieces

TEXT = "Sure — here it is:\n\n```python\ndef f(x):\n    # ünïcode 😀\n    return 7\n```\n  \n"
CHAT = {"messages": [{"role": "user", "content": "def f(x):"}], "stream": True}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with (
        FakeOpenAI(lambda prompt, seed, index: [TEXT]) as fake,
        running(Parts(reranker=CountedRanker(), upstream=fake.url)) as under_way,
    ):
        under_way.fake = fake  # type: ignore[attr-defined]
        yield under_way


def chunks(text: str) -> list[dict]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


def test_the_pieces_of_a_chat_joined_are_the_answer(server: Running) -> None:
    response = server.post("/v1/chat/completions", CHAT)
    found = chunks(response.text)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in found) == TEXT
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert {chunk["object"] for chunk in found} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in found}) == 1


def test_only_the_last_event_of_a_choice_has_its_finish_reason(server: Running) -> None:
    reasons = [chunk["choices"][0]["finish_reason"] for chunk in chunks(server.post("/v1/chat/completions", CHAT).text)]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]


def test_scores_come_with_the_last_event_and_the_headers(server: Running) -> None:
    response = server.post("/v1/chat/completions", CHAT)
    told = ["rewardranker" in chunk for chunk in chunks(response.text)]
    assert told == [False] * (len(told) - 1) + [True]
    assert response.headers["x-rewardranker-candidates"] == "4"


def test_usage_is_an_event_of_its_own_if_asked_for(server: Running) -> None:
    found = chunks(server.post("/v1/chat/completions", CHAT | {"stream_options": {"include_usage": True}}).text)
    assert found[-1]["choices"] == []
    assert found[-1]["usage"]["completion_tokens"] == 4
    assert {chunk["usage"] for chunk in found[:-1]} == {None}
    assert not any("usage" in chunk for chunk in chunks(server.post("/v1/chat/completions", CHAT).text))


def test_the_pieces_of_a_completion_joined_are_the_answer(server: Running) -> None:
    found = chunks(server.post("/v1/completions", {"prompt": "x", "stream": True}).text)
    assert "".join(chunk["choices"][0]["text"] for chunk in found) == TEXT
    assert {chunk["object"] for chunk in found} == {"text_completion"}


def test_a_stream_that_can_not_begin_is_an_ordinary_error(server: Running) -> None:
    server.fake.faults += [Fault(500)]  # type: ignore[attr-defined]
    response = server.post("/v1/chat/completions", CHAT)
    assert response.status_code == 502
    assert response.json()["error"]["code"] == "upstream_failed"


def test_tool_calls_and_logprobs_are_streamed() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "run", "arguments": "{}"}}
    logprobs = {"content": [{"token": "a", "logprob": -1.0}]}
    message = {"role": "assistant", "content": "a", "tool_calls": [call], "reasoning_content": "hm"}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls", "logprobs": logprobs}
    body = {"id": "1", "created": 1, "model": "m", "choices": [choice], "rewardranker": {}}
    deltas = [chunk["choices"][0] for chunk in chunks("".join(events("chat", body, False)))]
    assert [delta["delta"].get("tool_calls") for delta in deltas] == [None, None, [{"index": 0, **call}], None]
    assert [delta["logprobs"] for delta in deltas] == [None, logprobs, None, None]
    assert deltas[0]["delta"]["reasoning_content"] == "hm"


@pytest.mark.parametrize("text", ["", " ", "a", "\n\na b\n", "x " * 100, "\t" * 50])
def test_pieces_lose_nothing(text: str) -> None:
    assert "".join(pieces(text)) == text
