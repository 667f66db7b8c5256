"""judge_to_file: verdicts in the samples' order, resumed after any cut."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.execution import PythonJudge, judge_to_file
from rewardranker.runs import read_records
from rewardranker.types import Sample, Task, Verdict

TASKS = [Task(name, "", entry_point="f", tests=("assert f() < 4", "assert f() >= 0")) for name in "ab"]
SAMPLES = [sample_of(f"def f(): return {i % 7}", "ab"[i // 10], i % 10) for i in range(20)]


def facts(path: Path) -> list[tuple[str, int, str, int, bool]]:
    return [(v.task_id, v.sample_id, v.status, v.tests_passed, v.cached) for v in read_records(path, Verdict)]


class Recorder:
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def start(self, name: str, total: int, unit: str = "steps", done: int = 0) -> None:
        self.calls.append(("start", name, total, unit, done))

    def update(self, done: int, **figures: float | int | str) -> None:
        self.calls.append(("update", done))

    def finish(self, **figures: float | int | str) -> None:
        self.calls.append(("finish",))


@pytest.fixture
def whole(pool: PythonJudge, tmp_path: Path) -> Path:
    judge_to_file(TASKS, SAMPLES, tmp_path / "whole.jsonl", pool)
    return tmp_path / "whole.jsonl"


def test_summary_counts_the_file(pool: PythonJudge, tmp_path: Path) -> None:
    summary = judge_to_file(TASKS, SAMPLES, tmp_path / "v.jsonl", pool)
    verdicts = list(read_records(tmp_path / "v.jsonl", Verdict))
    assert [(v.task_id, v.sample_id) for v in verdicts] == [(s.task_id, s.sample_id) for s in SAMPLES]
    passed = sum(v.passed for v in verdicts)
    assert summary["programs"] == 20
    assert summary["passed"] == passed == sum(i % 7 < 4 for i in range(20))
    assert summary["pass_rate"] == passed / 20
    assert summary["by_status"] == {"passed": passed, "wrong answer": 20 - passed}
    assert summary["cached"] == 13  # the tests of both tasks are equal, so 7 programs are distinct
    json.dumps(summary, allow_nan=False)


@pytest.mark.parametrize("cut", [1, 150, 0.3, 0.5, 0.99])
def test_resumed_after_a_torn_file(pool: PythonJudge, whole: Path, tmp_path: Path, cut: float) -> None:
    content = whole.read_bytes()
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(content[: int(cut * len(content)) if cut < 1 else int(cut)])
    kept = torn.read_bytes()[: torn.read_bytes().rfind(b"\n") + 1]
    summary = judge_to_file(TASKS, SAMPLES, torn, pool, batch=3)
    assert facts(torn) == facts(whole)
    assert torn.read_bytes().startswith(kept)
    assert summary["programs"] == 20
    assert summary["by_status"]["passed"] == sum(v[2] == "passed" for v in facts(whole))


def test_finished_file_is_not_judged_again(pool: PythonJudge, whole: Path) -> None:
    before = whole.read_bytes()
    progress = Recorder()
    judge_to_file(TASKS, SAMPLES, whole, pool, progress)
    assert whole.read_bytes() == before
    assert progress.calls == [("start", "judge", 20, "programs", 20), ("finish",)]


def test_progress_is_told_batch_by_batch(pool: PythonJudge, tmp_path: Path) -> None:
    progress = Recorder()
    judge_to_file(TASKS, SAMPLES, tmp_path / "v.jsonl", pool, progress, batch=8)
    assert progress.calls == [
        ("start", "judge", 20, "programs", 0),
        ("update", 8),
        ("update", 16),
        ("update", 20),
        ("finish",),
    ]


def test_samples_from_a_file(pool: PythonJudge, whole: Path, tmp_path: Path) -> None:
    from rewardranker.runs import RecordLog

    with RecordLog(tmp_path / "samples.jsonl", Sample) as log:
        log.append(SAMPLES)
    progress = Recorder()
    judge_to_file(TASKS, tmp_path / "samples.jsonl", tmp_path / "v.jsonl", pool, progress)
    assert facts(tmp_path / "v.jsonl") == facts(whole)
    assert progress.calls[0] == ("start", "judge", 20, "programs", 0)


def test_verdicts_of_other_samples_are_refused(pool: PythonJudge, whole: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"whole\.jsonl:1 .*sample 0 of task 'a'.*sample 1 of task 'a'"):
        judge_to_file(TASKS, SAMPLES[1:], whole, pool)


def test_more_verdicts_than_samples_are_refused(pool: PythonJudge, whole: Path) -> None:
    with pytest.raises(RunDirectoryError, match="20 verdicts but there are only 15 samples"):
        judge_to_file(TASKS, SAMPLES[:15], whole, pool)


def test_unknown_task_is_named(pool: PythonJudge, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'c'"):
        judge_to_file(TASKS, [sample_of("", "c")], tmp_path / "v.jsonl", pool)


def test_file_that_is_missing_is_an_error(pool: PythonJudge, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jsonl"):
        judge_to_file(TASKS, tmp_path / "none.jsonl", tmp_path / "v.jsonl", pool)


def test_verdicts_survive_a_kill_of_the_user_process(whole: Path, tmp_path: Path) -> None:
    """kill -9 in the middle, the same command again: the same verdicts."""
    import os
    import signal

    output = tmp_path / "killed.jsonl"
    pid = os.fork()
    if pid == 0:
        try:
            with PythonJudge(OPTIONS, workers=1) as judge:

                class Killer(Recorder):
                    def update(self, done: int, **figures: float | int | str) -> None:
                        if done >= 9:
                            os.kill(os.getpid(), signal.SIGKILL)

                judge_to_file(TASKS, SAMPLES, output, judge, Killer(), batch=3)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert len(facts(output)) == 9
    with PythonJudge(OPTIONS, workers=1) as judge:
        judge_to_file(TASKS, SAMPLES, output, judge, batch=3)
    assert facts(output) == facts(whole)
