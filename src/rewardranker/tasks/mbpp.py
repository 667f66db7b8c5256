"""MBPP (Austin et al. 2021, arXiv 2108.07732): 974 short Python problems, each decided by three assertions.

Written for the files of google-research (`mbpp.jsonl`, `sanitized-mbpp.json`) and the configurations `full` and
`sanitized` of the hub's `google-research-datasets/mbpp`. Columns of the full set: `task_id`, `text`, `code`,
`test_list`, `test_setup_code`; of the 427 sanitized tasks: `task_id`, `prompt`, `code`, `test_imports`, `test_list`. A
row says by its columns which of the two it is.

* Extraction: the prompt is a module docstring, which the program follows.
* Stop: tests, another text in quotes, or a main block.
* Tests: assertions, counted one by one; with set-up code or imports, one text.

Quirks: carriage returns in `code`; set-up code that uses the program's own classes; an entry point that only the
assertions name; task 126 redefines `sum`.

Not guaranteed: that three assertions catch every wrong program; MBPP's are few.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks.prose import prose_prompt, unix
from rewardranker.types import Task

HUB = "google-research-datasets/mbpp"
SPLITS = {"prompt": (1, 10), "test": (11, 510), "validation": (511, 600), "train": (601, 974)}
"""First and last `task_id` of each split, as in the paper."""
STOP = ("\nassert", "\nprint", "\nif __name__", '\n"""', "\n# Test")


@dataclass(frozen=True, slots=True)
class Row:
    """The columns of MBPP's own files and of the hub's `full` configuration."""

    task_id: int
    text: str
    code: str
    test_list: tuple[str, ...]
    test_setup_code: str = ""


@dataclass(frozen=True, slots=True)
class SanitizedRow:
    """The columns of the sanitized set."""

    task_id: int
    prompt: str
    code: str
    test_list: tuple[str, ...]
    test_imports: tuple[str, ...] = ()


def mbpp_tasks(split: str, file: str | None = None, *, sanitized: bool = False) -> Iterator[Task]:
    """The tasks of a split, from the hub or from a file of MBPP's rows.

    Args:
        sanitized: the hub's configuration; a file's rows say themselves what they are.

    Raises:
        ConfigError: no such split.
        DataError: a row is broken, or the file holds no task of this split.
        MissingExtraError: no file is given and `datasets` is not installed.
        ModelError: the hub can't be reached.
    """
    check_split(split)
    first, last = SPLITS[split]
    found = False
    for where, row in read_rows(HubSet(HUB, split, "sanitized" if sanitized else "full"), file):
        columns: Row | SanitizedRow
        if "text" in row or not ("prompt" in row or sanitized):
            columns = from_row(row, Row, where)
        else:
            columns = from_row(row, SanitizedRow, where)
        if first <= columns.task_id <= last:
            found = True
            yield mbpp_task(columns) if isinstance(columns, Row) else sanitized_task(columns)
    if not found:
        raise DataError(f"{file or HUB}: no task of MBPP's split '{split}' (task_id {first} to {last})")


def check_split(split: str) -> None:
    """
    Raises:
        ConfigError: no such split.
    """
    if split not in SPLITS:
        raise ConfigError(f"mbpp:{split}: no such split; known: {', '.join(SPLITS)}")


def mbpp_task(row: Row) -> Task:
    """One row as a task.

    The prompt is the text and the first assertion in a module docstring, which a completion model continues with code
    and a chat model reads as an instruction. The assertion has to be shown, for the text never says what the function
    is called nor how its arguments are passed, and the tests call it by name.

    Raises:
        DataError: the first assertion is not an assertion that calls a function.
    """
    # The set-up code of MBPP uses the program's own classes, so it goes after the program, with the tests.
    before = (unix(row.test_setup_code),) if row.test_setup_code.strip() else ()
    return _task(row.task_id, row.text, row.code, row.test_list, before, "mbpp")


def sanitized_task(row: SanitizedRow) -> Task:
    """One row of the sanitized set as a task; see `mbpp_task`."""
    return _task(row.task_id, row.prompt, row.code, row.test_list, row.test_imports, "mbpp-sanitized")


def asked(text: str, assertions: Sequence[str], where: str) -> str:
    """The prompt for a text and the assertions that decide it.

    Raises:
        DataError: there is no assertion.
    """
    if not assertions:
        raise DataError(f"{where}: column 'test_list' is empty")
    return prose_prompt(f"{unix(text).strip()}\n{unix(assertions[0]).strip()}")


def _task(number: int, text: str, code: str, test_list: Sequence[str], before: Sequence[str], source: str) -> Task:
    where = f"MBPP task {number}"
    prompt = asked(text, test_list, where)
    assertions = tuple(unix(test).strip() for test in test_list)
    return Task(
        task_id=f"{source}/{number}",
        prompt=prompt,
        entry_point=called_function(assertions[0], where),
        tests="\n".join([*before, *assertions]) if before else assertions,
        reference=unix(code).rstrip() + "\n",
        stop=STOP,
        metadata={"source": source, "split": next(s for s, (a, z) in SPLITS.items() if a <= number <= z)},
    )


def called_function(assertion: str, where: str = "assertion") -> str:
    """Name of the function that an assertion tests: its outermost call of something that is not built in.

    MBPP task 126 redefines `sum`, so a built-in name is taken where nothing else is called.

    Raises:
        DataError: the assertion calls no function by name.
    """
    try:
        nodes = list(ast.walk(ast.parse(assertion)))  # breadth first: outer calls come before inner ones
    except SyntaxError:
        nodes = []
    names = [node.func.id for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
    if names:
        return min(names, key=lambda name: hasattr(builtins, name))  # the first of equals
    raise DataError(f"{where}: no function call found in the first assertion: {assertion[:200]}")
