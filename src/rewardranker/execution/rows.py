"""Rows that carry their own tests: one JSON object a line, as in MultiPL-E, each a program to judge.

A row is `language`, `prompt` + `completion` (or the whole `program`), and what decides it: `tests` (source text, or a
list of assert statements), with `entry_point` for Python tests that are given the function, or `inputs`, pairs of what
the program reads and must print. `stop_tokens` (or `stop`) cut the completion at the first of them.

Not guaranteed: that a row's tests can be used; the judge says so when it comes to the row.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rewardranker.errors import DataError
from rewardranker.execution.languages import find
from rewardranker.runs import from_row
from rewardranker.types import Comparison, Sample, StdioTest, Task

Scalar = str | int | float | bool | None

_ID_WORDS = ("id", "name", "index")
_TASKS_KEPT = 256
_EXACT = Comparison()


@dataclass(frozen=True, slots=True)
class Row:
    """One program with its tests, and where it came from."""

    line: int
    """In the file, from 1."""
    ids: dict[str, Scalar]
    """The input's own id fields, `task_id` first; they travel to the verdict."""
    task: Task
    sample: Sample
    """`sample_id` is the row's line."""
    digest: str
    """16 hexadecimal digits of the SHA-256 of language, program and tests: equal digests, equal verdicts."""


@dataclass(frozen=True, slots=True)
class _Columns:
    """The columns of a row, by type."""

    language: str = ""
    prompt: str = ""
    completion: str | None = None
    program: str | None = None
    tests: str | tuple[str, ...] = ()
    test: str | tuple[str, ...] = ()
    inputs: tuple[StdioTest, ...] = ()
    comparison: Comparison = _EXACT
    entry_point: str | None = None
    setup: str = ""
    stop_tokens: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()


def is_self_contained(row: Mapping[str, Any]) -> bool:
    """Whether a row carries its own tests; samples do not."""
    return any(row.get(name) for name in ("tests", "test", "inputs"))


def id_fields(row: Mapping[str, Any]) -> dict[str, Scalar]:
    """The fields that say which row it is: every scalar named `id`, `name`, `index` or `model`, or that ends in `_id`,
    `_name` or `_index`."""
    return {
        name: value
        for name, value in row.items()
        if (name in (*_ID_WORDS, "model") or name.endswith(tuple(f"_{word}" for word in _ID_WORDS)))
        and (value is None or isinstance(value, str | int | float))
    }


def read_objects(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Stream the JSON objects of a file with their line numbers; blank lines are skipped.

    Raises:
        DataError: the file is missing or has no rows, or a line is not a JSON object; a last line that was cut off is
            told apart.
    """
    count = 0
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    count += 1
                    yield number, _object(line, f"{path}:{number}")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}; give the path of a JSON Lines file of programs") from None
    if not count:
        raise DataError(f"{path}: the file has no rows (expected a JSON object a line)")


def _object(line: bytes, where: str) -> dict[str, Any]:
    cut_off = not line.endswith(b"\n")
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if not cut_off:
            raise DataError(f"{where}: not UTF-8 text near byte {error.start}; is it compressed or binary?") from None
    except RecursionError:
        raise DataError(f"{where}: JSON nested too deeply; remove this line") from None
    except json.JSONDecodeError as error:
        if not cut_off:
            raise DataError(
                f"{where}: broken JSON ({error.msg} at column {error.colno}); repair or remove this line"
            ) from None
    else:
        if isinstance(row, dict):
            return row
        raise DataError(f"{where}: expected a JSON object, got {type(row).__name__}; repair or remove this line")
    raise DataError(
        f"{where}: the last line is cut off (was its writer interrupted?): complete or remove it, then give the same "
        "command again"
    )


def read_rows(path: str | Path) -> Iterator[Row]:
    """Stream the rows of a file.

    Raises:
        DataError: as `read_objects`, or a row lacks something or has it in the wrong type; names file, line and field.
    """
    parse = RowParser()
    for number, row in read_objects(path):
        yield parse(row, number, f"{path}:{number}")


class RowParser:
    """Turns JSON objects into rows. Rows of one task share its `Task` object, so it is prepared once."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[tuple[Any, ...], tuple[Task, bytes]] = OrderedDict()

    def __call__(self, row: Mapping[str, Any], line: int, where: str) -> Row:
        """
        Args:
            where: file and line, named in errors.

        Raises:
            DataError: a field is missing or wrong.
        """
        columns = from_row(row, _Columns, where)
        ids = _ids(row, where)
        program = _program(columns, where)
        task, task_digest = self._task(columns, str(ids["task_id"]), where)
        sample = Sample(task.task_id, line, columns.completion or "", columns.completion or "", program)
        digest = hashlib.sha256(task_digest + program.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return Row(line, ids, task, sample, digest)

    def _task(self, columns: _Columns, task_id: str, where: str) -> tuple[Task, bytes]:
        tests = columns.tests or columns.test
        fields = (
            columns.language,
            columns.prompt,
            columns.entry_point,
            tests,
            columns.inputs,
            columns.setup,
            columns.comparison,
        )
        key = (task_id, *fields)
        if key not in self._tasks:
            task = _make_task(columns, tests, task_id, where)
            content = {**asdict(task), "task_id": "", "stop": (), "metadata": {}}
            self._tasks[key] = task, hashlib.sha256(json.dumps(content).encode()).digest()
            if len(self._tasks) > _TASKS_KEPT:
                self._tasks.popitem(last=False)
        return self._tasks[key]


def _ids(row: Mapping[str, Any], where: str) -> dict[str, Scalar]:
    ids = id_fields(row)
    task_id = next((ids[name] for name in ("task_id", "name", "id") if ids.get(name) not in (None, "")), None)
    if task_id is None:
        raise DataError(f"{where}: column 'task_id' is missing: give each row one (or a 'name' or an 'id')")
    for name, value in ids.items():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise DataError(f"{where}: column '{name}' holds half a character (a lone surrogate)") from None
    return {"task_id": task_id, **{name: value for name, value in ids.items() if name != "task_id"}}


def _program(columns: _Columns, where: str) -> str:
    if columns.program is not None:
        return columns.program
    if columns.completion is None:
        raise DataError(f"{where}: column 'completion' is missing: give what the model wrote, or the whole 'program'")
    return columns.prompt + _cut(columns.completion, (*columns.stop_tokens, *columns.stop), where)


def _cut(completion: str, stops: tuple[str, ...], where: str) -> str:
    """The completion up to the first stop token."""
    if "" in stops:
        raise DataError(f"{where}: a stop token is empty, which would cut every completion to nothing; remove it")
    places = [place for stop in stops if (place := completion.find(stop)) >= 0]
    return completion[: min(places)] if places else completion


def _make_task(columns: _Columns, tests: str | tuple[str, ...], task_id: str, where: str) -> Task:
    language = _language(columns, where)
    if tests and columns.inputs:
        raise DataError(f"{where}: both 'tests' and 'inputs' are given: which one decides? remove the other")
    if not tests and not columns.inputs:
        raise DataError(
            f"{where}: column 'tests' is missing: give the tests' source text or 'inputs', or, for samples of tasks "
            "that are elsewhere, `--tasks NAME`"
        )
    if language != "python":
        if not isinstance(tests, str) and tests:
            raise DataError(f"{where}: column 'tests': a list of statements is for python; give {language} source text")
        if columns.entry_point and columns.inputs:
            raise DataError(
                f"{where}: 'inputs' with an 'entry_point' are function calls, which are for python only; remove "
                "'entry_point' if the program reads standard input"
            )
        if columns.setup:
            raise DataError(f"{where}: column 'setup' is for python only; put it into 'prompt' or 'tests'")
    entry_point = columns.entry_point or _function_of_prompt(columns.prompt, tests)
    if language != "python":
        entry_point = None
    return Task(
        task_id,
        # The tests' helpers are taken from a Python prompt. Where nobody says which of its functions is the program's,
        # all are: a stub in the prompt would else be tested in place of the program.
        columns.prompt if entry_point or language != "python" else "",
        language,
        entry_point=entry_point,
        tests=tests,
        inputs=columns.inputs,
        comparison=columns.comparison,
        setup=columns.setup,
    )


def _function_of_prompt(prompt: str, tests: str | tuple[str, ...]) -> str | None:
    """The function that a Python prompt ends in, where the tests name it (MultiPL-E's rows have no `entry_point`)."""
    names = re.findall(r"^(?:async +)?def +(\w+) *\(", prompt, re.MULTILINE)
    text = tests if isinstance(tests, str) else "\n".join(tests)
    return names[-1] if names and re.search(rf"\b{names[-1]}\b", text) else None


def _language(columns: _Columns, where: str) -> str:
    if columns.language:
        try:
            return find(columns.language).name
        except DataError as error:
            raise DataError(f"{where}: column 'language': {error}") from None
    if columns.entry_point:
        return "python"
    raise DataError(
        f"{where}: column 'language' is missing (rows with an 'entry_point' may leave it out: they are python)"
    )
