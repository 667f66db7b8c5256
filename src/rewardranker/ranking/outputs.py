"""Rankers by what programs return on the same inputs: majority, MBR-Exec, SRank.

A returned value is a text (`executing` makes them): equal texts are equal values. A text that begins with `!` stands
for an exception or an end without a value, an empty one for a call that was not run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.ranking.by_tests import TestOutcomes, first_of_equal
from rewardranker.ranking.protocol import (
    GENERATED_TESTS,
    OUTCOMES,
    OUTPUTS,
    Candidates,
    Cost,
    Floats,
    make_ranking,
)
from rewardranker.types import Ranking, Sample, Task

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ProgramOutputs:
    """What one program returned."""

    task_id: str
    sample_id: int
    calls: tuple[str, ...]
    """The inputs, as source text; the same for all programs of a task."""
    outputs: tuple[str, ...]
    """One text a call."""
    programs: int = 1
    """Programs executed for it; 0 for a copy of another."""
    seconds: float = 0.0


class OutputTable:
    """The outputs of tasks' programs as numbers: equal numbers are equal values, negative ones are no value."""

    def __init__(self, records: Iterable[ProgramOutputs]) -> None:
        self._records = {(record.task_id, record.sample_id): record for record in records}

    def values(self, task: Task, samples: Sequence[Sample]) -> Ints:
        """Shape [samples, calls]; -1 where a call was not run, -2, -3, ... for each kind of exception or end.

        Raises:
            DataError: a sample has no outputs, or on other calls than the task's first.
        """
        rows = []
        numbers: dict[str, int] = {}
        failures = {"": -1}
        calls = None
        for sample in samples:
            record = self._records.get((sample.task_id, sample.sample_id))
            if record is None:
                raise DataError(
                    f"task '{task.task_id}' sample {sample.sample_id} has no outputs: run all samples on the task's "
                    "inputs first"
                )
            calls = record.calls if calls is None else calls
            if record.calls != calls or len(record.outputs) != len(calls):
                raise DataError(
                    f"task '{task.task_id}' sample {sample.sample_id} was run on other inputs than the task's first "
                    "sample: run all on the same"
                )
            rows.append(
                [
                    failures.setdefault(text, -1 - len(failures))
                    if text == "" or text.startswith("!")
                    else numbers.setdefault(text, len(numbers))
                    for text in record.outputs
                ]
            )
        return np.array(rows, np.int64).reshape(len(samples), len(calls or ()))

    def execution(self, candidates: Candidates) -> Cost:
        """What running the samples on the inputs took."""
        found = [self._records.get((s.task_id, s.sample_id)) for _, samples in candidates for s in samples]
        run = [record for record in found if record is not None]
        return Cost(0.0, sum(record.programs for record in run), sum(record.seconds for record in run))


# --- formulas ---------------------------------------------------------------------------------------------------


def majority_scores(values: Ints) -> Floats:
    """Number of programs that do exactly the same on all inputs, exceptions included: plurality voting, which is MBR
    under the loss 1[outputs differ on any input] (arXiv 2204.11454, section 3). 0 for programs without any value.

    Args:
        values: shape [programs, calls], see `OutputTable.values`.
    """
    _, member, counts = np.unique(values, axis=0, return_inverse=True, return_counts=True)
    works = (values >= 0).any(axis=1) if values.size else np.zeros(len(values), bool)
    return np.asarray(np.where(works, counts[member.reshape(-1)], 0), np.float64)


def mbr_scores(values: Ints) -> Floats:
    """Minus the Bayes risk of each program (MBR-Exec, arXiv 2204.11454, with the loss averaged over inputs): the sum
    over all programs, itself included, of the share of inputs on which both return an equal value.

    An exception equals nothing, not even itself.
    """
    total = np.zeros(len(values))
    for column in values.T:
        worked = column >= 0
        counts = np.bincount(column[worked], minlength=1)
        total[worked] += counts[column[worked]]
    return total / max(values.shape[1], 1)


def srank_scores(values: Ints, pass_rates: Floats, weights: Ints) -> Floats:
    """SRank (arXiv 2311.03366, section 3): R = I V over clusters of programs with equal outputs.

    I_ij is the share of inputs on which clusters i and j return an equal value (functional overlap; I_ii = 1), and V_j
    the cluster's share of the programs times the share of the generated tests that it passes. Programs without a value
    on any input are in no cluster and score 0.

    Args:
        values: shape [programs, calls].
        pass_rates: shape [programs], in [0, 1].
        weights: shape [programs]: how much each counts in its cluster's size.
    """
    scores = np.zeros(len(values))
    valid = (values >= 0).any(axis=1) if values.size else np.zeros(len(values), bool)
    if not valid.any() or not weights[valid].sum():
        return scores
    rows, member = np.unique(values[valid], axis=0, return_inverse=True)
    member = member.reshape(-1)
    sizes = np.bincount(member, weights=weights[valid], minlength=len(rows))
    rates = np.bincount(member, weights=pass_rates[valid]) / np.bincount(member)
    overlap = np.array([((row == rows) & (row >= 0)).mean(axis=1) for row in rows])
    np.fill_diagonal(overlap, 1.0)
    scores[valid] = (overlap @ (sizes / sizes.sum() * rates))[member]
    return scores


# --- rankers ----------------------------------------------------------------------------------------------------


class _ByOutputs:
    needs = frozenset({OUTPUTS})

    def __init__(self, table: OutputTable, name: str) -> None:
        self.name = name
        self.cost = Cost()
        self._table = table

    def rank(self, candidates: Candidates) -> list[Ranking]:
        started = time.perf_counter()
        rankings = []
        for task, samples in candidates:
            values = self._table.values(task, samples)
            scores = self._scores(values, task, samples) if values.size else np.zeros(len(samples))
            rankings.append(make_ranking(task, samples, self.name, np.round(scores, 12)))
        self.cost = Cost(time.perf_counter() - started) + self._execution(candidates)
        return rankings

    def _scores(self, values: Ints, task: Task, samples: Sequence[Sample]) -> Floats:
        raise NotImplementedError(f"{type(self).__name__} does not define _scores")

    def _execution(self, candidates: Candidates) -> Cost:
        return self._table.execution(candidates)


class Majority(_ByOutputs):
    """The program whose outputs are the most frequent (`majority_scores`; arXiv 2204.11454)."""

    def __init__(self, table: OutputTable, name: str = "majority") -> None:
        super().__init__(table, name)

    def _scores(self, values: Ints, task: Task, samples: Sequence[Sample]) -> Floats:
        return majority_scores(values)


class MBR(_ByOutputs):
    """Minimum Bayes risk by execution (`mbr_scores`; arXiv 2204.11454)."""

    def __init__(self, table: OutputTable, name: str = "mbr") -> None:
        super().__init__(table, name)

    def _scores(self, values: Ints, task: Task, samples: Sequence[Sample]) -> Floats:
        return mbr_scores(values)


class SRank(_ByOutputs):
    """Functional overlap between clusters (`srank_scores`; arXiv 2311.03366).

    As in the paper's code equal programs count once in a cluster's size, and the pass rate is over the generated tests.
    The code also leaves out programs that return the same value for all inputs; here those are clusters like others.
    """

    needs = frozenset({OUTPUTS, GENERATED_TESTS, OUTCOMES})

    def __init__(self, table: OutputTable, outcomes: TestOutcomes, name: str = "srank") -> None:
        super().__init__(table, name)
        self._outcomes = outcomes

    def _scores(self, values: Ints, task: Task, samples: Sequence[Sample]) -> Floats:
        passes, counts = self._outcomes.passes(task, samples), self._outcomes.counts(task)
        rates = passes @ counts / max(counts.sum(), 1)
        return srank_scores(values, rates, first_of_equal(samples))

    def _execution(self, candidates: Candidates) -> Cost:
        return self._table.execution(candidates) + self._outcomes.execution(candidates)
