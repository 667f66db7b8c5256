"""Tests of requests, run in the real judge before ranking."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from fake_openai import FakeOpenAI
from serving_world import CountedRanker, Running, running

from rewardranker.config import JudgeOptions
from rewardranker.serving.server import Parts

PATH = "/v1/chat/completions"
ADD = 'def add(a, b):\n    """Sum of two numbers.\n\n    >>> add(1, 2)\n    3\n    """\n'
BODIES = ["return a + b  # 1", "return a - b  # 9", "return b + a  # 5", "return (  # 8"]
ALL = {"return_candidates": True}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    def write(prompt: str, seed: int | None, index: int) -> list[str]:
        return [f"```python\ndef add(a, b):\n    {BODIES[index % 4]}\n```"]

    with FakeOpenAI(write) as fake:
        parts = Parts(reranker=CountedRanker(), upstream=fake.url, judge=JudgeOptions(timeout=2), judge_workers=1)
        with running(parts) as under_way:
            yield under_way


def ask(server: Running, content: str = "Add two numbers.", best_of: int = 4, **own: object) -> dict:
    body = {"messages": [{"role": "user", "content": content}], "best_of": best_of, "rewardranker": ALL | own}
    return server.post(PATH, body).json()


def order(answer: dict) -> list[int]:
    return [row["candidate"] for row in answer["rewardranker"]["ranking"]]


def test_programs_that_fail_the_tests_come_last(server: Running) -> None:
    answer = ask(server, tests=["assert add(1, 2) == 3"], entry_point="add")
    assert order(answer)[:2] == [2, 0]
    told = {row["candidate"]: row["verdict"]["passed"] for row in answer["rewardranker"]["ranking"]}
    assert told == {0: True, 1: False, 2: True, 3: False}


def test_only_what_passed_is_scored(server: Running) -> None:
    answer = ask(server, tests=["assert add(1, 2) == 3"], entry_point="add")
    assert answer["rewardranker"]["scored"] == 2


def test_where_nothing_passes_all_are_ranked_by_score(server: Running) -> None:
    answer = ask(server, tests=["assert add(1, 2) == 77"], entry_point="add")
    assert order(answer) == [1, 3, 2, 0]


def test_the_doctest_of_the_task_is_run_if_asked_for(server: Running) -> None:
    assert order(ask(server, ADD, verify=True))[:2] == [2, 0]


def test_nothing_is_run_unless_asked_for(server: Running) -> None:
    answer = ask(server, ADD)
    assert order(answer)[0] == 1
    assert "verdict" not in answer["rewardranker"]["ranking"][0]


def test_tests_that_do_not_compile_are_the_clients_fault_and_no_one_elses(server: Running) -> None:
    with ThreadPoolExecutor(2) as pool:
        broken = pool.submit(ask, server, tests=["assert ("], entry_point="add")
        good = pool.submit(ask, server, tests=["assert add(1, 2) == 3"], entry_point="add")
    assert broken.result()["error"]["param"] == "rewardranker.tests"
    assert order(good.result())[:2] == [2, 0]


def test_programs_run_are_counted(server: Running) -> None:
    ask(server, tests=["assert add(1, 2) == 3"], entry_point="add")
    assert 'rewardranker_programs_run_total{outcome="passed"}' in server.get("/metrics").text
