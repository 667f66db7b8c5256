"""AceCode-87K (Zeng et al. 2025, arXiv 2502.01718): problems and tests that models wrote, with judged answers.

Written for the hub's `TIGER-Lab/AceCode-87K` (Parquet, split `train`): `id, source, question, test_cases` (assert
statements) and `inferences` (lists of `model_name, completion_id, completion, pass_rate`); `context_messages` is not
used. The answers as preferences are read by `preference.public_sets`.

* Extraction: the prompt is a module docstring with the question; a program follows.
* Stop: another text in quotes.
* Tests: the assertions, counted one by one. The function is the one that the first of them calls.
* References: the first answer with `pass_rate` 1 whose code is Python; a fenced answer's only block is its code.

Quirks: no answer passes all tests of many questions (then there is no reference); rows whose assertions call no
function or do not parse are left out, counted and told as a warning. Not guaranteed: that the tests are right; a model
made them and only what a strong model's answer contradicted was taken out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rewardranker.errors import DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks.mbpp import called_function
from rewardranker.tasks.prose import STOP, LeftOut, parses, prose_prompt, unix
from rewardranker.types import Task

HUB = HubSet("TIGER-Lab/AceCode-87K", "train")
_FENCED = re.compile(r"^```[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Inference:
    """An answer of a model, and the share of the tests that it passed."""

    completion: str
    pass_rate: float = 0.0
    model_name: str = ""


@dataclass(frozen=True, slots=True)
class AceCodeRow:
    """The columns used."""

    id: str
    question: str
    test_cases: tuple[str, ...]
    inferences: tuple[Inference, ...] = ()
    source: str = ""


def acecode_tasks(file: str | None = None) -> Iterator[Task]:
    """All tasks.

    Raises:
        DataError: a row is broken.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    left_out = LeftOut("acecode")
    for where, row in read_rows(HUB, file):
        columns = from_row(row, AceCodeRow, where)
        tests = tuple(unix(test).strip() for test in columns.test_cases)
        function = _function(tests)
        if not tests:
            left_out.row("no tests", where)
        elif function is None or not all(parses(test) for test in tests):
            left_out.row("a test does not parse, or calls no function", where)
        else:
            yield Task(
                task_id=f"acecode/{columns.id}",
                prompt=prose_prompt(f"{columns.question.strip()}\n\nThe function is called {function}."),
                entry_point=function,
                tests=tests,
                reference=_reference(columns.inferences),
                stop=STOP,
                metadata={"source": "acecode", "split": "train", "origin": columns.source},
            )
    left_out.tell()


def _function(tests: tuple[str, ...]) -> str | None:
    try:
        return called_function(tests[0]) if tests else None
    except DataError:
        return None


def _reference(inferences: tuple[Inference, ...]) -> str | None:
    for inference in inferences:
        if inference.pass_rate == 1:
            blocks = _FENCED.findall(unix(inference.completion))
            code = blocks[0] if len(blocks) == 1 else inference.completion
            if parses(code):
                return str(code).strip("\n") + "\n"
    return None
