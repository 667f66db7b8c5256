"""Best-of-n in front of a real model server: llama.cpp with SmolLM2-135M-Instruct."""

from __future__ import annotations

from typing import Any

import pytest
from llama_world import NEEDS, llama_server
from reward_world import byte_tokenizer
from serving_world import running

from rewardranker.config import ScratchModel
from rewardranker.models import new_llama
from rewardranker.reward import RewardRanker
from rewardranker.reward.model import RewardSettings, from_causal_lm
from rewardranker.serving.server import Parts

pytestmark = NEEDS
TASK = "Write a Python function add(a, b) that returns the sum. Answer with the code only."
CHAT = {
    "messages": [{"role": "user", "content": TASK}],
    "best_of": 4,
    "n": 2,
    "max_tokens": 20,
    "temperature": 1.0,
    "seed": 1,
    "rewardranker": {"return_candidates": True},
}


@pytest.fixture(scope="module")
def ranker() -> RewardRanker:
    """A reward model of random weights, which prefers some programs to others for no reason, but always the same."""
    tokenizer = byte_tokenizer()
    size = ScratchModel(hidden_size=32, layers=2, heads=2, intermediate_size=64, max_positions=512)
    model = from_causal_lm(new_llama(size, tokenizer, seed=0), tokenizer, seed=0)
    return RewardRanker(model, tokenizer, RewardSettings(max_length=512))


@pytest.fixture(scope="module")
def answer(ranker: RewardRanker) -> dict[str, Any]:
    with llama_server() as url, running(Parts(reranker=ranker, upstream=url)) as server:
        response = server.post("/v1/chat/completions", CHAT)
    assert response.status_code == 200
    return response.json()


def test_all_candidates_come_from_a_server_that_gives_one_at_a_time(answer: dict[str, Any]) -> None:
    told = answer["rewardranker"]
    assert (told["candidates"], told["failed"], told["ranked_by"]) == (4, 0, "reward")
    assert len(answer["choices"]) == 2
    assert len({row["candidate"] for row in told["ranking"]}) == 4
    assert len({row["text"] for row in told["ranking"]}) > 1  # seeds differ
    assert 2 * CHAT["max_tokens"] < answer["usage"]["completion_tokens"] <= 4 * CHAT["max_tokens"]


def test_the_answers_are_those_that_the_reward_model_scores_highest(
    answer: dict[str, Any], ranker: RewardRanker
) -> None:
    ranking = answer["rewardranker"]["ranking"]
    scored = [row for row in ranking if row["kind"] == "code"]
    assert len(scored) > 1
    expected = ranker.predict([(TASK, row["code"]) for row in scored])
    assert [row["score"] for row in scored] == pytest.approx(list(expected), abs=1e-4)
    distinct = list(dict.fromkeys(row["score"] for row in scored))
    assert distinct == sorted(distinct, reverse=True)
    contents = [choice["message"]["content"] for choice in answer["choices"]]
    assert contents == [row["text"] for row in ranking[:2]]
