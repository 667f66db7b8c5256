"""CodeT, MaxPass and B4 against small examples by hand, and against their definitions spelled out."""

import itertools
from collections.abc import Callable
from math import factorial, log, sqrt

import numpy as np
import pytest

from rewardranker.ranking import b4_scores, codet_scores, max_pass_scores

PASSES = np.array(
    [
        [1, 1, 0],
        [1, 1, 0],
        [1, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
    ],
    bool,
)
COUNTS = np.array([1, 2, 10])
RNG = np.random.default_rng(0)


def test_codet_by_hand() -> None:
    # {a, b} pass tests drawn 1 + 2 times, {c} 1, {d} 10, {e} none.
    assert codet_scores(PASSES, COUNTS).tolist() == [sqrt(2) * 3, sqrt(2) * 3, 1, 10, 0]
    assert codet_scores(PASSES, COUNTS, root=False).tolist() == [6, 6, 1, 10, 0]


def test_weights_count_equal_programs_once() -> None:
    assert codet_scores(PASSES, COUNTS, weights=np.array([1, 0, 1, 1, 1])).tolist() == [3, 3, 1, 10, 0]


def test_codet_counts_what_was_drawn() -> None:
    """A test drawn k times is k equal tests."""
    passes = RNG.random((7, 4)) < 0.5
    counts = np.array([1, 3, 2, 1])
    repeated = np.repeat(passes, counts, axis=1)
    assert codet_scores(passes, counts) == pytest.approx(codet_scores(repeated, np.ones(7, int)))


def test_max_pass_by_hand() -> None:
    assert max_pass_scores(PASSES, COUNTS).tolist() == [3, 3, 1, 10, 0]


def integer_log_beta(a: int, b: int) -> float:
    """log B(a, b) from factorials."""
    return log(factorial(a - 1)) + log(factorial(b - 1)) - log(factorial(a + b - 1))


def b4_by_definition(passes: np.ndarray, alpha: int, beta: int) -> list[float]:
    """The posterior of each program's consensus set, counted pair by pair."""
    programs, tests = passes.shape
    scores = []
    for row in passes:
        right = [bool((other == row).all()) for other in passes]
        wrong_pairs = {True: [], False: []}  # type: dict[bool, list[bool]]
        for i, j in itertools.product(range(programs), range(tests)):
            if not right[i]:
                wrong_pairs[bool(row[j])].append(bool(passes[i, j]))
        n, m = sum(right), int(row.sum())
        k1, k0 = sum(wrong_pairs[True]), sum(wrong_pairs[False])
        scores.append(
            integer_log_beta(n + alpha, programs - n + 1)
            + integer_log_beta(m + alpha, tests - m + 1)
            + integer_log_beta(k1 + 1, len(wrong_pairs[True]) - k1 + 1)
            + integer_log_beta(k0 + 1, len(wrong_pairs[False]) - k0 + beta)
        )
    return scores


@pytest.mark.parametrize(("alpha", "beta"), [(1, 1), (5, 2), (50, 300)])
def test_b4_is_its_definition(alpha: int, beta: int) -> None:
    for passes in (PASSES, RNG.random((6, 5)) < 0.4, RNG.random((4, 9)) < 0.7):
        scores = b4_scores(passes, alpha=alpha, beta=beta)
        assert scores == pytest.approx(b4_by_definition(passes, alpha, beta), rel=1e-9)


def test_b4_by_hand() -> None:
    # Two programs, one test, which the first passes. Set of the first: n = m = 1, its one wrong pair fails (k1 = 0).
    # log B(2, 2) + log B(2, 1) + log B(1, 2) + log B(1, 1); of the second: m = 0 and the wrong pair passes (k0 = 1).
    first = log(1 / 6) + log(1 / 2) + log(1 / 2) + log(1)
    second = log(1 / 6) + log(1 / 2) + log(1) + log(1 / 2)
    assert b4_scores(np.array([[1], [0]], bool), alpha=1, beta=1) == pytest.approx([first, second])


def test_b4_with_weights_is_b4_of_the_distinct_programs() -> None:
    weights = np.array([1, 0, 1, 1, 1])
    assert b4_scores(PASSES, weights=weights)[[0, 2, 3, 4]] == pytest.approx(b4_scores(PASSES[[0, 2, 3, 4]]))


@pytest.mark.parametrize(
    "score",
    [codet_scores, max_pass_scores, lambda passes, counts: b4_scores(passes)],
    ids=["codet", "maxpass", "b4"],
)
def test_order_of_programs_and_tests_does_not_matter(score: Callable[..., np.ndarray]) -> None:
    passes = RNG.random((12, 6)) < 0.5
    counts = RNG.integers(1, 5, 6)
    programs, tests = RNG.permutation(12), RNG.permutation(6)
    shuffled = score(passes[programs][:, tests], counts[tests])
    assert shuffled.tolist() == score(passes, counts)[programs].tolist()


def test_programs_of_one_set_tie_exactly() -> None:
    passes = np.repeat(RNG.random((5, 30)) < 0.5, 4, axis=0)
    for scores in (codet_scores(passes, np.ones(30, int)), b4_scores(passes)):
        assert all(len(set(group)) == 1 for group in scores.reshape(5, 4).tolist())
