"""HumanEval+ and MBPP+ (Liu et al. 2023, arXiv 2305.01210): the tasks of HumanEval and MBPP with many more inputs.

Written for EvalPlus 0.3.1. Two forms of the same tasks are read, told apart by their columns:

* The hub's `evalplus/humanevalplus` and `evalplus/mbppplus` (split `test`): a `test` text that holds inputs and
  results. HumanEval+ has `task_id, prompt, canonical_solution, entry_point, test`; MBPP+ has `task_id, code,
  prompt, test_imports, test_list` (as MBPP) and `test`; the imports belong before the tests.
* EvalPlus's own files (`HumanEvalPlus.jsonl`, `MbppPlus.jsonl`, also `.gz`): `task_id, prompt, entry_point,
  canonical_solution, base_input, plus_input, atol` (and `contract`, not used). What is right is what the canonical
  solution returns; the tests made here call it in the process of the tests (`evalplus_oracle.py`), so judging a program
  of a slow task costs that much again.

Extraction: HumanEval+ as HumanEval; a MBPP+ prompt is a module docstring, which the program follows. Stop: HumanEval's,
MBPP's. Quirks: JSON knows neither tuples nor sets nor complex numbers, so MBPP+ lists the tasks whose arguments have
them (`arguments_of`); the prompts of MBPP+'s own file end in an example assertion only from version 0.2 on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rewardranker.errors import DataError
from rewardranker.runs import from_row
from rewardranker.sources import HubSet, read_rows
from rewardranker.tasks import humaneval, mbpp
from rewardranker.tasks.evalplus_oracle import oracle_tests
from rewardranker.tasks.prose import prose_prompt
from rewardranker.types import Task

HUMANEVAL_HUB = HubSet("evalplus/humanevalplus", "test")
MBPP_HUB = HubSet("evalplus/mbppplus", "test")


@dataclass(frozen=True, slots=True)
class EvalPlusRow:
    """The columns of EvalPlus's own files; inputs are checked in `_inputs`."""

    task_id: str
    prompt: str
    entry_point: str
    canonical_solution: str
    base_input: object
    plus_input: object
    atol: float = 0.0


@dataclass(frozen=True, slots=True)
class MbppPlusRow:
    """The columns of the hub's `evalplus/mbppplus`."""

    task_id: int
    code: str
    prompt: str
    test_list: tuple[str, ...]
    test: str
    test_imports: tuple[str, ...] = ()


def humaneval_plus_tasks(file: str | None = None) -> Iterator[Task]:
    """The tasks of HumanEval+.

    Raises:
        DataError: a row is broken.
        MissingExtraError, ModelError: see `sources.read_rows`.
    """
    for where, row in read_rows(HUMANEVAL_HUB, file):
        yield humaneval_plus_task(row, where)


def mbpp_plus_tasks(file: str | None = None) -> Iterator[Task]:
    """The tasks of MBPP+.

    Raises:
        DataError, MissingExtraError, ModelError: as `humaneval_plus_tasks`.
    """
    for where, row in read_rows(MBPP_HUB, file):
        yield mbpp_plus_task(row, where)


def humaneval_plus_task(row: Mapping[str, Any], where: str) -> Task:
    """One row in either form."""
    if "test" not in row and "base_input" not in row:
        raise DataError(f"{where}: expected a column 'test' (the hub's rows) or 'base_input' (EvalPlus's own file)")
    if "test" in row:
        task = humaneval.humaneval_task(row, where)
        tests = task.tests
    else:
        columns = from_row(row, EvalPlusRow, where)
        inputs = _inputs(columns, where)
        task = humaneval.humaneval_task({**row, "test": ""}, where)
        source = columns.prompt + columns.canonical_solution
        tests = oracle_tests("humaneval", columns.entry_point, source, inputs, columns.atol)
    return _renamed(task, tests, "humaneval-plus")


def mbpp_plus_task(row: Mapping[str, Any], where: str) -> Task:
    """One row in either form."""
    if "test" in row:
        hub = from_row(row, MbppPlusRow, where)
        prompt = mbpp.asked(hub.prompt, hub.test_list, where)
        entry_point = mbpp.called_function(hub.test_list[0], where)
        number, reference = str(hub.task_id), hub.code
        tests = "\n".join([*hub.test_imports, hub.test])
    else:
        own = from_row(row, EvalPlusRow, where)
        number = own.task_id.rpartition("/")[2]
        entry_point, reference = own.entry_point, own.canonical_solution
        prompt = prose_prompt(own.prompt.strip().strip("\"'"))
        inputs = [arguments_of(number, arguments, where) for arguments in _inputs(own, where)]
        tests = oracle_tests("mbpp", entry_point, reference, inputs, own.atol)
    return Task(
        task_id=f"mbpp-plus/{number}",
        prompt=prompt,
        entry_point=entry_point,
        tests=tests,
        reference=reference.strip("\n") + "\n",
        stop=mbpp.STOP,
        metadata={"source": "mbpp-plus", "split": "test"},
    )


def _renamed(task: Task, tests: str | tuple[str, ...], source: str) -> Task:
    return Task(
        task_id=f"{source}/{task.task_id.rpartition('/')[2]}",
        prompt=task.prompt,
        entry_point=task.entry_point,
        tests=tests,
        reference=task.reference,
        stop=task.stop,
        metadata={"source": source, "split": "test"},
    )


def _inputs(columns: EvalPlusRow, where: str) -> list[list[Any]]:
    inputs: list[list[Any]] = []
    for name in ("base_input", "plus_input"):
        value = getattr(columns, name)
        if value == {}:  # how some releases write "no inputs"
            continue
        if not isinstance(value, list) or not all(isinstance(arguments, list) for arguments in value):
            raise DataError(f"{where}: column '{name}': expected a list of argument lists, got {str(value)[:60]}")
        inputs += value
    if not inputs:
        raise DataError(f"{where}: columns 'base_input' and 'plus_input' are empty: nothing would decide the programs")
    return inputs


# --- arguments that JSON can't hold -------------------------------------------------------------------------------


def arguments_of(number: str, arguments: list[Any], where: str) -> list[Any]:
    """The arguments of an MBPP+ task as Python has them.

    Args:
        number: of the MBPP task.
        arguments: as JSON has them.

    Raises:
        DataError: they are not of the shape that this task's arguments have.
    """
    convert = _CONVERT.get(int(number)) if number.isdecimal() else None
    if convert is None:
        return arguments
    try:
        return convert(arguments)
    except (TypeError, ValueError, IndexError, AttributeError, KeyError) as error:
        raise DataError(
            f"{where}: arguments {str(arguments)[:80]} are not of the shape that MBPP task {number} has ({error})"
        ) from None


def _tuples(arguments: list[Any]) -> list[Any]:
    return [tuple(argument) for argument in arguments]


def _lists_of_tuples(arguments: list[Any]) -> list[Any]:
    return [[tuple(item) for item in argument] for argument in arguments]


def _first_list_of_tuples(arguments: list[Any]) -> list[Any]:
    return [[tuple(item) for item in arguments[0]], *arguments[1:]]


def _first_tuple(arguments: list[Any]) -> list[Any]:
    return [tuple(arguments[0]), *arguments[1:]]


def _second_tuple(arguments: list[Any]) -> list[Any]:
    return [arguments[0], tuple(arguments[1])]


def _tuples_of_tuples(arguments: list[Any]) -> list[Any]:
    return [tuple(tuple(item) for item in argument) for argument in arguments]


def _tuple_with_tuples(arguments: list[Any]) -> list[Any]:
    return [tuple(tuple(item) if isinstance(item, list) else item for item in arguments[0])]


def _deep_tuples(arguments: list[Any]) -> list[Any]:
    def deep(value: Any) -> Any:
        return tuple(deep(item) for item in value) if isinstance(value, list) else value

    return [deep(argument) for argument in arguments]


def _sets(arguments: list[Any]) -> list[Any]:
    return [[set(item) if isinstance(item, list) and item else {} for item in arguments[0]]]


def _values_to_tuples(arguments: list[Any]) -> list[Any]:
    return [{key: tuple(value) for key, value in arguments[0].items()}, *arguments[1:]]


_CONVERT: dict[int, Callable[[list[Any]], list[Any]]] = {
    **dict.fromkeys((2, 116, 132, 143, 222, 261, 273, 394, 399, 421, 424, 429, 470, 560, 579, 596), _tuples),
    **dict.fromkeys((616, 630, 726, 740, 744, 809), _tuples),
    **dict.fromkeys((63, 64, 70, 94, 120, 237, 272, 299, 400, 409, 417, 438, 473, 614, 780), _lists_of_tuples),
    **dict.fromkeys((75, 413, 444, 753), _first_list_of_tuples),
    **dict.fromkeys((106, 750), _second_tuple),
    **dict.fromkeys((250, 307, 405, 446, 617, 720, 763, 808), _first_tuple),
    **dict.fromkeys((259, 401, 445), _tuples_of_tuples),
    **dict.fromkeys((580, 615, 791), _deep_tuples),
    115: _sets,
    124: lambda arguments: [float(arguments[0]), complex(arguments[1])],
    252: lambda arguments: [complex(arguments[0])],
    278: _tuple_with_tuples,
    722: _values_to_tuples,
}
"""By MBPP's task number; which tasks these are is EvalPlus 0.3.1's list (its `mbpp_deserialize_inputs`)."""
