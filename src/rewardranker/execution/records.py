"""Verdicts on disk: judge a stream of samples into a JSON Lines file, and go on after a kill."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.execution.judge import PythonJudge, pair
from rewardranker.progress import Silent
from rewardranker.runs import RecordLog, read_records
from rewardranker.types import Judge, ProgressReporter, Sample, Task, Verdict


def judge_to_file(
    tasks: Iterable[Task],
    samples: Iterable[Sample] | str | Path,
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
    batch: int = 256,
) -> dict[str, Any]:
    """Judge samples in order and append their verdicts to a file, `batch` at a time.

    Verdicts that an earlier session left in `output` are kept, once their ids have been checked against the samples.

    Args:
        samples: records, or the JSON Lines file that holds them (read as a stream).

    Returns:
        `programs`, `passed`, `pass_rate`, `cached`, `by_status` (word -> count) over the whole file, `isolation`, and
        `programs_per_second` of this session.

    Raises:
        DataError: the samples can't be read, a sample's task is not among `tasks`, or a task can't be judged.
        RunDirectoryError: the verdicts in `output` are not those of the first samples, or the disk is full.
        SandboxError: the judge itself fails.
    """
    progress = progress or Silent()
    tasks = list(tasks)
    total, stream = _counted(samples)
    counts: Counter[str] = Counter()
    cached = 0
    with RecordLog(output, Verdict) as log:
        done = len(log)
        progress.start("judge", total, "programs", done)
        known = list(_check(log.read(), pair(tasks, itertools.islice(stream, done)), Path(output)))
        if len(known) < done:
            raise RunDirectoryError(f"{output} holds {done} verdicts but there are only {len(known)} samples")
        for _, _, verdict in known:
            counts[verdict.status] += 1
            cached += verdict.cached
        items = pair(tasks, stream)
        verdicts = judge.judge(items, known=known) if isinstance(judge, PythonJudge) else judge.judge(items)
        del known
        start, first = time.monotonic(), done
        while chunk := list(itertools.islice(verdicts, batch)):
            log.append(chunk)
            done += len(chunk)
            counts.update(verdict.status for verdict in chunk)
            cached += sum(verdict.cached for verdict in chunk)
            progress.update(done, passed=counts["passed"] / done)
        seconds = time.monotonic() - start
    rate = counts["passed"] / done if done else 0.0
    summary: dict[str, Any] = {
        "programs": done,
        "passed": counts["passed"],
        "pass_rate": rate,
        "cached": cached,
        "by_status": dict(counts.most_common()),
        "isolation": judge.isolation,
        "programs_per_second": (done - first) / seconds if done > first and seconds > 0 else 0.0,
    }
    progress.finish(passed=rate)
    return summary


def _counted(samples: Iterable[Sample] | str | Path) -> tuple[int, Iterator[Sample]]:
    if isinstance(samples, str | Path):
        try:
            with open(samples, "rb") as file:
                total = sum(1 for line in file if line.strip())
        except OSError as error:
            raise DataError(f"{samples}: {error.strerror}; sample first, or give the path of the samples") from None
        return total, read_records(samples, Sample)
    records = list(samples)
    return len(records), iter(records)


def _check(
    verdicts: Iterable[Verdict], items: Iterable[tuple[Task, Sample]], output: Path
) -> Iterator[tuple[Task, Sample, Verdict]]:
    for number, ((task, sample), verdict) in enumerate(zip(items, verdicts, strict=False), 1):
        if (verdict.task_id, verdict.sample_id) != (sample.task_id, sample.sample_id):
            raise RunDirectoryError(
                f"{output}:{number} is the verdict of sample {verdict.sample_id} of task '{verdict.task_id}', but the "
                f"samples have sample {sample.sample_id} of task '{sample.task_id}' there: these verdicts are of other "
                "samples; choose another file"
            )
        yield task, sample, verdict
