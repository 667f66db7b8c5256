"""Fits the weights with which scores are added, on tasks that no final figure is measured on.

Not guaranteed: that the tasks are others than those measured later; whoever calls has to see to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.ranking.rankers import standardised

GRID = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0)


def fit_weight(
    scores_a: NDArray[np.float64],
    scores_b: NDArray[np.float64],
    passed: NDArray[np.bool_],
    grid: Sequence[float] = GRID,
) -> tuple[float, list[dict[str, float]]]:
    """The w of `grid` for which the samples on top by a + w * b pass most often.

    A task counts by the share of its tied top samples that pass: the expected pass of a random one of them. Of weights
    that do equally well the smallest in size is taken, so that b only counts where it helps. Weight 0 ignores b also
    where it is minus infinity.

    Args:
        scores_a: shape [tasks, n].
        scores_b: shape [tasks, n].
        passed: shape [tasks, n].

    Returns:
        The weight, and for each weight of the grid, in its order, `{"weight", "pass_rate"}`.

    Raises:
        DataError: shapes differ or are empty, the grid is empty, or a score is NaN.
    """
    a, b = np.asarray(scores_a, np.float64), np.asarray(scores_b, np.float64)
    passed = np.asarray(passed, bool)
    if not a.shape == b.shape == passed.shape or a.ndim != 2 or a.size == 0:
        raise DataError(
            f"fit_weight needs three arrays of one shape [tasks, n], got {a.shape}, {b.shape} and {passed.shape}"
        )
    if not len(grid):
        raise DataError("fit_weight needs at least one weight to try")
    table = [{"weight": float(weight), "pass_rate": _top_pass_rate(a, b, passed, weight)} for weight in grid]
    best = max(row["pass_rate"] for row in table)
    # Sums of shares differ in their last bits between weights; a difference below one task in a billion is a tie.
    return min((r["weight"] for r in table if r["pass_rate"] >= best - 1e-9), key=lambda w: (abs(w), w)), table


def fit_weights(
    scores: Mapping[str, NDArray[np.float64]],
    passed: NDArray[np.bool_],
    grid: Sequence[float] = GRID,
    sweeps: int = 5,
) -> tuple[dict[str, float], float]:
    """Weights for the sum of several rankers' scores, standardised within each task as `Weighted` and specs do.

    The first ranker has weight 1; the others begin at 0 and are fitted one after the other by `fit_weight`, the rest
    held, until a sweep changes nothing. That climbs to a place where no single change helps, not surely the best one.

    Args:
        scores: by ranker, each of shape [tasks, n].
        passed: shape [tasks, n].
        sweeps: at most so many.

    Returns:
        A weight for each ranker, and the share of tasks whose top sample passes under them.

    Raises:
        DataError: as `fit_weight`, or no ranker.
    """
    if not scores:
        raise DataError("fit_weights needs the scores of at least one ranker")
    arrays = {name: np.asarray(array, np.float64) for name, array in scores.items()}
    rows = {name: np.array([standardised(row) for row in array]) for name, array in arrays.items()}
    weights = {name: float(name == next(iter(scores))) for name in scores}
    for _ in range(sweeps):
        before = dict(weights)
        for name in list(scores)[1:]:
            others = sum(w * rows[other] for other, w in weights.items() if other != name and w)
            weights[name] = fit_weight(np.asarray(others), rows[name], passed, grid)[0]
        if weights == before:
            break
    total = np.asarray(sum(w * rows[name] for name, w in weights.items() if w))
    return weights, fit_weight(total, np.zeros_like(total), passed, (0.0,))[1][0]["pass_rate"]


def _top_pass_rate(a: NDArray[np.float64], b: NDArray[np.float64], passed: NDArray[np.bool_], weight: float) -> float:
    with np.errstate(invalid="ignore"):
        scores = a + weight * b if weight else a
    if np.isnan(scores).any():
        task, sample = np.argwhere(np.isnan(scores))[0]
        raise DataError(f"a score is NaN or the sum of opposite infinities (first: task {task}, sample {sample})")
    top = scores == scores.max(axis=1, keepdims=True)
    return float(((top & passed).sum(axis=1) / top.sum(axis=1)).mean())
