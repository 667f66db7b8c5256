"""Programs run for rankers, and tests written for them: whatever `Ranker.needs` names beside the samples.

All of it goes through a `Judge`, with the isolation that it gives. Long steps write files that a second call goes on
with. Not guaranteed: the outcome of a test that comes after several that end a program (see `PatientJudge`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from rewardranker.calling import run_calls_to_file
from rewardranker.errors import DataError, RunDirectoryError, SandboxError
from rewardranker.execution import judge_to_file
from rewardranker.generation import assemble_program
from rewardranker.patient_judge import RESTARTS, PatientJudge
from rewardranker.progress import Silent
from rewardranker.ranking import GeneratedTests, ProgramOutputs, TestOutcomes, extract_calls, extract_tests
from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS
from rewardranker.ranking.shown_tests import first_test, given_calls
from rewardranker.runs import RecordLog, to_json
from rewardranker.types import Judge, PreferenceGroup, ProgressReporter, Sample, Sampler, Task, Verdict

T = TypeVar("T")
CALLS = 50
"""Inputs a task on which programs' outputs are compared."""


# --- generated tests --------------------------------------------------------------------------------------------


def judge_generated_tests(
    tasks: Iterable[Task],
    samples: Sequence[Sample],
    tests: Iterable[GeneratedTests],
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
    restarts: int = RESTARTS,
) -> dict[str, Any]:
    """Verdicts of samples on generated tests, one character of `Verdict.outcomes` a test, into a file.

    Tasks without a test are left out. A second call goes on with the file.

    Args:
        restarts: see `PatientJudge`.

    Returns:
        Figures as `execution.judge_to_file` gives them.

    Raises:
        DataError, RunDirectoryError, SandboxError: as `execution.judge_to_file`.
    """
    by_task = {row.task_id: row for row in tests}
    runnable = [
        replace(task, tests=by_task[task.task_id].tests, inputs=())
        for task in tasks
        if task.task_id in by_task and by_task[task.task_id].tests
    ]
    ids = {task.task_id for task in runnable}
    chosen = [sample for sample in samples if sample.task_id in ids]
    return judge_to_file(runnable, chosen, output, PatientJudge(judge, restarts), progress)


def usable_tests(task: Task, tests: GeneratedTests, judge: Judge) -> GeneratedTests:
    """Without the tests that the judge can't run at all, such as one that never ends by itself whatever the program.

    They are tried on a program that returns None; where the judge fails, the halves are tried.
    """
    assert task.entry_point is not None
    text = f"def {task.entry_point}(*arguments, **named):\n    return None\n"
    dummy = Sample(task.task_id, 0, text, text, text)

    def works(part: tuple[str, ...]) -> bool:
        try:
            next(iter(judge.judge([(replace(task, tests=part, inputs=()), dummy)])))
        except (DataError, SandboxError):
            return False
        return True

    def good(part: tuple[str, ...]) -> tuple[str, ...]:
        if not part or works(part):
            return part
        half = len(part) // 2
        return good(part[:half]) + good(part[half:]) if half else ()

    kept = set(good(tests.tests))
    pairs = [(test, count) for test, count in zip(tests.tests, tests.counts, strict=True) if test in kept]
    return replace(tests, tests=tuple(t for t, _ in pairs), counts=tuple(c for _, c in pairs))


# --- tests that tasks show ----------------------------------------------------------------------------------------


def judge_first_tests(
    tasks: Iterable[Task],
    samples: Sequence[Sample],
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
) -> dict[str, Any]:
    """Verdicts of samples on the first test that their task shows, into a file that a second call goes on with.

    Samples of tasks that show none are left out. Returns and raises as `execution.judge_to_file`.
    """
    shown = [part for task in tasks if (part := first_test(task)) is not None]
    ids = {task.task_id for task in shown}
    return judge_to_file(shown, [s for s in samples if s.task_id in ids], output, judge, progress)


# --- tests written by a model -------------------------------------------------------------------------------------


def write_tests_to_file(
    tasks: Sequence[Task],
    sampler: Sampler,
    n: int,
    output: str | Path,
    judge: Judge,
    progress: ProgressReporter | None = None,
) -> list[GeneratedTests]:
    """Have a model write tests of each task, as CodeT does (arXiv 2207.10397, section 3.1).

    The prompt is the task's with `pass` for a body, a comment that asks for checks of the function, and `assert`. A
    second call goes on with the file.

    Args:
        n: texts a task; of each, five statements count.

    Raises:
        DataError: a task has no entry point, so there is nothing that tests could call.
        RunDirectoryError: the file has tests of other tasks.
    """
    for task in tasks:
        if not task.entry_point:
            raise DataError(f"task '{task.task_id}' has no entry_point: no tests can be written for it")
    progress = progress or Silent()
    with RecordLog(output, GeneratedTests) as log:
        known = list(log.read())
        if [row.task_id for row in known] != [task.task_id for task in tasks[: len(known)]]:
            raise RunDirectoryError(f"{output} has tests of other tasks: choose another file")
        progress.start("write tests", len(tasks), "tasks", len(known))
        rest = list(tasks[len(known) :])
        for task, drawn in zip(rest, sampler.sample([_asking(task) for task in rest], n), strict=True):
            texts = [sample.text for sample in drawn]
            found = extract_tests(task.task_id, texts, task.entry_point or "")
            known.append(usable_tests(task, found, judge))
            log.append(known[-1:])
            progress.update(len(known), tests=len(found.tests))
        progress.finish()
    return known


def _asking(task: Task) -> Task:
    """A task whose completion is tests. There is no space after `assert`: tokenizers join it with the next word."""
    prompt = task.prompt.rstrip() + "\n"
    if task.language == "python" and _is_head(prompt):
        prompt += "    pass\n"
    prompt += f"\n# check the correctness of {task.entry_point}\nassert"
    return Task(task.task_id, prompt, language=task.language)


def _is_head(prompt: str) -> bool:
    """Whether a prompt is Python that lacks a body."""
    try:
        ast.parse(prompt + "    pass\n")
    except SyntaxError:
        return False
    return True


# --- candidates of preference groups ------------------------------------------------------------------------------


def candidate_samples(
    tasks: Iterable[Task], groups: Iterable[PreferenceGroup], samples: Iterable[Sample]
) -> list[Sample]:
    """The candidates of preference groups as samples, which can be run: each completion of a task once.

    Args:
        samples: a candidate that is one of them has its program; one that is not, such as a reference solution, has
            the program that its completion makes of the task.

    Raises:
        DataError: a group is of a task that is not given.
    """
    by_id = {task.task_id: task for task in tasks}
    programs = {(sample.task_id, sample.completion): sample.program for sample in samples}
    made = []
    for group in groups:
        if group.task_id not in by_id:
            raise DataError(f"a preference group is of task '{group.task_id}', which is not among the tasks")
        for number, completion in enumerate(dict.fromkeys(candidate.completion for candidate in group.candidates)):
            program = programs.get((group.task_id, completion))
            program = assemble_program(by_id[group.task_id], completion) if program is None else program
            made.append(Sample(group.task_id, number, completion, completion, program))
    return made


# --- everything that rankers ask for ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Evidence:
    """What running programs showed, as `ranking.Sources` takes it; None where no ranker asked for it."""

    outcomes: TestOutcomes | None = None
    outputs: list[ProgramOutputs] | None = None
    first_tests: list[Verdict] | None = None


def gather(
    needs: Set[str],
    tasks: Sequence[Task],
    samples: Sequence[Sample],
    prefix: str | Path,
    judge: Judge,
    *,
    tests: Sequence[GeneratedTests] | None = None,
    inputs: Literal["generated", "tests"] = "generated",
    calls: int = CALLS,
    prune: bool = False,
    progress: ProgressReporter | None = None,
) -> Evidence:
    """Run what rankers need (`Ranker.needs`, `ranking.check_spec`) into files named `PREFIX.NAME.jsonl`, which a second
    call goes on with.

    Args:
        tests: generated tests of the tasks.
        inputs: where the inputs come from on which outputs are compared: the calls in the generated tests, or those in
            the tasks' own tests (their expected values are not used).
        calls: at most so many inputs a task.
        prune: also judge the first test that each task shows.

    Raises:
        DataError: rankers need generated tests and there are none; or as the steps.
        RunDirectoryError: the files are of other samples, tests or inputs.
        SandboxError: the judge fails.
    """
    place = Path(prefix)
    place.parent.mkdir(parents=True, exist_ok=True)

    def path(name: str) -> Path:
        return place.with_name(f"{place.name}.{name}.jsonl")

    if tests is None and (needs & {GENERATED_TESTS, OUTCOMES} or (OUTPUTS in needs and inputs == "generated")):
        raise DataError(
            "these rankers need generated tests: give a file of them, or a model that writes them; rankers that only "
            "compare outputs (majority, mbr, outcomes) can also use the inputs of the tasks' own tests (--inputs tests)"
        )
    outcomes, outputs, first = None, None, None
    if needs & {GENERATED_TESTS, OUTCOMES}:
        verdicts = path(f"test-verdicts-{_digest(tests or ())}")
        judge_generated_tests(tasks, samples, tests or (), verdicts, judge, progress)
        outcomes = TestOutcomes(tests or (), _read(verdicts, Verdict))
    if OUTPUTS in needs:
        found = {task.task_id: given_calls(task, calls) for task in tasks}
        if inputs == "generated":
            entry = {task.task_id: task.entry_point or "" for task in tasks}
            found = {t.task_id: extract_calls(t, entry[t.task_id], calls) for t in tests or () if t.task_id in entry}
        run_calls_to_file(tasks, samples, found, path("outputs"), judge, progress)
        outputs = _read(path("outputs"), ProgramOutputs)
        done = {row.task_id for row in outputs}
        # Where a task has no inputs, nothing tells its programs apart.
        outputs += [ProgramOutputs(s.task_id, s.sample_id, (), (), 0) for s in samples if s.task_id not in done]
    if prune:
        judge_first_tests(tasks, samples, path("first-tests"), judge, progress)
        first = _read(path("first-tests"), Verdict)
    return Evidence(outcomes, outputs, first)


def _digest(tests: Sequence[GeneratedTests]) -> str:
    """Verdicts on other tests are in another file."""
    return hashlib.sha256("\n".join(map(to_json, tests)).encode()).hexdigest()[:8]


def _read(path: Path, cls: type[T]) -> list[T]:
    """All records of a file, which may have none."""
    with RecordLog(path, cls) as log:
        return list(log.read())
