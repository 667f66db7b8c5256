"""What programs return for calls of their function, as texts that can be compared and shown.

All of it goes through a `Judge`, with the isolation that it gives. Not guaranteed: the value of a call that comes after
several that end a program.
"""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rewardranker.errors import RunDirectoryError
from rewardranker.progress import Silent
from rewardranker.ranking import ProgramOutputs
from rewardranker.runs import RecordLog
from rewardranker.types import Judge, ProgressReporter, Sample, Task, Verdict

RESTARTS = 5
"""Calls are given up after so many ends of a program."""
_BATCH = 256
_WIDTH = 24
"""Characters of a value that are shown; longer ones are cut and end in a digest of the whole."""
_DETAIL = 480
"""Characters that surely fit a verdict's detail."""
_DIES = ("timeout", "out of memory", "output limit", "exited", "crashed", "broken channel")
"""Statuses of a program that may have ended on one call among several."""


def run_calls_to_file(
    tasks: Iterable[Task],
    samples: Sequence[Sample],
    calls: Mapping[str, Sequence[str]],
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
    width: int = _WIDTH,
) -> dict[str, Any]:
    """What each program returns for each call of its task, into a file of `ProgramOutputs`, in the samples' order.

    Tasks without calls are left out. A second call goes on with the file.

    Args:
        calls: by task id: calls of the entry point with literal arguments, as `extract_calls` gives them.

    Returns:
        `programs` (rows), `executions`, `calls` and `without_value` (of those calls).

    Raises:
        RunDirectoryError: the file has rows of other samples or calls.
        DataError, SandboxError: as `Judge.judge`.
    """
    by_id = {task.task_id: task for task in tasks if calls.get(task.task_id)}
    items = [(by_id[s.task_id], s) for s in samples if s.task_id in by_id]
    progress = progress or Silent()
    figures = {"programs": 0, "executions": 0, "calls": 0, "without_value": 0}
    with RecordLog(output, ProgramOutputs) as log:
        for row, (task, sample) in itertools.zip_longest(log.read(), items[: len(log)]):
            expected = (task.task_id, sample.sample_id, tuple(calls[task.task_id])) if task else None
            if expected != (row.task_id, row.sample_id, row.calls):
                raise RunDirectoryError(f"{output} has rows of other samples or calls: choose another file")
            _count(figures, row)
        progress.start("run", len(items), "programs", len(log))
        while len(log) < len(items):
            batch = items[len(log) : len(log) + _BATCH]
            rows = run_calls(batch, calls, judge, width)
            log.append(rows)
            for row in rows:
                _count(figures, row)
            progress.update(len(log))
        progress.finish()
    return figures


def _count(figures: dict[str, int], row: ProgramOutputs) -> None:
    figures["programs"] += 1
    figures["executions"] += row.programs
    figures["calls"] += len(row.calls)
    figures["without_value"] += sum(not text or text.startswith("!") for text in row.outputs)


def run_calls(
    items: Sequence[tuple[Task, Sample]], calls: Mapping[str, Sequence[str]], judge: Judge, width: int = _WIDTH
) -> list[ProgramOutputs]:
    """What each program returns for each call of its task.

    The judge's verdicts carry no values, so a `check` gathers the texts of many of them and fails with them as its
    message. Where a program ends before, the halves of the calls are run, until `RESTARTS` ends; what was not run by
    then is an empty text.

    A value's text is its `repr` with sets and dicts in a fixed order; a long one is cut and ends in a digest. `!Name`
    is an exception, `!timeout` and the like an end, `<object>` a value that is not plain data.
    """
    size = max(1, (_DETAIL - 20) // (width + 1))
    outputs = [[""] * len(calls[task.task_id]) for task, _ in items]
    runs, ends, seconds = [0] * len(items), [0] * len(items), [0.0] * len(items)
    waiting = [
        (i, range(start, min(start + size, len(calls[task.task_id]))))
        for i, (task, _) in enumerate(items)
        for start in range(0, len(calls[task.task_id]), size)
    ]
    made: dict[tuple[str, range], Task] = {}
    while waiting:
        pairs = []
        for i, places in waiting:
            task, sample = items[i]
            key = (task.task_id, places)
            if key not in made:
                made[key] = _gathering(task, [calls[task.task_id][place] for place in places], width)
            pairs.append((made[key], sample))
        split: list[tuple[int, range]] = []
        for (i, places), verdict in zip(waiting, judge.judge(pairs), strict=True):
            runs[i] += not verdict.cached
            seconds[i] += 0.0 if verdict.cached else verdict.seconds
            texts = _gathered(verdict, len(places))
            if texts is None and verdict.status in _DIES and len(places) > 1:
                ends[i] += 1
                half = len(places) // 2
                split += [(i, places[:half]), (i, places[half:])]
                continue
            ends[i] += texts is None and verdict.status in _DIES
            for place, text in zip(places, texts or [f"!{verdict.status}"] * len(places), strict=True):
                outputs[i][place] = text
        waiting = [(i, places) for i, places in split if ends[i] <= RESTARTS]
    return [
        ProgramOutputs(task.task_id, sample.sample_id, tuple(calls[task.task_id]), tuple(texts), count, round(took, 6))
        for (task, sample), texts, count, took in zip(items, outputs, runs, seconds, strict=True)
    ]


_LINE = "assert 0, joined"
_CHECK = """
import hashlib

PLAIN = (type(None), bool, int, float, complex, str, bytes)

def show(value, depth=0):
    kind = type(value)
    if kind in PLAIN:
        return repr(value)
    if depth > 20:
        return "<deep>"
    if kind in (list, tuple):
        items = ", ".join([show(item, depth + 1) for item in value])
        return f"[{items}]" if kind is list else f"({items},)" if len(value) == 1 else f"({items})"
    if kind in (set, frozenset):
        return kind.__name__ + "{" + ", ".join(sorted([show(item, depth + 1) for item in value])) + "}"
    if kind is dict:
        items = [show(key, depth + 1) + ": " + show(item, depth + 1) for key, item in value.items()]
        return "{" + ", ".join(sorted(items)) + "}"
    return "<object>"

def record(call):
    try:
        text = show(call())
    except Exception as error:
        text = "!" + type(error).__name__
    text = text.encode("ascii", "backslashreplace").decode()
    if len(text) > WIDTH:
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        text = text[: WIDTH - 13] + "#" + digest
    return text

def check(candidate):
    joined = "\\t".join([record(call) for call in CALLS]) + "\\t."
    assert 0, joined
"""


def _gathering(task: Task, calls: Sequence[str], width: int) -> Task:
    """The task whose tests fail with what the calls return."""
    texts = textwrap.indent("\n".join(f"lambda: {call}," for call in calls), "    ")
    tests = f"WIDTH = {width}\n{_CHECK}\nCALLS = [\n{texts}\n]\n"
    return replace(task, tests=tests, inputs=())


def _gathered(verdict: Verdict, count: int) -> list[str] | None:
    """The texts in a verdict's detail; None if the check did not come to its end."""
    line, _, message = verdict.detail.partition("\n")
    texts = message.split("\t")
    if verdict.status != "wrong answer" or line != _LINE or len(texts) != count + 1 or texts[-1] != ".":
        return None
    return texts[:-1]
