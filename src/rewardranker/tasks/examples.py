"""What the generator is fine-tuned on."""

from __future__ import annotations

from collections.abc import Sequence

from rewardranker.config import TaskOptions
from rewardranker.errors import DataError
from rewardranker.tasks.synthetic import corpus
from rewardranker.types import Task


def sft_examples(options: TaskOptions, tasks: Sequence[Task]) -> list[tuple[str, str, str]]:
    """(prompt, completion, language): of synthetic tasks the corpus with its bugs, else the reference solutions.

    Args:
        tasks: those of `options.train`.

    Raises:
        DataError: no task has a reference solution.
    """
    if options.train.startswith("synthetic:"):
        return [(p, c, "python") for p, c, _ in corpus(options.corpus_size, options.bug_share, options.seed)]
    examples = [(task.prompt, task.reference, task.language) for task in tasks if task.reference]
    if not examples:
        raise DataError(
            f"none of the {len(tasks)} training tasks of '{options.train}' has a reference solution to fine-tune on: "
            "add the column 'reference'"
        )
    return examples
