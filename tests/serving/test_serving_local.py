"""Candidates from a model in this process, through the same API."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from reward_world import byte_tokenizer, tiny_causal_lm
from serving_world import CountedRanker, Running, running

from rewardranker.generation import decode
from rewardranker.serving import local
from rewardranker.serving.server import Parts

TEMPLATE = "{% for message in messages %}{{ message['role'][0] }}:{{ message['content'] }}\n{% endfor %}"
CHAT = {"messages": [{"role": "user", "content": "ab"}], "seed": 7, "max_tokens": 8}


@pytest.fixture
def ranker() -> CountedRanker:
    return CountedRanker()


@pytest.fixture
def server(ranker: CountedRanker) -> Iterator[Running]:
    with running(Parts(reranker=ranker, model=(tiny_causal_lm(), byte_tokenizer(), "tiny-local"))) as under_way:
        yield under_way


def texts(answer: dict[str, Any]) -> list[str]:
    return [row["text"] for row in sorted(answer["rewardranker"]["ranking"], key=lambda row: row["candidate"])]


def all_of(server: Running, **changed: Any) -> list[str]:
    return texts(
        server.post("/v1/completions", {"prompt": "ab", "rewardranker": {"return_candidates": True}} | changed).json()
    )


def test_an_answer_has_openais_form(server: Running) -> None:
    answer = server.post("/v1/chat/completions", CHAT).json()
    assert answer["model"] == "tiny-local"
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["usage"]["prompt_tokens"] == len("<ab")
    assert 4 <= answer["usage"]["completion_tokens"] <= 32
    assert "tiny-local" in [model["id"] for model in server.get("/v1/models").json()["data"]]


def test_a_seed_gives_the_same_candidates_again(server: Running) -> None:
    first = all_of(server, seed=7, max_tokens=8)
    assert all_of(server, seed=7, max_tokens=8) == first
    assert all_of(server, seed=8, max_tokens=8) != first
    assert len(set(first)) > 1


def test_a_candidate_does_not_depend_on_how_many_are_drawn(server: Running) -> None:
    assert all_of(server, seed=7, max_tokens=8, best_of=2) == all_of(server, seed=7, max_tokens=8, best_of=6)[:2]


def test_requests_that_wait_are_decoded_together(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []

    def counted(model: Any, prompts: Any, *rest: Any, **named: Any) -> Any:
        rows.append(len(prompts))
        return decode(model, prompts, *rest, **named)

    monkeypatch.setattr(local, "decode", counted)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda seed: all_of(server, seed=seed, max_tokens=40), range(8)))
    assert sum(rows) == 32
    assert len(rows) < 8


def test_a_stop_text_ends_the_answer(server: Running) -> None:
    whole = all_of(server, seed=7, max_tokens=20, best_of=1)[0]
    stop = whole[5]
    assert all_of(server, seed=7, max_tokens=20, best_of=1, stop=stop)[0] == whole.split(stop)[0]


def test_logprobs_are_those_of_the_drawn_tokens(server: Running) -> None:
    choice = server.post("/v1/completions", {"prompt": "ab", "logprobs": 0, "max_tokens": 5, "best_of": 1}).json()[
        "choices"
    ][0]
    assert len(choice["logprobs"]["token_logprobs"]) == len(choice["logprobs"]["tokens"]) <= 5
    assert all(value <= 0 for value in choice["logprobs"]["token_logprobs"])


def test_a_chat_template_renders_the_messages(ranker: CountedRanker, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts: list[str] = []
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = TEMPLATE

    def kept(model: Any, ids: Any, *rest: Any, **named: Any) -> Any:
        prompts.extend(tokenizer.decode(row) for row in ids)
        return decode(model, ids, *rest, **named)

    monkeypatch.setattr(local, "decode", kept)
    with running(Parts(reranker=ranker, model=(tiny_causal_lm(), tokenizer, "chat"))) as server:
        messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
        server.post("/v1/chat/completions", {"messages": messages, "max_tokens": 4, "best_of": 1})
    assert prompts == ["s:s\nu:u\n"]


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"frequency_penalty": 0.5}, "frequency_penalty"),
        ({"top_p": 0}, "top_p"),
        ({"temperature": -1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 100}, "messages"),
        ({"stop": [""]}, "stop"),
        ({"messages": [{"role": "user", "content": "x" * 70}]}, "messages"),
    ],
)
def test_what_the_model_can_not_do_is_refused(changed: dict[str, Any], param: str, server: Running) -> None:
    response = server.post("/v1/chat/completions", CHAT | changed)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_candidates_of_a_request_that_ended_stop_at_their_next_token(server: Running) -> None:
    """Its time is over long before 60 tokens: what it drew by then is all that the next request waits for."""
    steps: list[int] = []
    stops = local.StopTexts.completed

    def slow(self: Any, ids: Any) -> bool:
        steps.append(len(ids))
        threading.Event().wait(0.02)  # a slow model
        return stops(self, ids)

    local.StopTexts.completed = slow  # type: ignore[method-assign]
    try:
        body = {"prompt": "ab", "max_tokens": 60, "best_of": 1, "seed": 1, "rewardranker": {"timeout": 0.1}}
        assert server.post("/v1/completions", body).status_code == 408
        server.post("/v1/completions", {"prompt": "ab", "max_tokens": 1, "best_of": 1})
    finally:
        local.StopTexts.completed = stops  # type: ignore[method-assign]
    assert max(steps) < 30
