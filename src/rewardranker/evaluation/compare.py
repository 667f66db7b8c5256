"""Differences between two evaluations of the same tasks: two models, or two draws of one."""

from __future__ import annotations

import numpy as np

from rewardranker.config import EvaluationOptions
from rewardranker.errors import DataError
from rewardranker.evaluation.evaluate import compare_columns
from rewardranker.evaluation.intervals import Difference, paired_difference
from rewardranker.evaluation.records import Against, Evaluation


def difference_between(
    first: Evaluation,
    ranker: str,
    second: Evaluation,
    other: str,
    options: EvaluationOptions,
    n: int | None = None,
    other_n: int | None = None,
) -> Difference:
    """How much better `first`'s best of `n` by `ranker` is than `second`'s best of `other_n` by `other`.

    Any two figures can be compared, such as a small model's best of 8 by a reranker with a large one's `greedy`. The
    p-value stands for this comparison alone; who makes several corrects them with `holm`.

    Args:
        n: None: the evaluation's own `n`.

    Raises:
        DataError: the evaluations are of other tasks, or have no such figure.
    """
    order = matched(first, second)
    theirs = np.array(second.figures(other, other_n))[order]
    return paired_difference(first.figures(ranker, n), theirs, options, first.problems)


def against(first: Evaluation, second: Evaluation, options: EvaluationOptions, path: str = "") -> Against:
    """What `first` has over `second`, for every ranker that both have, at best of `options.n`.

    Raises:
        DataError: the evaluations are of other tasks, or `second` has no best of this n.
    """
    order = matched(first, second)
    if options.n not in second.ns:
        raise DataError(
            f"{path or 'the other evaluation'} has no best of {options.n}, only of {second.ns}: ask for one"
        )
    theirs = {found.ranker for found in second.per_task}
    common = [name for name in dict.fromkeys(found.ranker for found in first.per_task) if name in theirs]
    pairs = [
        (name, name, np.array(first.figures(name, options.n)), np.array(second.figures(name, options.n))[order])
        for name in common
    ]
    return Against(path, second.model, first.tasks, compare_columns(pairs, first.problems, options))


def matched(first: Evaluation, second: Evaluation) -> list[int]:
    """Where each task of `first` is in `second`.

    Raises:
        DataError: one of them has a task that the other has not.
    """
    places = {task_id: place for place, task_id in enumerate(second.task_ids)}
    alone = set(first.task_ids) ^ set(second.task_ids)
    if alone:
        raise DataError(
            f"{len(alone)} tasks are in one of the two evaluations only (such as '{min(alone)}'): evaluate both on the "
            f"same tasks ({first.tasks} and {second.tasks})"
        )
    return [places[task_id] for task_id in first.task_ids]
