"""Each figure against brute force over all subsets and tie-breaks, and against values worked out by hand."""

import itertools
import math
import time

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.evaluation import (
    auc,
    best_of_curve,
    best_of_n,
    distinct_per_n,
    hard_negatives,
    mean_pass,
    pairwise_accuracy,
    pass_at_k,
    reciprocal_rank,
)

# Few distinct scores, so that most subsets have ties.
RNG = np.random.default_rng(0)
SCORES = np.concatenate([RNG.integers(0, 3, (12, 6)), RNG.normal(size=(4, 6)), np.zeros((2, 6))]).astype(float)
PASSED = np.concatenate([RNG.random((16, 6)) < 0.4, np.zeros((1, 6)), np.ones((1, 6))]).astype(bool)


@pytest.mark.parametrize("k", range(1, 7))
def test_pass_at_k_is_the_mean_over_all_subsets(k: int) -> None:
    brute = [np.mean([row[list(s)].any() for s in itertools.combinations(range(6), k)]) for row in PASSED]
    np.testing.assert_allclose(pass_at_k(PASSED, k), brute, atol=1e-12)


def test_pass_at_k_by_hand() -> None:
    # 10 samples, 3 pass: 1 - C(7, 2) / C(10, 2) = 1 - 21 / 45.
    assert pass_at_k([[1] * 3 + [0] * 7], 2)[0] == pytest.approx(24 / 45)


def test_pass_at_k_is_exact_for_many_samples() -> None:
    passed = np.zeros((1, 200), bool)
    passed[0, :5] = True
    assert pass_at_k(passed, 100)[0] == pytest.approx(1 - math.comb(195, 100) / math.comb(200, 100), rel=1e-12)


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("lowest", [None, -np.inf])
def test_best_of_n_is_the_mean_over_all_subsets_with_ties_shared(n: int, lowest: float | None) -> None:
    scores = SCORES.copy()
    if lowest is not None:
        scores[scores == scores.min()] = lowest
    brute = []
    for row, passed in zip(scores, PASSED, strict=True):
        shares = []
        for subset in itertools.combinations(range(6), n):
            values, right = row[list(subset)], passed[list(subset)]
            shares.append(right[values == values.max()].mean())
        brute.append(np.mean(shares))
    np.testing.assert_allclose(best_of_n(scores, PASSED, n), brute, atol=1e-12)


def test_best_of_n_by_hand() -> None:
    # Subsets of 2 of (3 wrong, 2 right, 1 wrong): {3,2} wrong, {3,1} wrong, {2,1} right.
    assert best_of_n([[3.0, 2.0, 1.0]], [[0, 1, 0]], 2)[0] == pytest.approx(1 / 3)


def test_equal_scores_give_the_mean_and_the_truth_gives_pass_at_k() -> None:
    for n in range(1, 7):
        np.testing.assert_allclose(best_of_n(np.zeros_like(SCORES), PASSED, n), mean_pass(PASSED), atol=1e-12)
        np.testing.assert_allclose(best_of_n(PASSED.astype(float), PASSED, n), pass_at_k(PASSED, n), atol=1e-12)


def test_best_of_n_does_not_depend_on_the_samples_order() -> None:
    order = np.random.default_rng(1).permutation(6)
    np.testing.assert_allclose(
        best_of_n(SCORES[:, order], PASSED[:, order], 3), best_of_n(SCORES, PASSED, 3), atol=1e-12
    )


def test_a_curve_for_many_tasks_takes_seconds_at_most() -> None:
    rng = np.random.default_rng(2)
    scores, passed = rng.normal(size=(1000, 200)), rng.random((1000, 200)) < 0.3
    begin = time.perf_counter()
    curve = best_of_curve(scores, passed, [1, 2, 4, 8, 16, 32, 64, 128, 200])
    assert time.perf_counter() - begin < 5
    np.testing.assert_allclose(curve[:, 0], passed.mean(axis=1))
    np.testing.assert_allclose(curve[:, -1], passed[np.arange(1000), scores.argmax(axis=1)])


@pytest.mark.parametrize("n", [0, 7])
def test_n_outside_the_samples_is_refused(n: int) -> None:
    with pytest.raises(DataError, match=f"n = {n} of 6 samples"):
        best_of_n(SCORES, PASSED, n)
    with pytest.raises(DataError, match=f"n = {n} of 6 samples"):
        pass_at_k(PASSED, n)


def test_nan_is_refused_and_named() -> None:
    scores = SCORES.copy()
    scores[3, 2] = np.nan
    for figure in (lambda s, p: best_of_n(s, p, 2), pairwise_accuracy, auc, reciprocal_rank, hard_negatives):
        with pytest.raises(DataError, match="task 3, sample 2"):
            figure(scores, PASSED)


def test_shapes_must_agree() -> None:
    with pytest.raises(DataError, match=r"\(18, 5\) but passed \(18, 6\)"):
        best_of_n(SCORES[:, :5], PASSED, 2)


def test_pairwise_accuracy_counts_all_pairs_ties_half() -> None:
    won, pairs, shares = 0.0, 0, []
    for row, passed in zip(SCORES, PASSED, strict=True):
        good, bad = row[passed], row[~passed]
        if len(good) and len(bad):
            share = [1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad]
            won, pairs = won + sum(share), pairs + len(share)
            shares.append(np.mean(share))
    result = pairwise_accuracy(SCORES, PASSED)
    assert result.mean == pytest.approx(np.mean(shares))
    assert result.pooled == pytest.approx(won / pairs)
    assert (result.tasks, result.pairs) == (len(shares), pairs)
    assert result.mean != pytest.approx(result.pooled)
    assert np.isnan(result.per_task).sum() == len(SCORES) - len(shares)


def test_hard_pairs_are_those_with_the_wrong_programs_the_reference_likes_most() -> None:
    passed = np.array([[1, 0, 0, 0], [0, 0, 1, 1]], bool)
    reference = np.array([[9.0, 5, 5, 1], [2, 3, 0, 9]])
    mask = hard_negatives(reference, passed)
    assert mask.tolist() == [[False, True, True, False], [False, True, False, False]]
    scores = np.array([[2.0, 1, 3, 9], [9, 1, 2, 1]])
    result = pairwise_accuracy(scores, passed, mask)
    # Task 1: 2 > 1 but not 3. Task 2: 2 > 1 and 1 = 1. The 9s are no hard negatives.
    assert result.per_task.tolist() == [0.5, 0.75]
    assert result.pairs == 4


def test_a_mask_may_not_mark_correct_programs() -> None:
    with pytest.raises(DataError, match="mark none that passes"):
        pairwise_accuracy(SCORES, PASSED, PASSED)


def test_no_pairs_is_refused() -> None:
    with pytest.raises(DataError, match="no pairs"):
        pairwise_accuracy([[1.0, 2.0]], [[1, 1]])


def test_reciprocal_rank_is_the_mean_over_all_tie_breaks() -> None:
    brute = []
    for row, passed in zip(SCORES, PASSED, strict=True):
        ranks = []
        for order in itertools.permutations(range(6)):
            ranked = sorted(order, key=lambda i: -row[i])  # stable: the permutation breaks ties
            ranks.append(next((1 / (place + 1) for place, i in enumerate(ranked) if passed[i]), 0.0))
        brute.append(np.mean(ranks))
    np.testing.assert_allclose(reciprocal_rank(SCORES, PASSED), brute, atol=1e-12)


def test_auc_compares_across_tasks() -> None:
    good, bad = SCORES[PASSED], SCORES[~PASSED]
    brute = np.mean([1.0 if g > b else 0.5 if g == b else 0.0 for g in good for b in bad])
    assert auc(SCORES, PASSED) == pytest.approx(brute)
    assert auc([[1.0, 0.0], [9.0, 8.0]], [[1, 0], [1, 0]]) == 0.75  # right within each task, not across


def test_distinct_per_n_is_the_mean_over_all_subsets() -> None:
    keys = [list("aabcca"), list("aaaaaa"), list("abcdef")]
    for n in range(1, 7):
        brute = [np.mean([len(set(s)) for s in itertools.combinations(row, n)]) for row in keys]
        np.testing.assert_allclose(distinct_per_n(keys, n), brute, atol=1e-12)
