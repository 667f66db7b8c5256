"""What the sections of a page show, as rows and cells that its template only has to set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rewardranker.report import words
from rewardranker.report.figures import (
    Calibration,
    CurvePoint,
    Difference,
    Evaluation,
    Interval,
    Pairwise,
    Population,
    PPORun,
    Ranker,
    Stage,
)

Cell = Interval | CurvePoint | Ranker | None


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table of shares."""

    key: str
    title: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class ShareTable:
    """Rankers down; generators, sizes n or groups of tasks across."""

    columns: tuple[tuple[str, str], ...]
    """Title, and a remark below it."""
    rows: tuple[Row, ...]

    def best(self, column: int) -> str:
        """The ranker that solves most among those that choose one of the samples; empty where several do, or none."""
        shown = [
            (cell.mean, row.key)
            for row in self.rows
            if row.key not in words.UNRANKED and (cell := row.cells[column]) is not None
        ]
        most = max((mean for mean, _ in shown), default=0.0)
        best = [key for mean, key in shown if mean == most]
        return best[0] if len(best) == 1 else ""


def results(evaluation: Evaluation) -> ShareTable:
    """Generators across; of a single generator the sizes n."""
    titles = evaluation.ranker_titles()
    if len(evaluation.populations) > 1:
        columns = tuple((population.title, "") for population in evaluation.populations)
        rows = [Row(key, title, tuple(p.ranker(key) for p in evaluation.populations)) for key, title in titles.items()]
        return ShareTable(columns, tuple(rows))
    (population,) = evaluation.populations
    sizes = sorted({point.n for ranker in population.rankers for point in ranker.curve} | {evaluation.n})
    rows = []
    for key, title in titles.items():
        ranker = population.ranker(key)
        points: dict[int, Cell] = {point.n: point for point in ranker.curve} if ranker else {}
        if ranker and not points:
            points[1 if key in ("mean", "greedy") else evaluation.n] = ranker
        rows.append(Row(key, title, tuple(points.get(n) for n in sizes)))
    return ShareTable(tuple((f"n = {n}", "") for n in sizes), tuple(rows))


def breakdowns(evaluation: Evaluation) -> list[tuple[str, ShareTable]]:
    """A table for each field that tasks are grouped by: groups across, their average last."""
    found = []
    for one in evaluation.breakdowns:
        columns = [(group.title, f"{group.tasks:,} tasks") for group in one.groups]
        solved = [group.solved for group in one.groups]
        if one.average:
            columns.append(("average", "of the columns"))
            solved.append(one.average)
        rows = [
            Row(key, title, tuple(cells.get(key) for cells in solved))
            for key, title in evaluation.ranker_titles().items()
            if any(key in cells for cells in solved)
        ]
        found.append((one.by, ShareTable(tuple(columns), tuple(rows))))
    return found


@dataclass(frozen=True, slots=True)
class OrderRow:
    """How well a ranker orders programs, and how far its scores can be taken at their word."""

    title: str
    population: str
    pairwise: Pairwise | None
    calibration: Calibration | None


def order(evaluation: Evaluation) -> list[OrderRow]:
    """A row for each ranker with calibration, or with a reciprocal rank; a run's pairs stand with its generators."""
    titles = evaluation.ranker_titles()
    rows = []
    for population in evaluation.populations:
        calibrated = {found.ranker: found for found in population.calibration}
        paired = {found.ranker: found for found in population.pairwise if found.mrr or found.ranker in calibrated}
        title = population.title if len(evaluation.populations) > 1 else ""
        rows += [
            OrderRow(titles.get(key, key), title, paired.get(key), calibrated.get(key))
            for key in dict.fromkeys([*paired, *calibrated])
        ]
    return rows


@dataclass(frozen=True, slots=True)
class GeneratorRow:
    """How one generator did: the row of a round."""

    population: Population
    mean: Ranker | None
    system: Ranker | None
    """The ranker that the whole system was declared with."""
    best: Ranker | None
    """The ranker that did best here, picked after the fact."""
    oracle: Ranker | None
    kl: float | None
    """KL to the SFT generator at the step whose weights became the policy."""

    def pairwise(self, ranker: str) -> Pairwise | None:
        return next((found for found in self.population.pairwise if found.ranker == ranker), None)


def generators(evaluation: Evaluation, trainings: Sequence[PPORun]) -> list[GeneratorRow]:
    """`policy-K` was trained in folder `round-K`."""
    by_title = {training.title: training for training in trainings}
    rows = []
    for population in evaluation.populations:
        training = by_title.get(population.key.replace("policy-", "round "))
        choosing = [ranker for ranker in population.rankers if ranker.key not in words.UNRANKED]
        rows.append(
            GeneratorRow(
                population,
                population.ranker("mean"),
                population.ranker(evaluation.system[1].key) if evaluation.system else None,
                max(choosing, key=lambda ranker: ranker.mean, default=None),
                population.ranker("oracle"),
                kept_kl(training) if training else None,
            )
        )
    return rows


def kept_kl(training: PPORun) -> float | None:
    """The KL at the first measurement with the best validation pass rate: PPO keeps that step's weights."""
    measured = [row for row in training.rows if "validation/pass_rate" in row]
    return max(measured, key=lambda row: row["validation/pass_rate"]).get("objective/kl") if measured else None


def paired_rankers(evaluation: Evaluation) -> dict[str, str]:
    """Key and title of the rankers with pairwise accuracies."""
    titles = evaluation.ranker_titles()
    keys = [pairwise.ranker for population in evaluation.populations for pairwise in population.pairwise]
    return {key: titles.get(key, key) for key in dict.fromkeys(keys)}


def difference_range(differences: tuple[Difference, ...]) -> float:
    """Half-width of the axis on which all differences are drawn."""
    return max((abs(bound) for d in differences for bound in (d.low, d.high)), default=0.0) * 1.05 or 0.01


def stages(evaluation: Evaluation, manifest: Mapping[str, Any]) -> list[Stage]:
    """The stages that the figures name, else those of the manifest."""
    if evaluation.stages:
        return list(evaluation.stages)
    done = manifest.get("stages", {}).items()
    return [Stage(name, float(entry["seconds"])) for name, entry in done if "seconds" in entry]
