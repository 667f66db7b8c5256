"""Intervals and differences over tasks. Tasks are the unit: samples of one task are not independent.

- Intervals are percentile bootstraps (Efron 1979) over tasks; the resamples are drawn once and used for every figure.
- p-values of differences come from sign-flip permutation tests, two-sided, and are corrected by Holm's method (1979)
  over the family that is compared.
- Tasks that share a problem (a set translated into several languages) are drawn and flipped together as one cluster.

Not covered: the spread between training runs, which for reinforcement learning is often larger (train several seeds);
the luck of the draw within a task, which more samples reduce. The percentile interval is a little narrow for few tasks
(below about 30) and has no width where all tasks agree, such as 0 of 20 solved.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError

Floats = NDArray[np.float64]
_CHUNK = 2_000_000
"""Numbers held at once, beside the counts of the resamples."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over tasks with its interval."""

    mean: float
    low: float
    high: float
    n: int
    """Number of tasks that have the figure."""


@dataclass(frozen=True, slots=True)
class Difference:
    """The mean over tasks of a - b, with its interval and the probability of so large a one by chance."""

    mean: float
    low: float
    high: float
    p_value: float
    n: int


class Bootstrap:
    """Resamples of a set of tasks, drawn once, under which any figure's mean can be taken.

    Args:
        tasks: number of tasks.
        options: `bootstrap` resamples, `seed`, `confidence`.
        clusters: for each task the problem it belongs to; a problem's tasks are drawn together. None: one each.
        strata: for each task its group; each group keeps its number of problems in every resample, where a problem has
            tasks of several groups, so does each combination of groups. None: one group.
    """

    def __init__(
        self,
        tasks: int,
        options: EvaluationOptions,
        clusters: Sequence[Hashable] | None = None,
        strata: Sequence[Hashable] | None = None,
    ) -> None:
        self._options = options
        cluster = np.arange(tasks) if clusters is None else numbered(clusters)
        rng = np.random.default_rng([options.seed, 0])
        counts = np.zeros((options.bootstrap, int(cluster.max()) + 1), np.uint16)
        for members in _same_groups(cluster, strata):
            drawn = rng.integers(0, len(members), (options.bootstrap, len(members)))
            drawn += len(members) * np.arange(options.bootstrap)[:, None]
            times = np.bincount(drawn.ravel(), minlength=options.bootstrap * len(members))
            counts[:, members] = times.reshape(options.bootstrap, len(members))
        self._counts = counts[:, cluster]

    def sums(self, values: Floats, tasks: NDArray[np.intp] | None = None) -> Floats:
        """The sum over the tasks of each resample, shape [resamples, figures].

        Args:
            values: shape [tasks, figures].
            tasks: indices of the tasks that `values` are of; None: all.
        """
        counts = self._counts if tasks is None else self._counts[:, tasks]
        step = max(1, _CHUNK // max(1, counts.shape[1]))
        parts = [counts[start : start + step].astype(np.float64) @ values for start in range(0, len(counts), step)]
        return np.concatenate(parts)

    def means(self, values: ArrayLike, tasks: NDArray[np.intp] | None = None) -> Floats:
        """The mean over the tasks of each resample, shape [resamples, figures].

        Args:
            values: shape [tasks, figures]; NaN where a task does not have a figure, which leaves it out.
        """
        array = np.asarray(values, np.float64)
        known = ~np.isnan(array)
        if known.all():
            known = known[:, :1]
        with np.errstate(invalid="ignore"):  # a resample may hold none of the tasks that have a figure
            return self.sums(np.where(known, array, 0.0), tasks) / self.sums(known.astype(np.float64), tasks)

    def intervals(self, values: ArrayLike, tasks: NDArray[np.intp] | None = None) -> list[Interval]:
        """The mean of each figure with its interval; `values` as for `means`.

        Raises:
            DataError: no task has a figure, or a value is infinite.
        """
        array = np.asarray(values, np.float64)
        known = ~np.isnan(array)
        if array.ndim != 2 or not known.any(axis=0).all() or np.isinf(array).any():
            raise DataError(f"expected finite figures [tasks, figures], some in each column, got shape {array.shape}")
        bounds = self.percentiles(self.means(array, tasks))
        return [
            Interval(float(mean), float(low), float(high), int(n))
            for mean, (low, high), n in zip(np.nanmean(array, axis=0), bounds.T, known.sum(axis=0), strict=True)
        ]

    def percentiles(self, means: Floats) -> Floats:
        """Lower and upper end of the interval of each column, shape [2, figures]."""
        return percentiles(means, self._options)


def bootstrap_interval(values: ArrayLike, options: EvaluationOptions) -> Interval:
    """Percentile bootstrap over tasks of one figure: `options.bootstrap` resamples, `options.confidence`.

    Args:
        values: one figure a task, shape [tasks].

    Raises:
        DataError: no task, or a value that is not finite.
    """
    array = _per_task(values)
    return Bootstrap(len(array), options).intervals(array[:, None])[0]


def paired_difference(
    a: ArrayLike, b: ArrayLike, options: EvaluationOptions, clusters: Sequence[Hashable] | None = None
) -> Difference:
    """Compare two figures measured on the same tasks, task by task; see `paired_differences`.

    Args:
        a: shape [tasks].
        b: shape [tasks], the same tasks in the same order.

    Raises:
        DataError: lengths differ, no task, or a value that is not finite.
    """
    first, second = _per_task(a), _per_task(b)
    if first.shape != second.shape:
        raise DataError(f"a paired difference needs the same tasks on both sides, got {len(first)} and {len(second)}")
    return paired_differences((first - second)[:, None], options, clusters)[0]


def paired_differences(
    differences: Floats, options: EvaluationOptions, clusters: Sequence[Hashable] | None = None
) -> list[Difference]:
    """The mean of each column of per-task differences, with interval and p-value.

    The interval is the percentile bootstrap of the mean over tasks. The p-value is two-sided, from a sign-flip
    permutation test with `options.bootstrap` random flips: the share of flips whose mean difference is at least as
    large in size, counting the observed one, (1 + hits) / (1 + flips); it is never 0. A cluster is flipped as one.

    Args:
        differences: finite, shape [tasks, columns].
    """
    tasks = len(differences)
    bounds = (boot := Bootstrap(tasks, options, clusters)).percentiles(boot.means(differences))
    sums = differences
    if clusters is not None:
        number = numbered(clusters)
        sums = np.zeros((int(number.max()) + 1, differences.shape[1]))
        np.add.at(sums, number, differences)
    observed = np.abs(sums.sum(axis=0))
    rng = np.random.default_rng([options.seed, 1])
    hits = np.zeros(differences.shape[1], np.int64)
    for count in _chunks(options.bootstrap, len(sums)):
        signs = rng.integers(0, 2, (count, len(sums)), dtype=np.int8) * 2.0 - 1.0
        # Equal sums in another order of addition differ in their last bits.
        hits += (np.abs(signs @ sums) >= observed * (1 - 1e-9) - 1e-12).sum(axis=0)
    p_values = (1 + hits) / (1 + options.bootstrap)
    return [
        Difference(float(mean), float(low), float(high), float(p), tasks)
        for mean, (low, high), p in zip(differences.mean(axis=0), bounds.T, p_values, strict=True)
    ]


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected so that the chance of any false finding in the family stays below the level (Holm 1979).

    The i-th smallest of m is multiplied by m - i + 1; none gets smaller than one before it, none larger than 1.
    """
    values = np.asarray(p_values, np.float64)
    order = np.argsort(values, kind="stable")
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)))
    return [float(value) for value in adjusted]


def numbered(keys: Sequence[Hashable]) -> NDArray[np.intp]:
    """0, 1, ... for each distinct key, in order of first appearance."""
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(key, len(known)) for key in keys], np.intp)


def percentiles(means: Floats, options: EvaluationOptions) -> Floats:
    """Lower and upper end of the interval of each column, shape [2, figures]; NaN resamples don't count."""
    tail = (1 - options.confidence) / 2
    if not np.isnan(means).any():
        return np.asarray(np.quantile(means, [tail, 1 - tail], axis=0))
    return np.asarray(np.nanquantile(means, [tail, 1 - tail], axis=0))


def _same_groups(cluster: NDArray[np.intp], strata: Sequence[Hashable] | None) -> Iterator[NDArray[np.intp]]:
    """The clusters whose tasks are of the same groups, for each such combination."""
    count = int(cluster.max()) + 1
    if strata is None:
        yield np.arange(count)
        return
    groups: list[set[Hashable]] = [set() for _ in range(count)]
    for number, stratum in zip(cluster.tolist(), strata, strict=True):
        groups[number].add(stratum)
    combination = numbered([frozenset(found) for found in groups])
    for number in range(int(combination.max()) + 1):
        yield np.flatnonzero(combination == number)


def _per_task(values: ArrayLike) -> Floats:
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(f"expected one figure a task, shape [tasks] and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        place = int((~np.isfinite(array)).argmax())
        raise DataError(f"the figure of task number {place} is {array[place]}: leave out tasks that have none")
    return array


def _chunks(rows: int, columns: int) -> list[int]:
    size = max(1, _CHUNK // columns)
    return [min(size, rows - start) for start in range(0, rows, size)]
