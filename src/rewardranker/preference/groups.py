"""Preference groups from judged samples: per task its distinct correct and wrong programs, both classes present.

Not guaranteed: that a program is right because it passed. Tests miss errors; two programs that are equal under
`candidate_key` yet judged differently (a flaky test, a random program) are both left out and counted.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from rewardranker.config import PreferenceOptions
from rewardranker.errors import ConfigError, DataError, TrainingError
from rewardranker.preference.joining import draw, join, quotas
from rewardranker.preference.normalise import candidate_key
from rewardranker.types import Candidate, PreferenceGroup, Sample, Task, Verdict

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class GroupStatistics:
    """What `build_groups` found and kept. `correct` to `conflicts` count candidates, references included."""

    tasks: int = 0
    tasks_without_samples: int = 0
    tasks_only_correct: int = 0
    """Kept out: no wrong program to compare with."""
    tasks_only_wrong: int = 0
    """Kept out: no correct program to compare with."""
    tasks_without_usable: int = 0
    """Kept out: every program was in a conflict."""
    groups: int = 0
    correct: int = 0
    wrong: int = 0
    duplicates: int = 0
    conflicts: int = 0
    """Left out: equal programs with different verdicts."""
    kept_correct: int = 0
    kept_wrong: int = 0
    pairs: int = 0
    """(correct, wrong) pairs in all groups."""

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


def build_groups(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    options: PreferenceOptions,
) -> tuple[list[PreferenceGroup], GroupStatistics]:
    """Group the judged samples by task, in task order.

    Equal programs count once (the first stays). Of more than `options.max_candidates` a draw that depends on
    `options.seed` and the task's id alone keeps half of each class; what one class lacks, the other may use.

    With `options.references` each task's `reference` comes first among its candidates, as correct.

    Raises:
        DataError: duplicate ids, samples of unknown tasks, samples without verdicts or verdicts without samples.
        TrainingError: no task has both a correct and a wrong program.
        ConfigError: `options.max_candidates` is below 2.
    """
    if options.max_candidates < 2:
        raise ConfigError("preference.max_candidates must be at least 2: one correct and one wrong program")
    statistics = GroupStatistics(tasks=len(tasks))
    groups = []
    judged = join(tasks, samples, verdicts)
    for task in tasks:
        candidates = [item.candidate() for item in judged[task.task_id]]
        if not candidates:
            statistics.tasks_without_samples += 1
            continue
        if options.references and task.reference is not None:
            candidates.insert(0, Candidate(task.reference, True, 1.0, "passed", origin="reference"))
        statistics.correct += sum(c.passed for c in candidates)
        statistics.wrong += sum(not c.passed for c in candidates)
        keys = candidate_keys(task.prompt, candidates, task.language, options.deduplicate)
        kept, duplicates, conflicts = unique(candidates, keys)
        statistics.duplicates += duplicates
        statistics.conflicts += conflicts
        group = balanced(PreferenceGroup(task.task_id, task.prompt, tuple(candidates[i] for i in kept)), options)
        if group.pairs:
            groups.append(group)
        elif group.correct:
            statistics.tasks_only_correct += 1
        elif group.wrong:
            statistics.tasks_only_wrong += 1
        else:
            statistics.tasks_without_usable += 1
    if not groups:
        raise TrainingError(
            f"no task has both a correct and a wrong program: of {len(tasks)} tasks, {statistics.tasks_only_correct} "
            f"have only correct and {statistics.tasks_only_wrong} only wrong ones, {statistics.tasks_without_samples} "
            f"no samples, {statistics.tasks_without_usable} only programs with contradicting verdicts; draw more "
            "samples a task, raise the temperature, or use "
            + ("easier" if statistics.tasks_only_wrong >= statistics.tasks_only_correct else "harder")
            + " tasks"
        )
    statistics.groups = len(groups)
    statistics.kept_correct = sum(len(group.correct) for group in groups)
    statistics.kept_wrong = sum(len(group.wrong) for group in groups)
    statistics.pairs = sum(group.pairs for group in groups)
    return groups, statistics


def merge_groups(
    old: Sequence[PreferenceGroup],
    new: Sequence[PreferenceGroup],
    options: PreferenceOptions,
    *,
    languages: Mapping[str, str] | None = None,
) -> list[PreferenceGroup]:
    """Per task the old candidates, then the new ones that are not among them; old tasks first, then new ones.

    Programs equal to one of the other verdict are left out on both sides, with a warning that counts them. Over
    `options.max_candidates` the new ones of a class stay and a seeded draw chooses among the old ones.

    Args:
        languages: language of each task_id that is not Python's: its programs are compared as text.

    Raises:
        DataError: a task occurs twice on one side, or with different prompts.
    """
    by_task = _by_task(old, "old")
    for task_id, group in _by_task(new, "new").items():
        before = by_task.get(task_id, replace(group, candidates=()))
        if before.prompt != group.prompt:
            raise DataError(
                f"task '{task_id}' has one prompt in the old groups and another in the new: not the same task"
            )
        by_task[task_id] = replace(group, candidates=before.candidates + group.candidates)
    fresh_counts = {group.task_id: len(group.candidates) for group in new}
    merged, conflicts = [], 0
    for task_id, group in by_task.items():
        language = (languages or {}).get(task_id, "python")
        keys = candidate_keys(group.prompt, group.candidates, language, options.deduplicate)
        kept, _, found = unique(group.candidates, keys)
        conflicts += found
        first_fresh = len(group.candidates) - fresh_counts.get(task_id, 0)
        group = replace(group, candidates=tuple(group.candidates[i] for i in kept))
        merged.append(balanced(group, options, preferred=[i >= first_fresh for i in kept]))
    if conflicts:
        _log.warning("%d candidates left out: equal programs with different verdicts in old and new groups", conflicts)
    return merged


def usable(groups: Iterable[PreferenceGroup]) -> list[PreferenceGroup]:
    """The groups with at least one correct and one wrong program; the others teach nothing yet."""
    return [group for group in groups if group.pairs]


def candidate_keys(prompt: str, candidates: Sequence[Candidate], language: str, deduplicate: bool) -> list[Hashable]:
    """What makes candidates equal: their canonical program, or, without deduplication, nothing but themselves."""
    if not deduplicate:
        return list(range(len(candidates)))
    return [candidate_key(prompt, candidate.completion, language) for candidate in candidates]


def unique(candidates: Sequence[Candidate], keys: Sequence[Hashable]) -> tuple[list[int], int, int]:
    """Places of the first candidate of each key; the number of duplicates; and of those with contradicting verdicts.

    The contradicting ones are not among the places.
    """
    classes: dict[Hashable, set[bool]] = {}
    first: dict[Hashable, int] = {}
    for place, (candidate, key) in enumerate(zip(candidates, keys, strict=True)):
        classes.setdefault(key, set()).add(candidate.passed)
        first.setdefault(key, place)
    distinct = [place for key, place in first.items() if len(classes[key]) == 1]
    conflicts = sum(len(classes[key]) == 2 for key in keys)
    return distinct, len(candidates) - conflicts - len(distinct), conflicts


def balanced(
    group: PreferenceGroup, options: PreferenceOptions, preferred: Sequence[bool] | None = None
) -> PreferenceGroup:
    """The group cut to `options.max_candidates`, classes as equal as they allow.

    Args:
        preferred: for each candidate, whether it stays before any of its class that is not preferred.
    """
    preferred = preferred or [False] * len(group.candidates)
    chosen: set[int] = set()
    counts = quotas(len(group.correct), len(group.wrong), options.max_candidates)
    for passed, count in zip((True, False), counts, strict=True):
        members = [place for place, candidate in enumerate(group.candidates) if candidate.passed is passed]
        for rank in (True, False):
            part = [place for place in members if preferred[place] is rank]
            kept = draw(part, count - len(chosen & set(members)), options.seed, group.task_id, f"balance {passed}")
            chosen.update(kept)
    return replace(group, candidates=tuple(group.candidates[place] for place in sorted(chosen)))


def _by_task(groups: Sequence[PreferenceGroup], side: str) -> dict[str, PreferenceGroup]:
    by_task: dict[str, PreferenceGroup] = {}
    for group in groups:
        if group.task_id in by_task:
            raise DataError(f"task '{group.task_id}' occurs twice in the {side} groups: merge them first")
        by_task[group.task_id] = group
    return by_task
