"""The rankers that run nothing: by a model's scores, by log-probability, by length or place, and sums of rankers.

Log-probabilities are those stored in the samples, under the model that drew them; for those of another model see
`likelihood`, or compute them first and use `Precomputed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError, ModelError
from rewardranker.ranking.protocol import (
    LOGPROBS,
    SCORES,
    VERDICTS,
    Candidates,
    Cost,
    Ranker,
    make_ranking,
)
from rewardranker.types import Ranking, Sample, Scorer, Verdict

Floats = NDArray[np.float64]


class _BySample:
    """A ranker whose score of a sample depends on that sample and its place alone."""

    needs: frozenset[str] = frozenset()

    def __init__(self, name: str, score: Callable[[Sample, int], float]) -> None:
        self.name = name
        self.cost = Cost()
        self._score = score

    def rank(self, candidates: Candidates) -> list[Ranking]:
        started = time.perf_counter()
        rankings = [
            make_ranking(task, samples, self.name, [self._score(sample, place) for place, sample in enumerate(samples)])
            for task, samples in candidates
        ]
        self.cost = Cost(time.perf_counter() - started)
        return rankings


class Random(_BySample):
    """Equal scores: its expected answer is a sample drawn at random, so its figure is the mean pass rate."""

    def __init__(self) -> None:
        super().__init__("random", lambda sample, place: 0.0)


class First(_BySample):
    """The sample that was drawn first."""

    def __init__(self) -> None:
        super().__init__("first", lambda sample, place: -float(place))


class Shortest(_BySample):
    """The completion with the fewest characters."""

    def __init__(self) -> None:
        super().__init__("shortest", lambda sample, place: -float(len(sample.completion)))


class MeanLogProbability(_BySample):
    """Mean log-probability of a sample's tokens (Chen et al. 2021, section 3.3).

    Raises (from `rank`):
        DataError: no sample has token log-probabilities. Single samples without tokens score minus infinity.
    """

    needs = frozenset({LOGPROBS})

    def __init__(self, name: str = "mean_logprob") -> None:
        super().__init__(name, lambda sample, place: sample.mean_logprob)

    def rank(self, candidates: Candidates) -> list[Ranking]:
        _require_logprobs(candidates, self.name)
        return super().rank(candidates)


class SumLogProbability(_BySample):
    """Log-probability of a sample: the sum over its tokens. As `MeanLogProbability` in all else."""

    needs = frozenset({LOGPROBS})

    def __init__(self, name: str = "sum_logprob") -> None:
        super().__init__(name, lambda sample, place: sample.logprob if sample.token_logprobs else -np.inf)

    def rank(self, candidates: Candidates) -> list[Ranking]:
        _require_logprobs(candidates, self.name)
        return super().rank(candidates)


class Precomputed(_BySample):
    """Scores made elsewhere, by (task_id, sample_id).

    Raises (from `rank`):
        DataError: a sample has no score, or NaN.
    """

    needs = frozenset({SCORES})

    def __init__(self, name: str, scores: Mapping[tuple[str, int], float]) -> None:
        super().__init__(name, lambda sample, place: float(scores[sample.task_id, sample.sample_id]))
        self._scores = scores

    def rank(self, candidates: Candidates) -> list[Ranking]:
        missing = [s for _, samples in candidates for s in samples if (s.task_id, s.sample_id) not in self._scores]
        if missing:
            raise DataError(
                f"{len(missing)} samples have no score of '{self.name}' (first: task '{missing[0].task_id}' sample "
                f"{missing[0].sample_id}); score these samples first"
            )
        return super().rank(candidates)


class Oracle(_BySample):
    """1 for a sample that passes, 0 for one that does not: the upper bound of every ranker."""

    needs = frozenset({VERDICTS})

    def __init__(self, verdicts: Iterable[Verdict]) -> None:
        passed = Precomputed("oracle", {(v.task_id, v.sample_id): float(v.passed) for v in verdicts})
        super().__init__("oracle", passed._score)
        self._passed = passed

    def rank(self, candidates: Candidates) -> list[Ranking]:
        return self._passed.rank(candidates)


class Reward:
    """A reward model's scores of (prompt, completion).

    Equal completions of a task are scored once, so that they tie exactly whatever batch they would have been in.
    """

    needs = frozenset({SCORES})

    def __init__(self, scorer: Scorer, name: str = "reward") -> None:
        self.name = name
        self.cost = Cost()
        self._scorer = scorer

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """Rank with one call of the scorer's `predict` for all tasks.

        Raises:
            ModelError: the scorer gives another number of scores than it was asked for, or NaN.
        """
        started = time.perf_counter()
        places: dict[tuple[str, str], int] = {}
        for task, samples in candidates:
            for sample in samples:
                places.setdefault((task.prompt, sample.completion), len(places))
        scores = np.asarray(self._scorer.predict(list(places)), np.float64) if places else np.empty(0)
        if scores.shape != (len(places),):
            raise ModelError(f"the scorer of '{self.name}' gave scores of shape {scores.shape} for {len(places)} pairs")
        if np.isnan(scores).any():
            prompt, completion = list(places)[int(np.isnan(scores).argmax())]
            raise ModelError(f"the scorer of '{self.name}' gave NaN, first for {(prompt + completion)[-80:]!r}")
        self.cost = Cost(time.perf_counter() - started)
        return [
            make_ranking(task, samples, self.name, [scores[places[task.prompt, s.completion]] for s in samples])
            for task, samples in candidates
        ]


class Weighted:
    """The weighted sum of other rankers' scores, such as reward + 1.5 * log-probability.

    Args:
        rankers: each with its weight; weight 0 leaves a ranker out, even where it scores minus infinity.
        standardise: bring each ranker's scores to mean 0 and deviation 1 over a task's samples first (over the finite
            ones; equal scores all become 0), which makes weights comparable but forgets how sure a ranker is.
    """

    def __init__(self, rankers: Mapping[Ranker, float], name: str | None = None, *, standardise: bool = False) -> None:
        if not any(rankers.values()):
            raise ValueError("Weighted needs at least one ranker with a weight other than 0")
        self._rankers = {ranker: float(weight) for ranker, weight in rankers.items() if weight}
        self._standardise = standardise
        self.needs = frozenset[str]().union(*(ranker.needs for ranker in self._rankers))
        self.name = name or " + ".join(
            ranker.name if weight == 1 else f"{weight:g}*{ranker.name}" for ranker, weight in self._rankers.items()
        )

    @property
    def cost(self) -> Cost:
        """That of all parts; what two of them share (programs run on the same tests) is counted for each."""
        return sum((ranker.cost for ranker in self._rankers), Cost())

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """Sum the rankings of all parts.

        Raises:
            DataError: opposite infinities meet in one sum.
        """
        total = [np.zeros(len(samples)) for _, samples in candidates]
        for ranker, weight in self._rankers.items():
            for place, ranking in enumerate(ranker.rank(candidates)):
                scores = np.asarray(ranking.scores, np.float64)
                with np.errstate(invalid="ignore"):  # inf - inf is refused with a message of its own
                    total[place] = total[place] + weight * (standardised(scores) if self._standardise else scores)
        return [
            make_ranking(task, samples, self.name, scores)
            for (task, samples), scores in zip(candidates, total, strict=True)
        ]


def standardised(scores: Floats) -> Floats:
    """Scores of one task with mean 0 and standard deviation 1; infinite ones stay, equal ones become 0."""
    finite = np.isfinite(scores)
    if not finite.any():
        return scores
    values = scores[finite]
    deviation = values.std() if values.max() > values.min() else 1.0
    return np.where(finite, (scores - values.mean()) / deviation if values.max() > values.min() else 0.0, scores)


def _require_logprobs(candidates: Candidates, name: str) -> None:
    samples = [sample for _, group in candidates for sample in group]
    if samples and not any(sample.token_logprobs for sample in samples):
        raise DataError(
            f"'{name}' needs token log-probabilities and none of {len(samples)} samples has any: sample with a "
            "generator that reports them, or leave this ranker out"
        )
