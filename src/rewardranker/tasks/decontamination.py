"""Finding evaluation tasks in training tasks, and taking them out.

Three checks: the same prompt up to whitespace; the same reference program up to names, comments and layout; a shared
run of 13 words in the prompts (Brown et al. 2020, appendix C; all words of an evaluation prompt that has fewer).
Prompts of the built-in generator share their sentences by construction, so between two of its tasks the composition
is compared instead of word runs. Not guaranteed: that a paraphrase with another solution is found.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rewardranker.tasks.normalization import normalized_program
from rewardranker.types import Task

WORDS = 13
SHORTEST = 6
"""Evaluation prompts with fewer words are compared as a whole only: their words alone say too little."""
KINDS = ("prompt", "program", "words", "composition")


@dataclass(frozen=True, slots=True)
class Overlap:
    """A training task that repeats an evaluation task, and how it was noticed (one of `KINDS`)."""

    training_id: str
    evaluation_id: str
    kind: str
    evidence: str


@dataclass(frozen=True, slots=True)
class OverlapReport:
    """What `overlap` found; the first evaluation task of each kind is named for each training task.

    Attributes:
        training: number of training tasks looked at.
        evaluation: number of evaluation tasks.
        compositions: numbers of distinct synthetic compositions in training, in evaluation, and in both.
    """

    training: int
    evaluation: int
    overlaps: tuple[Overlap, ...]
    compositions: tuple[int, int, int]

    @property
    def contaminated(self) -> frozenset[str]:
        """Ids of the training tasks that repeat an evaluation task."""
        return frozenset(found.training_id for found in self.overlaps)

    @property
    def counts(self) -> dict[str, int]:
        """Training tasks by kind of overlap, every kind named."""
        counter = Counter(found.kind for found in self.overlaps)
        return {kind: counter[kind] for kind in KINDS}

    def summary(self, examples: int = 5) -> str:
        """The counts and a few examples as text."""
        lines = [
            f"{len(self.contaminated)} of {self.training} training tasks repeat one of {self.evaluation} evaluation "
            "tasks (" + ", ".join(f"{kind} {count}" for kind, count in self.counts.items()) + ")"
        ]
        if self.compositions[0] and self.compositions[1]:
            first, second, both = self.compositions
            lines.append(f"synthetic compositions: {first} in training, {second} in evaluation, {both} in both")
        lines += [f"  {o.training_id} ~ {o.evaluation_id}: {o.kind}: {o.evidence}" for o in self.overlaps[:examples]]
        return "\n".join(lines)


def overlap(training: Sequence[Task], evaluation: Sequence[Task]) -> OverlapReport:
    """Compare every training task with every evaluation task."""
    prompts = {_squeezed(task.prompt): task.task_id for task in reversed(evaluation)}
    programs = {key: task.task_id for task in reversed(evaluation) if (key := normalized_program(task))}
    compositions = {key: task.task_id for task in reversed(evaluation) if (key := _composition(task))}
    runs = _Runs([task for task in evaluation if not _composition(task)])
    runs_all = _Runs(evaluation)
    found: list[Overlap] = []
    for task in training:
        composition = _composition(task)
        if (prompt := _squeezed(task.prompt)) in prompts:
            found.append(Overlap(task.task_id, prompts[prompt], "prompt", prompt[:100]))
        if (program := normalized_program(task)) in programs:
            found.append(Overlap(task.task_id, programs[program], "program", program[:100]))
        if composition in compositions:
            found.append(Overlap(task.task_id, compositions[composition], "composition", composition))
        if (hit := (runs if composition else runs_all).find(task.prompt)) is not None:
            found.append(Overlap(task.task_id, hit[0], "words", hit[1]))
    trained = {composition for task in training if (composition := _composition(task))}
    shared = len(trained & set(compositions))
    return OverlapReport(len(training), len(evaluation), tuple(found), (len(trained), len(compositions), shared))


def remove_overlap(training: Sequence[Task], evaluation: Sequence[Task]) -> tuple[list[Task], OverlapReport]:
    """The training tasks that repeat no evaluation task, in order, and the report on all of them."""
    report = overlap(training, evaluation)
    contaminated = report.contaminated
    return [task for task in training if task.task_id not in contaminated], report


class _Runs:
    """Word runs of evaluation prompts, by length."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._runs: dict[int, dict[tuple[str, ...], str]] = {}
        for task in tasks:
            words = _words(task.prompt)
            if len(words) >= SHORTEST:
                length = min(WORDS, len(words))
                runs = self._runs.setdefault(length, {})
                for start in range(len(words) - length + 1):
                    runs.setdefault(tuple(words[start : start + length]), task.task_id)

    def find(self, prompt: str) -> tuple[str, str] | None:
        """The evaluation task that shares a run with this prompt, and the run."""
        words = _words(prompt)
        for length, runs in self._runs.items():
            for start in range(len(words) - length + 1):
                run = tuple(words[start : start + length])
                if run in runs:
                    return runs[run], " ".join(run)
        return None


def _composition(task: Task) -> str:
    return task.metadata.get("composition", "") if task.metadata.get("source") == "synthetic" else ""


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _squeezed(text: str) -> str:
    return " ".join(text.split())
