"""Calibration: a true probability is found again, a useless score is told, and no task judges itself."""

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import Bootstrap, Calibration, calibrate, fit_platt

TASKS, EACH = 120, 20
COUNTS = np.full(TASKS, EACH)
RNG = np.random.default_rng(0)
SCORES = 3 * RNG.normal(size=TASKS * EACH) + 1
CHANCE = 1 / (1 + np.exp(0.5 - 0.7 * SCORES))
PASSED = RNG.random(TASKS * EACH) < CHANCE
BOOTSTRAP = Bootstrap(TASKS, EvaluationOptions(bootstrap=300))


def run(scores: np.ndarray, passed: np.ndarray = PASSED, **arguments) -> Calibration:  # type: ignore[no-untyped-def]
    problems = arguments.pop("problems", range(TASKS))
    found = calibrate("r", scores, passed, arguments.pop("counts", COUNTS), list(problems), BOOTSTRAP)
    assert found is not None
    return found


def test_the_curve_that_made_the_data_is_found() -> None:
    curve = fit_platt(SCORES, PASSED.astype(float), np.ones(len(SCORES)))
    assert curve.slope / curve.scale == pytest.approx(0.7, abs=0.06)
    assert curve.offset - curve.slope * curve.centre / curve.scale == pytest.approx(-0.5, abs=0.12)
    assert np.abs(curve(SCORES) - CHANCE).max() < 0.04


def test_the_fit_is_the_minimum() -> None:
    truth, weight = PASSED.astype(float), RNG.random(len(SCORES))
    curve = fit_platt(SCORES, truth, weight)
    right = weight @ truth
    wrong = weight.sum() - right
    target = np.where(PASSED, (right + 1) / (right + 2), 1 / (wrong + 2))
    error = weight * (curve(SCORES) - target)
    assert abs(error.sum()) < 1e-3
    assert abs(error @ SCORES) < 1e-2


def test_a_score_with_the_truth_in_it_is_calibrated_on_any_scale() -> None:
    found = run(SCORES)
    assert found.ece < 0.03
    assert found.brier < found.brier_of_rate
    assert found.flat_folds == 0
    other = run(1000 * SCORES - 5e4)
    assert other.ece == pytest.approx(found.ece, abs=1e-6)


def test_the_error_is_the_weighted_distance_of_the_bins() -> None:
    found = run(SCORES)
    assert sum(b.share for b in found.bins) == pytest.approx(1)
    assert [b.share for b in found.bins] == pytest.approx([0.1] * 10, abs=0.001)
    assert found.ece == pytest.approx(sum(b.share * abs(b.predicted - b.observed) for b in found.bins))
    assert [b.predicted for b in found.bins] == sorted(b.predicted for b in found.bins)
    inside = sum(b.low <= b.predicted <= b.high for b in found.bins)
    assert inside >= 8


def test_a_shape_that_no_logistic_curve_has_shows_as_error() -> None:
    # Good scores pass but the best do not: no monotone curve can say that.
    found = run(SCORES, (SCORES > 1) & (SCORES < 5))
    assert found.flat_folds == 0
    assert found.ece > 0.15


def test_better_scores_that_fail_more_often_make_the_curve_flat() -> None:
    found = run(-SCORES)
    assert found.flat_folds == found.folds == 5
    assert found.brier == pytest.approx(found.brier_of_rate, abs=1e-4)


def test_equal_scores_say_the_rate() -> None:
    found = run(np.zeros(len(SCORES)))
    assert found.flat_folds == 5
    assert all(b.predicted == pytest.approx(PASSED.mean(), abs=0.03) for b in found.bins)


def test_no_task_has_a_part_in_its_own_prediction() -> None:
    """Scores that know which task they are of, where all samples of a task end alike: without cross-fitting, or with
    folds that cut through problems, the score would seem to predict."""
    passed = np.repeat(RNG.random(TASKS) < 0.5, EACH)
    first = run(np.where(np.arange(len(SCORES)) < EACH, 5.0, 0.0), passed)
    assert first.brier == pytest.approx(0.25, abs=0.02)
    # The same, as one problem of two tasks: equal problems are held out together.
    problems = [i // 60 for i in range(TASKS)]
    found = run(np.repeat(problems, EACH).astype(float), np.repeat(problems, EACH) == 1, problems=problems)
    assert found.folds == 2
    assert found.brier > 0.9  # from one problem alone, the other is predicted wrong, and confidently


def test_tasks_count_the_same_whatever_their_number_of_samples() -> None:
    counts = np.where(np.arange(TASKS) < 60, 30, 10)
    scores = np.zeros(len(SCORES))
    passed = np.arange(len(SCORES)) < 60 * 30  # the first 60 tasks pass: half of the tasks, three quarters of samples
    found = run(scores, passed, counts=counts)
    assert found.brier == pytest.approx(0.25, abs=0.02)
    assert sum(b.share * b.observed for b in found.bins) == pytest.approx(0.5)


def test_perfect_separation_and_infinite_scores_have_finite_curves() -> None:
    found = run(np.where(PASSED, np.inf, -np.inf))
    assert found.flat_folds == 5  # no finite score: nothing is left to tell them apart
    found = run(np.where(PASSED, np.inf, SCORES - 100))
    assert found.brier < 0.2
    found = run(PASSED * 2.0)
    assert found.brier < 1e-3
    assert all(0 < b.predicted < 1 for b in found.bins)


def test_one_problem_can_not_be_held_out() -> None:
    assert calibrate("r", SCORES[:40], PASSED[:40], np.array([20, 20]), ["same", "same"], BOOTSTRAP) is None
