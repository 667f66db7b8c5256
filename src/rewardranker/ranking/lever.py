"""Reward over execution outcomes (LEVER, arXiv 2302.08468): the reward model also reads what the program returned.

The outcomes are comments behind the program, so any reward model reads them as it reads programs, once it was trained
on such texts (`groups_with_outcomes`). A reward model that never saw them is out of its depth here.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.ranking.outputs import OutputTable, ProgramOutputs
from rewardranker.ranking.protocol import LOGPROBS, OUTPUTS, SCORES, Candidates, Cost, make_ranking
from rewardranker.ranking.rankers import Reward
from rewardranker.types import PreferenceGroup, Ranking, Sample, Scorer

SHOWN = 3
"""Calls whose outcomes the reward model reads."""
Floats = NDArray[np.float64]


def with_outcomes(completion: str, calls: Sequence[str], outputs: Sequence[str], shown: int = SHOWN) -> str:
    """A completion followed by what its program returned.

    Example:
        >>> with_outcomes("    return a + 1\\n", ["f(1)", "f('x')"], ["2", "!TypeError"])
        "    return a + 1\\n# f(1) -> 2\\n# f('x') -> raises TypeError\\n"
    """
    lines = [f"# {call} -> {_words(text)}\n" for call, text in zip(calls[:shown], outputs[:shown], strict=True)]
    return completion.rstrip("\n") + "\n" + "".join(lines)


def _words(output: str) -> str:
    if not output:
        return "not run"
    if not output.startswith("!"):
        return output
    ended = output[1:]  # a class of exceptions, or a status: timeout, compile error, ...
    return f"raises {ended}" if ended[:1].isupper() else ended


def groups_with_outcomes(
    groups: Iterable[PreferenceGroup],
    samples: Iterable[Sample],
    outputs: Iterable[ProgramOutputs],
    shown: int = SHOWN,
) -> tuple[list[PreferenceGroup], int]:
    """Training data for a reward model over outcomes: preference groups whose candidates show theirs.

    Args:
        samples: of the groups' tasks; a candidate is matched by its completion.

    Returns:
        The groups, and how many candidates were left out because no sample with outputs has their completion (a
        reference solution that was not run, say).
    """
    rows = {(row.task_id, row.sample_id): row for row in outputs}
    found: dict[tuple[str, str], ProgramOutputs] = {}
    for sample in samples:
        row = rows.get((sample.task_id, sample.sample_id))
        if row is not None:
            found.setdefault((sample.task_id, sample.completion), row)
    made, left_out = [], 0
    for group in groups:
        kept = []
        for candidate in group.candidates:
            row = found.get((group.task_id, candidate.completion))
            if row is None:
                left_out += 1
                continue
            kept.append(
                replace(candidate, completion=with_outcomes(candidate.completion, row.calls, row.outputs, shown))
            )
        if kept:
            made.append(replace(group, candidates=tuple(kept)))
    return made, left_out


class OutcomeReward:
    """A reward model's score of the program with its outcomes (LEVER's verifier, arXiv 2302.08468, section 3.2)."""

    needs = frozenset({SCORES, OUTPUTS})

    def __init__(
        self, scorer: Scorer, records: Iterable[ProgramOutputs], name: str = "outcome-reward", shown: int = SHOWN
    ) -> None:
        self.name = name
        self.cost = Cost()
        self._reward = Reward(scorer, name)
        self._records = {(record.task_id, record.sample_id): record for record in records}
        self._table = OutputTable(self._records.values())
        self._shown = shown

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """
        Raises:
            DataError: a sample has no outputs.
            ModelError: as `Reward.rank`.
        """
        shown = [(task, [self._with_outcomes(sample) for sample in samples]) for task, samples in candidates]
        rankings = self._reward.rank(shown)
        self.cost = self._reward.cost + self._table.execution(candidates)
        return rankings

    def _with_outcomes(self, sample: Sample) -> Sample:
        record = self._records.get((sample.task_id, sample.sample_id))
        if record is None:
            raise DataError(
                f"'{self.name}' needs what the programs return: task '{sample.task_id}' sample {sample.sample_id} has "
                "no outputs; run all samples on the task's inputs first"
            )
        return replace(sample, completion=with_outcomes(sample.completion, record.calls, record.outputs, self._shown))


class Lever:
    """LEVER (arXiv 2302.08468, equations 3 and 4): the sum, over the distinct programs with the same outputs as this
    one, of p_LM(y | x) p_theta(v = 1 | x, y, E(y)); scores are its logarithm.

    p_LM is the program's summed log-probability; the verifier's probability is sigmoid(reward), which a reward trained
    by Bradley-Terry only defines up to a constant of the task: the larger it is, the less the verifier counts beside
    p_LM. Outputs are equal when all calls agree, exceptions included.
    """

    needs = frozenset({SCORES, OUTPUTS, LOGPROBS})

    def __init__(
        self, scorer: Scorer, records: Iterable[ProgramOutputs], name: str = "lever", shown: int = SHOWN
    ) -> None:
        self.name = name
        rows = list(records)
        self._verifier = OutcomeReward(scorer, rows, name, shown)
        self._table = OutputTable(rows)
        self._seconds = 0.0

    @property
    def cost(self) -> Cost:
        return self._verifier.cost + Cost(self._seconds)

    def rank(self, candidates: Candidates) -> list[Ranking]:
        """
        Raises:
            DataError: a sample has no outputs or no token log-probabilities.
            ModelError: as `Reward.rank`.
        """
        for _, samples in candidates:
            for sample in samples:
                if not sample.token_logprobs:
                    raise DataError(
                        f"'{self.name}' needs token log-probabilities and task '{sample.task_id}' sample "
                        f"{sample.sample_id} has none: sample with a generator that reports them, or rank by "
                        "'outcome-reward'"
                    )
        verified = self._verifier.rank(candidates)
        started = time.perf_counter()
        rankings = []
        for (task, samples), ranking in zip(candidates, verified, strict=True):
            values = self._table.values(task, samples)
            rewards = np.asarray(ranking.scores)
            joint = np.array([s.logprob for s in samples]) - np.logaddexp(0.0, -rewards)
            rankings.append(make_ranking(task, samples, self.name, lever_scores(values, joint, _programs(samples))))
        self._seconds = time.perf_counter() - started
        return rankings


def lever_scores(values: NDArray[np.int64], joint: Floats, programs: Sequence[int]) -> Floats:
    """For each program the log of the sum of exp(joint) over the distinct programs with its outputs.

    Args:
        values: shape [programs, calls], see `OutputTable.values`.
        joint: shape [programs]: log p_LM + log p_theta.
        programs: a number for each program; equal ones are the same text and count once.
    """
    groups: dict[bytes, dict[int, float]] = {}
    for row, number, value in zip(values, programs, joint.tolist(), strict=True):
        own = groups.setdefault(row.tobytes(), {})
        own[number] = max(value, own.get(number, -np.inf))  # the same text drawn by other tokens: its likeliest ones
    totals = {key: float(np.logaddexp.reduce(sorted(own.values()))) for key, own in groups.items()}
    return np.array([totals[row.tobytes()] for row in values])


def _programs(samples: Sequence[Sample]) -> list[int]:
    numbers: Mapping[str, int] = {text: i for i, text in enumerate(dict.fromkeys(s.program for s in samples))}
    return [numbers[sample.program] for sample in samples]
