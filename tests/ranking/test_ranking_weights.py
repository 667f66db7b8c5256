"""The fitted weight is the best of the grid, the smallest where several are."""

import numpy as np
import pytest

from rewardranker.errors import DataError
from rewardranker.ranking import Precomputed, Weighted, fit_weight, fit_weights
from rewardranker.types import Sample, Task

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


def test_several_weights_leave_out_noise_and_use_signal() -> None:
    noise = RNG.normal(size=A.shape)
    weights, rate = fit_weights({"a": A, "noise": noise, "b": B}, PASSED)
    alone = fit_weights({"a": A}, PASSED)[1]
    assert weights["a"] == 1
    assert weights["b"] > 0.3
    assert weights["noise"] < weights["b"] / 2
    assert rate > alone + 0.05


def test_fitted_weights_are_those_of_a_weighted_ranker() -> None:
    """The rate is what the sum of standardised scores gives, whatever the units of the parts."""
    weights, rate = fit_weights({"a": 100 * A, "b": B + 7}, PASSED)
    parts = {}
    for name, array in {"a": A, "b": B}.items():
        scores = {(f"t{i}", j): array[i, j] for i in range(300) for j in range(8)}
        parts[Precomputed(name, scores)] = weights[name]
    candidates = [(Task(f"t{i}", ""), [Sample(f"t{i}", j, "", "", "") for j in range(8)]) for i in range(300)]
    rankings = Weighted(parts, standardise=True).rank(candidates)
    top = [int(np.argmax(ranking.scores)) for ranking in rankings]
    assert rate == pytest.approx(PASSED[np.arange(300), top].mean())


def test_no_single_change_of_a_fitted_weight_helps() -> None:
    scores = {"a": A, "b": B, "c": PASSED + 2 * RNG.normal(size=A.shape)}
    weights, rate = fit_weights(scores, PASSED, (0.0, 0.5, 1.0))
    rows = {n: (s - s.mean(axis=1, keepdims=True)) / s.std(axis=1, keepdims=True) for n, s in scores.items()}
    for name in ("b", "c"):
        for weight in (0.0, 0.5, 1.0):
            changed = weights | {name: weight}
            total = sum(changed[n] * rows[n] for n in rows)
            assert PASSED[np.arange(300), total.argmax(axis=1)].mean() <= rate + 1e-9


def test_no_ranker_is_refused() -> None:
    with pytest.raises(DataError, match="at least one ranker"):
        fit_weights({}, PASSED)
