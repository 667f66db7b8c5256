"""The fitted weight is the best of the grid, the smallest where several are."""

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import fit_weight

RNG = np.random.default_rng(0)
PASSED = RNG.random((300, 8)) < 0.5
A = PASSED + RNG.normal(size=PASSED.shape)
B = PASSED + RNG.normal(size=PASSED.shape)


def test_the_table_is_the_pass_rate_of_the_best_by_each_sum() -> None:
    weight, table = fit_weight(A, B, PASSED, (0.0, 0.5, 1.0, 4.0))
    for row in table:
        top = (A + row["weight"] * B).argmax(axis=1)
        assert row["pass_rate"] == pytest.approx(PASSED[np.arange(300), top].mean())
    assert weight == max(table, key=lambda row: row["pass_rate"])["weight"]
    assert table[0]["pass_rate"] < table[2]["pass_rate"]  # two independent signals beat one


def test_equal_scores_share_the_answer() -> None:
    _, table = fit_weight(np.array([[1.0, 1.0, 0.0]]), np.zeros((1, 3)), np.array([[1, 0, 0]]), (0.0,))
    assert table == [{"weight": 0.0, "pass_rate": 0.5}]


def test_of_equally_good_weights_the_smallest_is_taken_whatever_the_order() -> None:
    assert fit_weight(A, np.zeros_like(B), PASSED, (3.0, 0.5, 1.0))[0] == 0.5
    assert fit_weight(A, np.zeros_like(B), PASSED)[0] == 0.0


def test_useless_scores_get_no_weight_and_better_ones_get_much() -> None:
    assert fit_weight(PASSED.astype(float), B, PASSED)[0] == 0.0
    assert fit_weight(RNG.normal(size=A.shape), PASSED * 1.0, PASSED, (0.0, 0.1, 100.0))[0] == 100.0


def test_weight_zero_ignores_minus_infinity() -> None:
    low = np.full_like(B, -np.inf)
    assert fit_weight(A, low, PASSED, (0.0, 1.0))[0] == 0.0


def test_broken_arrays_are_refused() -> None:
    with pytest.raises(DataError, match=r"got \(300, 8\), \(300, 7\)"):
        fit_weight(A, B[:, :7], PASSED)
    broken = A.copy()
    broken[4, 5] = np.nan
    with pytest.raises(DataError, match="task 4, sample 5"):
        fit_weight(broken, B, PASSED)
    with pytest.raises(DataError, match="at least one weight"):
        fit_weight(A, B, PASSED, ())
