"""`load_tasks`: tasks by name, from the built-in generator, a benchmark, or a file."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from pathlib import Path

from rewardranker.errors import ConfigError, DataError
from rewardranker.runs import read_records
from rewardranker.sources import check_hub
from rewardranker.tasks.benchmarks import BENCHMARKS
from rewardranker.tasks.synthetic import SPLITS as SYNTHETIC_SPLITS
from rewardranker.tasks.synthetic import synthetic_tasks
from rewardranker.types import Task

NAMES = (
    *(f"synthetic:{split}" for split in SYNTHETIC_SPLITS),
    *(name for benchmark in BENCHMARKS.values() for name in benchmark.names),
)


def load_tasks(name: str, limit: int | None = None, seed: int = 0) -> list[Task]:
    """The tasks of this name, in a fixed order; `limit` keeps the first so many.

    Args:
        name: `synthetic:SPLIT`; a benchmark, `NAME` or `NAME:VARIANT` (`humaneval`, `mbpp:test`,
            `multipl-e:humaneval-cpp`, ...: `BENCHMARKS`), with `:FILE` behind it to read a local file of its rows
            instead of the hub; or the path of a JSON Lines file of `Task` records.
        seed: of the synthetic tasks; the others do not depend on it.

    Raises:
        ConfigError: unknown name or variant, or a limit below 1.
        DataError: an unreadable file, a broken row, or two tasks with one id.
        MissingExtraError: the benchmark's package is not installed.
        ModelError: the hub can't be reached.

    >>> load_tasks("synthetic:test", limit=1)[0].metadata["composition"]
    'last|above|from|smallest|keep'
    """
    if limit is not None and limit < 1:
        raise ConfigError(f"tasks '{name}': the limit must be at least 1 (got {limit})")
    source, _, rest = name.partition(":")
    if source == "synthetic":
        return synthetic_tasks(rest, limit, seed)
    if (benchmark := BENCHMARKS.get(source)) is not None:
        return _unique(itertools.islice(benchmark.read(*benchmark.split(rest)), limit), name)
    if Path(name).suffix in (".jsonl", ".json") or Path(name).is_file():
        return _unique(itertools.islice(read_records(name, Task), limit), name)
    near = difflib.get_close_matches(name, NAMES, 1, 0.5)
    raise ConfigError(
        f"unknown tasks '{name}'"
        + (f"; did you mean '{near[0]}'?" if near else "")
        + f"; known: {', '.join(NAMES)}, each with :FILE for a local file of its rows, or a .jsonl file of tasks"
    )


def needs_hub(name: str) -> bool:
    """Whether `load_tasks` would ask the hub for these tasks.

    Raises:
        ConfigError: no such variant.
        MissingExtraError: the package that asks the hub is not installed.
    """
    source, _, rest = name.partition(":")
    benchmark = BENCHMARKS.get(source)
    if benchmark is None:
        return False
    _, file = benchmark.split(rest)
    if file is not None or not benchmark.on_hub:
        return False
    check_hub()
    return True


def _unique(tasks: Iterable[Task], where: str) -> list[Task]:
    found: dict[str, int] = {}
    unique: list[Task] = []
    for number, task in enumerate(tasks, 1):
        first = found.setdefault(task.task_id, number)
        if first != number:
            raise DataError(
                f"{where}: records {first} and {number} have the same task_id '{task.task_id}'; give each task its own"
            )
        unique.append(task)
    return unique
