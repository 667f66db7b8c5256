"""What every ranker is: scores for the samples of tasks, what it needs for them, and what they cost.

Scores of one ranker compare within a task; whether they compare across tasks depends on the ranker. The highest score
is the answer, equal scores share it in expectation: no ranker breaks a tie by the place of a sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.types import Ranking, Sample, Task

Floats = NDArray[np.float64]
Candidates = Sequence[tuple[Task, Sequence[Sample]]]
"""Tasks, each with its samples."""

SCORES = "scores of a model"
LOGPROBS = "token log-probabilities"
VERDICTS = "verdicts on the task's tests"
GENERATED_TESTS = "generated tests"
OUTCOMES = "outcomes of the generated tests"
OUTPUTS = "what the programs return"
"""What a ranker may need beside the samples (`Ranker.needs`)."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a ranking took beside drawing the samples."""

    seconds: float = 0.0
    """Computing scores: a model's passes, or counting. Running programs is counted apart."""
    programs: int = 0
    """Programs executed; equal programs that were run once count once."""
    execution_seconds: float = 0.0
    """Time in which those ran, summed over programs."""

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.seconds + other.seconds,
            self.programs + other.programs,
            self.execution_seconds + other.execution_seconds,
        )


class Ranker(Protocol):
    """Scores the samples of tasks, all tasks in one call so that a model sees large batches."""

    @property
    def name(self) -> str: ...

    @property
    def needs(self) -> frozenset[str]:
        """What it reads beside the samples' texts: some of `SCORES`, `LOGPROBS`, `VERDICTS`, ..."""
        ...

    @property
    def cost(self) -> Cost:
        """Of the last call of `rank`; nothing before it."""
        ...

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """One ranking a task, in order, with one score a sample, in order. No score is NaN.

        Raises:
            DataError: something that the ranker needs is missing for a task or sample.
        """
        ...


def make_ranking(task: Task, samples: Sequence[Sample], name: str, scores: Iterable[float]) -> Ranking:
    """The ranking of a task's samples.

    Raises:
        DataError: a score is NaN.
    """
    values = tuple(float(score) for score in scores)
    for sample, value in zip(samples, values, strict=True):
        if np.isnan(value):
            raise DataError(f"ranker '{name}' has no number for task '{task.task_id}' sample {sample.sample_id}: NaN")
    return Ranking(task.task_id, name, tuple(sample.sample_id for sample in samples), values)
