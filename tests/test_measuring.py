"""Figures that only the loop's measurement defines."""

from __future__ import annotations

import numpy as np

from rewardranker.measuring import Weight, hard_pair_accuracy, title


def test_hard_pairs_are_those_whose_wrong_program_is_the_likelier_one() -> None:
    passed = np.array([[True, False, False], [True, True, False], [True, True, True]])
    likelihood = np.array([[-2.0, -1.0, -3.0], [-1.0, -5.0, -2.0], [-1.0, -1.0, -1.0]])
    scores = np.array([[1.0, 2.0, 9.0], [0.0, 3.0, 1.0], [0.0, 0.0, 0.0]])
    # Task 0: only (0, 1) is hard, and in the wrong order. Task 1: only (1, 2), in order. Task 2 has no wrong program.
    assert hard_pair_accuracy(scores, passed, likelihood).tolist() == [0.0, 1.0]


def test_equal_scores_put_half_a_hard_pair_in_order() -> None:
    found = hard_pair_accuracy(np.zeros((1, 2)), np.array([[True, False]]), np.array([[-2.0, -1.0]]))
    assert found.tolist() == [0.5]


def test_the_weight_counts_in_standard_deviations_of_the_score() -> None:
    combined = Weight(scale=2.0, value=0.5).combine(np.array([[4.0]]), np.array([[-3.0]]))
    assert combined.tolist() == [[0.5]]


def test_titles_name_rounds() -> None:
    assert title("reward-2+logprob") == "reward model 2 + log p"
    assert title("policy-1") == "policy of round 1"
