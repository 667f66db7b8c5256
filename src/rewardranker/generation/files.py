"""Samples into a file that grows batch by batch and survives any kill.

Guarantee: killed at any moment and called again, the file ends byte for byte as an undisturbed call leaves it (same
machine, same number of threads): whole batches are kept, and a batch is drawn as it would have been the first time.
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
        batch_tasks: tasks drawn and written together; a kill loses at most that much. Keep it the same on resumption.
            None: the sampler's own `batch_tasks`.

    Returns:
        Of the whole file: `samples`; `tokens`; `distinct`, the share of samples whose completion no earlier sample of
        its task has; `ended`, the share not cut by the limit of tokens. Of this call: `seconds`, `tokens_per_second`.

    Raises:
        DataError: the file holds samples of other tasks, another order, model, seed, temperature or round.
    """
    progress = progress or Silent()
    if batch_tasks is None:
        batch_tasks = int(getattr(sampler, "batch_tasks", _BATCH_TASKS))
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
        for begin in range(first, len(tasks), batch_tasks):
            batch = tasks[begin : begin + batch_tasks]
            records = [sample for samples in sampler.sample(batch, n, round=round) for sample in samples]
            if len(records) != len(batch) * n:
                raise DataError(f"the sampler gave {len(records)} samples for {len(batch)} tasks and n={n}")
            log.append(records)
            counts.add(records)
            speed = (counts.tokens - earlier) / (time.monotonic() - start)
            progress.update(begin + len(batch), **{"tokens/s": speed, "distinct": counts.figures()["distinct"]})
    seconds = time.monotonic() - start
    figures = counts.figures() | {
        "seconds": seconds,
        "tokens_per_second": (counts.tokens - earlier) / seconds if seconds > 0 else 0.0,
    }
    progress.finish(samples=counts.samples, distinct=figures["distinct"])
    return figures


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
            self.tokens += len(sample.token_ids)
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
