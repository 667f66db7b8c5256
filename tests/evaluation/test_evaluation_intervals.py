"""Intervals cover what they should, and differences are paired by task."""

import itertools

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import bootstrap_interval, paired_difference

OPTIONS = EvaluationOptions(bootstrap=1000)


def test_a_95_percent_interval_covers_the_mean_about_95_times_in_100() -> None:
    rng = np.random.default_rng(0)
    options = EvaluationOptions(bootstrap=400)
    covered = 0
    for _ in range(300):
        interval = bootstrap_interval(rng.random(100) < 0.3, options)
        covered += interval.low <= 0.3 <= interval.high
    assert 0.90 <= covered / 300 <= 0.98


def test_the_width_is_that_of_the_normal_approximation() -> None:
    values = np.random.default_rng(1).normal(size=2000)
    interval = bootstrap_interval(values, EvaluationOptions(bootstrap=2000, confidence=0.8))
    assert (interval.high - interval.low) / 2 == pytest.approx(1.2816 * values.std() / np.sqrt(2000), rel=0.06)
    assert interval.mean == pytest.approx(values.mean())
    assert interval.n == 2000


def test_the_seed_decides() -> None:
    values = np.random.default_rng(2).random(50)
    assert bootstrap_interval(values, OPTIONS) == bootstrap_interval(values, OPTIONS)
    other = OPTIONS.model_copy(update={"seed": 1})
    assert bootstrap_interval(values, OPTIONS) != bootstrap_interval(values, other)


def test_equal_values_have_no_width() -> None:
    interval = bootstrap_interval([0.5] * 10, OPTIONS)
    assert (interval.mean, interval.low, interval.high) == (0.5, 0.5, 0.5)


def test_pairing_removes_the_difference_between_tasks() -> None:
    rng = np.random.default_rng(3)
    hard = rng.random(200)
    a, b = hard + 0.02 + rng.normal(scale=0.01, size=200), hard
    difference = paired_difference(a, b, OPTIONS)
    assert 0 < difference.low < difference.mean < difference.high < 0.03
    assert difference.p_value == pytest.approx(1 / 1001)
    shuffled = paired_difference(a, rng.permutation(b), OPTIONS)
    assert shuffled.low < 0 < shuffled.high


def test_the_p_value_is_that_of_all_sign_flips() -> None:
    d = np.array([0.5, -0.1, 0.3, 0.2, 0.4, -0.2, 0.1, 0.3])
    flips = np.array(list(itertools.product([-1, 1], repeat=8)))
    exact = (np.abs(flips @ d) >= abs(d.sum()) - 1e-12).mean()
    found = paired_difference(d, np.zeros(8), EvaluationOptions(bootstrap=20_000)).p_value
    assert found == pytest.approx(exact, abs=0.01)


def test_no_difference_is_no_evidence() -> None:
    assert paired_difference([0.1, 0.7], [0.1, 0.7], OPTIONS).p_value == 1.0


def test_p_values_are_uniform_without_an_effect() -> None:
    rng = np.random.default_rng(4)
    options = EvaluationOptions(bootstrap=200)
    ps = [paired_difference(rng.normal(size=30), rng.normal(size=30), options).p_value for _ in range(300)]
    assert 0.02 <= np.mean(np.array(ps) <= 0.05) <= 0.09
    assert 0.4 <= np.mean(np.array(ps) <= 0.5) <= 0.6


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [([1.0], [1.0, 2.0], "got 1 and 2"), ([], [], "not empty"), ([1.0, np.nan], [1.0, 1.0], "task number 1 is nan")],
)
def test_broken_figures_are_refused(a: list[float], b: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        paired_difference(a, b, OPTIONS)
