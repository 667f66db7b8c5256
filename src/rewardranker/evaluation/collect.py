"""Tasks, samples, verdicts and rankings -> arrays; what does not fit is refused, or counted and reported.

| what is wrong | what happens |
|---|---|
| a sample without verdict, or a verdict without sample | refused, counted, the first one named |
| a sample of a task that is not given | refused, counted, the first one named |
| a task without samples, or with fewer than n | refused; with `drop_incomplete` left out of every figure, and listed |
| tasks with different numbers of samples | each uses all its own: every figure is unbiased for any number >= n |
| an id twice (task, sample, verdict, ranking), also in equal lines | refused, counted, the first one named |
| samples of several draws (model, temperature, top-p or round differ) | refused, with the two values |
| verdicts reached under several levels of isolation, or toolchains of one language | reported as a note |
| a sample without score, or a score that is NaN | refused, counted, the first one named |
| an infinite score | ranked as what it is, and counted; see `calibration.py` for the one figure that needs numbers |
| scores of samples that are not evaluated | left aside, reported as a note |
| equal programs of a task, some passing and some not | reported as a note; refused where it is many: other verdicts |
| two rankers of one name | refused (`evaluate.py`) |
| a line that is no record, or a last line that is cut off | refused, with file and line (`files.py`) |

Not surely seen: verdicts of another draw whose ids are the same (it shows in equal programs); never: such scores.
Keep the files of one draw in one folder.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rewardranker.errors import DataError
from rewardranker.types import Ranking, Sample, Task, Verdict

T = TypeVar("T")
DRAW = ("model", "temperature", "top_p", "round")
"""Columns that all samples of one draw share."""
STRANGE, FEWEST_STRANGE = 0.1, 3
"""Repeated programs with differing verdicts, share and number, from which on the verdicts must be of other samples."""


@dataclass(frozen=True)
class Outcomes:
    """What running the samples of one generator showed. Arrays of samples are flat, task after task."""

    tasks: tuple[Task, ...]
    samples: tuple[tuple[Sample, ...], ...]
    """For each task its samples, in the order given."""
    passed: NDArray[np.bool_]
    """Shape [samples]."""
    counts: NDArray[np.intp]
    """Number of samples of each task, shape [tasks]."""
    dropped: tuple[str, ...] = ()
    """Ids of the tasks left out for having too few samples."""
    notes: tuple[str, ...] = ()
    _columns: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = field(init=False, repr=False, compare=False)
    """Of the tasks with equally many samples: their indices [some], and where their samples are [some, N]."""

    def __post_init__(self) -> None:
        starts = np.cumsum(self.counts) - self.counts
        alike = [np.flatnonzero(self.counts == count) for count in np.unique(self.counts)]
        columns = [(tasks, starts[tasks][:, None] + np.arange(self.counts[tasks[0]])) for tasks in alike]
        object.__setattr__(self, "_columns", columns)

    @property
    def candidates(self) -> list[tuple[Task, Sequence[Sample]]]:
        """What a ranker ranks."""
        return list(zip(self.tasks, self.samples, strict=True))

    @property
    def model(self) -> str:
        return self.samples[0][0].model

    @property
    def problems(self) -> tuple[str, ...]:
        """The problem of each task: its name where the set names problems (`metadata["name"]`), or its id.

        Translations of one problem into several languages have one name, so they are one problem.
        """
        return tuple(task.metadata.get("name", task.task_id) for task in self.tasks)

    def per_task(
        self, figure: Callable[..., NDArray[np.float64]], *arrays: NDArray[np.float64] | NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """A figure of each task, from a function of arrays [tasks, N] that gives [tasks] or [tasks, figures].

        Args:
            arrays: shape [samples]; the function is called once for each number of samples that tasks have.
        """
        result: NDArray[np.float64] | None = None
        for tasks, places in self._columns:
            found = np.asarray(figure(*(array[places] for array in arrays)))
            if result is None:
                result = np.empty((len(self.tasks), *found.shape[1:]))
            result[tasks] = found
        assert result is not None, "there is always a task"
        return result


def collect(
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    verdicts: Iterable[Verdict],
    n: int = 1,
    *,
    drop_incomplete: bool = False,
) -> Outcomes:
    """Join the records of one generator into arrays, by the rules of this module's table.

    Args:
        n: samples a task that the figures will need.
        drop_incomplete: leave out tasks with fewer than `n` samples (or none) instead of refusing. It changes what is
            measured: `Outcomes.dropped` names them.

    Raises:
        DataError: the records do not fit each other.
    """
    verdicts = list(verdicts)
    by_task, dropped = arrange(tasks, samples, n, drop_incomplete=drop_incomplete)
    passed = join(samples, verdicts)
    kept = [task for task in tasks if task.task_id in by_task]
    rows = tuple(tuple(by_task[task.task_id]) for task in kept)
    return Outcomes(
        tasks=tuple(kept),
        samples=rows,
        passed=np.array([passed[s.task_id, s.sample_id] for row in rows for s in row], bool),
        counts=np.array([len(row) for row in rows], np.intp),
        dropped=tuple(dropped),
        notes=tuple(_verdict_notes(tasks, verdicts) + _repeats(samples, passed)),
    )


def arrange(
    tasks: Sequence[Task], samples: Sequence[Sample], n: int = 1, *, drop_incomplete: bool = False
) -> tuple[dict[str, list[Sample]], list[str]]:
    """The samples of each task that has enough, and the ids of the tasks that have not; what needs no verdicts yet.

    Raises:
        DataError: see `collect`.
    """
    if not tasks or not samples:
        raise DataError(f"nothing to evaluate: {len(tasks)} tasks and {len(samples)} samples")
    refuse_repeated(tasks, lambda task: f"'{task.task_id}'", "task", "with an id already used", "give each its own")
    refuse_repeated(samples, _named, "sample", "with an id already used", "give the file of one draw")
    by_task: dict[str, list[Sample]] = {task.task_id: [] for task in tasks}
    strangers = [_named(sample) for sample in samples if sample.task_id not in by_task]
    _refuse(strangers, "sample", "of tasks that are not given", "give the tasks that these were drawn for")
    _refuse_several_draws(samples)
    for sample in samples:
        by_task[sample.task_id].append(sample)
    dropped = _too_few({task_id: len(found) for task_id, found in by_task.items()}, max(n, 1), drop_incomplete)
    return {task_id: found for task_id, found in by_task.items() if task_id not in set(dropped)}, dropped


def join(samples: Sequence[Sample], verdicts: Sequence[Verdict]) -> dict[tuple[str, int], bool]:
    """Whether each sample passed, by its ids.

    Raises:
        DataError: a verdict's id twice, a sample without verdict, or a verdict without sample.
    """
    refuse_repeated(verdicts, _named, "verdict", "with an id already used", "judge each sample once")
    passed = {(verdict.task_id, verdict.sample_id): verdict.passed for verdict in verdicts}
    known = {(sample.task_id, sample.sample_id) for sample in samples}
    _refuse(
        [_named(s) for s in samples if (s.task_id, s.sample_id) not in passed],
        "sample",
        "without verdict",
        "`rewardranker judge` with the same files goes on where it stopped",
    )
    _refuse(
        [_named(v) for v in verdicts if (v.task_id, v.sample_id) not in known],
        "verdict",
        "without sample",
        "give the verdicts of these samples",
    )
    return passed


def score_vector(outcomes: Outcomes, rankings: Iterable[Ranking]) -> tuple[NDArray[np.float64], list[str]]:
    """The scores of one ranker in the order of `outcomes`, whatever that of the rankings.

    Returns:
        The scores, shape [samples], and notes on what was left aside.

    Raises:
        DataError: rankings of several rankers, a task ranked twice, a sample ranked twice or without score, or NaN.
    """
    rankings = list(rankings)
    name = rankings[0].ranker if rankings else "ranker"
    names = list(dict.fromkeys(ranking.ranker for ranking in rankings))
    if len(names) > 1:
        raise DataError(f"rankings of several rankers ({', '.join(names)}): give those of one")
    refuse_repeated(
        rankings, lambda r: f"'{r.task_id}'", "task", f"ranked twice by '{name}'", "give the file of one ranking"
    )
    for ranking in rankings:
        if len(ranking.sample_ids) != len(ranking.scores):
            raise DataError(
                f"task '{ranking.task_id}': '{name}' has {len(ranking.scores)} scores for "
                f"{len(ranking.sample_ids)} samples"
            )
    by_task = {ranking.task_id: ranking for ranking in rankings}
    scores: list[float] = []
    missing: list[str] = []
    for task, samples in outcomes.candidates:
        found = by_task.get(task.task_id, Ranking(task.task_id, name, (), ()))
        ids = tuple(sample.sample_id for sample in samples)
        if ids == found.sample_ids:
            scores += found.scores
            continue
        refuse_repeated(
            found.sample_ids, lambda i: f"sample {i}", "sample", f"of '{task.task_id}' ranked twice", "rank it again"
        )
        known = dict(zip(found.sample_ids, found.scores, strict=True))
        missing += [_named(sample) for sample in samples if sample.sample_id not in known]
        scores += [known.get(sample_id, 0.0) for sample_id in ids]
    _refuse(missing, "sample", f"without score of '{name}'", "rank these samples")
    array = np.array(scores, np.float64)
    if np.isnan(array).any():
        flat = [sample for row in outcomes.samples for sample in row]
        _refuse(
            [_named(flat[i]) for i in np.flatnonzero(np.isnan(array))],
            "score",
            f"of '{name}' that is NaN",
            "rank again",
        )
    aside = sum(len(ranking.scores) for ranking in rankings) - len(array)
    return array, [f"{aside} scores of '{name}' are of samples that are not evaluated"] if aside else []


def refuse_repeated(records: Iterable[T], named: Callable[[T], Hashable], noun: str, problem: str, remedy: str) -> None:
    """
    Raises:
        DataError: two records have one name; says how many, and the first.
    """
    seen: set[Hashable] = set()
    found = []
    for record in records:
        name = named(record)
        if name in seen:
            found.append(str(name))
        seen.add(name)
    _refuse(found, noun, problem, remedy)


def _too_few(counts: Mapping[str, int], n: int, drop_incomplete: bool) -> list[str]:
    """Ids of the tasks with fewer than `n` samples."""
    found = [task_id for task_id, count in counts.items() if count < n]
    if len(found) == len(counts):
        raise DataError(
            f"tasks have {max(counts.values())} samples at most but {n} are asked for: draw more, or ask for best of "
            "fewer"
        )
    if not drop_incomplete:
        _refuse(
            [f"'{task_id}' with {counts[task_id]}" for task_id in found],
            "task",
            f"of {len(counts)} with fewer than {n} samples",
            "draw the missing ones, give only complete tasks, ask for best of fewer, or leave these tasks out "
            "(--drop-incomplete)",
        )
    return found


def _refuse_several_draws(samples: Sequence[Sample]) -> None:
    for column in DRAW:
        values = list(dict.fromkeys(getattr(sample, column) for sample in samples))
        if len(values) > 1:
            raise DataError(
                f"samples of {len(values)} draws in one evaluation ({column} {values[0]!r} and {values[1]!r}): give "
                "each draw an evaluation of its own"
            )


def _repeats(samples: Iterable[Sample], passed: Mapping[tuple[str, int], bool]) -> list[str]:
    """A note on equal programs with different verdicts.

    Raises:
        DataError: they are too many for programs that pass by luck.
    """
    results: dict[tuple[str, str], list[bool]] = {}
    for sample in samples:
        if sample.program:
            results.setdefault((sample.task_id, sample.program), []).append(passed[sample.task_id, sample.sample_id])
    repeated = [found for found in results.values() if len(found) > 1]
    differing = sum(any(found) and not all(found) for found in repeated)
    if not differing:
        return []
    text = f"{differing:,} of {len(repeated):,} programs that were drawn repeatedly pass once and fail another time"
    if differing >= FEWEST_STRANGE and differing > STRANGE * len(repeated):
        raise DataError(f"{text}: these verdicts are of other samples; give those of these")
    return [f"{text}: they depend on chance, or the verdicts are of other samples"]


def _verdict_notes(tasks: Sequence[Task], verdicts: Sequence[Verdict]) -> list[str]:
    isolations = sorted({verdict.isolation for verdict in verdicts})
    notes = [f"verdicts of several levels of isolation: {', '.join(map(repr, isolations))}"] * (len(isolations) > 1)
    languages = {task.task_id: task.language for task in tasks}
    toolchains: dict[str, set[str]] = {}
    for verdict in verdicts:
        if verdict.toolchain and verdict.task_id in languages:
            toolchains.setdefault(languages[verdict.task_id], set()).add(verdict.toolchain)
    return notes + [
        f"verdicts of several toolchains of {language}: {', '.join(sorted(found))}"
        for language, found in toolchains.items()
        if len(found) > 1
    ]


def _refuse(found: Sequence[str], noun: str, problem: str, remedy: str) -> None:
    if found:
        count, first = ("1", "") if len(found) == 1 else (f"{len(found):,}", "first: ")
        raise DataError(f"{count} {noun}{'s' * (len(found) > 1)} {problem} ({first}{found[0]}): {remedy}")


def _named(record: Sample | Verdict) -> str:
    return f"task '{record.task_id}' sample {record.sample_id}"
