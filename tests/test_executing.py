"""Programs on generated tests through the real judge: every test has its outcome, also behind one that never ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, RunDirectoryError, SandboxError
from rewardranker.executing import (
    gather,
    judge_first_tests,
    judge_generated_tests,
    usable_tests,
    write_tests_to_file,
)
from rewardranker.execution import ProgramJudge
from rewardranker.patient_judge import PatientJudge
from rewardranker.ranking import MBR, CodeT, GeneratedTests, OutputTable
from rewardranker.ranking.protocol import GENERATED_TESTS, OUTCOMES, OUTPUTS
from rewardranker.runs import read_records
from rewardranker.types import Sample, Task, Verdict

TASK = Task("t", 'def f(a):\n    """\n    >>> f(1)\n    2\n    """\n', entry_point="f", tests=("assert f(5) == 6",))
TESTS = GeneratedTests(
    "t",
    ("assert f(1) == 2", "assert f(-1) == 0", "assert f(2) == 3", "assert f(-2) == 0", "assert f(3) == 9"),
    (1,) * 5,
)
PROGRAMS = {
    "right": "def f(a):\n    return a + 1\n",
    "loops below zero": "def f(a):\n    while a < 0:\n        pass\n    return a + 1\n",
    "ends below zero": "import os\ndef f(a):\n    if a < 0:\n        os._exit(0)\n    return a + 1\n",
    "does not compile": "def f(a:\n",
    "constant": "def f(a):\n    return 2\n",
}
SAMPLES = [Sample("t", n, text, text, text) for n, text in enumerate(PROGRAMS.values())]
MARKS = ["11100", "10100", "10100", "", "10000"]


@pytest.fixture(scope="module")
def judge() -> Iterator[ProgramJudge]:
    with ProgramJudge(JudgeOptions(timeout=0.3), workers=1) as judge:
        yield judge


class Counting:
    """A judge that counts its items."""

    def __init__(self, judge: ProgramJudge) -> None:
        self.judged, self._judge, self.isolation = 0, judge, judge.isolation

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        items = list(items)
        self.judged += len(items)
        return self._judge.judge(items)

    def close(self) -> None:
        raise AssertionError("not ours to close")


def test_tests_behind_an_endless_loop_are_judged(judge: ProgramJudge, tmp_path: Path) -> None:
    output = tmp_path / "verdicts.jsonl"
    judge_generated_tests([TASK], SAMPLES, [TESTS], output, judge)
    verdicts = list(read_records(output, Verdict))
    assert [verdict.outcomes for verdict in verdicts] == MARKS
    assert [verdict.tests_passed for verdict in verdicts] == [mark.count("1") for mark in MARKS]


def test_programs_are_given_up_after_so_many_ends(judge: ProgramJudge) -> None:
    task = replace(TASK, tests=TESTS.tests)
    (verdict,) = PatientJudge(judge, restarts=1).judge([(task, SAMPLES[2])])
    assert verdict.outcomes == "1010-"


def test_a_second_call_judges_nothing_again(judge: ProgramJudge, tmp_path: Path) -> None:
    output = tmp_path / "verdicts.jsonl"
    fast = [SAMPLES[0], SAMPLES[4]]
    judge_generated_tests([TASK], fast[:1], [TESTS], output, judge)
    counting = Counting(judge)
    judge_generated_tests([TASK], fast, [TESTS], output, counting)
    assert counting.judged == 1
    assert [v.outcomes for v in read_records(output, Verdict)] == ["11100", "10000"]


def test_tests_that_the_judge_fails_on_are_found() -> None:
    class Failing:
        isolation = "none"

        def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
            for task, sample in items:
                if "assert f(2) == 3" in task.tests or "assert f(3) == 9" in task.tests:
                    raise SandboxError("hangs")
                yield Verdict(task.task_id, sample.sample_id, False, "wrong answer")

        def close(self) -> None: ...

    kept = usable_tests(TASK, TESTS, Failing())
    assert kept == GeneratedTests("t", (TESTS.tests[0], TESTS.tests[1], TESTS.tests[3]), (1, 1, 1))


class Hanging:
    """A judge that fails where a program meets some test, or always."""

    def __init__(self, judge: ProgramJudge, test: str = "", program: str = "") -> None:
        self.isolation, self._judge, self._bad = judge.isolation, judge, (test, program)

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        for task, sample in items:
            test, program = self._bad
            if not test or (test in task.tests and sample.program == program):
                raise SandboxError(f"failed on {sample.sample_id}")
            yield from self._judge.judge([(task, sample)])

    def close(self) -> None: ...


def test_a_test_that_the_judge_fails_on_with_one_program_does_not_hold(judge: ProgramJudge, tmp_path: Path) -> None:
    tests = GeneratedTests("t", ("assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4"), (1, 1, 1))
    hanging = Hanging(judge, "assert f(3) == 4", PROGRAMS["right"])
    samples = [SAMPLES[4], SAMPLES[0], SAMPLES[3]]
    judge_generated_tests([TASK], samples, [tests], tmp_path / "verdicts.jsonl", hanging)
    verdicts = list(read_records(tmp_path / "verdicts.jsonl", Verdict))
    assert [v.outcomes for v in verdicts] == ["100", "110", ""]
    assert [(v.sample_id, v.passed, v.status, v.tests_passed, v.tests_total) for v in verdicts][1] == (
        *(0, False, "unsupported", 2, 3),
    )


def test_a_judge_that_fails_on_everything_stays_an_error(judge: ProgramJudge, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="failed on 0"):
        judge_generated_tests([TASK], SAMPLES, [TESTS], tmp_path / "verdicts.jsonl", Hanging(judge))


def test_the_first_shown_test_is_judged(judge: ProgramJudge, tmp_path: Path) -> None:
    judge_first_tests([TASK], SAMPLES, tmp_path / "first.jsonl", judge)
    passed = [verdict.passed for verdict in read_records(tmp_path / "first.jsonl", Verdict)]
    assert passed == [True, True, True, False, True]


def test_gather_runs_what_rankers_need(judge: ProgramJudge, tmp_path: Path) -> None:
    samples = [SAMPLES[0], SAMPLES[3], SAMPLES[4]]
    needs = frozenset({GENERATED_TESTS, OUTCOMES, OUTPUTS})
    found = gather(needs, [TASK], samples, tmp_path / "x", judge, tests=[TESTS], prune=True)
    assert found.outcomes is not None
    assert found.outputs is not None
    assert found.first_tests is not None
    assert CodeT(found.outcomes).rank([(TASK, samples)])[0].scores == (3, 0, 1)
    assert MBR(OutputTable(found.outputs)).rank([(TASK, samples)])[0].scores == pytest.approx((1.2, 0, 1.2))
    assert [verdict.passed for verdict in found.first_tests] == [True, False, True]
    nothing = gather(frozenset(), [TASK], samples, tmp_path / "y", judge)
    assert (nothing.outcomes, nothing.outputs, nothing.first_tests) == (None, None, None)


def test_inputs_of_the_tasks_own_tests_need_no_generated_ones(judge: ProgramJudge, tmp_path: Path) -> None:
    found = gather(frozenset({OUTPUTS}), [TASK], SAMPLES[:1], tmp_path / "x", judge, inputs="tests")
    assert found.outputs is not None
    assert (found.outputs[0].calls, found.outputs[0].outputs) == (("f(5)",), ("6",))
    with pytest.raises(DataError, match="need generated tests"):
        gather(frozenset({OUTPUTS}), [TASK], SAMPLES[:1], tmp_path / "x", judge)


class Writer:
    """A generator that writes the same texts for every task; counts the tasks."""

    def __init__(self) -> None:
        self.prompts: list[str] = []

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        for task in tasks:
            self.prompts.append(task.prompt)
            yield [Sample(task.task_id, i, f" f({i}) == {i}\nassert f(7) == 8\n", "", "") for i in range(n)]


def test_a_model_writes_tests_and_goes_on(judge: ProgramJudge, tmp_path: Path) -> None:
    tasks = [TASK, Task("prose", "Write f.", entry_point="f")]
    first, second = Writer(), Writer()
    write_tests_to_file(tasks[:1], first, 2, tmp_path / "tests.jsonl", judge)
    found = write_tests_to_file(tasks, second, 2, tmp_path / "tests.jsonl", judge)
    assert first.prompts == [f"{TASK.prompt}    pass\n\n# check the correctness of f\nassert"]
    assert second.prompts == ["Write f.\n\n# check the correctness of f\nassert"]
    assert found[0] == GeneratedTests("t", ("assert f(7) == 8", "assert f(0) == 0", "assert f(1) == 1"), (2, 1, 1), 2)
    assert [row.task_id for row in found] == ["t", "prose"]
    with pytest.raises(RunDirectoryError, match="tests of other tasks"):
        write_tests_to_file(tasks[1:], second, 2, tmp_path / "tests.jsonl", judge)
