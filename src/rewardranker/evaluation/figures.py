"""Figures of samples and scores: arrays [tasks, samples] in, exact expectations out.

Nothing here draws random numbers: where a figure is an expectation over subsets or tie-breaks, it is computed in
closed form. Intervals are in `intervals.py`. Not guaranteed: that `passed` is the truth; tests miss errors.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewardranker.errors import DataError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def mean_pass(passed: ArrayLike) -> Floats:
    """Share of each task's samples that pass, shape [tasks]: the expected pass@1."""
    return _passes(passed).mean(axis=1)


def pass_at_k(passed: ArrayLike, k: int) -> Floats:
    """Probability that k samples drawn without replacement hold one that passes, shape [tasks].

    1 - C(N - c, k) / C(N, k), the unbiased estimator of Chen et al. 2021 (arXiv 2107.03374), equation 1.

    Raises:
        DataError: k is not between 1 and the number of samples N.
    """
    array = _passes(passed)
    return 1.0 - _avoids(array.shape[1], k)[array.sum(axis=1)]


def best_of_n(scores: ArrayLike, passed: ArrayLike, n: int) -> Floats:
    """Probability that the top-scored of n samples passes, shape [tasks].

    The exact mean over all C(N, n) subsets; in a subset, equal top scores share the answer. A group of m equal scores
    with g higher ones holds the top of a subset with probability [C(N - g, n) - C(N - g - m, n)] / C(N, n), and within
    it, by symmetry, every member is the answer equally often.

    Args:
        scores: shape [tasks, N]; minus infinity is a score like another (the lowest).
        passed: shape [tasks, N].

    Raises:
        DataError: shapes differ, a score is NaN, or n is not between 1 and N.
    """
    return best_of_curve(scores, passed, [n])[:, 0]


def best_of_curve(scores: ArrayLike, passed: ArrayLike, ns: Sequence[int]) -> Floats:
    """`best_of_n` for several n, sorting once: shape [tasks, len(ns)]."""
    values, array = _pair(scores, passed)
    shared = _shared_passes(values, array)
    weights = np.stack([-np.diff(_avoids(values.shape[1], n)) for n in ns], axis=1)
    return np.asarray(shared @ weights)


def distinct_per_n(keys: Sequence[Sequence[Hashable]], n: int) -> Floats:
    """Expected number of distinct programs among n samples of a task drawn without replacement, shape [tasks].

    Args:
        keys: for each task, one key a sample; samples with equal keys are one program (`preference.canonical_program`).

    Raises:
        DataError: n is not between 1 and a task's number of samples.
    """
    expected = np.empty(len(keys))
    for task, row in enumerate(keys):
        counts: dict[Hashable, int] = {}
        for key in row:
            counts[key] = counts.get(key, 0) + 1
        expected[task] = (1.0 - _avoids(len(row), n)[list(counts.values())]).sum()
    return expected


@dataclass(frozen=True, slots=True)
class PairwiseAccuracy:
    """How often a correct program scores above a wrong one of its task; equal scores count half."""

    mean: float
    """Mean over the tasks that have a pair: the headline, since every task counts the same."""
    pooled: float
    """Over all pairs, so that tasks with many pairs count more."""
    per_task: Floats
    """Shape [tasks]; NaN where a task has no pair."""
    tasks: int
    """Tasks with a pair."""
    pairs: int


def pairwise_accuracy(scores: ArrayLike, passed: ArrayLike, wrong: ArrayLike | None = None) -> PairwiseAccuracy:
    """Accuracy over (correct, wrong) pairs within tasks.

    Args:
        scores: shape [tasks, N].
        passed: shape [tasks, N].
        wrong: mask of the wrong programs to pair, shape [tasks, N] (`hard_negatives`); None: all wrong ones.

    Raises:
        DataError: shapes differ, a score is NaN, the mask marks a program that passes, or no task has a pair.
    """
    won, pairs = pairwise_wins(scores, passed, wrong).T
    if not pairs.any():
        raise DataError("no task has both a correct and a wrong program: there are no pairs to compare")
    per_task = np.divide(won, pairs, out=np.full(len(won), np.nan), where=pairs > 0)
    return PairwiseAccuracy(
        mean=float(np.nanmean(per_task)),
        pooled=float(won.sum() / pairs.sum()),
        per_task=per_task,
        tasks=int((pairs > 0).sum()),
        pairs=int(pairs.sum()),
    )


def pairwise_wins(scores: ArrayLike, passed: ArrayLike, wrong: ArrayLike | None = None) -> Floats:
    """For each task the (correct, wrong) pairs in the right order, ties half, and all of them: shape [tasks, 2].

    Raises:
        DataError: shapes differ, a score is NaN, or the mask marks a program that passes.
    """
    values, array = _pair(scores, passed)
    mask = ~array if wrong is None else np.asarray(wrong, bool)
    if mask.shape != array.shape or (mask & array).any():
        raise DataError("the mask of wrong programs must have the shape of `passed` and mark none that passes")
    ties = _ties(values)
    correct, against = ties.count(array), ties.count(mask)
    above = np.cumsum(against) - against  # wrong programs above a group, in all tasks so far
    pairs = array.sum(axis=1) * mask.sum(axis=1)
    below = np.cumsum(mask.sum(axis=1))[ties.task] - above - against
    won = np.bincount(ties.task, correct * (below + against / 2), minlength=len(values))
    return np.stack([won, pairs], axis=1)


def hard_negatives(reference_scores: ArrayLike, passed: ArrayLike) -> Bools:
    """Mask of each task's wrong programs that a reference ranker scores highest, equal ones all: shape [tasks, N].

    "Hard pairs" are the correct programs against these. The reference is one fixed ranker, usually the first round's
    reward model, for all rankers compared: the reference itself is at a disadvantage on them, by construction.
    """
    values, array = _pair(reference_scores, passed)
    wrong = np.where(array, -np.inf, values)
    return np.asarray(~array & (wrong == wrong.max(axis=1, keepdims=True)))


def reciprocal_rank(scores: ArrayLike, passed: ArrayLike) -> Floats:
    """Expected 1 / rank of the first correct program, shape [tasks]; equal scores are ordered at random; 0 if none is.

    Its mean is the MRR.
    """
    values, array = _pair(scores, passed)
    top = np.where(array, values, -np.inf).max(axis=1, keepdims=True)
    above, tied = (values > top).sum(axis=1), (values == top).sum(axis=1)
    correct = (array & (values == top)).sum(axis=1)
    result = np.zeros(len(values))
    remaining = (correct > 0).astype(np.float64)  # probability that none of the tied ones so far is correct
    for place in range(int((tied - correct).max()) + 1):
        here = correct / np.maximum(tied - place, 1)
        result += remaining * here / (above + place + 1)
        remaining *= 1 - np.minimum(here, 1)
    return result


def auc(scores: ArrayLike, passed: ArrayLike) -> float:
    """Area under the ROC curve over the samples of all tasks together; equal scores count half.

    Unlike `pairwise_accuracy` it compares programs of different tasks, and so asks whether a score says by itself
    that a program is right.

    Raises:
        DataError: all samples pass, or none.
    """
    values, array = _pair(scores, passed)
    return pairwise_accuracy(values.reshape(1, -1), array.reshape(1, -1)).mean


def _passes(passed: ArrayLike) -> Bools:
    array = np.asarray(passed)
    if array.ndim != 2 or array.size == 0:
        raise DataError(f"expected an array of shape [tasks, samples] that is not empty, got shape {array.shape}")
    return array.astype(bool)


def _pair(scores: ArrayLike, passed: ArrayLike) -> tuple[Floats, Bools]:
    array, values = _passes(passed), np.asarray(scores, np.float64)
    if values.shape != array.shape:
        raise DataError(f"scores have shape {values.shape} but passed {array.shape}: one score for each sample")
    if np.isnan(values).any():
        task, sample = np.argwhere(np.isnan(values))[0]
        raise DataError(f"{int(np.isnan(values).sum())} scores are NaN (first: task {task}, sample {sample})")
    return values, array


def _avoids(total: int, n: int) -> Floats:
    """Probability that n of `total` samples hold none of j given ones, C(total - j, n) / C(total, n), for all j."""
    if not 1 <= n <= total:
        raise DataError(f"n = {n} of {total} samples: n must be between 1 and the number of samples a task")
    steps = np.arange(total)
    return np.concatenate([[1.0], np.cumprod(np.maximum(total - n - steps, 0) / (total - steps))])


@dataclass(frozen=True, slots=True)
class _Ties:
    """The samples of each task from the highest score to the lowest, and their groups of equal scores."""

    order: NDArray[np.intp]
    """Shape [tasks, N]."""
    group: NDArray[np.intp]
    """Number of each ranked sample's group, counted through all tasks, shape [tasks * N]."""
    task: NDArray[np.intp]
    """The task of each group."""

    def count(self, mask: Bools) -> Floats:
        """How many marked samples each group has."""
        return np.bincount(self.group, np.take_along_axis(mask, self.order, axis=1).ravel()).astype(np.float64)


def _ties(scores: Floats) -> _Ties:
    order = np.argsort(-scores, axis=1, kind="stable")
    ranked = np.take_along_axis(scores, order, axis=1)
    starts = np.ones(scores.shape, bool)
    starts[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    return _Ties(order, np.cumsum(starts.ravel()) - 1, np.repeat(np.arange(len(scores)), starts.sum(axis=1)))


def _shared_passes(scores: Floats, passed: Bools) -> Floats:
    """Passes from the highest score to the lowest, each replaced by the mean over its group of equal scores."""
    ties = _ties(scores)
    shares = ties.count(passed) / np.bincount(ties.group)
    return np.asarray(shares[ties.group].reshape(scores.shape))
