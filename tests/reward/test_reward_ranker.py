"""Scores and rankings as callers see them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from reward_world import byte_tokenizer, tiny_causal_lm

from rewardranker.errors import DataError
from rewardranker.reward import RewardRanker
from rewardranker.reward.model import RewardSettings, from_causal_lm

DOCUMENTS = ["x", "a long program of many tokens", "yy", "", "x", "zzzz b"]
PAIRS = [(prompt, document) for prompt in ("p:", "another prompt:") for document in DOCUMENTS]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def ranker(pooling: Any = "last", **options: Any) -> RewardRanker:
    tokenizer = byte_tokenizer()
    model = from_causal_lm(tiny_causal_lm(), tokenizer, seed=0)
    return RewardRanker(model, tokenizer, RewardSettings(pooling=pooling, **{"max_length": 64, **options}))


@pytest.mark.parametrize("pooling", ["last", "sum", "mean"])
def test_scores_come_in_the_order_of_the_pairs_whatever_the_batches(pooling: Any) -> None:
    ours = ranker(pooling)
    alone = np.array([ours.predict([pair])[0] for pair in PAIRS])
    assert alone.std() > 0.01
    for batch_tokens in (1, 60, 100_000):
        np.testing.assert_allclose(ours.predict(PAIRS, batch_tokens), alone, rtol=1e-5, atol=1e-5)


def test_equal_pairs_are_scored_once_and_equally() -> None:
    ours = ranker()
    ours.predict([("p", "x")])  # tries out what the model can share
    seen: list[int] = []
    body = ours.model.base_model
    body.register_forward_pre_hook(lambda _, __, inputs: seen.append(inputs["input_ids"].numel()), with_kwargs=True)
    scores = ours.predict([("p", "x"), ("p", "y"), ("p", "x"), ("q", "x")])
    assert sum(seen) == 4 + 3  # <bos> p, and below it x and y; <bos> q x
    assert scores[0] == scores[2]


def test_no_pairs_have_no_scores() -> None:
    assert ranker().predict([]).shape == (0,)


def test_rank_sorts_best_first_and_equal_scores_by_place() -> None:
    ours = ranker()
    scores = ours.predict([("p:", document) for document in DOCUMENTS])
    ranking = ours.rank("p:", DOCUMENTS)
    assert [entry["corpus_id"] for entry in ranking] == sorted(range(len(DOCUMENTS)), key=lambda i: (-scores[i], i))
    assert [entry["score"] for entry in ranking] == sorted(map(float, scores), reverse=True)
    assert all(set(entry) == {"corpus_id", "score"} for entry in ranking)


def test_rank_returns_as_many_as_asked_with_their_texts() -> None:
    ranking = ranker().rank("p:", DOCUMENTS, top_k=2, return_documents=True)
    assert len(ranking) == 2
    assert all(entry["text"] == DOCUMENTS[entry["corpus_id"]] for entry in ranking)


def test_an_overlong_pair_is_refused_by_index() -> None:
    with pytest.raises(DataError, match=r"pair 1 .*limit of 16"):
        ranker(max_length=16).predict([("p", "x"), ("p" * 20, "y")])


def test_the_models_positions_bound_the_length_too() -> None:
    with pytest.raises(DataError, match="limit of 64"):
        ranker(max_length=1024).predict([("p" * 70, "y")])


def test_truncation_reads_the_prompts_end_and_the_whole_program() -> None:
    ours = ranker(max_length=16, truncate_prompt=True)
    cut, whole, other = ours.predict(
        [("0123456789abcdefgh", "xyz"), ("6789abcdefgh", "xyz"), ("0123456789abcdefgh", "xyw")]
    )
    assert cut == whole
    assert cut != other


def test_a_pair_without_any_token_is_refused() -> None:
    ours = ranker()
    ours.tokenizer.bos_token = None
    with pytest.raises(DataError, match="no tokens"):
        ours.predict([("", "")])
