"""APPS (Hendrycks et al. 2021, arXiv 2105.09938) and TACO (Li et al. 2023, arXiv 2312.14852): contest problems.

Written for `codeparrot/apps` (`train.jsonl`, `test.jsonl`: `id` or `problem_id`, `question, solutions, input_output,
difficulty, url, starter_code`) and `BAAI/TACO` (Arrow files: the same without a number, and `raw_tags, name, source,
tags, skill_types, time_limit, memory_limit, ...`). TACO's evaluation is APPS's with repairs, so they share this reader.

* Extraction: the prompt is a module docstring with the problem, its starter code, and how it is read and printed.
* Stop: another text in quotes.
* Tests: `input_output` is JSON text with `inputs`, `outputs` and perhaps `fn_name`. Without it a program reads and
  prints (a test given as a list is its lines); with it the function, or the method of a class `Solution`, is called.
* References: the first of `solutions` (JSON text of a list) that is Python 3 by its syntax.

Quirks: `solutions` and `input_output` may be empty texts; many expected results are wrapped in a list of one; numbers
of more than 4,300 digits; dictionaries with whole numbers as keys, which JSON turns into texts. Rows without tests or
with tests that can't be used are left out, counted by reason, and told as warnings.
Not guaranteed: that references pass (both sets hold wrong ones), that a problem has one right answer, and the forgiving
comparisons of the sets' own runs (`types.Comparison` says which remain).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, json_column, one_of, read_rows
from rewardranker.tasks.prose import STOP, LeftOut, parses, prose_prompt, unix
from rewardranker.types import Comparison, StdioTest, Task

SPLITS = ("train", "test")
COMPARISON = Comparison(tolerance=1e-5, unordered=True, unwrap=True)


class Unusable(Exception):
    """Why a row can't become a task."""


@dataclass(frozen=True, slots=True)
class ContestRow:
    """The columns that APPS and TACO share; `solutions` and `input_output` are read apart."""

    question: str
    difficulty: str = ""
    starter_code: str = ""
    url: str = ""
    source: str = ""


def apps_tasks(split: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of APPS's split.

    Raises:
        DataError: a row is broken.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    left_out = LeftOut(f"apps:{split}")
    for where, row in read_rows(HubSet("codeparrot/apps", split, files=(f"{split}.jsonl",)), file):
        number = one_of(row, ("problem_id", "id"), where)
        try:
            yield contest_task(row, where, f"apps/{split}/{number}", "apps", split)
        except Unusable as error:
            left_out.row(str(error), where)
    left_out.tell()


def taco_tasks(split: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of TACO's split, numbered as its rows.

    Raises:
        DataError, MissingExtraError, ModelError: as `apps_tasks`.
    """
    left_out = LeftOut(f"taco:{split}")
    for number, (where, row) in enumerate(read_rows(HubSet("BAAI/TACO", split, arrow=f"{split}/*.arrow"), file)):
        try:
            yield contest_task(row, where, f"taco/{split}/{number}", "taco", split)
        except Unusable as error:
            left_out.row(str(error), where)
    left_out.tell()


def contest_task(row: Mapping[str, Any], where: str, task_id: str, source: str, split: str) -> Task:
    """One row as a task.

    Raises:
        DataError: a column is missing or wrong.
        Unusable: nothing is broken, but the row has no tests that can be used.
    """
    columns = from_row(row, ContestRow, where)
    function, tests = _tests(row, where)
    metadata = {"source": source, "split": split, "difficulty": columns.difficulty.lower()}
    metadata |= {name: text for name, text in (("platform", columns.source), ("url", columns.url)) if text}
    return Task(
        task_id=task_id,
        prompt=prose_prompt(_request(columns, function)),
        entry_point=function,
        inputs=tests,
        comparison=COMPARISON,
        reference=_reference(row, where),
        stop=STOP,
        metadata=metadata,
    )


def _request(row: ContestRow, function: str | None) -> str:
    parts = [row.question.strip()]
    if row.starter_code.strip():
        parts.append(f"Complete this code:\n\n{row.starter_code.rstrip()}")
    if function is None:
        parts.append("Read from standard input and write to standard output.")
    elif function not in row.starter_code:
        parts.append(f"Write a function {function}.")
    return "\n\n".join(parts)


def _tests(row: Mapping[str, Any], where: str) -> tuple[str | None, tuple[StdioTest, ...]]:
    """The function to call, if one is, and the tests."""
    try:
        cases = json_column(row, "input_output", where)
    except DataError as error:
        if "digits" in str(error):
            raise Unusable("a number in its tests has more than 4,300 digits") from None
        raise
    if not cases:
        raise Unusable("no tests")
    where = f"{where}: column 'input_output'"
    if not isinstance(cases, Mapping) or not all(isinstance(cases.get(name), list) for name in ("inputs", "outputs")):
        raise DataError(f"{where}: expected an object with lists 'inputs' and 'outputs'")
    inputs, outputs = cases["inputs"], cases["outputs"]
    if len(inputs) != len(outputs):
        raise Unusable("not as many outputs as inputs")
    if not inputs:
        raise Unusable("no tests")
    function = cases.get("fn_name")
    if function is None:
        return None, tuple(
            StdioTest(_lines(given), _lines(printed)) for given, printed in zip(inputs, outputs, strict=True)
        )
    return str(function), tuple(
        StdioTest(_arguments(given), _value(result)) for given, result in zip(inputs, outputs, strict=True)
    )


def _lines(value: Any) -> str:
    if isinstance(value, str):
        return unix(value)
    if isinstance(value, list) and all(isinstance(line, str | int | float) for line in value):
        return "\n".join(str(line) for line in value)
    raise Unusable("what a program reads or prints is not a text or a list of lines")


def _arguments(values: Any) -> str:
    if not isinstance(values, list):
        raise Unusable("a function's arguments are not a list")
    return "\n".join(_value(value) for value in values)


def _value(value: Any) -> str:
    """A value as JSON on one line."""
    first = value[0] if isinstance(value, list) and len(value) == 1 else value
    if isinstance(first, dict) and first and all(key.lstrip("-").isdecimal() for key in first):
        raise Unusable("a dictionary in its tests has whole numbers as keys, which JSON can't hold")
    return json.dumps(value)


def _reference(row: Mapping[str, Any], where: str) -> str | None:
    if not row.get("solutions"):
        return None
    solutions = json_column(row, "solutions", where) or []
    if not isinstance(solutions, list) or not all(isinstance(solution, str) for solution in solutions):
        raise DataError(f"{where}: column 'solutions': expected a list of programs")
    first = next((unix(solution) for solution in solutions if parses(unix(solution))), None)
    return first.rstrip() + "\n" if first is not None else None
