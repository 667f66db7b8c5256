"""Every ranker on the same samples of one generator, beside chance and the oracle, with intervals over tasks."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation.collect import collect, score_matrix
from rewardranker.evaluation.figures import (
    auc,
    best_of_curve,
    distinct_per_n,
    mean_pass,
    pairwise_accuracy,
    pass_at_k,
    reciprocal_rank,
)
from rewardranker.evaluation.intervals import bootstrap_interval, paired_difference
from rewardranker.types import Ranking, Sample, Task, Verdict

MEAN, ORACLE = "mean of n", "oracle"
"""Rows that every evaluation has: a sample drawn at random (expected pass@1), and any of n (pass@n)."""


class Ranks(Protocol):
    """What `evaluate` needs of a ranker."""

    @property
    def name(self) -> str: ...

    def rank(self, candidates: Sequence[tuple[Task, Sequence[Sample]]]) -> list[Ranking]: ...


@dataclass(frozen=True, slots=True)
class Row:
    """The pass rate of a ranker's answer among n samples: mean over tasks and its interval, in [0, 1]."""

    ranker: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better a ranker's best of n is than the baseline's, paired by task."""

    ranker: str
    baseline: str
    n: int
    mean: float
    low: float
    high: float
    p_value: float


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a ranker orders all samples of a task; None where no task has both correct and wrong programs."""

    ranker: str
    pairwise_accuracy: float | None
    """Mean over tasks."""
    pairwise_accuracy_pooled: float | None
    mrr: float
    """Mean over tasks; 0 for a task without a correct program."""
    auc: float | None
    """Over the samples of all tasks together."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one generator's samples under all rankers."""

    model: str
    tasks: int
    samples_per_task: int
    confidence: float
    rows: tuple[Row, ...]
    differences: tuple[Comparison, ...]
    quality: tuple[Quality, ...]
    distinct: float | None = None
    """Expected number of distinct programs among `n` samples; None where no `key` was given."""
    dropped: tuple[str, ...] = ()
    """Tasks left out for missing samples."""
    per_task: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """For each ranker its figure on each task at the largest n, for comparisons across evaluations."""

    def to_record(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Tables of the figures in percent, with their intervals."""
        ns = list(dict.fromkeys(row.n for row in self.rows))
        cells = {(row.ranker, row.n): row for row in self.rows}
        lines = [
            f"{self.tasks} tasks, {self.samples_per_task} samples each"
            + (f", model {self.model}" if self.model else "")
            + f"; % passed, {100 * self.confidence:g} % intervals over tasks"
            + (f"; {len(self.dropped)} tasks left out for missing samples" if self.dropped else ""),
            "",
            "| best of n by | " + " | ".join(f"n = {n}" for n in ns) + " |",
            "|---" * (len(ns) + 1) + "|",
        ]
        for ranker in dict.fromkeys(row.ranker for row in self.rows):
            texts = [_percent(cells[ranker, n]) for n in ns]
            lines.append(f"| {ranker} | " + " | ".join(texts) + " |")
        if self.differences:
            lines += ["", "| difference at n | points | p |", "|---|---|---|"]
            lines += [
                f"| {d.ranker} - {d.baseline}, n = {d.n} | {_percent(d, sign=True)} | {d.p_value:.2g} |"
                for d in self.differences
            ]
        if self.quality:
            lines += ["", "| ranker | pairwise accuracy | pooled | MRR | AUC over tasks |", "|---|---|---|---|---|"]
            for q in self.quality:
                figures = (q.pairwise_accuracy, q.pairwise_accuracy_pooled, q.mrr, q.auc)
                lines.append(f"| {q.ranker} | " + " | ".join("-" if v is None else f"{v:.3f}" for v in figures) + " |")
        return "\n".join(lines) + "\n"


def evaluate(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    rankers: Sequence[Ranks],
    options: EvaluationOptions,
    *,
    baselines: Sequence[str] = (MEAN,),
    key: Callable[[Sample], Hashable] | None = None,
    drop_incomplete: bool = False,
) -> Evaluation:
    """Measure rankers on the samples of one generator.

    Best-of-n is the exact expectation over all subsets of n of each task's samples, for n = 1, 2, 4, ... and
    `options.n`; with more samples than `options.n` the figures only get steadier.

    Args:
        baselines: rankers by name, each of which all others are compared with at `options.n`.
        key: what makes samples equal programs, such as `lambda s: canonical_program(s.program)`; None leaves
            `distinct` out.
        drop_incomplete: see `collect`.

    Raises:
        DataError: the records do not fit each other (see `collect`, `score_matrix`), two rankers have one name, or a
            baseline is not among them.
    """
    outcomes = collect(tasks, samples, verdicts, options.n, drop_incomplete=drop_incomplete)
    names = [MEAN, *(ranker.name for ranker in rankers if ranker.name != ORACLE), ORACLE]
    if len(set(names)) < len(names):
        raise DataError(f"two rankers have one name among: {', '.join(names)}; rename one")
    unknown = [name for name in baselines if name not in names]
    if unknown:
        raise DataError(f"baseline '{unknown[0]}' is not among the rankers: {', '.join(names)}")
    ns = powers(options.n)
    passed = outcomes.passed
    curves: dict[str, NDArray[np.float64]] = {MEAN: np.repeat(mean_pass(passed)[:, None], len(ns), axis=1)}
    quality = []
    for ranker in rankers:
        if ranker.name == ORACLE:  # it has a row of its own
            continue
        scores = score_matrix(outcomes, ranker.rank(outcomes.candidates))
        curves[ranker.name] = best_of_curve(scores, passed, ns)
        quality.append(_quality(ranker.name, scores, passed))
    curves[ORACLE] = np.stack([pass_at_k(passed, n) for n in ns], axis=1)
    rows = []
    for name, curve in curves.items():
        for column, n in enumerate(ns):
            interval = bootstrap_interval(curve[:, column], options)
            rows.append(Row(name, n, interval.mean, interval.low, interval.high))
    differences = []
    for baseline in baselines:
        for name, curve in curves.items():
            if name not in (baseline, ORACLE, MEAN):
                d = paired_difference(curve[:, -1], curves[baseline][:, -1], options)
                differences.append(Comparison(name, baseline, options.n, d.mean, d.low, d.high, d.p_value))
    keys = None if key is None else [[key(sample) for sample in row] for row in outcomes.samples]
    return Evaluation(
        model=outcomes.model,
        tasks=len(outcomes.tasks),
        samples_per_task=passed.shape[1],
        confidence=options.confidence,
        rows=tuple(rows),
        differences=tuple(differences),
        quality=tuple(quality),
        distinct=None if keys is None else float(distinct_per_n(keys, options.n).mean()),
        dropped=outcomes.dropped,
        per_task={name: tuple(curve[:, -1].tolist()) for name, curve in curves.items()},
    )


def powers(n: int) -> list[int]:
    """1, 2, 4, ... below n, and n."""
    return [*(1 << i for i in range((n - 1).bit_length())), n]


def _quality(name: str, scores: NDArray[np.float64], passed: NDArray[np.bool_]) -> Quality:
    mixed = passed.any(axis=1) & ~passed.all(axis=1)
    accuracy = pairwise_accuracy(scores, passed) if mixed.any() else None
    return Quality(
        ranker=name,
        pairwise_accuracy=accuracy.mean if accuracy else None,
        pairwise_accuracy_pooled=accuracy.pooled if accuracy else None,
        mrr=float(reciprocal_rank(scores, passed).mean()),
        auc=auc(scores, passed) if passed.any() and not passed.all() else None,
    )


def _percent(figure: Row | Comparison, sign: bool = False) -> str:
    form = "+.1f" if sign else ".1f"
    return f"{100 * figure.mean:{form}} [{100 * figure.low:{form}}, {100 * figure.high:{form}}]"
