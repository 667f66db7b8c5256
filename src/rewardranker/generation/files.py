"""Samples into a file that grows batch by batch and survives any kill.

Guarantee: killed at any moment and called again, the file ends byte for byte as an undisturbed call leaves it (same
machine, same number of threads): whole batches are kept, and a batch is drawn as it would have been the first time.
From a model server come whole tasks in place of batches, and what it draws a second time is up to it.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path

from rewardranker.errors import DataError
from rewardranker.progress import Silent
from rewardranker.runs import RecordLog
from rewardranker.types import ProgressReporter, Sample, Sampler, Task

_BATCH_TASKS = 32  # for samplers that do not name a size of their own


def sample_to_file(
    sampler: Sampler,
    tasks: Sequence[Task],
    n: int,
    path: str | Path,
    *,
    batch_tasks: int | None = None,
    round: int = 0,
    progress: ProgressReporter | None = None,
) -> dict[str, float]:
    """Draw `n` samples of each task into a JSON Lines file of `Sample`, going on where an earlier call was stopped.

    Args:
        sampler: one with the attribute `streams = True` is asked for all tasks at once, and each is written when it
            comes, but gone on with from its last whole batch; any other for one batch after another.
        batch_tasks: tasks drawn and written together; a kill loses at most that much. Keep it the same on resumption.
            None: the sampler's own `batch_tasks`. It means nothing for a sampler that streams.

    Returns:
        Of the whole file: `samples`; `tokens`; `distinct`, the share of samples whose completion no earlier sample of
        its task has; `ended`, the share not cut by the limit of tokens. Of this call: `seconds`, `tokens_per_second`.

    Raises:
        DataError: the file holds samples of other tasks, another order, model, seed, temperature or round.
    """
    progress = progress or Silent()
    streams = bool(getattr(sampler, "streams", False))
    if streams or batch_tasks is None:
        batch_tasks = sampler_batch(sampler)
    counts = _Counts()
    start = time.monotonic()
    with RecordLog(path, Sample) as log:
        total, chunk = len(tasks) * n, batch_tasks * n
        whole = len(log) if len(log) == total else len(log) // chunk * chunk
        fixed = {"round": round, **getattr(sampler, "record_fields", {})}
        existing = _checked(log, tasks, n, fixed)
        counts.add(islice(existing, whole))
        collections.deque(existing, maxlen=0)  # checked too before they are dropped: they may be someone else's
        log.keep(whole)
        earlier = counts.tokens
        first = len(log) // n
        progress.start("sample", total=len(tasks), unit="tasks", done=first)
        done = first
        for batch in _batches(sampler, tasks[first:], n, round, None if streams else batch_tasks):
            log.append([sample for samples in batch for sample in samples])
            counts.add(sample for samples in batch for sample in samples)
            done += len(batch)
            speed = (counts.tokens - earlier) / (time.monotonic() - start)
            progress.update(done, **{"tokens/s": speed, "distinct": counts.figures()["distinct"]})
    seconds = time.monotonic() - start
    figures = counts.figures() | {
        "seconds": seconds,
        "tokens_per_second": (counts.tokens - earlier) / seconds if seconds > 0 else 0.0,
    }
    progress.finish(samples=counts.samples, distinct=figures["distinct"])
    return figures


def sampler_batch(sampler: Sampler) -> int:
    """Tasks that a sampler draws together: its own `batch_tasks`; for one without, one where it streams."""
    usual = 1 if getattr(sampler, "streams", False) else _BATCH_TASKS
    return int(getattr(sampler, "batch_tasks", usual))


def _batches(
    sampler: Sampler, tasks: Sequence[Task], n: int, round: int, batch_tasks: int | None
) -> Iterator[list[list[Sample]]]:
    """The samples of each task, as many tasks together as are written together; None: task by task, asked for at once.

    Raises:
        DataError: the sampler gave too many or too few.
    """
    size = batch_tasks or max(len(tasks), 1)
    for begin in range(0, len(tasks), size):
        asked = tasks[begin : begin + size]
        drawn: list[list[Sample]] = []
        count = 0
        for samples in sampler.sample(asked, n, round=round):
            count += len(samples)
            if batch_tasks is not None:
                drawn.append(samples)
                continue
            if len(samples) != n:
                raise DataError(f"the sampler gave {len(samples)} samples for a task and n={n}")
            yield [samples]
        if count != len(asked) * n:
            raise DataError(f"the sampler gave {count} samples for {len(asked)} tasks and n={n}")
        if batch_tasks is not None:
            yield drawn


class _Counts:
    def __init__(self) -> None:
        self.samples = self.tokens = self._ended = self._distinct = 0
        self._task_id = ""
        self._seen: set[str] = set()

    def add(self, samples: Iterable[Sample]) -> None:
        for sample in samples:
            if sample.task_id != self._task_id:  # the samples of a task follow one another
                self._task_id, self._seen = sample.task_id, set()
            self.samples += 1
            self.tokens += sample.tokens
            self._ended += sample.finish_reason == "stop"
            self._distinct += sample.completion not in self._seen
            self._seen.add(sample.completion)

    def figures(self) -> dict[str, float]:
        shown = max(self.samples, 1)
        return {
            "samples": self.samples,
            "tokens": self.tokens,
            "distinct": self._distinct / shown,
            "ended": self._ended / shown,
        }


def _checked(log: RecordLog[Sample], tasks: Sequence[Task], n: int, fixed: Mapping[str, object]) -> Iterator[Sample]:
    """The samples already there, sure to be those that this call would have drawn."""
    total = len(tasks) * n
    if len(log) > total:
        raise DataError(
            f"{log.path} has {len(log)} samples, but {len(tasks)} tasks x n={n} are {total}: choose another file"
        )
    for number, sample in enumerate(islice(log.read(), total)):
        task, sample_id = tasks[number // n], number % n
        expected = {"task_id": task.task_id, "sample_id": sample_id, **fixed}
        for column, value in expected.items():
            found = getattr(sample, column)
            if found != value:
                raise DataError(
                    f"{log.path}:{number + 1}: {column} is {found!r}, this call would write {value!r}: "
                    "the file was made with other tasks or options; choose another file, or remove it to start again"
                )
        yield sample
