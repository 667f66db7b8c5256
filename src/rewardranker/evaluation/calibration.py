"""Calibration: what a score says about the chance that a program passes, once it is put on that scale.

A reward or a log-probability is no probability, so a monotone map is fitted first: Platt's logistic curve (Platt 1999),
whose two parameters come from the other tasks only (cross-fitting: tasks in five folds, no problem in two of them).
Scores that only compare within a task, such as a log-probability, lose here by what tasks differ in: that is the
question asked. The expected calibration error is that of Guo et al. 2017 (arXiv 1706.04599), over bins of equal weight.

Rules: each task weighs the same, whatever its number of samples. The curve never falls: where better scores fail more
often, it is flat. An infinite score counts as the highest or lowest finite one of its ranker.

Not guaranteed: that an error of 0 means a useful score, since a constant has it too; read the Brier score beside it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation.intervals import Bootstrap, numbered

Floats = NDArray[np.float64]
FOLDS, BINS = 5, 10
_STEPS = 30
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Samples of neighbouring predictions."""

    share: float
    """Of all weight."""
    predicted: float
    """Mean prediction."""
    observed: float
    """Share that passed, with its interval over tasks."""
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far predictions made from a score can be taken at their word."""

    ranker: str
    ece: float
    """Mean distance of predicted and observed over the bins, by their weight: 0 is best."""
    brier: float
    """Mean squared error of the predictions: 0 is best."""
    brier_of_rate: float
    """That of predicting the other tasks' pass rate for every program: what a score has to beat."""
    flat_folds: int
    """Folds, of `folds`, in which better scores failed more often (or all were equal), so that the curve is flat."""
    folds: int
    bins: tuple[CalibrationBin, ...]
    """The reliability curve, from the lowest predictions to the highest."""


def calibrate(
    ranker: str,
    scores: Floats,
    passed: NDArray[np.bool_],
    counts: NDArray[np.intp],
    problems: Sequence[Hashable],
    bootstrap: Bootstrap,
    seed: int = 0,
) -> Calibration | None:
    """Calibration of one ranker's scores; None where it can't be told: fewer than two problems.

    Args:
        scores: shape [samples], task after task, not NaN.
        passed: shape [samples].
        counts: samples of each task, shape [tasks].
        problems: of each task.
        bootstrap: of the same tasks.
    """
    problem = numbered(problems)
    folds = min(FOLDS, int(problem.max()) + 1)
    if folds < 2:
        return None
    task = np.repeat(np.arange(len(counts)), counts)
    weight = 1.0 / counts[task]
    fold = (np.random.default_rng([seed, 2]).permutation(int(problem.max()) + 1) % folds)[problem[task]]
    values = _finite(scores)
    truth = passed.astype(np.float64)
    predicted, rate = np.empty(len(values)), np.empty(len(values))
    flat = 0
    for held_out in range(folds):
        here, others = fold == held_out, fold != held_out
        curve = fit_platt(values[others], truth[others], weight[others])
        flat += curve.slope == 0.0
        predicted[here] = curve(values[here])
        rate[here] = curve.rate
    bins = _reliability(predicted, truth, weight, task, bootstrap)
    return Calibration(
        ranker=ranker,
        ece=sum(found.share * abs(found.predicted - found.observed) for found in bins),
        brier=float(np.average((predicted - truth) ** 2, weights=weight)),
        brier_of_rate=float(np.average((rate - truth) ** 2, weights=weight)),
        flat_folds=flat,
        folds=folds,
        bins=bins,
    )


def calibrate_table(
    ranker: str,
    scores: Floats,
    passed: NDArray[np.bool_],
    problems: Sequence[Hashable],
    options: EvaluationOptions,
) -> Calibration | None:
    """`calibrate` where all tasks have equally many samples.

    Args:
        scores: shape [tasks, n].
        passed: shape [tasks, n].
        problems: of each task.
    """
    tasks, n = scores.shape
    bootstrap = Bootstrap(tasks, options, problems)
    return calibrate(ranker, scores.ravel(), passed.ravel(), np.full(tasks, n), problems, bootstrap, options.seed)


@dataclass(frozen=True, slots=True)
class PlattCurve:
    """Probability of passing as a logistic curve of the score."""

    centre: float
    scale: float
    slope: float
    """Per `scale` of score; never negative."""
    offset: float
    rate: float
    """Share of the fitted samples that passed."""

    def __call__(self, scores: Floats) -> Floats:
        return _logistic(self.slope * (scores - self.centre) / self.scale + self.offset)


def fit_platt(scores: Floats, truth: Floats, weight: Floats) -> PlattCurve:
    """The logistic curve of least cross-entropy against Platt's softened targets, by Newton's method.

    The targets are (P + 1) / (P + 2) for passing and 1 / (F + 2) for failing samples, with P and F the summed weights,
    so that scores which separate the two perfectly still have a finite slope.

    Args:
        scores: finite, shape [samples].
        truth: 1 where a sample passed, else 0.
        weight: of each sample.
    """
    centre = float(np.average(scores, weights=weight))
    scale = float(np.sqrt(np.average((scores - centre) ** 2, weights=weight)))
    passing = float(weight @ truth)
    failing = float(weight.sum()) - passing
    rate = passing / (passing + failing)
    target = np.where(truth > 0, (passing + 1) / (passing + 2), 1 / (failing + 2))
    middle = float(np.average(target, weights=weight))
    flat = PlattCurve(centre, scale or 1.0, 0.0, float(np.log(middle / (1 - middle))), rate)
    if scale <= 1e-12 * max(1.0, abs(centre)):  # all scores equal
        return flat
    x = (scores - centre) / scale
    parameters = np.array([0.0, flat.offset])
    loss = _cross_entropy(parameters, x, target, weight)
    for _ in range(_STEPS):
        direction = _newton_direction(parameters, x, target, weight)
        for size in 0.5 ** np.arange(20):  # a full step overshoots where the curve is steep
            candidate = parameters + size * direction
            found = _cross_entropy(candidate, x, target, weight)
            if found < loss:
                break
        else:
            break  # nothing left to gain
        gain, parameters, loss = loss - found, candidate, found
        if gain <= 1e-10 * loss:
            break
    slope, offset = parameters.tolist()
    return PlattCurve(centre, scale, slope, offset, rate) if slope > 0 else flat


def _newton_direction(parameters: Floats, x: Floats, target: Floats, weight: Floats) -> Floats:
    p = _logistic(parameters[0] * x + parameters[1])
    error, spread = weight * (p - target), weight * p * (1 - p)
    gradient = np.array([error @ x, error.sum()])
    hessian = np.array([[spread @ (x * x), spread @ x], [spread @ x, spread.sum()]])
    return np.asarray(-np.linalg.solve(hessian + _RIDGE * np.eye(2), gradient))


def _cross_entropy(parameters: Floats, x: Floats, target: Floats, weight: Floats) -> float:
    logits = parameters[0] * x + parameters[1]
    return float(weight @ (np.logaddexp(0, logits) - target * logits))


def _reliability(
    predicted: Floats, truth: Floats, weight: Floats, task: NDArray[np.intp], bootstrap: Bootstrap
) -> tuple[CalibrationBin, ...]:
    """The bins. They end where a tenth of the weight does, so equal predictions share a bin."""
    order = np.argsort(predicted, kind="stable")
    reached = np.cumsum(weight[order]) / weight.sum()
    edges = predicted[order][np.searchsorted(reached, np.arange(1, BINS) / BINS - 1e-12)]
    number = np.unique(np.searchsorted(np.unique(edges), predicted), return_inverse=True)[1]
    bins = int(number.max()) + 1
    place = task * bins + number
    shape = (int(task[-1]) + 1, bins)
    per_task = np.bincount(place, weight, minlength=shape[0] * bins).astype(np.float64).reshape(shape)
    passing = np.bincount(place, weight * truth, minlength=shape[0] * bins).astype(np.float64).reshape(shape)
    total = per_task.sum(axis=0)
    mean = np.bincount(number, weight * predicted) / total
    observed = passing.sum(axis=0) / total
    with np.errstate(invalid="ignore"):  # a resample may have nothing in a bin
        low, high = bootstrap.percentiles(bootstrap.sums(passing) / bootstrap.sums(per_task))
    columns = (total / total.sum(), mean, observed, low, high)
    return tuple(CalibrationBin(*map(float, row)) for row in zip(*columns, strict=True))


def _finite(scores: Floats) -> Floats:
    finite = scores[np.isfinite(scores)]
    return np.clip(scores, finite.min(), finite.max()) if len(finite) else np.zeros(len(scores))


def _logistic(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * x)))
