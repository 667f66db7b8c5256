"""Ways of choosing among n samples: rankers, greedy decoding and the oracle, each with its figures and its cost."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.evaluation.collect import Outcomes, join, refuse_repeated
from rewardranker.evaluation.figures import best_of_curve, mean_pass, pass_at_k
from rewardranker.evaluation.records import GREEDY, MEAN, ORACLE
from rewardranker.types import Ranking, Sample, Task, Verdict

Floats = NDArray[np.float64]


class Ranks(Protocol):
    """What `evaluate` needs of a ranker.

    It may also have an attribute `cost` of its last `rank`: an object with `seconds`, `programs` (executed) and
    `execution_seconds`. Without one, the call's time is taken and no program counted.
    """

    @property
    def name(self) -> str: ...

    def rank(self, candidates: Sequence[tuple[Task, Sequence[Sample]]]) -> list[Ranking]: ...


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rankings made elsewhere, with what they cost; None where that is not known."""

    name: str
    rankings: Sequence[Ranking]
    seconds: float | None = None
    """Scoring."""
    programs: int | None = None
    """Executed to choose."""
    execution_seconds: float | None = None
    """In which those ran, summed over programs."""


def run_ranker(ranker: Ranks, candidates: Sequence[tuple[Task, Sequence[Sample]]]) -> Ranked:
    """The rankings of a ranker, with their cost."""
    start = time.perf_counter()
    rankings = ranker.rank(candidates)
    seconds = time.perf_counter() - start
    cost = getattr(ranker, "cost", None)
    if cost is None:
        return Ranked(ranker.name, rankings, seconds, 0, 0.0)
    return Ranked(ranker.name, rankings, float(cost.seconds), int(cost.programs), float(cost.execution_seconds))


@dataclass(frozen=True)
class Curve:
    """A way of choosing, with the expected pass rate of its answer on each task."""

    ranker: str
    ns: tuple[int, ...]
    values: Floats
    """Shape [tasks, len(ns)]."""
    tokens: float | None
    """Sampled for each program."""
    seconds: float | None = 0.0
    programs: float | None = 0.0
    execution_seconds: float | None = 0.0
    """Cost of choosing, for each program that is chosen from; None where it is not known."""

    def at(self, n: int) -> Floats:
        """Shape [tasks]; what answers with one program does so for every n."""
        return self.values[:, self.ns.index(n) if len(self.ns) > 1 else 0]


def mean_curve(outcomes: Outcomes) -> Curve:
    """A sample drawn at random."""
    return Curve(MEAN, (1,), outcomes.per_task(mean_pass, outcomes.passed)[:, None], tokens_of(outcomes))


def ranker_curve(outcomes: Outcomes, ranked: Ranked, scores: Floats, ns: Sequence[int], tokens: float | None) -> Curve:
    """The best of n by a ranker.

    Args:
        scores: of the ranker, shape [samples].
        tokens: see `tokens_of`.
    """
    values = outcomes.per_task(lambda s, p: best_of_curve(s, p, ns), scores, outcomes.passed)
    whole = (ranked.seconds, ranked.programs, ranked.execution_seconds)
    costs = [None if cost is None else cost / scored(ranked) for cost in whole]
    return Curve(ranked.name, tuple(ns), values, tokens, *costs)


def scored(ranked: Ranked) -> int:
    """Number of samples that a ranker scored, evaluated or not: what its whole cost was spent on."""
    return sum(len(ranking.scores) for ranking in ranked.rankings)


def oracle_curve(outcomes: Outcomes, ns: Sequence[int], tokens: float | None) -> Curve:
    """Any of n that passes: pass@n. It executes every program."""
    values = outcomes.per_task(lambda p: np.stack([pass_at_k(p, n) for n in ns], axis=1), outcomes.passed)
    return Curve(ORACLE, tuple(ns), values, tokens, programs=1.0, execution_seconds=None)


def greedy_curve(outcomes: Outcomes, samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> Curve:
    """The greedy program of each task.

    Raises:
        DataError: a task has no greedy program or several, the records do not fit, or the model is another.
    """
    refuse_repeated(
        samples,
        lambda s: f"'{s.task_id}' sample {s.sample_id}",
        "greedy program",
        "with an id already used",
        "give one of each task",
    )
    passed = join(samples, verdicts)
    wanted = [task.task_id for task in outcomes.tasks]
    by_task = {sample.task_id: sample for sample in samples}
    if len(by_task) < len(samples):
        raise DataError(f"{len(samples) - len(by_task)} tasks have several greedy programs: give one each")
    missing = [task_id for task_id in wanted if task_id not in by_task]
    if missing:
        raise DataError(f"{len(missing)} tasks have no greedy program (first: '{missing[0]}')")
    models = {by_task[task_id].model for task_id in wanted}
    if models != {outcomes.model}:
        raise DataError(f"the greedy programs are of model {sorted(models)}, the samples of '{outcomes.model}'")
    chosen = [by_task[task_id] for task_id in wanted]
    tokens = [sample.tokens for sample in chosen]
    values = np.array([[float(passed[sample.task_id, sample.sample_id])] for sample in chosen])
    return Curve(GREEDY, (1,), values, float(np.mean(tokens)) if any(tokens) else None)


def tokens_of(outcomes: Outcomes) -> float | None:
    """Tokens of a program, mean over tasks; None where no sample has its tokens."""
    tokens = np.array([float(sample.tokens) for row in outcomes.samples for sample in row])
    return float(outcomes.per_task(lambda t: t.mean(axis=1), tokens).mean()) if tokens.any() else None
