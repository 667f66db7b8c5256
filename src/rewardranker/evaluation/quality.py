"""How well a ranker orders samples: pairwise accuracy, reciprocal rank, AUC, with intervals over tasks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rewardranker.evaluation.collect import Outcomes
from rewardranker.evaluation.figures import auc, pairwise_wins, reciprocal_rank
from rewardranker.evaluation.intervals import Bootstrap, Interval
from rewardranker.evaluation.records import Quality

Floats = NDArray[np.float64]
_LEVELS = 128


def measure_quality(ranker: str, scores: Floats, outcomes: Outcomes, bootstrap: Bootstrap) -> Quality:
    """
    Args:
        scores: shape [samples], not NaN.
        bootstrap: of the tasks of `outcomes`.
    """
    won, pairs = outcomes.per_task(pairwise_wins, scores, outcomes.passed).T
    accuracy = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    mixed = bool(pairs.any())
    return Quality(
        ranker=ranker,
        pairwise_accuracy=bootstrap.intervals(accuracy[:, None])[0] if mixed else None,
        pairwise_accuracy_pooled=float(won.sum() / pairs.sum()) if mixed else None,
        mrr=bootstrap.intervals(outcomes.per_task(reciprocal_rank, scores, outcomes.passed)[:, None])[0],
        auc=_auc(scores, outcomes, bootstrap) if 0 < outcomes.passed.sum() < len(scores) else None,
        tied=float(outcomes.per_task(_tied, scores).mean()),
        infinite_scores=int(np.isinf(scores).sum()),
    )


def _tied(scores: Floats) -> Floats:
    """1 for each task whose highest score several samples have, shape [tasks]."""
    return ((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).astype(np.float64)


def _auc(scores: Floats, outcomes: Outcomes, bootstrap: Bootstrap) -> Interval:
    """The exact area with an interval over tasks.

    The resampled areas are of scores rounded to 128 levels of equally many samples, shifted so that without resampling
    they are the exact one: sorting all samples again for each resample would take minutes, and the shift leaves an
    error far below the interval's width.
    """
    exact = auc(scores[None], outcomes.passed[None])
    edges = np.unique(np.quantile(scores, np.arange(1, _LEVELS) / _LEVELS, method="lower"))
    levels = len(edges) + 1
    place = np.repeat(np.arange(len(outcomes.tasks)), outcomes.counts) * levels + np.searchsorted(edges, scores)
    size = len(outcomes.tasks) * levels
    right = np.bincount(place[outcomes.passed], minlength=size).reshape(-1, levels).astype(np.float64)
    wrong = np.bincount(place[~outcomes.passed], minlength=size).reshape(-1, levels).astype(np.float64)
    whole = _area(right.sum(axis=0)[None], wrong.sum(axis=0)[None])
    means = _area(bootstrap.sums(right), bootstrap.sums(wrong)) - whole + exact
    (low,), (high,) = bootstrap.percentiles(means[:, None])
    return Interval(exact, float(max(0.0, low)), float(min(1.0, high)), len(outcomes.tasks))


def _area(right: Floats, wrong: Floats) -> Floats:
    """Area under the curve of correct and wrong samples counted by level, lowest level first: shape [rows]."""
    below = np.cumsum(wrong, axis=1) - wrong / 2
    with np.errstate(invalid="ignore"):  # a resample may hold correct samples alone
        return np.asarray((right * below).sum(axis=1) / (right.sum(axis=1) * wrong.sum(axis=1)))
