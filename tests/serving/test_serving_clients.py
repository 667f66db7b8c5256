"""Real clients from PyPI against a real server: what they send is understood, what they get they can read.

`pip install 'rewardranker[clients]'` brings them; without one its tests are skipped.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_openai import FakeOpenAI
from serving_world import CountedRanker, Running, running

from rewardranker.serving.server import Parts

KEY = "sesame"
TASK = "def f():"
PROGRAMS = ["def f():\n    return 3", "def f():\n    return 9", "def f():\n    return 4"]
"""Scored 3, 9 and 4 (see `CountedRanker`)."""


def digits(prompt: str, seed: int | None, index: int) -> list[str]:
    return ["```python\ndef f():\n", "    return ", "31415926"[index % 8], "\n```"]


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeOpenAI]:
    with FakeOpenAI(digits, models=("tiny", "gpt-4o-mini")) as fake:
        yield fake


@pytest.fixture(scope="module")
def server(upstream: FakeOpenAI) -> Iterator[Running]:
    with running(Parts(reranker=CountedRanker(), upstream=upstream.url), best_of=6, api_keys=(KEY,)) as under_way:
        yield under_way


def client_of(package: str) -> Any:
    return pytest.importorskip(package, reason=f"no {package}: pip install 'rewardranker[clients]'")


def body_of(upstream: FakeOpenAI) -> dict[str, Any]:
    """The last request that reached the model server."""
    return upstream.bodies[-1]


# --- openai -------------------------------------------------------------------------------------------------------


@pytest.fixture
def openai(server: Running) -> Any:
    return client_of("openai").OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0)


MESSAGES = [{"role": "user", "content": TASK}]


def test_openai_gets_the_best_answer(openai: Any) -> None:
    answer = openai.chat.completions.create(model="tiny", messages=MESSAGES)
    assert answer.choices[0].message.content == "".join(digits("", None, 5))
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens == 6 * 4
    assert answer.model_extra["rewardranker"]["ranking"][0]["score"] == 9.0


def test_openai_gets_the_best_n_of_best_of(openai: Any, upstream: FakeOpenAI) -> None:
    extra = {"best_of": 3}
    answer = openai.chat.completions.create(
        model="tiny", messages=MESSAGES, n=2, temperature=0.7, seed=5, stop=["\n\n"], max_tokens=50, extra_body=extra
    )
    assert ["return 4" in answer.choices[0].message.content, len(answer.choices)] == [True, 2]
    sent = body_of(upstream)
    assert {name: sent[name] for name in ("temperature", "stop", "max_tokens", "n")} == {
        "temperature": 0.7,
        "stop": ["\n\n"],
        "max_tokens": 50,
        "n": 3,
    }


def test_openai_streams_the_winner(openai: Any) -> None:
    stream = openai.chat.completions.create(
        model="tiny", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == "".join(digits("", None, 5))
    assert [chunk.choices[0].finish_reason for chunk in chunks if chunk.choices][-1] == "stop"
    assert chunks[-1].usage.completion_tokens == 24


def test_openai_completes_a_text(openai: Any, server: Running) -> None:
    answer = openai.completions.create(model="tiny", prompt=TASK, best_of=3)
    assert answer.choices[0].text == "".join(digits("", None, 2))
    stream = openai.completions.create(model="tiny", prompt=TASK, best_of=3, stream=True)
    assert "".join(chunk.choices[0].text for chunk in stream) == answer.choices[0].text


def test_openai_reads_logprobs_headers_and_models(openai: Any) -> None:
    raw = openai.chat.completions.with_raw_response.create(model="tiny", messages=MESSAGES, logprobs=True)
    assert raw.headers["x-rewardranker-candidates"] == "6"
    assert [token.token for token in raw.parse().choices[0].logprobs.content] == digits("", None, 5)
    assert [model.id for model in openai.models.list()] == ["tiny", "gpt-4o-mini", "reranker"]


def test_openai_raises_its_own_errors(openai: Any) -> None:
    errors = client_of("openai")
    with pytest.raises(errors.BadRequestError) as found:
        openai.chat.completions.create(model="tiny", messages=MESSAGES, extra_body={"best_of": 65})
    assert (found.value.param, found.value.type) == ("best_of", "invalid_request_error")
    with pytest.raises(errors.NotFoundError, match="does not exist"):
        openai.chat.completions.create(model="absent", messages=MESSAGES)
    with pytest.raises(errors.AuthenticationError):
        openai.with_options(api_key="wrong").models.list()


def test_openai_asks_many_things_at_once(server: Running) -> None:
    async def ask() -> list[Any]:
        async with client_of("openai").AsyncOpenAI(base_url=f"{server.url}/v1", api_key=KEY) as client:
            return await asyncio.gather(
                *(client.chat.completions.create(model="tiny", messages=MESSAGES) for _ in range(16))
            )

    assert {answer.choices[0].message.content for answer in asyncio.run(ask())} == {"".join(digits("", None, 5))}


# --- rerankers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["Client", "ClientV2"])
def test_cohere_reranks(server: Running, version: str) -> None:
    client = getattr(client_of("cohere"), version)(api_key=KEY, base_url=server.url)
    answer = client.rerank(model="any", query=TASK, documents=PROGRAMS, top_n=2)
    assert [(row.index, row.relevance_score) for row in answer.results] == [(1, 9.0), (2, 4.0)]
    assert answer.meta.billed_units.search_units == 1


@pytest.mark.parametrize("provider", ["cohere", "jina"])
def test_rerankers_reranks(server: Running, provider: str) -> None:
    reranker = client_of("rerankers").Reranker
    ranker = reranker("any", model_type=provider, api_key=KEY, url=f"{server.url}/v1/rerank", verbose=0)
    answer = ranker.rank(TASK, PROGRAMS, doc_ids=["a", "b", "c"])
    ranked = [(row.doc_id, row.score, row.rank) for row in answer.results]
    assert ranked == [("b", 9.0, 1), ("c", 4.0, 2), ("a", 3.0, 3)]


# --- frameworks ---------------------------------------------------------------------------------------------------


def test_langchain_chats_and_streams(server: Running) -> None:
    chat = client_of("langchain_openai").ChatOpenAI(
        base_url=f"{server.url}/v1", api_key=KEY, model="tiny", extra_body={"best_of": 3}, max_retries=0
    )
    answer = chat.invoke(TASK)
    assert answer.content == "".join(digits("", None, 2))
    assert answer.usage_metadata["output_tokens"] == 12
    assert "".join(chunk.content for chunk in chat.stream(TASK)) == answer.content
    assert [message.content for message in chat.batch([TASK, TASK])] == [answer.content] * 2


def test_langchain_gets_several_answers(server: Running) -> None:
    chat = client_of("langchain_openai").ChatOpenAI(base_url=f"{server.url}/v1", api_key=KEY, model="tiny", n=2)
    (answers,) = chat.generate([[client_of("langchain_core.messages").HumanMessage(TASK)]]).generations
    assert ["return 9" in answers[0].text, "return 5" in answers[1].text] == [True, True]


@pytest.mark.parametrize("name", ["openai_like.OpenAILike", "openai.OpenAI"])
def test_llama_index_chats_completes_and_streams(server: Running, name: str) -> None:
    package, _, cls = name.partition(".")
    module = client_of(f"llama_index.llms.{package}")
    kind = {"is_chat_model": True} if cls == "OpenAILike" else {}
    llm = getattr(module, cls)(
        model="gpt-4o-mini", api_base=f"{server.url}/v1", api_key=KEY, max_retries=0, reuse_client=False, **kind
    )
    message = client_of("llama_index.core.llms").ChatMessage(role="user", content=TASK)
    best = "".join(digits("", None, 5))
    assert llm.chat([message]).message.content == best
    assert llm.complete(TASK).text == best
    assert list(llm.stream_chat([message]))[-1].message.content == best


def test_llama_index_continues_texts(server: Running) -> None:
    cls = client_of("llama_index.llms.openai_like").OpenAILike
    llm = cls(model="tiny", api_base=f"{server.url}/v1", api_key=KEY, is_chat_model=False, max_tokens=20, max_retries=0)
    assert llm.complete(TASK).text == "".join(digits("", None, 5))
    assert list(llm.stream_complete(TASK))[-1].text == "".join(digits("", None, 5))


# --- the documentation --------------------------------------------------------------------------------------------


def snippets() -> list[str]:
    """The Python of docs/serving.md."""
    page = Path(__file__).resolve().parents[2] / "docs" / "serving.md"
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("number", range(len(snippets())))
def test_what_the_documentation_shows_works(server: Running, number: int) -> None:
    text = snippets()[number].replace("http://localhost:8080", server.url).replace('"generator"', '"gpt-4o-mini"')
    for package in re.findall(r"^(?:from|import) ([\w.]+)", text, re.MULTILINE):
        client_of(package)
    exec(text.replace('"..."', f'"{KEY}"'), {"task": TASK, "programs": PROGRAMS})


def test_the_documentation_has_examples() -> None:
    assert len(snippets()) >= 3
