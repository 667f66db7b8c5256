"""Tasks, samples and verdicts -> arrays [tasks, samples]; what does not fit is an error, counted and named."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.types import Ranking, Sample, Task, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Outcomes:
    """What running the samples of one generator showed; every task has the same number of samples."""

    tasks: tuple[Task, ...]
    samples: tuple[tuple[Sample, ...], ...]
    """For each task its samples, in the order given."""
    passed: NDArray[np.bool_]
    """Shape [tasks, samples]."""
    dropped: tuple[str, ...] = ()
    """Ids of the tasks left out for having fewer samples than the others."""

    @property
    def candidates(self) -> list[tuple[Task, Sequence[Sample]]]:
        """What a ranker ranks."""
        return list(zip(self.tasks, self.samples, strict=True))

    @property
    def model(self) -> str:
        return self.samples[0][0].model


def collect(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    n: int = 1,
    *,
    drop_incomplete: bool = False,
) -> Outcomes:
    """Join the records of one generator into arrays.

    Args:
        n: samples a task that the figures will need.
        drop_incomplete: leave out tasks with fewer samples than most of the others have, instead of refusing. It
            changes what is measured: `Outcomes.dropped` names them.

    Raises:
        DataError: duplicate ids, samples of unknown tasks, samples without verdict or verdicts without sample, tasks
            without samples, unequal numbers of samples, fewer than `n` of them, or samples of several models.
    """
    verdicts = list(verdicts)
    if not tasks or not samples:
        raise DataError(f"nothing to evaluate: {len(tasks)} tasks and {len(samples)} samples")
    _refuse([f"'{t.task_id}'" for t in _repeated(tasks, lambda t: t.task_id)], "tasks have a task_id already used")
    _refuse([_named(s) for s in _repeated(samples, _id)], "samples have ids already used; give the file of one draw")
    _refuse([_named(v) for v in _repeated(verdicts, _id)], "verdicts have ids already used; judge each sample once")
    by_task: dict[str, list[Sample]] = {task.task_id: [] for task in tasks}
    _refuse([_named(s) for s in samples if s.task_id not in by_task], "samples are of tasks that are not given")
    passed = {(verdict.task_id, verdict.sample_id): verdict.passed for verdict in verdicts}
    known = {(sample.task_id, sample.sample_id) for sample in samples}
    _refuse(
        [_named(s) for s in samples if (s.task_id, s.sample_id) not in passed], "samples have no verdict: judge them"
    )
    _refuse([_named(v) for v in verdicts if (v.task_id, v.sample_id) not in known], "verdicts have no sample")
    models = list(dict.fromkeys(sample.model for sample in samples))
    if len(models) > 1:
        raise DataError(f"samples of {len(models)} models in one evaluation ('{models[0]}', '{models[1]}'): split them")
    for sample in samples:
        by_task[sample.task_id].append(sample)
    kept, dropped = _complete(tasks, by_task, drop_incomplete)
    size = len(by_task[kept[0].task_id])
    if size < n:
        raise DataError(f"tasks have {size} samples but {n} are asked for: draw more, or lower evaluation.n to {size}")
    rows = tuple(tuple(by_task[task.task_id]) for task in kept)
    return Outcomes(
        tuple(kept),
        rows,
        np.array([[passed[s.task_id, s.sample_id] for s in row] for row in rows], bool),
        tuple(dropped),
    )


def score_matrix(outcomes: Outcomes, rankings: Iterable[Ranking]) -> NDArray[np.float64]:
    """The scores of one ranker as an array [tasks, samples], in the order of `outcomes`, whatever that of the rankings.

    Raises:
        DataError: rankings of several rankers, a task ranked twice, or a sample without a score, or NaN.
    """
    scores: dict[tuple[str, int], float] = {}
    names: dict[str, None] = {}
    seen: set[str] = set()
    for ranking in rankings:
        names[ranking.ranker] = None
        if ranking.task_id in seen:
            raise DataError(f"task '{ranking.task_id}' is ranked twice by '{ranking.ranker}'")
        if len(ranking.sample_ids) != len(ranking.scores):
            raise DataError(
                f"task '{ranking.task_id}': '{ranking.ranker}' has {len(ranking.scores)} scores for "
                f"{len(ranking.sample_ids)} samples"
            )
        seen.add(ranking.task_id)
        for sample_id, score in zip(ranking.sample_ids, ranking.scores, strict=True):
            scores[ranking.task_id, sample_id] = score
    if len(names) > 1:
        raise DataError(f"rankings of several rankers ({', '.join(names)}): give those of one")
    wanted = [[(s.task_id, s.sample_id) for s in row] for row in outcomes.samples]
    name = next(iter(names), "ranker")
    _refuse(
        [f"task '{t}' sample {s}" for row in wanted for t, s in row if (t, s) not in scores],
        f"samples have no score of '{name}'",
    )
    array = np.array([[scores[key] for key in row] for row in wanted], np.float64)
    _refuse(
        [f"task '{t}' sample {s}" for row in wanted for t, s in row if np.isnan(scores[t, s])],
        f"scores of '{name}' are NaN",
    )
    return array


def _complete(
    tasks: Sequence[Task], by_task: dict[str, list[Sample]], drop_incomplete: bool
) -> tuple[list[Task], list[str]]:
    counts = [len(by_task[task.task_id]) for task in tasks]
    size = max(set(counts) - {0}, key=lambda count: (counts.count(count), count))
    kept = [task for task, count in zip(tasks, counts, strict=True) if count == size]
    dropped = [task.task_id for task, count in zip(tasks, counts, strict=True) if count < size]
    more = [task.task_id for task, count in zip(tasks, counts, strict=True) if count > size]
    if more:
        _refuse(
            [f"task '{t}' with {len(by_task[t])}" for t in more], f"tasks have more samples than the {size} of most"
        )
    if dropped and not drop_incomplete:
        _refuse(
            [f"task '{t}' with {len(by_task[t])}" for t in dropped],
            f"of {len(tasks)} tasks have fewer samples than the {size} of most; draw the missing ones, give only "
            "complete tasks, or leave these out with drop_incomplete",
        )
    return kept, dropped


def _refuse(found: Sequence[str], problem: str) -> None:
    if found:
        raise DataError(f"{len(found)} {problem} (first: {found[0]})")


def _repeated(records: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    seen: set[Hashable] = set()
    found = []
    for record in records:
        if key(record) in seen:
            found.append(record)
        seen.add(key(record))
    return found


def _id(record: Sample | Verdict) -> tuple[str, int]:
    return record.task_id, record.sample_id


def _named(record: Sample | Verdict) -> str:
    return f"task '{record.task_id}' sample {record.sample_id}"
