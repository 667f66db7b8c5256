"""Intervals cover what they should, and differences are paired by task."""

import itertools

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import Bootstrap, bootstrap_interval, holm, paired_difference, paired_differences

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


def test_means_over_the_tasks_that_have_a_figure() -> None:
    values = np.random.default_rng(5).random((60, 2))
    values[::3, 1] = np.nan
    with_gaps, without = Bootstrap(60, OPTIONS).intervals(values)
    assert (with_gaps.n, without.n) == (60, 40)
    assert without.mean == pytest.approx(np.nanmean(values[:, 1]))
    assert without.low < without.mean < without.high
    # As wide as that of the 40 tasks alone.
    alone = bootstrap_interval(values[~np.isnan(values[:, 1]), 1], OPTIONS)
    assert without.high - without.low == pytest.approx(alone.high - alone.low, rel=0.15)


def test_a_figure_that_no_task_has_is_refused() -> None:
    with pytest.raises(DataError, match="some in each column"):
        Bootstrap(2, OPTIONS).intervals([[1.0, np.nan], [2.0, np.nan]])


def test_copies_of_a_problem_narrow_nothing() -> None:
    values = np.random.default_rng(6).random(50)
    eight, problems = np.tile(values, 8)[:, None], np.tile(np.arange(50), 8).tolist()
    once = bootstrap_interval(values, OPTIONS)
    clustered = Bootstrap(400, OPTIONS, problems).intervals(eight)[0]
    naive = Bootstrap(400, OPTIONS).intervals(eight)[0]
    assert (clustered.low, clustered.high) == pytest.approx((once.low, once.high))
    assert naive.high - naive.low < 0.5 * (once.high - once.low)


def test_groups_keep_their_number_of_problems_in_every_resample() -> None:
    strata = ["a"] * 3 + ["b"] * 5 + ["c", "a"]
    problems = [*range(8), "both", "both"]  # one problem is in two groups
    counts = Bootstrap(10, OPTIONS, problems, strata).sums(np.eye(3)[[0] * 3 + [1] * 5 + [2, 0]])
    assert (counts == [4, 5, 1]).all()
    free = Bootstrap(10, OPTIONS, problems).sums(np.eye(3)[[0] * 3 + [1] * 5 + [2, 0]])
    assert free.std(axis=0).min() > 0


def test_a_clusters_tasks_are_flipped_together() -> None:
    differences = np.array([0.5, 0.3, -0.1, -0.1, 0.3, -0.2, 0.2, 0.4, 0.1, 0.1, 0.0, 0.3])
    clusters = [0, 0, 0, 1, 1, 2, 2, 2, 3, 3, 4, 5]
    sums = np.bincount(clusters, differences)
    flips = np.array(list(itertools.product([-1, 1], repeat=6)))
    exact = (np.abs(flips @ sums) >= abs(sums.sum()) - 1e-12).mean()
    options = EvaluationOptions(bootstrap=20_000)
    assert paired_difference(differences, np.zeros(12), options, clusters).p_value == pytest.approx(exact, abs=0.005)
    assert paired_difference(differences, np.zeros(12), options).p_value < exact - 0.005


def test_many_differences_are_those_taken_one_by_one() -> None:
    values = np.random.default_rng(7).normal(0.1, 1, (40, 3))
    together = paired_differences(values, OPTIONS)
    apart = [paired_difference(column, np.zeros(40), OPTIONS) for column in values.T]
    for one, other in zip(together, apart, strict=True):
        assert (one.mean, one.low, one.high) == pytest.approx((other.mean, other.low, other.high))
        assert one.p_value == other.p_value


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_holm_keeps_false_findings_rare() -> None:
    rng = np.random.default_rng(8)
    options = EvaluationOptions(bootstrap=200)
    found = 0
    for _ in range(100):
        p_values = [d.p_value for d in paired_differences(rng.normal(size=(30, 8)), options)]
        found += min(holm(p_values)) <= 0.05
    assert found <= 12  # uncorrected it would be about 34
