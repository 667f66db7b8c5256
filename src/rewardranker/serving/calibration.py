"""Fits the rule of `adaptive.py` to judged, scored samples: when would one further candidate have changed the answer?

Each task's samples are drawn in random orders. After the first k of them, the chance that one further candidate wins
(or loses) is counted exactly over all that are left, so each state gives a share and not a coin's toss. Two logistic
curves are fitted to those shares; every task weighs one, however many samples it has.

Guarantee: the rule that `cross_fitted` gives for a task was fitted on other tasks alone.
Not guaranteed: that the tests behind `passed` are right, or that tasks to come are like these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.evaluation import Outcomes
from rewardranker.serving.adaptive import FEATURES, THRESHOLD, AdaptiveStop, Chance

Floats = NDArray[np.float64]
ORDERS, FOLDS, MIN_TASKS = 16, 5, 20
_RIDGE = 0.1
_PRIOR = 0.02
_NEWTON_STEPS = 50


@dataclass(frozen=True)
class Pool:
    """All samples of all tasks; arrays are [tasks, samples]."""

    scores: Floats
    """Finite."""
    passed: NDArray[np.bool_]
    programs: NDArray[np.intp]
    """A number for each distinct program of a task."""
    tokens: Floats
    """1 each where samples don't carry their tokens."""

    def __len__(self) -> int:
        return len(self.scores)

    def of(self, tasks: NDArray[np.bool_]) -> Pool:
        return Pool(self.scores[tasks], self.passed[tasks], self.programs[tasks], self.tokens[tasks])


def make_pool(outcomes: Outcomes, scores: Floats) -> Pool:
    """Arrays of judged samples; tasks with more samples than the others lend their first ones.

    Args:
        scores: in the order of `outcomes`, shape [samples] (`evaluation.score_vector`); infinite ones count as the
            highest or lowest finite one.
    """
    finite = scores[np.isfinite(scores)]
    values = np.clip(scores, finite.min(), finite.max()) if len(finite) else np.zeros(len(scores))
    starts, size = np.cumsum(outcomes.counts) - outcomes.counts, int(outcomes.counts.min())
    places = starts[:, None] + np.arange(size)
    programs, tokens = np.zeros(places.shape, np.intp), np.zeros(places.shape)
    for row, samples in enumerate(outcomes.samples):
        numbers: dict[str, int] = {}
        programs[row] = [numbers.setdefault(sample.completion.strip(), len(numbers)) for sample in samples[:size]]
        tokens[row] = [sample.tokens for sample in samples[:size]]
    return Pool(values[places], outcomes.passed[places], programs, tokens if tokens.any() else np.ones(places.shape))


@dataclass(frozen=True)
class Orders:
    """Random orders in which each task's samples might have been drawn; arrays are [tasks, orders, samples]."""

    scores: Floats
    passed: NDArray[np.bool_]
    programs: NDArray[np.intp]
    tokens: Floats

    @classmethod
    def of(cls, pool: Pool, seed: int, orders: int = ORDERS) -> Orders:
        tasks, samples = pool.scores.shape
        place = np.random.default_rng([seed, 3]).random((tasks, orders, samples)).argsort(axis=2)
        row = np.arange(tasks)[:, None, None]
        return cls(pool.scores[row, place], pool.passed[row, place], pool.programs[row, place], pool.tokens[row, place])

    def answers(self, drawn: int) -> NDArray[np.intp]:
        """Place of the answer among the first so many candidates, shape [tasks, orders, 1]."""
        return self.scores[..., :drawn].argmax(axis=2)[..., None]

    def right(self, drawn: int) -> NDArray[np.bool_]:
        """Whether that answer is right, shape [tasks, orders]."""
        return np.take_along_axis(self.passed, self.answers(drawn), 2)[..., 0]

    def features(self, drawn: int) -> Floats:
        """`adaptive.features` of the first so many candidates, shape [tasks, orders, features]."""
        scores, programs = self.scores[..., :drawn], self.programs[..., :drawn]
        place = self.answers(drawn)
        best = np.take_along_axis(scores, place, 2)
        is_best = programs == np.take_along_axis(programs, place, 2)
        others = np.where(is_best, -np.inf, scores).max(axis=2)
        gap = np.where(np.isfinite(others), best[..., 0] - others, 0.0)
        once = (programs[..., :, None] == programs[..., None, :]).sum(axis=3) == 1
        shares = [_log_odds(is_best.sum(axis=2), drawn), _log_odds(once.sum(axis=2), drawn)]
        return np.stack([best[..., 0], gap, *shares, np.full(gap.shape, math.log(drawn))], axis=2)

    def next_wins(self, drawn: int) -> tuple[Floats, Floats]:
        """Share of the candidates not yet drawn that would win, and that would lose, shape [tasks, orders] each."""
        best = np.take_along_axis(self.scores, self.answers(drawn), 2)
        takes_over, passes = self.scores[..., drawn:] > best, self.passed[..., drawn:]
        right = self.right(drawn)
        wins, loses = (takes_over & passes).mean(axis=2), (takes_over & ~passes).mean(axis=2)
        return np.where(right, 0.0, wins), np.where(right, loses, 0.0)


def fit(pool: Pool, limit: int, first_step: int = 2, step: int = 2, seed: int = 0) -> AdaptiveStop:
    """The rule that a pool's samples teach.

    Args:
        limit: the most candidates that are to be drawn; each task has more samples than that, or as many.

    Raises:
        DataError: fewer samples than `limit`, or a limit below 2.
    """
    if limit < 2 or limit > pool.scores.shape[1]:
        raise DataError(f"at most {limit} candidates, of {pool.scores.shape[1]} samples a task: draw more, or ask less")
    orders = Orders.of(pool, seed)
    rows, wins, loses = [], [], []
    for drawn in range(1, limit):
        rows.append(orders.features(drawn).reshape(-1, len(FEATURES)))
        won, lost = orders.next_wins(drawn)
        wins.append(won.ravel())
        loses.append(lost.ravel())
    features = np.concatenate(rows)
    weight = len(pool) / len(features)
    return AdaptiveStop(
        wins=fit_chance(features, np.concatenate(wins), weight),
        loses=fit_chance(features, np.concatenate(loses), weight),
        threshold=THRESHOLD,
        first_step=first_step,
        step=step,
    )


def fit_chance(features: Floats, shares: Floats, weight: float) -> Chance:
    """The logistic curve of least cross-entropy, by Newton's method on standardised features.

    A small part of a task that always wins and of one that never does is added at the mean state, and each weight has
    a ridge, so that the curve is finite whatever the data.

    Args:
        features: shape [states, features].
        shares: the outcome of each state, in [0, 1].
        weight: of a state; one task has weight 1.
    """
    centre, scale = features.mean(axis=0), features.std(axis=0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    x = np.concatenate([np.ones((len(features), 1)), (features - centre) / scale], axis=1)
    penalty = np.full(x.shape[1], _RIDGE)
    penalty[0] = 0.0
    start = (weight * shares.sum() + _PRIOR) / (weight * len(shares) + 2 * _PRIOR)
    parameters = np.zeros(x.shape[1])
    parameters[0] = math.log(start / (1 - start))

    def loss(at: Floats) -> float:
        logits = x @ at
        found = weight * (np.logaddexp(0, logits) - shares * logits).sum()
        prior = _PRIOR * (2 * np.logaddexp(0, at[0]) - at[0])
        return float(found + prior + 0.5 * penalty @ (at * at))

    reached = loss(parameters)
    for _ in range(_NEWTON_STEPS):
        p, prior = _logistic(x @ parameters), float(_logistic(parameters[0]))
        gradient = weight * (x.T @ (p - shares)) + penalty * parameters
        hessian = weight * ((x.T * (p * (1 - p))) @ x) + np.diag(penalty + 1e-9)
        gradient[0] += _PRIOR * (2 * prior - 1)
        hessian[0, 0] += 2 * _PRIOR * prior * (1 - prior)
        direction = np.linalg.solve(hessian, gradient)
        for size in 0.5 ** np.arange(20):  # a full step overshoots where the curve is steep
            if (found := loss(parameters - size * direction)) < reached:
                break
        else:
            break  # nothing left to gain
        gained, reached, parameters = reached - found, found, parameters - size * direction
        if gained <= 1e-9 * reached:
            break
    weights = parameters[1:] / scale
    return Chance(float(parameters[0] - weights @ centre), tuple(float(value) for value in weights))


def chance(curve: Chance, features: Floats) -> Floats:
    """A `Chance` of many states; features are [..., features]."""
    return _logistic(features @ np.array(curve.weights) + curve.offset)


Ruled = Sequence[tuple[AdaptiveStop, NDArray[np.bool_]]]
"""Rules, each with the tasks that it rules, as a mask [tasks]."""


def cross_fitted(pool: Pool, limit: int, first_step: int = 2, step: int = 2, seed: int = 0) -> Ruled:
    """Tasks in `FOLDS` folds, each ruled by what was fitted on the others.

    Raises:
        DataError: see `fit`; fewer than `MIN_TASKS` tasks.
    """
    require_tasks(len(pool))
    fold = np.random.default_rng([seed, 4]).permutation(len(pool)) % FOLDS
    return [(fit(pool.of(fold != number), limit, first_step, step, seed), fold == number) for number in range(FOLDS)]


def require_tasks(count: int) -> None:
    """
    Raises:
        DataError: too few tasks to tell anything.
    """
    if count < MIN_TASKS:
        raise DataError(f"{count} tasks are too few to calibrate on: give at least {MIN_TASKS}, better 200")


def _log_odds(count: NDArray[np.intp], drawn: int) -> Floats:
    return np.asarray(np.log((count + 0.5) / (drawn - count + 0.5)))


def _logistic(x: Floats | float) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x))))
