"""The programs that a page shows: tasks, samples, verdicts and scores joined, as columns that pack well.

A program without a verdict, a verdict or a score of no program, and a score that is not a number are errors: the page
would show something else than what was measured. Tasks without programs are left out.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from rewardranker.errors import DataError
from rewardranker.runs import from_row, read_records
from rewardranker.types import Ranking, Sample, Task, Verdict

T = TypeVar("T")
Key = tuple[str, int]
"""Task and sample id."""
DETAIL = 600
"""Characters kept of a failing test."""


@dataclass(frozen=True, slots=True)
class Program:
    """One judged program as the page shows it."""

    population: str
    task_id: str
    sample_id: int
    program: str
    status: str
    passed: bool
    detail: str = ""
    failing: str = ""
    """The first test that failed, where tests are counted one by one."""
    tests_passed: int = 0
    tests_total: int = 0
    scores: Mapping[str, float] = field(default_factory=dict)
    """By ranker."""


@dataclass(frozen=True, slots=True)
class ShownTask:
    """A task as the page shows it."""

    task_id: str
    prompt: str
    language: str = "python"
    difficulty: str = ""
    source: str = ""
    reference: str = ""
    """A correct program; empty where none is known."""


@dataclass(frozen=True, slots=True)
class Programs:
    """All programs of a page, task after task."""

    tasks: tuple[ShownTask, ...]
    programs: tuple[Program, ...]

    @property
    def rankers(self) -> list[str]:
        """Every ranker with a score, in order of first appearance."""
        return list(dict.fromkeys(name for program in self.programs for name in program.scores))

    @property
    def languages(self) -> list[str]:
        return list(dict.fromkeys(task.language for task in self.tasks))


def join(
    population: str,
    tasks: Sequence[Task],
    samples: Iterable[Sample],
    verdicts: Iterable[Verdict],
    scores: Mapping[str, Mapping[Key, float]],
) -> list[Program]:
    """The programs of one generator.

    Args:
        scores: for each ranker its score of each (task, sample) id; a sample may lack one.

    Raises:
        DataError: ids given twice, a sample of an unknown task or without a verdict, a verdict or a score without a
            sample.
    """
    known = {task.task_id: task for task in tasks}
    drawn = _by_key(samples, "sample")
    judged = _by_key(verdicts, "verdict")
    _refuse(population, (key for key in drawn if key[0] not in known), "is of a task that is not in the tasks' file")
    _refuse(population, (key for key in drawn if key not in judged), "has no verdict: judge it")
    _refuse(population, (key for key in judged if key not in drawn), "has a verdict but no program")
    for name, found in scores.items():
        _refuse(population, (key for key in found if key not in drawn), f"has a score of '{name}' but no program")
    order = {task.task_id: place for place, task in enumerate(tasks)}
    programs = []
    for key in sorted(drawn, key=lambda key: (order[key[0]], key[1])):
        sample, verdict, task = drawn[key], judged[key], known[key[0]]
        programs.append(
            Program(
                population,
                *key,
                sample.program,
                verdict.status,
                verdict.passed,
                verdict.detail[:DETAIL],
                failing_test(task, verdict),
                verdict.tests_passed,
                verdict.tests_total,
                {name: found[key] for name, found in scores.items() if key in found},
            )
        )
    return programs


def failing_test(task: Task, verdict: Verdict) -> str:
    """The text of the first test that failed; empty where the verdict does not count them one by one."""
    place = verdict.outcomes.find("0")
    if place < 0:
        return ""
    if not isinstance(task.tests, str) and place < len(task.tests):
        return task.tests[place][:DETAIL]
    if task.inputs and not task.tests and place < len(task.inputs):
        test = task.inputs[place]
        return f"input:\n{test.input[: DETAIL // 2]}\nexpected:\n{test.output[: DETAIL // 2]}"
    return f"test {place + 1} of {len(verdict.outcomes)}"


def shown_task(task: Task) -> ShownTask:
    data = task.metadata
    reference = task.prompt + task.reference if task.reference else ""
    if task.reference and task.reference.lstrip().startswith(task.prompt.strip()[:40]):
        reference = task.reference  # some sets give the whole program
    return ShownTask(
        task.task_id, task.prompt, task.language, data.get("difficulty", ""), data.get("source", ""), reference
    )


def ranking_scores(rankings: Iterable[Ranking], where: str) -> dict[str, dict[Key, float]]:
    """By ranker, the score of each sample.

    Raises:
        DataError: a ranking has not one score a sample, a task is ranked twice by one ranker, or a score is NaN.
    """
    found: dict[str, dict[Key, float]] = {}
    for ranking in rankings:
        if len(ranking.sample_ids) != len(ranking.scores):
            raise DataError(
                f"{where}: '{ranking.ranker}' has {len(ranking.scores)} scores for the {len(ranking.sample_ids)} "
                f"samples of task '{ranking.task_id}': rank it again"
            )
        scores = found.setdefault(ranking.ranker, {})
        for sample_id, score in zip(ranking.sample_ids, ranking.scores, strict=True):
            _put(scores, (ranking.task_id, sample_id), score, f"{where}: '{ranking.ranker}'")
    return found


def column_scores(path: Path) -> dict[str, dict[Key, float]]:
    """The scores of a file with `task_id`, `sample_id` and a column for each ranker.

    Raises:
        DataError: a line is not such an object, or a sample has a score twice.
    """
    found: dict[str, dict[Key, float]] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            key = (str(row.pop("task_id")), int(row.pop("sample_id")))
        except (json.JSONDecodeError, AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}:{number}: expected an object with task_id, sample_id and scores ({error}); repair this line"
            ) from None
        for name, score in row.items():
            if isinstance(score, int | float):
                _put(found.setdefault(name, {}), key, float(score), f"{path}:{number}: '{name}'")
    return found


def weighted_sums(
    scores: Mapping[str, Mapping[Key, float]], sums: Mapping[str, Mapping[str, float]]
) -> dict[str, dict[Key, float]]:
    """Further columns: for each name the weights with which columns are added; none where a column is missing."""
    found = {}
    for name, weights in sums.items():
        columns = [scores.get(part, {}) for part in weights]
        shared = set(columns[0]).intersection(*columns[1:]) if columns else set()
        found[name] = {
            key: sum(weight * column[key] for weight, column in zip(weights.values(), columns, strict=True))
            for key in shared
        }
    return {name: column for name, column in found.items() if column}


def read_programs(
    population: str, tasks: Sequence[Task], files: tuple[Path, Path], scores: Mapping[str, Mapping[Key, float]]
) -> tuple[list[Program], float | None]:
    """The programs of a file of samples and one of verdicts, and the mean number of tokens of one."""
    samples = list(read_records(files[0], Sample))
    likelihood = {(s.task_id, s.sample_id): s.mean_logprob for s in samples if s.token_logprobs}
    if likelihood and not {"logprob", "mean-logprob"} & set(scores):
        scores = {"logprob": likelihood, **scores}
    lengths = [sample.tokens for sample in samples if sample.tokens]
    verdicts = read_records(files[1], Verdict)
    return join(population, tasks, samples, verdicts, scores), sum(lengths) / len(lengths) if lengths else None


def gather(tasks: Sequence[ShownTask], programs: Iterable[Program]) -> Programs:
    """Programs in the order of their tasks, so that a task's programs, which are alike, are packed together."""
    order = {task.task_id: place for place, task in enumerate(tasks)}
    found = sorted(programs, key=lambda program: order[program.task_id])
    used = {program.task_id for program in found}
    return Programs(tuple(task for task in tasks if task.task_id in used), tuple(found))


def of_examples(rows: Iterable[Mapping[str, Any]], where: str) -> Programs:
    """The programs that `evaluation.json` itself holds as examples, where the records are not kept.

    Raises:
        DataError: an example lacks a column.
    """
    tasks: dict[str, ShownTask] = {}
    programs: dict[tuple[str, str, str], Program] = {}
    for number, row in enumerate(rows):
        found = from_row(row, _Example, f"{where}: column 'examples'[{number}]")
        tasks.setdefault(found.task_id, ShownTask(found.task_id, found.prompt, found.language))
        scores = {name: float(json.loads(text)) for name, text in found.scores.items()}
        program = found.program if found.prompt in found.program else f"{found.prompt}\n{found.program}"
        programs[found.population, found.task_id, program] = Program(
            found.population, found.task_id, number, program, found.status, found.passed, found.detail, scores=scores
        )
    return gather(list(tasks.values()), programs.values())


@dataclass(frozen=True, slots=True)
class _Example:
    population: str
    task_id: str
    prompt: str
    program: str
    passed: bool
    status: str
    detail: str = ""
    language: str = "python"
    scores: Mapping[str, str] = field(default_factory=dict)


def _put(scores: dict[Key, float], key: Key, score: float, where: str) -> None:
    if math.isnan(score):
        raise DataError(f"{where}: the score of task '{key[0]}' sample {key[1]} is NaN: rank it again")
    if key in scores:
        raise DataError(f"{where}: task '{key[0]}' sample {key[1]} is ranked twice; give the rankings of one draw")
    scores[key] = score


def _by_key(records: Iterable[T], kind: str) -> dict[Key, T]:
    found: dict[Key, T] = {}
    for record in records:
        key: Key = (record.task_id, record.sample_id)  # type: ignore[attr-defined]
        if key in found:
            raise DataError(f"two {kind}s are of task '{key[0]}' sample {key[1]}: give the files of one draw")
        found[key] = record
    return found


def _refuse(population: str, keys: Iterable[Key], problem: str) -> None:
    found = list(keys)
    if found:
        raise DataError(
            f"{population}: task '{found[0][0]}' sample {found[0][1]} {problem}"
            + (f" ({len(found):,} such)" if len(found) > 1 else "")
        )
