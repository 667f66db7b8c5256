"""The document that `rewardranker eval` writes, as the figures that a page shows.

It is told from a run's by its `schema`. Missing columns that only some evaluations have (cost, calibration, groups)
leave their part of the page out; the rest is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rewardranker.errors import DataError
from rewardranker.report.figures import (
    EVALUATED,
    FILE,
    Breakdown,
    Calibration,
    CurvePoint,
    Difference,
    Evaluation,
    Group,
    Interval,
    Pairwise,
    Population,
    Ranker,
)
from rewardranker.runs import from_row

SCHEMA = "rewardranker.evaluation/"
TITLES = {"mean of n": ("mean", "mean (pass@1)"), "greedy": ("greedy", "greedy"), "oracle": ("oracle", "oracle")}
"""Rows that are no ranker: their keys and titles on the page."""


@dataclass(frozen=True, slots=True)
class _Row:
    ranker: str
    n: int
    mean: float
    low: float
    high: float
    tokens: float | None = None
    seconds: float | None = None
    programs: float | None = None


@dataclass(frozen=True, slots=True)
class _Comparison:
    ranker: str
    baseline: str
    n: int
    mean: float
    low: float
    high: float
    p_value: float
    p_adjusted: float | None = None


@dataclass(frozen=True, slots=True)
class _Quality:
    ranker: str
    pairwise_accuracy: Interval | None = None
    mrr: Interval | None = None
    auc: Interval | None = None


@dataclass(frozen=True, slots=True)
class _Group:
    value: str
    tasks: int
    rows: tuple[_Row, ...]


@dataclass(frozen=True, slots=True)
class _Breakdown:
    by: str
    groups: tuple[_Group, ...]
    average: tuple[_Row, ...] = ()


@dataclass(frozen=True, slots=True)
class _Against:
    differences: tuple[_Comparison, ...]
    path: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True)
class _Document:
    tasks: int
    n: int
    rows: tuple[_Row, ...]
    model: str = ""
    samples: int | None = None
    confidence: float = 0.95
    differences: tuple[_Comparison, ...] = ()
    quality: tuple[_Quality, ...] = ()
    calibration: tuple[Calibration, ...] = ()
    breakdowns: tuple[_Breakdown, ...] = ()
    against: tuple[_Against, ...] = ()
    distinct: float | None = None
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    methods: Mapping[str, str] = field(default_factory=dict)


def is_evaluation(document: Mapping[str, Any]) -> bool:
    """Whether a parsed `evaluation.json` is of `rewardranker eval` (else of a run)."""
    return str(document.get("schema", "")).startswith(SCHEMA)


def from_evaluation(document: Mapping[str, Any], name: str, where: str = FILE) -> Evaluation:
    """The figures of a document of `rewardranker eval`.

    Args:
        name: of the page: what was evaluated.

    Raises:
        DataError: a column is missing or of the wrong type, nothing was measured, or another version wrote it.
    """
    if document["schema"] != SCHEMA + "1":
        raise DataError(f"{where}: schema '{document['schema']}' is not known here, expected '{SCHEMA}1': update")
    found = from_row(document, _Document, where)
    if not found.rows:
        raise DataError(f"{where}: 'rows' is empty: nothing was measured")
    comparisons = [_difference(row, "") for row in found.differences]
    comparisons += [
        _difference(row, f", this minus {other.model or other.path}")
        for other in found.against
        for row in other.differences
    ]
    notes = list(found.notes)
    if found.dropped:
        notes.append(f"{len(found.dropped):,} tasks were left out for too few samples, such as {found.dropped[0]}.")
    if found.distinct is not None:
        notes.append(f"Of {found.n} programs drawn for a task, {found.distinct:.1f} are distinct.")
    notes += [f"{name}: {text}" for name, text in found.methods.items()]
    population = Population(
        EVALUATED,
        found.model or "samples",
        _rankers(found),
        pairwise=tuple(Pairwise(q.ranker, q.pairwise_accuracy, mrr=q.mrr, auc=q.auc) for q in found.quality),
        calibration=found.calibration,
    )
    return Evaluation(
        name,
        found.tasks,
        found.n,
        (population,),
        found.confidence,
        tuple(comparisons),
        notes=tuple(notes),
        breakdowns=tuple(_breakdown(one, found.n) for one in found.breakdowns),
        samples=found.samples,
    )


def _rankers(found: _Document) -> tuple[Ranker, ...]:
    """One for each name, its figure being that at n; what answers with one program has a single figure."""
    by_name: dict[str, list[_Row]] = {}
    for row in found.rows:
        by_name.setdefault(row.ranker, []).append(row)
    rankers = []
    for name, rows in by_name.items():
        key, title = TITLES.get(name, (name, name))
        rows = sorted(rows, key=lambda row: row.n)
        shown = next((row for row in rows if row.n == found.n), rows[-1])
        curve = tuple(CurvePoint(r.n, r.mean, r.low, r.high, r.tokens, r.seconds, r.programs) for r in rows)
        rankers.append(Ranker(key, title, shown.mean, shown.low, shown.high, curve))
    return tuple(rankers)


def _difference(row: _Comparison, suffix: str) -> Difference:
    baseline = TITLES.get(row.baseline, ("", row.baseline))[1]
    p = row.p_value if row.p_adjusted is None else row.p_adjusted
    title = row.ranker if suffix and row.ranker == row.baseline else f"{row.ranker} − {baseline}"
    return Difference(f"{title}, n = {row.n}{suffix}", row.mean, row.low, row.high, p)


def _breakdown(found: _Breakdown, n: int) -> Breakdown:
    groups = tuple(Group(group.value, group.tasks, _at(group.rows, n)) for group in found.groups)
    return Breakdown(found.by, groups, _at(found.average, n) if len(groups) > 1 else {})


def _at(rows: Iterable[_Row], n: int) -> dict[str, Interval]:
    """Each ranker's figure at n; the mean's and greedy's are of one program."""
    shown = {}
    for row in rows:
        key = TITLES.get(row.ranker, (row.ranker, ""))[0]
        if row.n == n or key in ("mean", "greedy"):
            shown[key] = Interval(row.mean, row.low, row.high)
    return shown
