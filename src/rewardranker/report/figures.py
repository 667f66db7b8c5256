"""The document `evaluation.json` as typed figures, and the metrics that PPO leaves beside it.

Shares are in [0, 1]; `low` and `high` bound the interval of the document's `confidence`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from rewardranker.errors import DataError
from rewardranker.runs import from_row

FILE = "evaluation.json"
EVALUATED = "samples"
"""Key of the only population of `rewardranker eval`; a run has `sft`, `policy-1`, ..."""


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate with the bounds of its interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Best of `n`: the share of tasks solved by the first-ranked of n samples."""

    n: int
    mean: float
    low: float
    high: float
    tokens: float | None = None
    """Sampled for a task."""
    seconds: float | None = None
    """Spent scoring, a task."""
    programs: float | None = None
    """Executed to choose, a task."""


@dataclass(frozen=True, slots=True)
class Ranker:
    """What choosing with one ranker solves in one population."""

    key: str
    title: str
    mean: float
    low: float
    high: float
    curve: tuple[CurvePoint, ...] = ()


@dataclass(frozen=True, slots=True)
class Pairwise:
    """Share of (correct, wrong) pairs of the same task that a ranker puts in order."""

    ranker: str
    all: Interval | None = None
    hard: Interval | None = None
    mrr: Interval | None = None
    """Mean reciprocal rank of the first correct program."""
    auc: Interval | None = None
    """Over the samples of all tasks together."""


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """Programs of neighbouring predictions."""

    share: float
    predicted: float
    observed: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Calibration:
    """How far predictions made from a ranker's score can be taken at their word."""

    ranker: str
    ece: float
    """Expected calibration error."""
    brier: float
    brier_of_rate: float
    """Brier score of predicting the pass rate for every program: what a score has to beat."""
    bins: tuple[CalibrationBin, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Tasks of one language, source or difficulty: what each ranker solves of them."""

    title: str
    tasks: int
    solved: Mapping[str, Interval]
    """By ranker."""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """All tasks by one of their fields."""

    by: str
    groups: tuple[Group, ...]
    average: Mapping[str, Interval]
    """Mean of the groups' means; empty for a single group."""


@dataclass(frozen=True, slots=True)
class Population:
    """The samples of one generator on the evaluation tasks."""

    key: str
    title: str
    rankers: tuple[Ranker, ...]
    distinct: Interval | None = None
    """Share of distinct programs among a task's samples."""
    pairwise: tuple[Pairwise, ...] = ()
    calibration: tuple[Calibration, ...] = ()

    def ranker(self, key: str) -> Ranker | None:
        return next((ranker for ranker in self.rankers if ranker.key == key), None)


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference of two shares, paired by task."""

    title: str
    mean: float
    low: float
    high: float
    p: float

    @property
    def significant(self) -> bool:
        """Its interval does not contain zero."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True, slots=True)
class Stage:
    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All of `evaluation.json`."""

    name: str
    tasks: int
    n: int
    populations: tuple[Population, ...]
    confidence: float = 0.95
    differences: tuple[Difference, ...] = ()
    stages: tuple[Stage, ...] = ()
    peak_memory_mb: float | None = None
    notes: tuple[str, ...] = ()
    breakdowns: tuple[Breakdown, ...] = ()
    samples: int | None = None
    """Programs drawn for all tasks together, where tasks may differ or `n` is smaller than what was drawn."""

    @property
    def system(self) -> tuple[Population, Ranker] | None:
        """What the loop is for, named before anything is measured: the last policy's samples, ranked by the last
        reward model + log-probability. None where the figures are not a loop's."""
        population = _last(self.populations, r"policy-(\d+)")
        ranker = _last(population.rankers, r"reward-(\d+)\+logprob") if population else None
        return (population, ranker) if population and ranker else None

    @property
    def main_ranker(self) -> str:
        """The ranker that programs are sorted by at first: the last round's reward model, or the first by a reward."""
        rankers = {ranker.key: ranker for population in self.populations for ranker in population.rankers}
        last = _last(tuple(rankers.values()), r"reward-(\d+)")
        return last.key if last else next((key for key in rankers if "reward" in key), "")

    def ranker_titles(self) -> dict[str, str]:
        """Key and title of every ranker of any population, in order of first appearance, the oracle last."""
        titles = {ranker.key: ranker.title for population in self.populations for ranker in population.rankers}
        if "oracle" in titles:
            titles["oracle"] = titles.pop("oracle")
        return titles


Keyed = TypeVar("Keyed", Population, Ranker)


def _last(items: Sequence[Keyed], pattern: str) -> Keyed | None:
    """The one of the last round, among those whose key matches; the pattern's group is the round."""
    rounds = {int(match[1]): item for item in items if (match := re.fullmatch(pattern, item.key))}
    return rounds[max(rounds)] if rounds else None


def parse_figures(document: Mapping[str, Any], where: str = FILE) -> Evaluation:
    """The figures of a parsed `evaluation.json`.

    Raises:
        DataError: a column is missing or of the wrong type, or there is no population.
    """
    figures = from_row(document, Evaluation, where)
    if not figures.populations:
        raise DataError(f"{where}: 'populations' is empty: nothing was measured")
    return figures


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object, or None where there is no such file.

    Raises:
        DataError: not a JSON object.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: broken JSON: {error}") from None
    if not isinstance(document, dict):
        raise DataError(f"{path}: expected a JSON object, got {type(document).__name__}")
    return document


@dataclass(frozen=True, slots=True)
class PPORun:
    """The metrics of one PPO training: a row for each step."""

    title: str
    rows: tuple[Mapping[str, float], ...]

    def series(self, key: str) -> list[tuple[float, float]]:
        """(step, value) where the metric was measured."""
        return [(row["step"], row[key]) for row in self.rows if key in row]


def ppo_runs(run_dir: Path) -> Iterator[PPORun]:
    """The PPO trainings of a run, by round; a folder without metrics is no training."""
    for path in sorted(run_dir.glob("*/ppo/metrics.jsonl")):
        rows = []
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: broken JSON ({error.msg}); repair or remove this line") from None
            numbers = {k: float(v) for k, v in row.items() if isinstance(v, int | float) and not isinstance(v, bool)}
            rows.append({"step": float(number), **numbers})
        if rows:
            yield PPORun(path.parent.parent.name.replace("-", " "), tuple(rows))
