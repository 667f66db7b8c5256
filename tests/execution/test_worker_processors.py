"""Which processors workers keep to."""

import os

import pytest

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge
from rewardranker.execution.workers import processors
from rewardranker.types import Sample, Task

TASK = Task("t", "", entry_point="f", tests="def check(candidate):\n    assert candidate(1) == 2\n")


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (2, [None, None]),
        (3, [1, 4, 6]),
        (4, [1, 4, 6, None]),
        (7, [1, 4, 6, 1, 4, 6, None]),
    ],
)
def test_workers_are_tied_as_far_as_processors_get_equally_many(
    workers: int, expected: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {6, 1, 4})
    assert processors(workers) == expected


def test_a_workers_processes_keep_to_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {mine})
    sample = Sample("t", 0, "", "", "import os\ndef f(x):\n    return 1 + len(os.sched_getaffinity(0))\n")
    with ProgramJudge(JudgeOptions(timeout=5.0), workers=1) as judge:
        (verdict,) = judge.judge([(TASK, sample)])
    assert verdict.passed, verdict.detail


def test_a_worker_in_a_dead_ones_place_keeps_to_its_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = min(os.sched_getaffinity(0))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {mine})
    sample = Sample("t", 0, "", "", "def f(x):\n    return 2\n")
    with ProgramJudge(JudgeOptions(timeout=5.0), workers=1) as judge:
        first = judge._workers[0].pid
        os.kill(first, 9)
        list(judge.judge([(TASK, sample)]))
        assert judge._workers[0].pid != first
        assert judge._workers[0].processor == mine


def test_with_processors_to_spare_a_worker_uses_any() -> None:
    usable = len(os.sched_getaffinity(0))
    if usable < 2:
        pytest.skip("needs two processors")
    program = f"import os\ndef f(x):\n    return 2 if len(os.sched_getaffinity(0)) == {usable} else 0\n"
    with ProgramJudge(JudgeOptions(timeout=5.0), workers=1) as judge:
        (verdict,) = judge.judge([(TASK, Sample("t", 0, "", "", program))])
    assert verdict.passed, verdict.detail
