"""The terminal table."""

from __future__ import annotations

import pytest
from fabricated import evaluation

from rewardranker.errors import DataError
from rewardranker.report import terminal_table


def row_of(table: str, title: str) -> str:
    return next(line for line in table.splitlines() if line.strip().startswith(title))


def test_every_ranker_stands_beside_chance_and_oracle_for_every_generator() -> None:
    table = terminal_table(evaluation())
    for title in ("chance", "greedy", "mean log-probability", "reranker, round 1", "oracle"):
        assert row_of(table, title).count("±") == 3
    assert "51.0 ±  3.5" in row_of(table, "chance")


def test_fits_a_hundred_columns() -> None:
    assert max(map(len, terminal_table(evaluation()).splitlines())) <= 100


def test_more_generators_than_fit_go_below() -> None:
    document = evaluation()
    template = document["populations"][0]
    document["populations"] = [template | {"key": f"policy-{k}", "title": f"policy, round {k}"} for k in range(1, 7)]
    table = terminal_table(document)
    assert max(map(len, table.splitlines())) <= 100
    assert all(f"policy, round {k}" in table for k in range(1, 7))


def test_says_which_differences_may_be_chance() -> None:
    table = terminal_table(evaluation())
    assert "can't be told from chance" in row_of(table, "reranker 2 - reranker 1")
    assert "can't be told from chance" not in row_of(table, "reranker 2 - chance")


def test_a_missing_column_is_named() -> None:
    document = evaluation()
    del document["populations"][1]["rankers"][0]["mean"]
    with pytest.raises(DataError, match=r"populations'\[1\].*rankers'\[0\].*column 'mean' is missing"):
        terminal_table(document)


def test_pairwise_accuracy_stands_for_all_and_for_hard_pairs() -> None:
    table = terminal_table(evaluation())
    assert any("pairs in order" in line and "±" in line for line in table.splitlines())
    assert any("hard pairs" in line and "±" in line for line in table.splitlines())
