"""Joins tasks, samples and verdicts, strictly: what does not fit is an error, counted and named."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from rewardranker.errors import DataError
from rewardranker.types import Candidate, Sample, Task, Verdict

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Judged:
    """A sample with its verdict; `index` is its place among the samples given."""

    sample: Sample
    verdict: Verdict
    index: int

    def candidate(
        self, origin: str = "sample", mined_score: float | None = None, round: int | None = None
    ) -> Candidate:
        sample = self.sample
        return Candidate(
            completion=sample.completion,
            passed=self.verdict.passed,
            fraction=self.verdict.fraction,
            status=self.verdict.status,
            sample_id=sample.sample_id,
            origin=origin,
            model=sample.model,
            round=sample.round if round is None else round,
            seed=sample.seed,
            temperature=sample.temperature,
            top_p=sample.top_p,
            mined_score=mined_score,
        )


def join(tasks: Sequence[Task], samples: Sequence[Sample], verdicts: Iterable[Verdict]) -> dict[str, list[Judged]]:
    """The judged samples of each task, tasks and samples in the order given; tasks without samples have none.

    Raises:
        DataError: duplicate ids, samples of unknown tasks, samples without verdict, or verdicts without sample.
    """
    refuse([t.task_id for t in _repeated(tasks, lambda t: t.task_id)], "duplicate task_id", "tasks", "keep one of each")
    refuse(
        [named(s) for s in _repeated(samples, lambda s: (s.task_id, s.sample_id))],
        "duplicate (task_id, sample_id)",
        "samples",
        "join files of several draws only after renumbering sample_id",
    )
    judged: dict[str, list[Judged]] = {task.task_id: [] for task in tasks}
    refuse(
        [named(s) for s in samples if s.task_id not in judged],
        "unknown task",
        "samples",
        "give the tasks they were drawn for",
    )
    verdicts = list(verdicts)
    refuse(
        [named(v) for v in _repeated(verdicts, lambda v: (v.task_id, v.sample_id))],
        "duplicate (task_id, sample_id)",
        "verdicts",
        "judge each sample once",
    )
    by_id = {(verdict.task_id, verdict.sample_id): verdict for verdict in verdicts}
    refuse(
        [named(s) for s in samples if (s.task_id, s.sample_id) not in by_id],
        "no verdict",
        "samples",
        "judge these samples first",
    )
    known = {(sample.task_id, sample.sample_id) for sample in samples}
    refuse(
        [named(v) for v in verdicts if (v.task_id, v.sample_id) not in known],
        "no sample",
        "verdicts",
        "the verdicts belong to another samples file",
    )
    for index, sample in enumerate(samples):
        judged[sample.task_id].append(Judged(sample, by_id[sample.task_id, sample.sample_id], index))
    return judged


def named(record: Sample | Verdict) -> str:
    return f"task '{record.task_id}' sample {record.sample_id}"


def refuse(found: Sequence[str], problem: str, records: str, remedy: str) -> None:
    """Raise a `DataError` that counts what was found and names the first; nothing found: go on."""
    if found:
        raise DataError(f"{len(found)} {records}: {problem} (first: {found[0]}); {remedy}")


def _repeated(items: Iterable[T], key: Callable[[T], Hashable]) -> list[T]:
    seen: set[Hashable] = set()
    found = []
    for item in items:
        if key(item) in seen:
            found.append(item)
        seen.add(key(item))
    return found


def draw(items: Sequence[T], count: int, seed: int, task_id: str, purpose: str) -> list[T]:
    """At most `count` of the items at random, in their order; depends on seed, task and purpose alone."""
    if len(items) <= count:
        return list(items)
    chosen = Random(f"{seed}/{purpose}/{task_id}").sample(range(len(items)), count)
    return [items[index] for index in sorted(chosen)]


def quotas(correct: int, wrong: int, limit: int) -> tuple[int, int]:
    """How many of each class to keep under a limit of both: half each; what one lacks is the other's to use."""
    half = limit // 2
    kept_correct = min(correct, max(half, limit - wrong))
    return kept_correct, min(wrong, limit - kept_correct)
