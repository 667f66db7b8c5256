"""What adaptive best-of-n is worth: quality against tokens at several thresholds, beside fixed numbers of candidates.

A fixed n is the exact mean over all subsets of a task's samples; the adaptive rule is played on `ORDERS` random orders
of them. Intervals are bootstrapped over tasks, and differences are paired by task.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation import Bootstrap, Interval, best_of_curve
from rewardranker.serving.adaptive import THRESHOLD
from rewardranker.serving.calibration import Orders, Pool, Ruled, chance

Floats = NDArray[np.float64]
SCHEMA = "rewardranker.adaptive-curve/1"
FIXED = (1, 2, 4, 8, 16, 32)
THRESHOLDS = (0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001, 0.0005, 0.0)
_BINS = 5


@dataclass(frozen=True)
class Row:
    """One way of drawing; means over tasks."""

    n: int | None
    """A fixed number of candidates; null: adaptive."""
    threshold: float | None
    """Of the adaptive rule; null: a fixed number."""
    quality: Interval
    """Chance that the answer is right."""
    over_limit: Interval
    """`quality` minus that of the fixed number `Curve.limit`, paired by task."""
    candidates: float
    """Drawn a task."""
    calls: float
    """One after another, each drawing one step."""
    tokens: float
    """Drawn a task."""
    share: Interval
    """`tokens` as a share of those of the fixed number `Curve.limit`."""


@dataclass(frozen=True)
class Bin:
    """States with neighbouring predictions, a fifth of all each."""

    predicted: float
    observed: float
    """Share of further candidates that won."""


@dataclass(frozen=True)
class Curve:
    """Quality against tokens."""

    limit: int
    first_step: int
    step: int
    tasks: int
    fixed: tuple[Row, ...]
    adaptive: tuple[Row, ...]
    """From few tokens to many."""
    reliability: tuple[Bin, ...]
    """Of the chance that a further candidate wins."""

    def at(self, n: int) -> Row:
        return next(row for row in self.fixed if row.n == n)

    def at_threshold(self, threshold: float) -> Row:
        return next(row for row in self.adaptive if row.threshold == threshold)

    def cheapest_without_loss(self) -> float:
        """The threshold to use: the largest, not above the default, that is as good as the best fixed n up to `limit`.

        Where none is, the one of the highest quality.
        """
        best_fixed = max(row.quality.mean for row in self.fixed if (row.n or 0) <= self.limit)
        allowed = [row for row in self.adaptive if row.threshold is not None and row.threshold <= THRESHOLD]
        reaching = [row for row in allowed if row.quality.mean >= best_fixed]
        chosen = reaching[0] if reaching else max(allowed, key=lambda row: row.quality.mean)
        assert chosen.threshold is not None
        return chosen.threshold

    def to_json(self) -> dict[str, Any]:
        return {"schema": SCHEMA, **asdict(self)}

    def to_markdown(self, chosen: float | None = None) -> str:
        """Both tables.

        Args:
            chosen: a threshold to print in bold.
        """
        return "\n".join(self._lines(chosen)) + "\n"

    def _lines(self, chosen: float | None) -> Iterator[str]:
        yield (
            f"| candidates | right answers | minus fixed {self.limit} | drawn | calls | tokens | "
            f"of fixed {self.limit}'s tokens |"
        )
        yield "|---|---|---|---|---|---|---|"
        for row in (*self.fixed, *self.adaptive):
            name = f"fixed {row.n}" if row.threshold is None else f"adaptive, {row.threshold:g}"
            if chosen is not None and row.threshold == chosen:
                name = f"**{name}**"
            difference = "" if row.n == self.limit else _shown(row.over_limit, "+")
            yield (
                f"| {name} | {_shown(row.quality)} | {difference} | {row.candidates:.1f} | {row.calls:.1f} | "
                f"{row.tokens:.0f} | {100 * row.share.mean:.0f} % [{100 * row.share.low:.0f}, "
                f"{100 * row.share.high:.0f}] |"
            )
        yield ""
        yield "| chance that a further candidate wins | " + " | ".join("" for _ in self.reliability) + " |"
        yield "|---" * (len(self.reliability) + 1) + "|"
        for name in ("predicted", "observed"):
            yield f"| {name} | " + " | ".join(f"{getattr(one, name):.4f}" for one in self.reliability) + " |"


def measure(
    pool: Pool,
    ruled: Ruled,
    limit: int,
    options: EvaluationOptions,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Curve:
    """Play a rule on the samples of each task.

    Args:
        ruled: rules, all with the same steps, each with the tasks that it rules, on which it was not fitted.
        limit: the most candidates, which is also the fixed number to compare with.
        thresholds: in falling order.
    """
    first_step, step = ruled[0][0].first_step, ruled[0][0].step
    orders = Orders.of(pool, options.seed)
    known, reliability = _gains(orders, ruled, range(first_step, limit, step))
    boot = Bootstrap(len(pool), options)
    exact = best_of_curve(pool.scores, pool.passed, [limit])[:, 0]
    whole = limit * pool.tokens.mean(axis=1)

    def row(n: int | None, threshold: float | None, quality: Floats, drawn: Floats, tokens: Floats) -> Row:
        calls = 1.0 if n else float((1 + np.ceil(np.maximum(drawn - first_step, 0) / step)).mean())
        mean, difference = boot.intervals(np.stack([quality, quality - exact], axis=1))
        ratio = boot.percentiles(boot.means(tokens[:, None]) / boot.means(whole[:, None]))[:, 0]
        share = Interval(float(tokens.mean() / whole.mean()), float(ratio[0]), float(ratio[1]), len(pool))
        return Row(n, threshold, mean, difference, float(drawn.mean()), calls, float(tokens.mean()), share)

    ns = sorted({n for n in (*FIXED, limit) if n <= pool.scores.shape[1]})
    qualities = best_of_curve(pool.scores, pool.passed, ns).T
    fixed = [
        row(n, None, quality, np.full((len(pool), 1), float(n)), n * pool.tokens.mean(axis=1))
        for n, quality in zip(ns, qualities, strict=True)
    ]
    adaptive = []
    for threshold in thresholds:
        drawn = _stopping(known, threshold, limit)
        right = np.stack([orders.right(k) for k in (*known, limit)])
        place = np.searchsorted([*known, limit], drawn)
        quality = np.take_along_axis(right, place[None], 0)[0].mean(axis=1)
        tokens = np.take_along_axis(orders.tokens.cumsum(axis=2), drawn[..., None] - 1, 2)[..., 0].mean(axis=1)
        adaptive.append(row(None, threshold, quality, drawn.astype(np.float64), tokens))
    return Curve(limit, first_step, step, len(pool), tuple(fixed), tuple(adaptive), reliability)


def _gains(orders: Orders, ruled: Ruled, counts: Sequence[int]) -> tuple[dict[int, Floats], tuple[Bin, ...]]:
    """The gain after each number of candidates, [tasks, orders] each, and how far the chances of winning hold."""
    known, predicted, observed = {}, [], []
    for drawn in counts:
        features = orders.features(drawn)
        known[drawn], chances = np.zeros(features.shape[:2]), np.zeros(features.shape[:2])
        for rule, tasks in ruled:
            chances[tasks], loses = chance(rule.wins, features[tasks]), chance(rule.loses, features[tasks])
            known[drawn][tasks] = chances[tasks] - loses
        predicted.append(chances.ravel())
        observed.append(orders.next_wins(drawn)[0].ravel())
    return known, _reliability(np.concatenate(predicted), np.concatenate(observed))


def _stopping(known: Mapping[int, Floats], threshold: float, limit: int) -> NDArray[np.intp]:
    """How many candidates are drawn, [tasks, orders]."""
    found = np.full(next(iter(known.values())).shape, limit, np.intp)
    for drawn in sorted(known, reverse=True):
        found[known[drawn] < threshold] = drawn
    return found


def _reliability(predicted: Floats, observed: Floats) -> tuple[Bin, ...]:
    parts = np.array_split(predicted.argsort(kind="stable"), _BINS)
    return tuple(Bin(float(predicted[part].mean()), float(observed[part].mean())) for part in parts)


def _shown(interval: Interval, sign: str = "") -> str:
    return f"{interval.mean:{sign}.3f} [{interval.low:{sign}.3f}, {interval.high:{sign}.3f}]"
