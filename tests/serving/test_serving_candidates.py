"""Which candidate is first: the rule that `serving.candidates` states, one clause a test."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rewardranker.config import PromptOptions
from rewardranker.serving.candidates import Pool
from rewardranker.serving.engine import code_in
from rewardranker.serving.tasktext import entry_point_of, task_of_messages

NONE: Mapping = {}


def said(text: str) -> dict:
    return {"message": {"role": "assistant", "content": text}}


def calling(arguments: str, name: str = "run") -> dict:
    call = {"id": "c", "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"message": {"role": "assistant", "content": None, "tool_calls": [call]}}


def pool_of(
    *rows: tuple[dict, str | None], scores: Mapping[str, float] = NONE, passed: Mapping[str, bool] = NONE
) -> Pool:
    pool = Pool()
    pool.add([choice for choice, _ in rows], [code for _, code in rows])
    for group in pool.groups:
        group.score, group.passed = scores.get(group.code), passed.get(group.code)
    return pool


def test_the_highest_score_is_first_and_the_first_drawn_of_equal_ones() -> None:
    pool = pool_of((said("a"), "a"), (said("b"), "b"), (said("c"), "c"), scores={"a": 1.0, "b": 2.0, "c": 2.0})
    assert pool.best(3) == [1, 2, 0]


def test_the_best_n_are_different_while_there_are_different_ones() -> None:
    rows = [(said("a"), "a"), (said("A"), "a"), (said("b"), "b")]
    pool = pool_of(*rows, scores={"a": 2.0, "b": 1.0})
    assert pool.best(2) == [0, 2]
    assert pool.best(3) == [0, 2, 1]


def test_equal_programs_in_different_words_are_one_group() -> None:
    pool = pool_of((said("Here: a"), "a"), (said("Sure! a"), "a"))
    assert [group.members for group in pool.groups] == [[0, 1]]


def test_prose_comes_after_code_whatever_the_scores() -> None:
    pool = pool_of((said("I can't"), None), (said("x"), "x"), scores={"x": -50.0})
    assert pool.best(2) == [1, 0]
    assert pool.ranked_by() == "reward"


def test_prose_alone_stays_in_the_order_drawn() -> None:
    pool = pool_of((said("one"), None), (said("two"), None), (said("one"), None))
    assert pool.best(1) == [0]
    assert pool.ranked_by() == "order"


def test_tool_calls_are_first_if_most_candidates_make_them_and_the_most_frequent_one_leads() -> None:
    rows = [(said("x"), "x"), (calling('{"a": 1, "b": 2}'), None), (calling('{"b":2,"a":1}'), None)]
    pool = pool_of(*rows, (calling("{}"), None), scores={"x": 9.0})
    assert pool.best(4) == [1, 3, 0, 2]
    assert pool.ranked_by() == "votes"


def test_a_minority_of_tool_calls_is_last() -> None:
    pool = pool_of((calling("{}"), None), (said("x"), "x"), (said("hm"), None), scores={"x": 0.0})
    assert pool.best(3) == [1, 2, 0]


def test_calls_with_broken_arguments_are_compared_as_text() -> None:
    pool = pool_of((calling('{"a":'), None), (calling('{"a":'), None), (calling('{"a": '), None))
    assert [group.members for group in pool.groups] == [[0, 1], [2]]


def test_what_failed_the_tests_comes_after_what_passed() -> None:
    rows = [(said("a"), "a"), (said("b"), "b")]
    assert pool_of(*rows, scores={"a": 9.0, "b": 0.0}, passed={"a": False, "b": True}).best(1) == [1]


def test_code_that_could_not_be_scored_comes_after_scored_code() -> None:
    assert pool_of((said("a"), "a"), (said("b"), "b"), scores={"b": -9.0}).best(2) == [1, 0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("Sure.\n```python\ndef f():\n    return 1\n```\nDone.", "def f():\n    return 1"),
        ("def f():\n    return 1\n", "def f():\n    return 1"),
        ("I can't help with that.", None),
        ("```\n\n```", None),
        ("  \n", None),
    ],
)
def test_the_code_of_a_chat_answer(text: str, code: str | None) -> None:
    assert code_in(text, "chat", "f", "python", plain=False) == code


def test_a_completion_is_code_as_it_stands() -> None:
    assert code_in("    return 1  # so\n\n", "completions", "f", "python", plain=False) == "    return 1  # so\n\n"


def test_half_a_surrogate_pair_does_not_reach_the_tokenizer() -> None:
    assert code_in("x = '\ud800'", "completions", None, "python", plain=False) == "x = '?'"


CHAT = PromptOptions(style="chat", instruction="Solve:\n{prompt}\nNow.")


@pytest.mark.parametrize(
    ("messages", "task"),
    [
        ([{"role": "system", "content": "be brief"}, {"role": "user", "content": "def f():"}], "def f():"),
        ([{"role": "user", "content": "Solve:\ndef f():\nNow."}], "def f():"),
        ([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url"}]}], "a"),
        (
            [
                {"role": "user", "content": "a"},
                {"role": "assistant", "content": "b"},
                {"role": "tool", "content": "t"},
                {"role": "user", "content": "c"},
            ],
            "a\n\nb\n\nc",
        ),
    ],
)
def test_the_task_that_the_reranker_reads(messages: list[dict], task: str) -> None:
    assert task_of_messages(messages, CHAT) == task


def test_the_entry_point_is_the_last_function_that_the_task_begins() -> None:
    assert entry_point_of("def helper(x):\n    pass\n\ndef solve(xs):\n") == "solve"
    assert entry_point_of("Add two numbers.") is None
