"""The fitted stopping rule inside the server: what it is told there, and what a request draws."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_openai import FakeOpenAI
from serving_world import CountedRanker, running

from rewardranker.serving.adaptive import FEATURES, FILE, AdaptiveStop, Chance
from rewardranker.serving.candidates import Pool
from rewardranker.serving.engine import _enough
from rewardranker.serving.server import Parts

AGREEING = AdaptiveStop(
    wins=Chance(0.0, (0.0, 0.0, -2.0, 0.0, 0.0)), loses=Chance(-50.0, (0.0,) * len(FEATURES)), threshold=0.25
)
"""Stops once most candidates agree with the best."""


def draw(write: object, rule: AdaptiveStop, **own: object) -> tuple[dict, list[int]]:
    """The report of one request for the best of 8, and how many candidates each request upstream asked for."""
    with FakeOpenAI(write) as upstream:  # type: ignore[arg-type]
        parts = Parts(reranker=CountedRanker(), upstream=upstream.url, stopping=rule)
        with running(parts, best_of=8) as server:
            body = {"messages": [{"role": "user", "content": "def f():"}], "rewardranker": own}
            told = server.post("/v1/chat/completions", body).json()["rewardranker"]
        return told, [body.get("n", 1) for body in upstream.bodies]


def same(prompt: str, seed: int | None, index: int) -> list[str]:
    return ["```python\ndef f():\n    return 3\n```"]


def counting(prompt: str, seed: int | None, index: int) -> list[str]:
    return [f"```python\ndef f():\n    return {index}{seed}\n```"]


def test_candidates_that_agree_end_the_drawing(tmp_path: Path) -> None:
    AGREEING.save(tmp_path / FILE)
    told, asked = draw(same, AdaptiveStop.from_file(tmp_path))
    assert (told["candidates"], told["asked_for"], told["stopped_early"]) == (2, 8, True)
    assert asked == [2]


def test_candidates_that_differ_are_drawn_to_the_limit_in_steps() -> None:
    told, asked = draw(counting, replace(AGREEING, first_step=3, step=2))
    assert (told["candidates"], told["stopped_early"]) == (8, False)
    assert asked == [3, 2, 2, 1]


def test_a_request_may_have_all_of_them() -> None:
    told, asked = draw(same, AGREEING, adaptive=False)
    assert (told["candidates"], asked) == (8, [8])


@pytest.mark.parametrize(("passed", "enough"), [((None, None), True), ((True, False), True), ((False, False), False)])
def test_goes_on_while_tests_say_that_none_is_right(passed: tuple[bool | None, ...], enough: bool) -> None:
    pool = Pool()
    texts = ["return 1", "return 2"]
    for group, result in zip(pool.add([{"text": text} for text in texts], texts), passed, strict=True):
        group.passed, group.score = result, 1.0
    assert _enough(replace(AGREEING, threshold=2.0), pool, 1, 8) is enough
