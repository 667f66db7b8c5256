"""Rankers by which programs pass which generated tests: CodeT, MaxPass, B4."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.ranking.agreement import b4_scores, codet_scores, max_pass_scores
from rewardranker.ranking.generated_tests import GeneratedTests
from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, Candidates, Cost, Floats, make_ranking
from rewardranker.types import Ranking, Sample, Task, Verdict

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class TestOutcomes:
    """Generated tests of tasks, and verdicts of programs on them (`Verdict.outcomes`).

    A test that was not run for a program, because it ended or hung before, counts as one that does not hold.
    """

    __test__ = False  # not a test class, whatever pytest thinks of the name

    def __init__(self, tests: Iterable[GeneratedTests], verdicts: Iterable[Verdict]) -> None:
        self._tests = {row.task_id: row for row in tests}
        self._verdicts = {(verdict.task_id, verdict.sample_id): verdict for verdict in verdicts}

    def counts(self, task: Task) -> Ints:
        """How often each test of a task was drawn, shape [tests].

        Raises:
            DataError: no generated tests are known for the task (an empty list of them is fine).
        """
        if task.task_id not in self._tests:
            raise DataError(
                f"task '{task.task_id}' has no generated tests: have a model write some (their prompt ends in "
                "'assert '), or leave out the rankers that need them"
            )
        return np.array(self._tests[task.task_id].counts, np.int64)

    def passes(self, task: Task, samples: Sequence[Sample]) -> Bools:
        """Shape [samples, tests].

        Raises:
            DataError: a sample has no verdict on the generated tests, or one on other tests.
        """
        tests = len(self.counts(task))
        matrix = np.zeros((len(samples), tests), bool)
        for row, sample in zip(matrix, samples if tests else (), strict=False):
            verdict = self._verdicts.get((sample.task_id, sample.sample_id))
            if verdict is None:
                raise DataError(
                    f"task '{task.task_id}' sample {sample.sample_id} was not run on the generated tests: judge all "
                    "samples on them first"
                )
            if verdict.tests_total != tests or len(verdict.outcomes) not in (0, tests):
                raise DataError(
                    f"task '{task.task_id}' sample {sample.sample_id}: its verdict is on {verdict.tests_total} tests, "
                    f"but {tests} were generated: these verdicts are of other tests"
                )
            row[:] = [mark == "1" for mark in verdict.outcomes] or False  # no outcomes: it could not be loaded
        return matrix

    def execution(self, candidates: Candidates) -> Cost:
        """What running the samples on the tests took."""
        found = [self._verdicts.get((s.task_id, s.sample_id)) for _, samples in candidates for s in samples]
        run = [verdict for verdict in found if verdict is not None and not verdict.cached]
        return Cost(0.0, len(run), sum(verdict.seconds for verdict in run))


class _ByTests:
    """A ranker whose scores of a task follow from its outcomes alone."""

    needs = frozenset({GENERATED_TESTS, OUTCOMES})

    def __init__(self, outcomes: TestOutcomes, name: str) -> None:
        self.name = name
        self.cost = Cost()
        self._outcomes = outcomes

    def rank(self, candidates: Candidates) -> list[Ranking]:
        started = time.perf_counter()
        rankings = []
        for task, samples in candidates:
            passes, counts = self._outcomes.passes(task, samples), self._outcomes.counts(task)
            scores = self._scores(passes, counts, samples) if passes.size else np.zeros(len(samples))
            rankings.append(make_ranking(task, samples, self.name, scores))
        self.cost = Cost(time.perf_counter() - started) + self._outcomes.execution(candidates)
        return rankings

    def _scores(self, passes: Bools, counts: Ints, samples: Sequence[Sample]) -> Floats:
        raise NotImplementedError(f"{type(self).__name__} does not define _scores")


class CodeT(_ByTests):
    """sqrt(|S_x|) |S_y| of the consensus set of a program (CodeT, arXiv 2207.10397; see `agreement.codet_scores`).

    In a task without a usable test all programs tie, so its figure is the mean, as in the paper.

    Args:
        root: False: |S_x| |S_y|, the paper's formula before its experiments' square root.
    """

    def __init__(self, outcomes: TestOutcomes, *, root: bool = True, name: str = "codet") -> None:
        super().__init__(outcomes, name)
        self._root = root

    def _scores(self, passes: Bools, counts: Ints, samples: Sequence[Sample]) -> Floats:
        return codet_scores(passes, counts, root=self._root)


class MaxPass(_ByTests):
    """Number of generated tests passed (`agreement.max_pass_scores`)."""

    def __init__(self, outcomes: TestOutcomes, name: str = "maxpass") -> None:
        super().__init__(outcomes, name)

    def _scores(self, passes: Bools, counts: Ints, samples: Sequence[Sample]) -> Floats:
        return max_pass_scores(passes, counts)


class B4(_ByTests):
    """Posterior of a program's consensus set (B4, arXiv 2409.08692; see `agreement.b4_scores` for formula and priors).

    As in the paper's code equal programs and equal tests count once.
    """

    def __init__(
        self, outcomes: TestOutcomes, *, alpha: float = 1e3, beta: float = 1e5, name: str | None = None
    ) -> None:
        super().__init__(outcomes, name or "b4")
        self._alpha, self._beta = alpha, beta

    def _scores(self, passes: Bools, counts: Ints, samples: Sequence[Sample]) -> Floats:
        return b4_scores(passes, alpha=self._alpha, beta=self._beta, weights=first_of_equal(samples))


def first_of_equal(samples: Sequence[Sample]) -> Ints:
    """1 for the first sample of each distinct program, 0 for its copies: weights that count equal programs once."""
    seen: set[str] = set()
    weights = []
    for sample in samples:
        weights.append(int(sample.program not in seen))
        seen.add(sample.program)
    return np.array(weights, np.int64)
