"""Intervals and differences over tasks. Tasks are the unit: samples of one task are not independent.

Not covered: the spread between training runs, which for reinforcement learning is often larger; train several seeds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError

Floats = NDArray[np.float64]
_CHUNK = 2_000_000
"""Random numbers held at once."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over tasks with its interval."""

    mean: float
    low: float
    high: float
    n: int
    """Number of tasks."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over tasks of a - b, with its interval and the probability of so large a one by chance."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int


def bootstrap_interval(values: ArrayLike, options: EvaluationOptions) -> Interval:
    """Percentile bootstrap over tasks (Efron 1979): `options.bootstrap` resamples, `options.confidence`.

    The percentile interval is a little narrow for few tasks (below about 30).

    Args:
        values: one figure a task, shape [tasks].

    Raises:
        DataError: no task, or a value that is not finite.
    """
    array = _per_task(values)
    low, high = _percentiles(_resampled_means(array, options), options)
    return Interval(float(array.mean()), low, high, len(array))


def paired_difference(a: ArrayLike, b: ArrayLike, options: EvaluationOptions) -> Difference:
    """Compare two figures measured on the same tasks, task by task.

    The interval is the percentile bootstrap of the mean difference over tasks. The p-value is two-sided, from a
    sign-flip permutation test with `options.bootstrap` random flips: the share of flips whose mean difference is at
    least as large in size, counting the observed one, (1 + hits) / (1 + flips); it is never 0.

    Args:
        a: shape [tasks].
        b: shape [tasks], the same tasks in the same order.

    Raises:
        DataError: lengths differ, no task, or a value that is not finite.
    """
    first, second = _per_task(a), _per_task(b)
    if first.shape != second.shape:
        raise DataError(f"a paired difference needs the same tasks on both sides, got {len(first)} and {len(second)}")
    difference = first - second
    low, high = _percentiles(_resampled_means(difference, options), options)
    observed = abs(difference.sum())
    rng = np.random.default_rng([options.seed, 1])
    hits = 0
    for count in _chunks(options.bootstrap, len(difference)):
        signs = rng.integers(0, 2, (count, len(difference)), dtype=np.int8) * 2.0 - 1.0
        # Equal sums in another order of addition differ in their last bits.
        hits += int((np.abs(signs @ difference) >= observed * (1 - 1e-9) - 1e-12).sum())
    return Difference(float(difference.mean()), low, high, (1 + hits) / (1 + options.bootstrap), len(difference))


def _per_task(values: ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"expected one figure a task, shape [tasks] and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        place = int((~np.isfinite(array)).argmax())
        raise DataError(f"the figure of task number {place} is {array[place]}: leave out tasks that have none")
    return array


def _resampled_means(values: Floats, options: EvaluationOptions) -> Floats:
    rng = np.random.default_rng([options.seed, 0])
    return np.concatenate(
        [
            values[rng.integers(0, len(values), (count, len(values)))].mean(axis=1)
            for count in _chunks(options.bootstrap, len(values))
        ]
    )


def _chunks(rows: int, columns: int) -> list[int]:
    size = max(1, _CHUNK // columns)
    return [min(size, rows - start) for start in range(0, rows, size)]


def _percentiles(means: Floats, options: EvaluationOptions) -> tuple[float, float]:
    tail = (1 - options.confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)
