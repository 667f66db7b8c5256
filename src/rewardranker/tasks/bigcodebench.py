"""BigCodeBench (Zhuo et al. 2024, arXiv 2406.15877): functions that use many libraries, with unittest classes.

Written for the hub's `bigcode/bigcodebench` and `bigcode/bigcodebench-hard`, split `v0.1.4`: `task_id, complete_prompt,
instruct_prompt, canonical_solution, code_prompt, test, entry_point, doc_struct, libs`.

Names: `bigcodebench:complete` (the prompt is code that ends in a docstring), `bigcodebench:instruct` (a request in
words, put into a module docstring), and the hard tasks as `bigcodebench:hard-complete`, `bigcodebench:hard-instruct`.

* Extraction: complete: the body of the prompt's function; instruct: a whole program.
* Stop: BigCodeBench's for completions (the next definition, import or assertion); instruct: another text in quotes.
* Tests: one `unittest.TestCase`, whose methods are counted one by one.

Quirks: every function is called `task_func`; `libs` is the text of a Python list. Tests patch, draw and read files as
they like, and many need the libraries themselves: the judge calls what it can't run across its two processes
`unsupported`, so figures on this set are of the part that it decides. Not guaranteed: BigCodeBench's calibration, which
puts `code_prompt` before each answer; a program that forgot its imports passes there and fails here.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks.prose import STOP, prose_prompt
from rewardranker.types import Task

VARIANTS = ("complete", "instruct", "hard-complete", "hard-instruct")
VERSION = "v0.1.4"
COMPLETION_STOP = ("\ndef ", "\nclass ", "\nimport ", "\nfrom ", "\nassert ", "\nif __name__", "\nprint(")


@dataclass(frozen=True, slots=True)
class BigCodeBenchRow:
    """The columns used."""

    task_id: str
    complete_prompt: str
    instruct_prompt: str
    canonical_solution: str
    code_prompt: str
    test: str
    entry_point: str
    libs: str = "[]"


def bigcodebench_tasks(variant: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of a variant (one of `VARIANTS`).

    Raises:
        DataError: a row is broken.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    hard = variant.startswith("hard-")
    hub = HubSet("bigcode/bigcodebench-hard" if hard else "bigcode/bigcodebench", VERSION)
    for where, row in read_rows(hub, file):
        yield bigcodebench_task(row, where, variant)


def bigcodebench_task(row: Mapping[str, Any], where: str, variant: str) -> Task:
    """One row as a task.

    Raises:
        DataError: a column is missing or wrong.
    """
    columns = from_row(row, BigCodeBenchRow, where)
    if variant.endswith("instruct"):
        prompt = prose_prompt(columns.instruct_prompt)
        reference = columns.code_prompt.rstrip("\n") + "\n" + columns.canonical_solution
        stop: tuple[str, ...] = STOP
    else:
        prompt = columns.complete_prompt.rstrip()
        reference = columns.complete_prompt[len(prompt) :] + columns.canonical_solution
        stop = COMPLETION_STOP
    return Task(
        task_id=f"bigcodebench-{variant}/{columns.task_id.rpartition('/')[2]}",
        prompt=prompt,
        entry_point=columns.entry_point,
        tests=columns.test,
        reference=reference,
        stop=stop,
        metadata={
            "source": f"bigcodebench-{variant}",
            "split": VERSION,
            "difficulty": "hard" if variant.startswith("hard-") else "",
            "libraries": " ".join(_libraries(columns.libs, where)),
        },
    )


def _libraries(text: str, where: str) -> list[str]:
    try:
        libraries = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        libraries = None
    if not isinstance(libraries, list) or not all(isinstance(name, str) for name in libraries):
        raise DataError(f"{where}: column 'libs': expected the text of a list of names, got {text[:60]!r}")
    return libraries
