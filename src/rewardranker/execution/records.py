"""Verdicts on disk: judge a stream of samples or rows into a JSON Lines file, and go on after a kill.

Guarantees: what was judged and given out is in the file at once, whole lines only, in the input's order; a second call
goes on behind it, after checking that the input is the same; memory does not grow with the number of programs. A power
failure may lose the last second. Not guaranteed: anything where two machines write one file.
"""

from __future__ import annotations

import contextlib
import fcntl
import inspect
import itertools
import time
import typing
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypeVar

from rewardranker.errors import DataError, RewardRankerError, RunDirectoryError, SandboxError
from rewardranker.execution import languages
from rewardranker.execution.judge import pair
from rewardranker.execution.rows import Row, read_objects, read_rows
from rewardranker.progress import Silent
from rewardranker.runs import RecordLog, from_row, read_records
from rewardranker.types import Judge, ProgressReporter, Sample, Task, Verdict

T = TypeVar("T")
_SYNC_SECONDS = 1.0
_NOT_IN_ROWS = ("task_id", "sample_id")
"""Fields of a verdict that a row's own ids replace."""


# --- samples ----------------------------------------------------------------------------------------------------


def judge_to_file(
    tasks: Iterable[Task],
    samples: Iterable[Sample] | str | Path,
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
    batch: int = 256,
) -> dict[str, Any]:
    """Judge samples in order and append their verdicts to a file.

    Verdicts that an earlier session left in `output` are kept, once their ids have been checked against the samples.

    Args:
        samples: records, or the JSON Lines file that holds them (read as a stream).
        batch: the file is synced to the disk after so many verdicts, and each second.

    Returns:
        `programs`, `passed`, `pass_rate`, `cached`, `by_status` (word -> count) over the whole file, `isolation`, and
        `programs_per_second` of this session.

    Raises:
        DataError: the samples can't be read, a sample's task is not among `tasks`, or a task can't be judged.
        RunDirectoryError: the verdicts in `output` are not those of the first samples, another process writes there,
            or the disk is full.
        SandboxError: the judge itself fails.
    """
    tasks = list(tasks)
    total, stream = _counted(samples)
    figures = _Figures(judge)
    with _only_writer(output), RecordLog(output, Verdict) as log:
        done = len(log)
        known = _check(log.read(), pair(tasks, itertools.islice(stream, done)), Path(output))
        rest = _UntilBad(pair(tasks, stream))
        verdicts = start_judging(judge, rest, (figures.passing_known(item) for item in known))
        _refuse_leftover(figures, done, output, "samples")
        records = (figures.passing_new(verdict) for verdict in verdicts)
        _write(log, records, figures, progress or Silent(), total, batch)
    rest.raise_error()
    return figures.summary()


def _counted(samples: Iterable[Sample] | str | Path) -> tuple[int, Iterator[Sample]]:
    if isinstance(samples, str | Path):
        return count_rows(samples), read_records(samples, Sample)
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


# --- rows with their own tests ----------------------------------------------------------------------------------


def judge_rows_to_file(
    rows: str | Path,
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
    batch: int = 256,
    local: bool = True,
) -> dict[str, Any]:
    """Judge a file of rows that carry their own tests (see `rows.py`): one row in, one row out, in order.

    A row of the output has the input's id fields (`rows.id_fields`), `language`, the fields of a `Verdict` but for its
    ids, and `digest`, by which a second call checks that the input is still the same.

    Args:
        local: the judge runs programs on this machine, whose toolchains decide which languages can be judged.

    Returns:
        As `judge_to_file`, with `by_language` and `passed_by_language` (name -> count).

    Raises:
        DataError: a row can't be read or judged; the rows before it are judged and kept.
        SandboxError: this machine lacks the toolchain of a row, or the judge itself fails.
        RunDirectoryError: as `judge_to_file`.
    """
    figures = _Figures(judge, by_language=True)
    in_flight: deque[Row] = deque()

    def entering() -> Iterator[tuple[Task, Sample]]:
        for row in stream:
            if local:
                _require_toolchain(row, rows)
            in_flight.append(row)
            yield row.task, row.sample

    def leaving(verdicts: Iterator[Verdict]) -> Iterator[dict[str, Any]]:
        for verdict in verdicts:
            row = in_flight.popleft()
            figures.passing_new(verdict, row.task.language)
            yield _output_row(row, verdict)

    total = count_rows(rows)
    stream = read_rows(rows)
    with _only_writer(output), RecordLog[dict[str, Any]](output, dict) as log:
        done = len(log)
        known = _check_rows(Path(output), itertools.islice(stream, done), done)
        rest = _UntilBad(entering())
        verdicts = start_judging(judge, rest, (figures.passing_known(item) for item in known))
        _refuse_leftover(figures, done, output, "rows")
        try:
            _write(log, leaving(verdicts), figures, progress or Silent(), total, batch)
        except DataError as error:
            raise DataError(_with_place(str(error), rows, in_flight)) from None
    rest.raise_error()
    return figures.summary()


def _output_row(row: Row, verdict: Verdict) -> dict[str, Any]:
    fields = {name: getattr(verdict, name) for name in Verdict.__dataclass_fields__ if name not in _NOT_IN_ROWS}
    return {**row.ids, "language": row.task.language, **fields, "digest": row.digest}


def _require_toolchain(row: Row, path: str | Path) -> None:
    language = languages.find(row.task.language)
    if languages.toolchain(language) is None:
        raise SandboxError(
            f"{path}:{row.line}: {language.title} programs can't be judged on this machine: "
            f"{languages.install_hint(language)}; or remove these rows"
        )


def _check_rows(output: Path, rows: Iterable[Row], done: int) -> Iterator[tuple[Task, Sample, Verdict]]:
    if not done:
        return
    for row, (number, judged) in zip(rows, read_objects(output), strict=False):
        where = f"{output}:{number}"
        ids = {name: judged.get(name) for name in row.ids}
        if ids != row.ids or judged.get("digest") != row.digest:
            shown = ", ".join(f"{name} {value!r}" for name, value in ids.items())
            now = ", ".join(f"{name} {value!r}" for name, value in row.ids.items())
            other = "with another program or other tests" if ids == row.ids else f"but line {row.line} has {now}"
            raise RunDirectoryError(
                f"{where} is the verdict of {shown}, {other}: it is of another input; choose another --output"
            )
        ours = {"task_id": row.task.task_id, "sample_id": row.sample.sample_id}
        yield row.task, row.sample, from_row({**judged, **ours}, Verdict, where)


def _with_place(message: str, path: str | Path, in_flight: deque[Row]) -> str:
    """The error of a task with file and line: it is the oldest or the newest item that the judge has."""
    for row in (in_flight[0], in_flight[-1]) if in_flight else ():
        if f"'{row.task.task_id}'" in message:
            return f"{path}:{row.line}: {message}"
    return message


def count_rows(path: str | Path) -> int:
    """Lines that are not blank, read as a stream.

    Raises:
        DataError: the file can't be read.
    """
    try:
        with open(path, "rb") as file:
            return sum(1 for line in file if not line.isspace())
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; sample first, or give the path of the samples") from None


# --- both -------------------------------------------------------------------------------------------------------


class _Figures:
    """Counts over a file of verdicts."""

    def __init__(self, judge: Judge, by_language: bool = False) -> None:
        self.done = self._cached = self._new = 0
        self._judge = judge
        self._by_status: Counter[str] = Counter()
        self._languages: Counter[str] = Counter()
        self._passed_languages: Counter[str] = Counter()
        self._with_languages = by_language
        self._start = time.monotonic()
        self._seconds = 0.0

    def passing_known(self, item: tuple[Task, Sample, Verdict]) -> tuple[Task, Sample, Verdict]:
        """Count an item of an earlier session on its way to the judge."""
        self._count(item[0].language, item[2])
        return item

    def begin(self) -> None:
        """Programs per second count from here."""
        self._start = time.monotonic()

    def passing_new(self, verdict: Verdict, language: str = "") -> Verdict:
        """Count a verdict of this session on its way to the file."""
        self._count(language, verdict)
        self._new += 1
        self._seconds = time.monotonic() - self._start
        return verdict

    def _count(self, language: str, verdict: Verdict) -> None:
        self.done += 1
        self._cached += verdict.cached
        self._by_status[verdict.status] += 1
        if self._with_languages:
            self._languages[language] += 1
            self._passed_languages[language] += verdict.passed

    @property
    def pass_rate(self) -> float:
        return self._by_status["passed"] / self.done if self.done else 0.0

    def summary(self) -> dict[str, Any]:
        figures = {
            "by_language": dict(self._languages.most_common()),
            "passed_by_language": {name: self._passed_languages[name] for name, _ in self._languages.most_common()},
        }
        return {
            "programs": self.done,
            "passed": self._by_status["passed"],
            "pass_rate": self.pass_rate,
            "cached": self._cached,
            "by_status": {status: count for status, count in self._by_status.most_common() if count},
            **(figures if self._with_languages else {}),
            "isolation": self._judge.isolation,
            "programs_per_second": self._new / self._seconds if self._seconds > 0 else 0.0,
        }


@contextlib.contextmanager
def _only_writer(output: str | Path) -> Iterator[None]:
    """Hold the output while it is written.

    Raises:
        RunDirectoryError: another process writes it, or it can't be written.
    """
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        lock = open(output, "ab")  # noqa: SIM115 - closed below
    except OSError as error:
        raise RunDirectoryError(f"{output} can't be written: {error.strerror}; choose another --output") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise RunDirectoryError(
                f"{output} is being written by another process: wait for it, stop it, or choose another --output"
            ) from None
        yield


def start_judging(
    judge: Judge, items: Iterable[tuple[Task, Sample]], known: Iterable[tuple[Task, Sample, Verdict]]
) -> Iterator[Verdict]:
    """Start the stream; `known` is read through, also for a judge that can't use it."""
    if "known" in inspect.signature(judge.judge).parameters:
        return typing.cast(_RemembersKnown, judge).judge(items, known=known)
    deque(known, maxlen=0)
    return judge.judge(items)


def _refuse_leftover(figures: _Figures, done: int, output: str | Path, what: str) -> None:
    if figures.done < done:
        raise RunDirectoryError(
            f"{output} holds {done} verdicts but there are only {figures.done} {what}: choose another --output"
        )


def _write(
    log: RecordLog[T], records: Iterator[T], figures: _Figures, progress: ProgressReporter, total: int, batch: int
) -> None:
    """Append each record as it comes; sync and tell the progress every `batch` records and each second."""
    progress.start("judge", total, "programs", figures.done)
    figures.begin()
    synced, last = time.monotonic(), figures.done
    try:
        for record in records:
            log.append([record], sync=False)
            if figures.done - last >= batch or time.monotonic() - synced >= _SYNC_SECONDS:
                log.sync()
                progress.update(figures.done, pass_rate=figures.pass_rate)
                synced, last = time.monotonic(), figures.done
    finally:
        log.sync()
    if figures.done > last:
        progress.update(figures.done, pass_rate=figures.pass_rate)
    progress.finish(pass_rate=figures.pass_rate)


class _RemembersKnown(Protocol):
    """A judge that does not run again what equals items of an earlier session."""

    def judge(
        self, items: Iterable[tuple[Task, Sample]], *, known: Iterable[tuple[Task, Sample, Verdict]]
    ) -> Iterator[Verdict]: ...


class _UntilBad:
    """Items up to the first that can't be judged. Its error waits until those before it are judged and written."""

    def __init__(self, items: Iterator[tuple[Task, Sample]]) -> None:
        self._items = items
        self._error: RewardRankerError | None = None

    def __iter__(self) -> Iterator[tuple[Task, Sample]]:
        try:
            yield from self._items
        except (DataError, SandboxError) as error:
            self._error = error

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error
