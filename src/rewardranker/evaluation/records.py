"""The document of an evaluation, `evaluation.json`: one JSON object with the fields of `Evaluation`.

The keys are stable: within `SCHEMA` fields are added, never renamed or taken away. Rates are shares in [0, 1]; an
interval is `mean, low, high`; null stands for a figure that can't be told, as said at each field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError
from rewardranker.evaluation.calibration import Calibration
from rewardranker.evaluation.intervals import Interval
from rewardranker.runs import from_row, write_json, write_text

SCHEMA = "rewardranker.evaluation/1"
FILE, TABLES = "evaluation.json", "evaluation.md"
MEAN, GREEDY, ORACLE = "mean of n", "greedy", "oracle"
"""Rows beside the rankers: a sample drawn at random (expected pass@1), the greedy program where one was given, and any
of n samples (pass@n by the unbiased estimator)."""


@dataclass(frozen=True, slots=True)
class Row:
    """The pass rate of a ranker's answer among n samples, mean over tasks, and what that answer costs a task."""

    ranker: str
    n: int
    mean: float
    low: float
    high: float
    tokens: float | None = None
    """Tokens sampled; null where the samples don't carry their tokens."""
    seconds: float | None = None
    """Spent scoring."""
    programs: float | None = None
    """Programs executed to choose. Verdicts don't count, but for the oracle, which chooses by them."""
    execution_seconds: float | None = None
    """Time in which those ran, summed over programs. Null stands for a cost that was not measured."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How much better one figure is than another, paired by task, in shares."""

    ranker: str
    baseline: str
    n: int
    """Best of n on both sides; the baselines `mean of n` and `greedy` answer with one sample."""
    mean: float
    low: float
    high: float
    p_value: float
    p_adjusted: float
    """Corrected for all comparisons of the list."""


@dataclass(frozen=True, slots=True)
class Quality:
    """How well a ranker orders all samples of a task; equal scores count half. Null where no pair can be made."""

    ranker: str
    pairwise_accuracy: Interval | None
    """Share of (correct, wrong) pairs of a task in the right order, mean over the tasks that have a pair."""
    pairwise_accuracy_pooled: float | None
    """Over all pairs."""
    mrr: Interval
    """Mean reciprocal rank of the first correct program; 0 for a task without one."""
    auc: Interval | None
    """Over the samples of all tasks together: whether scores compare across tasks."""
    tied: float
    """Share of tasks whose highest score several samples have."""
    infinite_scores: int = 0


@dataclass(frozen=True, slots=True)
class Cost:
    """What a ranker took for all samples, as measured when it ran."""

    ranker: str
    samples: int
    """Number of samples scored."""
    seconds: float | None
    programs: int | None
    execution_seconds: float | None
    """Null where they were not measured."""


@dataclass(frozen=True, slots=True)
class GroupRow:
    """As `Row`, over the tasks of a group."""

    ranker: str
    n: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks of one language, source, difficulty, ..."""

    value: str
    tasks: int
    rows: tuple[GroupRow, ...]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All tasks by one of their fields."""

    by: str
    groups: tuple[Group, ...]
    average: tuple[GroupRow, ...]
    """The mean of the groups' means, each group counting the same (as the last column of the usual tables)."""


@dataclass(frozen=True, slots=True)
class TaskFigures:
    """A ranker's expected pass rate on each task, in the order of `Evaluation.task_ids`."""

    ranker: str
    n: int
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Figures of one generator's samples under all rankers."""

    model: str
    tasks: int
    samples: int
    fewest_samples: int
    """Of any task: the largest n of the curves."""
    most_samples: int
    n: int
    """Of which the differences, the breakdowns' tables and `distinct` are."""
    confidence: float
    bootstrap: int
    seed: int
    rows: tuple[Row, ...]
    differences: tuple[Comparison, ...]
    quality: tuple[Quality, ...]
    calibration: tuple[Calibration, ...]
    """Without the rankers of which it can't be told (fewer than two problems)."""
    costs: tuple[Cost, ...]
    breakdowns: tuple[Breakdown, ...]
    task_ids: tuple[str, ...]
    problems: tuple[str, ...]
    """The problem of each task: tasks with equal ones are drawn together."""
    per_task: tuple[TaskFigures, ...]
    distinct: float | None = None
    """Expected number of distinct programs among `n` samples; null where they were not compared. `rewardranker eval`
    compares texts, but for space around them."""
    dropped: tuple[str, ...] = ()
    """Tasks left out of every figure for having too few samples."""
    notes: tuple[str, ...] = ()
    draw: Mapping[str, str] = field(default_factory=dict)
    """How the samples were drawn: temperature, top_p, round."""
    methods: Mapping[str, str] = field(default_factory=dict)
    """How intervals, p-values and their correction are made, in words."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """The files that were evaluated."""
    against: tuple[Against, ...] = ()
    """Comparisons with other evaluations of the same tasks."""
    schema: str = SCHEMA

    @property
    def ns(self) -> list[int]:
        """The sizes n of the curves."""
        return sorted({row.n for row in self.rows})

    def figures(self, ranker: str, n: int | None = None) -> tuple[float, ...]:
        """A ranker's expected pass rate on each task, best of n (`self.n`; greedy and the mean have one for every n).

        Raises:
            DataError: there is no such figure.
        """
        wanted = 1 if ranker in (MEAN, GREEDY) else n or self.n
        for found in self.per_task:
            if (found.ranker, found.n) == (ranker, wanted):
                return found.values
        have = ", ".join(dict.fromkeys(f"'{found.ranker}'" for found in self.per_task))
        raise DataError(f"the evaluation has no best of {wanted} by '{ranker}'; it has {have}, n = {self.ns}")

    def to_record(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)

    def to_markdown(self) -> str:
        """Tables of the figures in percent, with their intervals."""
        from rewardranker.evaluation.markdown import to_markdown

        return to_markdown(self)


@dataclass(frozen=True, slots=True)
class Against:
    """Differences from another evaluation of the same tasks, ranker by ranker: this one's minus the other's."""

    path: str
    model: str
    tasks: int
    differences: tuple[Comparison, ...]
    """`ranker` is this evaluation's, `baseline` the other's."""


def write_evaluation(evaluation: Evaluation, folder: str | Path) -> None:
    """Write `evaluation.json` and `evaluation.md` into a folder."""
    write_json(Path(folder) / FILE, evaluation.to_record())
    write_text(Path(folder) / TABLES, evaluation.to_markdown())


def read_evaluation(path: str | Path) -> Evaluation:
    """Read an evaluation from its folder or its JSON file.

    Raises:
        DataError: there is none, or it is of another kind or version.
    """
    path = Path(path)
    path = path if path.is_file() else path / FILE
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (`rewardranker eval --output {path.parent}` writes it)") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a JSON document ({error})") from None
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        found = document.get("schema") if isinstance(document, dict) else None
        raise DataError(f"{path}: expected an evaluation of schema {SCHEMA}, found {found!r}")
    return from_row(document, Evaluation, str(path))
