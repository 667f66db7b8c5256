"""Any file of rows whose columns the user states: `rows:FIELD=COLUMN,FIELD=COLUMN:FILE`.

The fields are those of `types.Task` (`prompt`, `tests`, `entry_point`, `reference`, ...); each takes its value from the
column named behind it, and columns with a field's own name need not be stated. What is read where:
`rows:prompt=question,tests=test_cases,reference=solution:my.jsonl`. Without a column for `task_id` the rows are
numbered. Other text columns are kept as metadata.

Not guaranteed: anything about the tests; the judge says so where it can't use them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import from_row
from rewardranker.sources import read_rows
from rewardranker.types import Task

FIELDS = tuple(field.name for field in dataclasses.fields(Task))
_LONGEST = 200
"""Characters of a text that is kept as metadata; longer ones are no labels."""


def parse_columns(variant: str) -> dict[str, str]:
    """Column by field.

    Raises:
        ConfigError: not `FIELD=COLUMN`, an unknown field, or a field twice.
    """
    columns: dict[str, str] = {}
    for part in filter(None, variant.split(",")):
        field, equals, column = (text.strip() for text in part.partition("="))
        if not equals or not column or field not in FIELDS or field in columns:
            raise ConfigError(
                f"rows:{variant}: '{part}': expected FIELD=COLUMN, each field once; fields: {', '.join(FIELDS)}"
            )
        columns[field] = column
    return columns


def row_tasks(variant: str, file: str | None) -> Iterator[Task]:
    """The tasks of a file.

    Raises:
        ConfigError: a column is stated wrongly, or no file is given.
        DataError: a row is broken, or lacks a stated column.
    """
    columns = parse_columns(variant)
    if file is None:
        raise ConfigError(f"rows:{variant}: give the file, as rows:{variant or 'prompt=question,tests=asserts'}:FILE")
    name = Path(file).name.partition(".")[0]
    for number, (where, row) in enumerate(read_rows(None, file)):
        yield from_row(_fields(row, columns, where, f"{name}/{number}"), Task, where)


def _fields(row: Mapping[str, Any], columns: Mapping[str, str], where: str, task_id: str) -> dict[str, Any]:
    for field, column in columns.items():
        if column not in row:
            have = ", ".join(sorted(row)) or "none"
            raise DataError(f"{where}: column '{column}', stated for '{field}', is missing; columns here: {have}")
    fields = {name: value for name, value in row.items() if name in FIELDS}
    fields |= {field: row[column] for field, column in columns.items()}
    fields.setdefault("task_id", task_id)
    labels = {
        name: value
        for name, value in row.items()
        if name not in FIELDS and name not in columns.values() and isinstance(value, str) and len(value) <= _LONGEST
    }
    given = fields.get("metadata")
    fields["metadata"] = {**labels, **(given if isinstance(given, Mapping) else {})}
    return fields
