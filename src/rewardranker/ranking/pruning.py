"""Prune-then-rank (arXiv 2506.10056): cheap checks throw programs out, the expensive ranker sees what is left."""

from __future__ import annotations

import ast
import time
import warnings
from collections.abc import Iterable

import numpy as np

from rewardranker.errors import DataError
from rewardranker.ranking.protocol import VERDICTS, Candidates, Cost, Ranker, make_ranking
from rewardranker.types import Ranking, Sample, Task, Verdict


class Pruned:
    """Scores of another ranker for the programs that pass all checks; minus infinity for the others.

    Checks: a Python program parses; with `first_tests`, the program also compiles and passes the first test that its
    task shows (tasks that show none prune nothing by it). Where no program of a task is left, none was thrown out: all
    are ranked. The inner ranker is never asked about a program that was pruned.

    Args:
        first_tests: verdicts on tasks' first public tests (`executing.judge_first_tests`); None: parse only.
    """

    def __init__(self, ranker: Ranker, first_tests: Iterable[Verdict] | None = None, name: str | None = None) -> None:
        self.name = name or f"prune + {ranker.name}"
        self.needs = ranker.needs | (frozenset[str]() if first_tests is None else {VERDICTS})
        self._ranker = ranker
        verdicts = None if first_tests is None else {(v.task_id, v.sample_id): v for v in first_tests}
        self._verdicts = verdicts
        self._tasks = {task_id for task_id, _ in verdicts or ()}
        self._own = Cost()
        self.kept = 0.0
        """Share of the samples that the last call of `rank` did not prune."""

    @property
    def cost(self) -> Cost:
        return self._own + self._ranker.cost

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """
        Raises:
            DataError: a task has first-test verdicts, but not for this sample; or as the inner ranker.
        """
        started = time.perf_counter()
        kept = []
        for task, samples in candidates:
            good = [i for i, sample in enumerate(samples) if self._passes(task, sample)]
            kept.append(good or list(range(len(samples))))
        seconds = time.perf_counter() - started
        inner = self._ranker.rank(
            [(task, [samples[i] for i in good]) for (task, samples), good in zip(candidates, kept, strict=True)]
        )
        rankings = []
        for (task, samples), good, ranking in zip(candidates, kept, inner, strict=True):
            scores = np.full(len(samples), -np.inf)
            scores[good] = ranking.scores
            rankings.append(make_ranking(task, samples, self.name, scores))
        total = sum(len(samples) for _, samples in candidates)
        self.kept = sum(map(len, kept)) / total if total else 0.0
        self._own = Cost(seconds) + self._execution(candidates)
        return rankings

    def _passes(self, task: Task, sample: Sample) -> bool:
        if task.language == "python" and not parses(sample.program):
            return False
        if self._verdicts is None or task.task_id not in self._tasks:
            return True
        verdict = self._verdicts.get((sample.task_id, sample.sample_id))
        if verdict is None:
            raise DataError(
                f"task '{task.task_id}' sample {sample.sample_id} has no verdict on the task's first test, others of "
                "its task have: judge all samples on it"
            )
        return verdict.passed

    def _execution(self, candidates: Candidates) -> Cost:
        verdicts = self._verdicts or {}
        found = [verdicts.get((s.task_id, s.sample_id)) for _, samples in candidates for s in samples]
        run = [verdict for verdict in found if verdict is not None and not verdict.cached]
        return Cost(0.0, len(run), sum(verdict.seconds for verdict in run))


def parses(program: str) -> bool:
    """Whether a text is a Python program."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # invalid escapes
            ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
