"""Control groups of killed workers: none stays, and none is in the way of the next worker's."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.execution import ProgramJudge
from rewardranker.execution.sandbox import cgroups
from rewardranker.types import Task

NUMBER = 77
TASK = Task("t", "", entry_point="f", tests=("assert f() == 1",))


def folders(worker: int) -> list[Path]:
    return [folder for parent in cgroups._parents() for folder in parent.glob(f"rewardranker-{worker}-*")]


@pytest.fixture
def ended() -> int:
    """The process id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def stale(ended: int) -> Iterator[list[Path]]:
    """A group that its worker did not remove."""
    if cgroups.make(ended, NUMBER) is None:
        pytest.skip("no control group can be made here")
    yield folders(ended)
    cgroups.remove_of(ended)


def grow_old(stale: list[Path]) -> None:
    hour_ago = time.time() - 3600
    for folder in stale:
        os.utime(folder, (hour_ago, hour_ago))


def make_another() -> None:
    group = cgroups.make(os.getpid(), NUMBER)
    assert group is not None
    group.remove()


def test_killed_worker_leaves_no_group() -> None:
    with ProgramJudge(OPTIONS, workers=1) as judge:
        worker = judge._workers[0].pid
        if not folders(worker):
            pytest.skip("no control group can be made here")
        os.kill(worker, signal.SIGKILL)
        (verdict,) = judge.judge([(TASK, sample_of("def f(): return 1"))])
        assert verdict.passed
        assert folders(worker) == []


def test_group_of_a_killed_worker_with_the_same_process_id_is_replaced(stale: list[Path], ended: int) -> None:
    group = cgroups.make(ended, NUMBER)
    assert group is not None
    group.remove()
    assert folders(ended) == []


def test_old_group_of_a_dead_worker_is_removed_with_the_next_ones_start(stale: list[Path]) -> None:
    grow_old(stale)
    make_another()
    assert not any(folder.exists() for folder in stale)


def test_young_group_stays(stale: list[Path]) -> None:
    make_another()
    assert all(folder.exists() for folder in stale)


def test_group_of_a_living_worker_stays() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    try:
        if cgroups.make(process.pid, NUMBER) is None:
            pytest.skip("no control group can be made here")
        grow_old(folders(process.pid))
        make_another()
        assert folders(process.pid)
    finally:
        process.kill()
        process.wait()
        cgroups.remove_of(process.pid)
