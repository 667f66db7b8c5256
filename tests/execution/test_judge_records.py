"""judge_to_file: verdicts in the samples' order, resumed after any cut."""

from __future__ import annotations

import fcntl
import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.execution import ProgramJudge, judge_to_file
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
def whole(pool: ProgramJudge, tmp_path: Path) -> Path:
    judge_to_file(TASKS, SAMPLES, tmp_path / "whole.jsonl", pool)
    return tmp_path / "whole.jsonl"


def test_summary_counts_the_file(pool: ProgramJudge, tmp_path: Path) -> None:
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
def test_resumed_after_a_torn_file(pool: ProgramJudge, whole: Path, tmp_path: Path, cut: float) -> None:
    content = whole.read_bytes()
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(content[: int(cut * len(content)) if cut < 1 else int(cut)])
    kept = torn.read_bytes()[: torn.read_bytes().rfind(b"\n") + 1]
    summary = judge_to_file(TASKS, SAMPLES, torn, pool, batch=3)
    assert facts(torn) == facts(whole)
    assert torn.read_bytes().startswith(kept)
    assert summary["programs"] == 20
    assert summary["by_status"]["passed"] == sum(v[2] == "passed" for v in facts(whole))


def test_finished_file_is_not_judged_again(pool: ProgramJudge, whole: Path) -> None:
    before = whole.read_bytes()
    progress = Recorder()
    judge_to_file(TASKS, SAMPLES, whole, pool, progress)
    assert whole.read_bytes() == before
    assert progress.calls == [("start", "judge", 20, "programs", 20), ("finish",)]


def test_progress_is_told_at_least_batch_by_batch(pool: ProgramJudge, tmp_path: Path) -> None:
    progress = Recorder()
    judge_to_file(TASKS, SAMPLES, tmp_path / "v.jsonl", pool, progress, batch=8)
    first, *updates, last = progress.calls
    assert (first, last) == (("start", "judge", 20, "programs", 0), ("finish",))
    told = [0, *(done for _, done in updates)]
    assert told == sorted(set(told))
    assert told[-1] == 20
    assert max(after - before for before, after in itertools.pairwise(told)) <= 8


def test_a_verdict_is_in_the_file_before_the_next_one_is_waited_for(tmp_path: Path) -> None:
    """Also on a kill -9 while a slow program runs, long before a batch is full."""
    output = tmp_path / "v.jsonl"

    class Watching:
        isolation = "none"

        def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
            for number, (_, sample) in enumerate(items):
                assert len(output.read_text().splitlines()) == number
                yield Verdict(sample.task_id, sample.sample_id, True, "passed")

        def close(self) -> None: ...

    judge_to_file(TASKS, SAMPLES, output, Watching(), batch=1000)
    assert len(facts(output)) == 20


def test_a_file_that_is_being_written_is_refused(pool: ProgramJudge, tmp_path: Path) -> None:
    output = tmp_path / "v.jsonl"
    with output.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(RunDirectoryError, match=r"v\.jsonl is being written by another process"):
            judge_to_file(TASKS, SAMPLES, output, pool)
    judge_to_file(TASKS, SAMPLES, output, pool)


def test_samples_before_a_bad_one_are_judged_and_kept(pool: ProgramJudge, tmp_path: Path) -> None:
    output = tmp_path / "v.jsonl"
    with pytest.raises(DataError, match="'c'"):
        judge_to_file(TASKS, [*SAMPLES[:5], sample_of("", "c"), *SAMPLES[5:]], output, pool)
    assert len(facts(output)) == 5


def test_samples_from_a_file(pool: ProgramJudge, whole: Path, tmp_path: Path) -> None:
    from rewardranker.runs import RecordLog

    with RecordLog(tmp_path / "samples.jsonl", Sample) as log:
        log.append(SAMPLES)
    progress = Recorder()
    judge_to_file(TASKS, tmp_path / "samples.jsonl", tmp_path / "v.jsonl", pool, progress)
    assert facts(tmp_path / "v.jsonl") == facts(whole)
    assert progress.calls[0] == ("start", "judge", 20, "programs", 0)


def test_verdicts_of_other_samples_are_refused(pool: ProgramJudge, whole: Path) -> None:
    with pytest.raises(RunDirectoryError, match=r"whole\.jsonl:1 .*sample 0 of task 'a'.*sample 1 of task 'a'"):
        judge_to_file(TASKS, SAMPLES[1:], whole, pool)


def test_more_verdicts_than_samples_are_refused(pool: ProgramJudge, whole: Path) -> None:
    with pytest.raises(RunDirectoryError, match="20 verdicts but there are only 15 samples"):
        judge_to_file(TASKS, SAMPLES[:15], whole, pool)


def test_unknown_task_is_named(pool: ProgramJudge, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'c'"):
        judge_to_file(TASKS, [sample_of("", "c")], tmp_path / "v.jsonl", pool)


def test_file_that_is_missing_is_an_error(pool: ProgramJudge, tmp_path: Path) -> None:
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
            with ProgramJudge(OPTIONS, workers=1) as judge:

                class Killer(Recorder):
                    def update(self, done: int, **figures: float | int | str) -> None:
                        if done >= 9:
                            os.kill(os.getpid(), signal.SIGKILL)

                judge_to_file(TASKS, SAMPLES, output, judge, Killer(), batch=3)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
    assert len(facts(output)) == 9
    with ProgramJudge(OPTIONS, workers=1) as judge:
        judge_to_file(TASKS, SAMPLES, output, judge, batch=3)
    assert facts(output) == facts(whole)
