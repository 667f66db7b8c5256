"""Mining: from the policy's judged samples, the wrong programs that teach the reward model most, and correct ones.

A hard negative is wrong under the task's tests and yet scored high by the reward model (arXiv 2504.09643, stage D; it
gives no threshold: the rules here are ours). Which rules apply is `PreferenceOptions`; without any, the highest-scored
`negatives_per_task` wrong programs of each task are mined.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, pstdev
from typing import Any

from rewardranker.config import PreferenceOptions
from rewardranker.errors import DataError
from rewardranker.preference.groups import unique
from rewardranker.preference.joining import Judged, draw, join, named, refuse
from rewardranker.preference.normalise import candidate_key
from rewardranker.types import PreferenceGroup, Sample, Task, Verdict

Rule = Callable[[float], bool]


@dataclass(slots=True)
class MiningStatistics:
    """What `mine` saw and took. Programs count once from `wrong` on, and known ones not at all."""

    tasks: int = 0
    samples: int = 0
    duplicates: int = 0
    conflicts: int = 0
    """Left out: equal programs with different verdicts."""
    known: int = 0
    """Left out: already in the preference data."""
    wrong: int = 0
    eligible: dict[str, int] = field(default_factory=dict)
    """Wrong programs that each rule in force admits by itself."""
    eligible_under_all: int = 0
    negatives: int = 0
    """Wrong programs mined."""
    correct: int = 0
    positives: int = 0
    """Correct programs mined."""
    tasks_without_negatives: int = 0
    tasks_without_mined: int = 0
    """Neither a wrong nor a correct program was taken."""
    mean_score_negatives: float | None = None
    """Of the mined wrong programs; None where there is none."""
    mean_score_wrong: float | None = None
    mean_score_correct: float | None = None

    def to_record(self) -> dict[str, Any]:
        return asdict(self)


def mine(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    scores: Sequence[float] | Mapping[tuple[str, int], float],
    options: PreferenceOptions,
    *,
    round: int,
    known: Sequence[PreferenceGroup] = (),
) -> tuple[list[PreferenceGroup], MiningStatistics]:
    """Choose among a policy's samples what to add to the preference data.

    `options.mining`:
      - `hard`: the wrong programs that meet every rule, the highest scores first, up to `negatives_per_task`. Of equal
        programs the highest-scored spelling stands for all.
      - `random`: as many as `hard` would take from the task, drawn among all its wrong programs.
      - `none`: no wrong ones.
    With `options.positives` up to `positives_per_task` correct programs are drawn at random (choosing them by score
    would teach the reward model about its own scale, not about correctness).

    Margins compare with the best-scored correct sample of the task; where it has none, nothing meets them.
    `relative_margin` counts in standard deviations of the scores of all samples of the task.

    Args:
        scores: the reward model's score of each sample, in their order or by (task_id, sample_id).
        round: number of the round that trains on what is mined; stored in each candidate.
        known: the preference data so far: programs in it are not mined again.

    Returns:
        Groups of what was mined, in task order (often of one class: merge them with the earlier ones), and figures.

    Raises:
        DataError: the records do not fit each other (see `build_groups`), or a score is missing or not finite.
    """
    by_index = _aligned(samples, scores)
    statistics = MiningStatistics(tasks=len(tasks), samples=len(samples))
    known_by_task = {group.task_id: group for group in known}
    means: dict[str, list[float]] = {"negatives": [], "wrong": [], "correct": []}
    groups = []
    for task, judged in zip(tasks, join(tasks, samples, verdicts).values(), strict=True):
        pool = _distinct(task, judged, by_index, options, known_by_task.get(task.task_id), statistics)
        wrong = [item for item in pool if not item.verdict.passed]
        correct = [item for item in pool if item.verdict.passed]
        rules = _rules(judged, by_index, options)
        for name, rule in rules.items():
            statistics.eligible[name] = statistics.eligible.get(name, 0) + sum(rule(by_index[i.index]) for i in wrong)
        eligible = [item for item in wrong if all(rule(by_index[item.index]) for rule in rules.values())]
        ranked = sorted(eligible, key=lambda item: -by_index[item.index])
        count = min(len(ranked), options.negatives_per_task)
        negatives = {
            "hard": ranked[:count],
            "random": draw(wrong, count, options.seed, task.task_id, f"negatives of round {round}"),
            "none": [],
        }[options.mining]
        purpose = f"positives of round {round}"
        positives = draw(correct, options.positives_per_task, options.seed, task.task_id, purpose)
        if not options.positives:
            positives = []
        origin = "hard_negative" if options.mining == "hard" else "random_negative"
        candidates = [i.candidate("positive", by_index[i.index], round) for i in positives]
        candidates += [i.candidate(origin, by_index[i.index], round) for i in negatives]
        if candidates:
            groups.append(PreferenceGroup(task.task_id, task.prompt, tuple(candidates)))
        statistics.wrong += len(wrong)
        statistics.correct += len(correct)
        statistics.eligible_under_all += len(eligible)
        statistics.negatives += len(negatives)
        statistics.positives += len(positives)
        statistics.tasks_without_negatives += not negatives
        statistics.tasks_without_mined += not candidates
        for name, items in (("negatives", negatives), ("wrong", wrong), ("correct", correct)):
            means[name] += [by_index[item.index] for item in items]
    statistics.mean_score_negatives = fmean(means["negatives"]) if means["negatives"] else None
    statistics.mean_score_wrong = fmean(means["wrong"]) if means["wrong"] else None
    statistics.mean_score_correct = fmean(means["correct"]) if means["correct"] else None
    return groups, statistics


def _aligned(samples: Sequence[Sample], scores: Sequence[float] | Mapping[tuple[str, int], float]) -> list[float]:
    if isinstance(scores, Mapping):
        missing = [named(s) for s in samples if (s.task_id, s.sample_id) not in scores]
        refuse(missing, "no score", "samples", "score these samples with the reward model first")
        scores = [scores[s.task_id, s.sample_id] for s in samples]
    if len(scores) != len(samples):
        raise DataError(f"{len(scores)} scores for {len(samples)} samples: give one score for each sample")
    values = [float(score) for score in scores]
    broken = [f"{named(s)}: {v}" for s, v in zip(samples, values, strict=True) if not math.isfinite(v)]
    refuse(broken, "score is not a finite number", "samples", "the reward model is broken: look at its training")
    return values


def _distinct(
    task: Task,
    judged: Sequence[Judged],
    scores: Sequence[float],
    options: PreferenceOptions,
    known: PreferenceGroup | None,
    statistics: MiningStatistics,
) -> list[Judged]:
    """The task's new programs in sample order, each once, in its highest-scored spelling."""
    if not options.deduplicate:
        return list(judged)
    ranked = sorted(judged, key=lambda item: -scores[item.index])
    keys = [candidate_key(task.prompt, item.sample.completion, task.language) for item in ranked]
    places, duplicates, conflicts = unique([item.candidate() for item in ranked], keys)
    statistics.duplicates += duplicates
    statistics.conflicts += conflicts
    have = {candidate_key(task.prompt, c.completion, task.language) for c in known.candidates} if known else set()
    fresh = [ranked[place] for place in places if keys[place] not in have]
    statistics.known += len(places) - len(fresh)
    return sorted(fresh, key=lambda item: item.index)


def _rules(judged: Sequence[Judged], scores: Sequence[float], options: PreferenceOptions) -> dict[str, Rule]:
    """The rules in force for one task, by the option that sets each."""
    rules: dict[str, Rule] = {}
    best = max((scores[i.index] for i in judged if i.verdict.passed), default=math.inf)
    if (low := options.min_score) is not None:
        rules["min_score"] = lambda score: score >= low
    if (high := options.max_score) is not None:
        rules["max_score"] = lambda score: score <= high
    if (absolute := options.absolute_margin) is not None:
        rules["absolute_margin"] = lambda score: score >= best - absolute
    if (relative := options.relative_margin) is not None:
        deviation = pstdev([scores[i.index] for i in judged]) if judged else 0.0
        rules["relative_margin"] = lambda score: score >= best - relative * deviation
    return rules
