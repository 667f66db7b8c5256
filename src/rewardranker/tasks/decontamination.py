"""Finding evaluation tasks in training tasks, and taking them out.

Four rules: the same prompt up to whitespace; the same reference program up to names, comments and layout; the same
signature (name and parameters of the function, Python only); a shared run of 13 words in the prompts (Brown et al.
2020, arXiv 2005.14165, appendix C; all words of an evaluation prompt that has fewer). Runs that many training tasks
share are phrases of the trade (`the first line contains ...`) and do not count; the report says how many these were.

Prompts of the built-in generator share their sentences by construction, so between two of its tasks the composition
is compared instead of word runs; their functions are all called `solve`, which is no signature.

Not guaranteed: that a paraphrase with another solution and another name is found. A shared signature or run may be
chance: the rules rather take a clean training task out than leave a known evaluation task in.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rewardranker.tasks.normalization import normalized_program
from rewardranker.tasks.signatures import signature
from rewardranker.types import Json, Task

WORDS = 13
SHORTEST = 6
"""Evaluation prompts with fewer words are compared as a whole only, and runs with fewer different words, numbers left
out, do not count: examples are full of `1 2 3 4 5`."""
COMMON = (100, 0.01)
"""A run is common when more training tasks share it than this number and than this share of them."""
KINDS = ("prompt", "program", "signature", "words", "composition")


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
        common_runs: runs of words of evaluation prompts that did not count, as too many training tasks share them.
    """

    training: int
    evaluation: int
    overlaps: tuple[Overlap, ...]
    compositions: tuple[int, int, int]
    common_runs: tuple[str, ...] = ()

    @property
    def contaminated(self) -> frozenset[str]:
        """Ids of the training tasks that repeat an evaluation task."""
        return frozenset(found.training_id for found in self.overlaps)

    @property
    def counts(self) -> dict[str, int]:
        """Training tasks by kind of overlap, every kind named."""
        counter = Counter(found.kind for found in self.overlaps)
        return {kind: counter[kind] for kind in KINDS}

    def to_record(self) -> Json:
        """All of the report as JSON: counts by rule, and every pair found."""
        return {
            "training": self.training,
            "evaluation": self.evaluation,
            "contaminated": len(self.contaminated),
            "counts": self.counts,
            "compositions": dict(zip(("training", "evaluation", "both"), self.compositions, strict=True)),
            "common_runs": list(self.common_runs),
            "pairs": [asdict(found) for found in self.overlaps],
        }

    def summary(self, examples: int | None = 5) -> str:
        """The counts and the first so many pairs (None: all) as text."""
        lines = [
            f"{len(self.contaminated)} of {self.training} training tasks repeat one of {self.evaluation} evaluation "
            "tasks (" + ", ".join(f"{kind} {count}" for kind, count in self.counts.items()) + ")"
        ]
        if self.compositions[0] and self.compositions[1]:
            first, second, both = self.compositions
            lines.append(f"synthetic compositions: {first} in training, {second} in evaluation, {both} in both")
        if self.common_runs:
            lines.append(f"runs of words that did not count: {len(self.common_runs)}, such as '{self.common_runs[0]}'")
        lines += [
            f"  {o.training_id} ~ {o.evaluation_id}: {o.kind}: {_squeezed(o.evidence)}"
            for o in self.overlaps[:examples]
        ]
        return "\n".join(lines)


def overlap(training: Sequence[Task], evaluation: Sequence[Task]) -> OverlapReport:
    """Compare every training task with every evaluation task."""
    prompts = {_squeezed(task.prompt): task.task_id for task in reversed(evaluation)}
    programs = {key: task.task_id for task in reversed(evaluation) if (key := normalized_program(task))}
    compositions = {key: task.task_id for task in reversed(evaluation) if (key := _composition(task))}
    signatures = {name: task.task_id for task in reversed(evaluation) if (name := signature(task))}
    every_run, told_runs = _Runs(evaluation), _Runs([task for task in evaluation if not _composition(task)])
    hits = [(told_runs if _composition(task) else every_run).hits(task.prompt) for task in training]
    common = _common(hits)
    found: list[Overlap] = []
    for task, runs in zip(training, hits, strict=True):
        composition = _composition(task)
        if (prompt := _squeezed(task.prompt)) in prompts:
            found.append(Overlap(task.task_id, prompts[prompt], "prompt", prompt[:100]))
        if (program := normalized_program(task)) in programs:
            found.append(Overlap(task.task_id, programs[program], "program", program[:100]))
        if (name := signature(task)) in signatures:
            found.append(Overlap(task.task_id, signatures[name], "signature", name))
        if composition in compositions:
            found.append(Overlap(task.task_id, compositions[composition], "composition", composition))
        if (hit := next((run for run in runs if run not in common), None)) is not None:
            found.append(Overlap(task.task_id, runs[hit], "words", " ".join(hit)))
    trained = {composition for task in training if (composition := _composition(task))}
    shared = len(trained & set(compositions))
    return OverlapReport(
        len(training),
        len(evaluation),
        tuple(found),
        (len(trained), len(compositions), shared),
        tuple(sorted(" ".join(run) for run in common)),
    )


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
                    run = tuple(words[start : start + length])
                    if len({word for word in run if not word.isdecimal()}) >= SHORTEST:
                        runs.setdefault(run, task.task_id)

    def hits(self, prompt: str) -> dict[tuple[str, ...], str]:
        """The runs that this prompt shares with evaluation tasks, in its order, and the first task of each."""
        words = _words(prompt)
        found: dict[tuple[str, ...], str] = {}
        for length, runs in self._runs.items():
            for start in range(len(words) - length + 1):
                run = tuple(words[start : start + length])
                if run in runs:
                    found[run] = runs[run]
        return found


def _common(hits: Sequence[dict[tuple[str, ...], str]]) -> set[tuple[str, ...]]:
    """The runs that too many training tasks share to say anything."""
    number, share = COMMON
    counts = Counter(run for runs in hits for run in runs)
    return {run for run, count in counts.items() if count > max(number, share * len(hits))}


def _composition(task: Task) -> str:
    return task.metadata.get("composition", "") if task.metadata.get("source") == "synthetic" else ""


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _squeezed(text: str) -> str:
    return " ".join(text.split())
