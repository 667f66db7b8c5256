"""Fitting the stopping rule, and what it is worth on tasks it has not seen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adaptive_world import world

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation import Outcomes
from rewardranker.serving.adaptive import FEATURES, THRESHOLD, AdaptiveStop, features
from rewardranker.serving.adaptive_curve import Curve, measure
from rewardranker.serving.calibration import Orders, Pool, chance, cross_fitted, fit, fit_chance, make_pool
from rewardranker.types import Sample, Task

OPTIONS = EvaluationOptions(bootstrap=200)


def everywhere(rule: AdaptiveStop, pool: Pool) -> list[tuple[AdaptiveStop, np.ndarray]]:
    return [(rule, np.ones(len(pool), bool))]


@pytest.fixture(scope="module")
def curve() -> Curve:
    return measure(world(seed=1), everywhere(fit(world(seed=2), 16), world(seed=1)), 16, OPTIONS)


def test_arrays_have_the_features_that_the_server_computes() -> None:
    orders = Orders.of(world(6), 0, orders=3)
    for drawn in (1, 2, 7):
        found = orders.features(drawn)
        for task in range(6):
            for order in range(3):
                programs = [str(number) for number in orders.programs[task, order, :drawn]]
                expected = features(orders.scores[task, order, :drawn].tolist(), programs)
                assert found[task, order] == pytest.approx(expected)


def test_next_wins_counts_the_candidates_that_are_left() -> None:
    scores, passed = [[1.0, 2.0, 3.0, 4.0, 2.0]], [[False, False, True, False, True]]
    orders = Orders(*(np.array(a)[:, None] for a in (scores, passed, [[0, 1, 2, 3, 4]], [[1.0] * 5])))
    wins, loses = orders.next_wins(2)
    assert (wins[0, 0], loses[0, 0]) == (pytest.approx(1 / 3), 0.0)
    wins, loses = orders.next_wins(3)
    assert (wins[0, 0], loses[0, 0]) == (0.0, pytest.approx(1 / 2))


def test_a_logistic_curve_is_found_again() -> None:
    rng = np.random.default_rng(0)
    states = rng.normal(3.0, 2.0, (4000, len(FEATURES)))
    shares = 1 / (1 + np.exp(-(states @ [0.5, -1.0, 0.0, 0.3, 0.2] - 1.0)))
    found = fit_chance(states, shares, 1.0)
    assert found.weights == pytest.approx((0.5, -1.0, 0.0, 0.3, 0.2), abs=0.01)
    assert found.offset == pytest.approx(-1.0, abs=0.05)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_chance_is_finite_where_all_states_end_alike(share: float) -> None:
    states = np.random.default_rng(0).normal(size=(200, len(FEATURES)))
    found = chance(fit_chance(states, np.full(200, share), 0.1), states)
    assert np.isfinite(found).all()
    assert abs(found - share).max() < 0.05


def test_predicted_chances_are_those_observed(curve: Curve) -> None:
    for one in curve.reliability:
        assert one.predicted == pytest.approx(one.observed, abs=0.03)
    assert curve.reliability[-1].observed > 5 * curve.reliability[0].observed


def test_reaches_the_quality_of_all_candidates_with_less_than_half_of_the_tokens(curve: Curve) -> None:
    row = curve.at_threshold(curve.cheapest_without_loss())
    assert row.quality.mean > curve.at(16).quality.mean - 0.02
    assert row.share.high < 0.5


def test_easy_tasks_cost_less_than_hard_ones() -> None:
    pool, rule = world(seed=1), fit(world(seed=2), 16)
    easy, hard = pool.of(np.arange(60) % 3 == 0), pool.of(np.arange(60) % 3 == 2)
    drawn = [measure(part, everywhere(rule, part), 16, OPTIONS, [0.01]).adaptive[0].candidates for part in (easy, hard)]
    assert drawn[0] < 3 < drawn[1]


def test_a_threshold_above_every_gain_is_the_first_step_and_one_below_is_the_limit() -> None:
    pool = world()
    rule = fit(pool, 8)
    first, limit = measure(pool, everywhere(rule, pool), 8, OPTIONS, [2.0, -2.0]).adaptive
    assert (first.candidates, first.calls, limit.candidates, limit.calls) == (2.0, 1.0, 8.0, 4.0)
    assert limit.quality.mean == pytest.approx(first.quality.mean + limit.over_limit.mean - first.over_limit.mean)
    assert limit.share.mean == pytest.approx(1.0, abs=0.05)


def test_fewer_candidates_where_more_fool_the_reward_model() -> None:
    honest, fooled = world(seed=3), world(seed=3, fooled=True)
    found = [measure(pool, cross_fitted(pool, 16), 16, OPTIONS, [0.0]).adaptive[0] for pool in (honest, fooled)]
    assert found[1].candidates < found[0].candidates
    assert found[1].over_limit.low > 0


def test_cross_fitting_rules_each_task_once_by_a_rule_of_others() -> None:
    pool = world()
    ruled = cross_fitted(pool, 8)
    assert np.sum([mask for _, mask in ruled], axis=0).tolist() == [1] * len(pool)
    for rule, mask in ruled:
        changed = replace(pool, passed=np.where(mask[:, None], ~pool.passed, pool.passed))
        assert fit(changed.of(~mask), 8) == rule


def test_the_threshold_falls_below_the_default_only_where_quality_asks_for_it(curve: Curve) -> None:
    chosen = curve.cheapest_without_loss()
    best_fixed = max(row.quality.mean for row in curve.fixed if row.n <= 16)
    dearer = [row for row in curve.adaptive if chosen < row.threshold <= THRESHOLD]
    assert chosen <= THRESHOLD
    assert all(row.quality.mean < best_fixed for row in dearer)


def test_too_few_tasks_or_samples_are_refused() -> None:
    with pytest.raises(DataError, match="19 tasks are too few"):
        cross_fitted(world(19), 8)
    with pytest.raises(DataError, match="at most 25 candidates, of 24 samples"):
        fit(world(), 25)


def test_a_pool_has_equal_programs_together_and_tokens_of_each_sample() -> None:
    task = Task("t", "def f():\n", entry_point="f")
    texts = ("    return 1\n", "    return 2\n", "    return 1")
    samples = tuple(Sample("t", i, text, text, text, (0,) * (i + 1)) for i, text in enumerate(texts))
    outcomes = Outcomes((task,), (samples,), np.array([True, False, True]), np.array([3]))
    pool = make_pool(outcomes, np.array([1.0, -np.inf, 2.0]))
    assert pool.programs.tolist() == [[0, 1, 0]]
    assert pool.tokens.tolist() == [[1, 2, 3]]
    assert pool.scores.tolist() == [[1.0, 1.0, 2.0]]
