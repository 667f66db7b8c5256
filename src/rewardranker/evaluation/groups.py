"""Figures of groups of tasks: by language, source, difficulty, or any field of `Task.metadata`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewardranker.config import EvaluationOptions
from rewardranker.evaluation.intervals import Bootstrap, percentiles
from rewardranker.evaluation.records import Breakdown, Group, GroupRow
from rewardranker.types import Task

BY = ("language", "source", "difficulty")
MISSING = "(none)"
"""The group of the tasks that do not have the field."""
MOST = 30
"""A field with more values than this is an id or a number rather than a group."""


def break_down(
    tasks: Sequence[Task],
    problems: Sequence[str],
    columns: Sequence[tuple[str, int]],
    figures: NDArray[np.float64],
    options: EvaluationOptions,
    by: Sequence[str] = BY,
) -> tuple[list[Breakdown], list[str]]:
    """Means of each group and of the groups' means, with intervals.

    Resamples keep the number of problems of each group, so a group is never empty; a problem with tasks in several
    groups (a translation into several languages) is drawn for all of them together.

    Args:
        columns: ranker and n of each figure.
        figures: shape [tasks, columns].
        by: `language`, or names of metadata fields. Fields of one value are left out, but for `language`.

    Returns:
        The breakdowns, and notes on fields that have too many values.
    """
    found, notes = [], []
    for name in by:
        values = [task.language if name == "language" else task.metadata.get(name, MISSING) for task in tasks]
        groups = list(dict.fromkeys(values))
        if len(groups) > MOST:
            notes.append(f"no figures by {name}: it has {len(groups)} values, more than {MOST}")
        elif len(groups) > 1 or name == "language":
            found.append(_breakdown(name, groups, np.array(values), problems, columns, figures, options))
    return found, notes


def _breakdown(
    by: str,
    groups: Sequence[str],
    values: NDArray[np.str_],
    problems: Sequence[str],
    columns: Sequence[tuple[str, int]],
    figures: NDArray[np.float64],
    options: EvaluationOptions,
) -> Breakdown:
    bootstrap = Bootstrap(len(values), options, problems, values.tolist())
    total, resampled = np.zeros(len(columns)), np.zeros((options.bootstrap, len(columns)))
    result = []
    for group in groups:
        members = np.flatnonzero(values == group)
        mean, means = figures[members].mean(axis=0), bootstrap.means(figures[members], members)
        total += mean / len(groups)
        resampled += means / len(groups)
        result.append(Group(group, len(members), _rows(columns, mean, means, options)))
    return Breakdown(by, tuple(result), _rows(columns, total, resampled, options))


def _rows(
    columns: Sequence[tuple[str, int]],
    mean: NDArray[np.float64],
    means: NDArray[np.float64],
    options: EvaluationOptions,
) -> tuple[GroupRow, ...]:
    bounds = percentiles(means, options).T
    return tuple(
        GroupRow(ranker, n, float(value), float(low), float(high))
        for (ranker, n), value, (low, high) in zip(columns, mean, bounds, strict=True)
    )
