"""MBPP (Austin et al. 2021): 974 short Python problems, each decided by three assertions.

Not guaranteed: that three assertions catch every wrong program; MBPP's are few.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

from rewardranker.errors import ConfigError, DataError, MissingExtraError, ModelError
from rewardranker.runs import from_row, read_records
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


def mbpp_tasks(split: str, file: str | None = None) -> Iterator[Task]:
    """The tasks of a split, from the hub or from MBPP's JSON Lines file.

    Raises:
        ConfigError: no such split.
        DataError: a row is broken, or the file holds no task of this split.
        MissingExtraError: no file is given and `datasets` is not installed.
        ModelError: the hub can't be reached.
    """
    _check_split(split)
    if file is None:
        yield from map(mbpp_task, _hub(split))
        return
    first, last = SPLITS[split]
    found = False
    for row in read_records(file, Row):
        if first <= row.task_id <= last:
            found = True
            yield mbpp_task(row)
    if not found:
        raise DataError(f"{file}: no task of MBPP's split '{split}' (task_id {first} to {last})")


def check_hub(split: str) -> None:
    """Refuse what `mbpp_tasks` would refuse before it asks the hub.

    Raises:
        ConfigError: no such split.
        MissingExtraError: `datasets` is not installed.
    """
    _check_split(split)
    if find_spec("datasets") is None:
        raise MissingExtraError("datasets", "hub")


def mbpp_task(row: Row) -> Task:
    """One row as a task.

    The prompt is the text and the first assertion in a module docstring, which a completion model continues with code
    and a chat model reads as an instruction. The assertion has to be shown, for the text never says what the function
    is called nor how its arguments are passed, and the tests call it by name.

    Raises:
        DataError: the first assertion is not an assertion that calls a function.
    """
    row = dataclasses.replace(row, code=_unix(row.code), test_setup_code=_unix(row.test_setup_code))
    assertions = tuple(_unix(test).strip() for test in row.test_list)
    where = f"MBPP task {row.task_id}"
    if not assertions:
        raise DataError(f"{where}: column 'test_list' is empty")
    shown = f"{_unix(row.text).strip()}\n{assertions[0]}\n".replace('"""', "'''")
    prefix = "r" if "\\" in shown else ""  # an escape in the assertion would mean something else in a plain docstring
    return Task(
        task_id=f"mbpp/{row.task_id}",
        prompt=f'{prefix}"""\n{shown}"""\n',
        entry_point=called_function(assertions[0], where),
        # The set-up code of MBPP uses the program's own classes, so it goes after the program, with the tests.
        tests="\n".join([row.test_setup_code, *assertions]) if row.test_setup_code.strip() else assertions,
        reference=row.code.rstrip() + "\n",
        stop=STOP,
        metadata={"source": "mbpp", "split": next(s for s, (a, z) in SPLITS.items() if a <= row.task_id <= z)},
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


def _check_split(split: str) -> None:
    if split not in SPLITS:
        raise ConfigError(f"mbpp:{split}: no such split; known: {', '.join(SPLITS)}")


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _hub(split: str) -> Iterable[Row]:
    try:
        import datasets
    except ImportError:
        raise MissingExtraError("datasets", "hub") from None
    try:
        rows = datasets.load_dataset(HUB, "full", split=split)
    except Exception as error:
        raise ModelError(f"{HUB} can't be loaded from the hub: {error}; or give mbpp:{split}:FILE") from error
    for number, row in enumerate(rows):
        yield from_row(row, Row, f"{HUB}, {split}[{number}]")
