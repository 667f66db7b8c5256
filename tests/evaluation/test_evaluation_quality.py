"""Order of all samples, with intervals."""

import numpy as np
import pytest

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import Bootstrap, Outcomes, auc, pairwise_accuracy, reciprocal_rank
from rewardranker.evaluation.quality import measure_quality
from rewardranker.types import Task

OPTIONS = EvaluationOptions(bootstrap=400)
RNG = np.random.default_rng(0)
PASSED = RNG.random((50, 8)) < RNG.random((50, 1))
SCORES = np.round(PASSED + RNG.normal(scale=1.0, size=PASSED.shape), 1)


def outcomes(passed: np.ndarray, counts: list[int]) -> Outcomes:
    tasks = tuple(Task(str(i), "") for i in range(len(counts)))
    return Outcomes(tasks, (), passed.ravel(), np.array(counts))


def test_figures_are_those_of_the_arrays() -> None:
    found = measure_quality("r", SCORES.ravel(), outcomes(PASSED, [8] * 50), Bootstrap(50, OPTIONS))
    accuracy = pairwise_accuracy(SCORES, PASSED)
    assert found.pairwise_accuracy is not None
    assert found.auc is not None
    assert found.pairwise_accuracy.mean == pytest.approx(accuracy.mean)
    assert found.pairwise_accuracy.n == accuracy.tasks < 50
    assert found.pairwise_accuracy_pooled == pytest.approx(accuracy.pooled)
    assert found.mrr.mean == pytest.approx(reciprocal_rank(SCORES, PASSED).mean())
    assert found.auc.mean == auc(SCORES, PASSED)
    top = np.equal(SCORES, SCORES.max(axis=1, keepdims=True)).sum(axis=1)
    assert found.tied == pytest.approx((top > 1).mean())


FINE = SCORES + RNG.normal(scale=1e-3, size=SCORES.shape)  # more than 128 levels


@pytest.mark.parametrize(
    "scores", [FINE, np.where(FINE < 0, -np.inf, FINE), np.round(SCORES / 3)], ids=["fine", "infinite", "tied"]
)
def test_the_interval_of_the_auc_is_that_of_resampled_tasks(scores: np.ndarray) -> None:
    options = EvaluationOptions(bootstrap=4000)
    found = measure_quality("r", scores.ravel(), outcomes(PASSED, [8] * 50), Bootstrap(50, options)).auc
    assert found is not None
    rng = np.random.default_rng(1)
    drawn = [auc(scores[chosen], PASSED[chosen]) for chosen in rng.integers(0, 50, (4000, 50))]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.005)


def test_without_chance_the_interval_of_the_auc_is_the_figure() -> None:
    """One problem alone: every resample is the whole."""
    bootstrap = Bootstrap(50, OPTIONS, ["same"] * 50)
    found = measure_quality("r", FINE.ravel(), outcomes(PASSED, [8] * 50), bootstrap).auc
    assert found is not None
    assert (found.low, found.high) == pytest.approx((found.mean, found.mean), abs=1e-12)


def test_tasks_of_unequal_numbers_of_samples() -> None:
    counts = [8] * 25 + [4] * 25
    scores = np.concatenate([SCORES[:25].ravel(), SCORES[25:, :4].ravel()])
    passed = np.concatenate([PASSED[:25].ravel(), PASSED[25:, :4].ravel()])
    found = measure_quality("r", scores, outcomes(passed, counts), Bootstrap(50, OPTIONS))
    parts = pairwise_accuracy(SCORES[:25], PASSED[:25]), pairwise_accuracy(SCORES[25:, :4], PASSED[25:, :4])
    assert found.pairwise_accuracy is not None
    assert found.pairwise_accuracy.mean == pytest.approx(np.nanmean(np.concatenate([p.per_task for p in parts])))
    assert found.auc is not None
    assert found.auc.mean == auc(scores[None], passed[None])
