"""LiveCodeBench (Jain et al. 2024, arXiv 2403.07974): contest problems with the date of their contest.

Written for `livecodebench/code_generation_lite` up to release 6 (`test.jsonl` to `test6.jsonl`): `question_title,
question_content, platform, question_id, contest_id, contest_date, starter_code, difficulty, public_test_cases,
private_test_cases, metadata`. Files of `livecodebench/code_generation` (all private tests, as JSON) read alike.

Names: `livecodebench:release_v6` (all up to it), `livecodebench:v6` (what release 6 added), `livecodebench:v4_v6`; with
`@2024-08-01..2025-01-31` behind it only contests of these days, both included; either end may be left out.

* Extraction: the prompt is a module docstring with the problem, its starter code, and how it is read and printed.
* Stop: another text in quotes.
* Tests: public and private ones. Programs (AtCoder, Codeforces) read and print; functions (LeetCode) are methods of a
  class `Solution`, called with one JSON value a line. Printed numbers are compared by value.

Quirks: `private_test_cases` is JSON text, or base64 of zlib of a PICKLE of that text: it is read without unpickling
(`pickled_text.py`). No reference solutions. A few problems accept several answers, which their tests do not know.
Not guaranteed: LiveCodeBench's own runtime, which imports a dozen modules with `*` before a program; a program that
forgot its imports passes there and fails here.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, json_column, read_rows
from rewardranker.tasks.pickled_text import packed_text
from rewardranker.tasks.prose import STOP, prose_prompt
from rewardranker.types import Comparison, StdioTest, Task

HUB = "livecodebench/code_generation_lite"
RELEASES = 6
COMPARISON = Comparison(numeric=True)
_VARIANT = re.compile(r"(?:release_v(?P<upto>\d)|v(?P<first>\d)(?:_v(?P<last>\d))?)?(?:@(?P<days>.*))?")


@dataclass(frozen=True, slots=True)
class LiveCodeBenchRow:
    """The columns used; the tests and `metadata` are JSON texts."""

    question_title: str
    question_content: str
    platform: str
    question_id: str
    contest_date: str
    starter_code: str
    difficulty: str
    public_test_cases: str
    private_test_cases: str
    metadata: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which files of the hub, and which days of contests (None: no bound)."""

    files: tuple[str, ...]
    since: datetime.date | None
    until: datetime.date | None


def selection(variant: str) -> Selection:
    """What a variant stands for.

    Raises:
        ConfigError: no such release, or not a span of days.
    """
    match = _VARIANT.fullmatch(variant)
    if match is None or variant == "":
        raise ConfigError(
            f"livecodebench:{variant}: expected release_v1 to release_v{RELEASES}, v1 to v{RELEASES}, v2_v{RELEASES} "
            "and the like, and behind it, or alone, @FROM..TO with days as 2024-08-01"
        )
    first = int(match["first"] or 1)
    last = int(match["upto"] or match["last"] or match["first"] or RELEASES)
    if not 1 <= first <= last <= RELEASES:
        raise ConfigError(f"livecodebench:{variant}: releases are 1 to {RELEASES}, the first before the last")
    files = tuple("test.jsonl" if number == 1 else f"test{number}.jsonl" for number in range(first, last + 1))
    since, until = _days(match["days"], variant) if match["days"] is not None else (None, None)
    return Selection(files, since, until)


def livecodebench_tasks(variant: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of releases and days, from the hub or from one of its files.

    Args:
        variant: see the module; its release does not matter where a file is given.

    Raises:
        ConfigError: no such variant.
        DataError: a row is broken, or none is of these days.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    chosen = selection(variant)
    found = False
    for where, row in read_rows(HubSet(HUB, "test", files=chosen.files), file):
        columns = from_row(row, LiveCodeBenchRow, where)
        day = _day(columns.contest_date, where)
        if (chosen.since is None or chosen.since <= day) and (chosen.until is None or day <= chosen.until):
            found = True
            yield livecodebench_task(columns, where)
    if not found:
        raise DataError(
            f"{file or HUB}: no contest between {chosen.since or 'the first'} and {chosen.until or 'today'}"
        )


def livecodebench_task(row: LiveCodeBenchRow, where: str) -> Task:
    """One row as a task.

    Raises:
        DataError: its tests or its metadata are broken.
    """
    tests = _tests(row.public_test_cases, f"{where}: column 'public_test_cases'")
    tests += _tests(row.private_test_cases, f"{where}: column 'private_test_cases'")
    if not tests:
        raise DataError(f"{where}: no test in 'public_test_cases' and 'private_test_cases'")
    kinds = {kind for _, kind in tests}
    details = json_column({"metadata": row.metadata}, "metadata", where) or {}
    function = details.get("func_name") if isinstance(details, Mapping) else None
    expected = {"functional"} if function else {"stdin"}
    if kinds != expected:
        raise DataError(
            f"{where}: tests are of type {', '.join(sorted(kinds))}, but with 'func_name' in 'metadata' being "
            f"{function or 'absent'} they have to be {expected.pop()}"
        )
    return Task(
        task_id=f"livecodebench/{row.question_id}",
        prompt=prose_prompt(_request(row, function)),
        entry_point=function,
        inputs=tuple(test for test, _ in tests),
        comparison=COMPARISON,
        stop=STOP,
        metadata={
            "source": "livecodebench",
            "split": "test",
            "difficulty": row.difficulty,
            "platform": row.platform,
            "date": row.contest_date[:10],
            "title": row.question_title,
        },
    )


def _request(row: LiveCodeBenchRow, function: str | None) -> str:
    if function:
        return f"{row.question_content.strip()}\n\nComplete this code:\n\n{row.starter_code.rstrip()}"
    return f"{row.question_content.strip()}\n\nRead from standard input and write to standard output."


def _tests(column: str, where: str) -> list[tuple[StdioTest, str]]:
    """The tests of a column, with their types."""
    text = column if column.lstrip().startswith("[") else packed_text(column, where)
    try:
        cases = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: expected JSON, {error}") from None
    if not isinstance(cases, list):
        raise DataError(f"{where}: expected a list of tests, got {type(cases).__name__}")
    tests = []
    for number, case in enumerate(cases):
        if not isinstance(case, dict):
            raise DataError(f"{where}[{number}]: expected an object, got {type(case).__name__}")
        test = from_row(case, StdioTest, f"{where}[{number}]")
        tests.append((test, str(case.get("testtype", "stdin"))))
    return tests


def _day(text: Any, where: str) -> datetime.date:
    try:
        return datetime.date.fromisoformat(str(text)[:10])
    except ValueError:
        raise DataError(
            f"{where}: column 'contest_date': expected a date as 2024-08-01, got {str(text)[:40]!r}"
        ) from None


def _days(text: str, variant: str) -> tuple[datetime.date | None, datetime.date | None]:
    first, dots, last = text.partition("..")
    try:
        since = datetime.date.fromisoformat(first) if first else None
        until = datetime.date.fromisoformat(last) if last else None
    except ValueError:
        dots = ""
    if not dots or (since and until and since > until):
        raise ConfigError(f"livecodebench:{variant}: expected @FROM..TO with days as 2024-08-01, FROM not after TO")
    return since, until
