"""Candidates that stand ready: kept from the program that runs, replaced when they die, and timed from their turn."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import OPTIONS, sample_of
from test_judge_faults import children, of_role

from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge
from rewardranker.execution.sandbox import process
from rewardranker.execution.sandbox.outcome import Run
from rewardranker.execution.workers import WorkerProcess
from rewardranker.types import StdioTest, Task

TASK = Task("t", "", entry_point="f", tests=("assert f(1) == 2", "assert f(2) == 3"))
RIGHT = "def f(x): return x + 1"
WHOLE = Task("w", "", inputs=(StdioTest("1\n", "2\n"), StdioTest("5\n", "6\n")))
WHOLE_RIGHT = "print(int(input()) + 1)"


@pytest.fixture
def judge() -> Iterator[ProgramJudge]:
    """Has judged one program, so that a spare waits."""
    try:
        judge = ProgramJudge(OPTIONS.model_copy(update={"isolation": "namespaces"}), workers=1)
    except SandboxError as error:
        pytest.skip(f"level A does not hold on this machine: {error}")
    with judge:
        assert status(judge, RIGHT) == "passed"
        yield judge


def status(judge: ProgramJudge, program: str, task: Task = TASK) -> str:
    (verdict,) = judge.judge([(task, sample_of(program, task.task_id))])
    return verdict.status


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def sockets(pid: int) -> set[str]:
    links = [os.readlink(path) for path in Path(f"/proc/{pid}/fd").iterdir()]
    return {link for link in links if link.startswith("socket:")}


def test_spare_can_not_be_seen_or_signalled_by_the_running_program(judge: ProgramJudge) -> None:
    program = """
import os, signal
def f(x):
    reached = [pid for pid in os.listdir("/proc") if pid.isdigit() and pid != str(os.getpid())]
    for pid in [-1, *range(2, 40000)]:
        try:
            os.kill(pid, signal.SIGKILL)
            reached.append(pid)
        except ProcessLookupError:
            pass
    os.setpriority(os.PRIO_USER, os.getuid(), 19)
    return reached or x + 1
"""
    assert status(judge, program) == "passed"
    (spare,) = of_role(judge, "candidate")
    assert os.getpriority(os.PRIO_PROCESS, spare) == os.getpriority(os.PRIO_PROCESS, 0)


def test_spare_is_the_next_candidate(judge: ProgramJudge) -> None:
    (spare,) = of_role(judge, "candidate")
    assert status(judge, RIGHT) == "passed"
    assert not Path(f"/proc/{spare}").exists()


def test_killed_spare_is_replaced_and_no_fault(judge: ProgramJudge) -> None:
    worker = judge._workers[0].pid
    for task, program in ((TASK, RIGHT), (WHOLE, WHOLE_RIGHT)):
        (spare,) = of_role(judge, "candidate")
        os.kill(spare, signal.SIGKILL)
        while is_alive(spare):
            os.sched_yield()
        tries = judge._next_ticket
        assert status(judge, program, task) == "passed"
        assert judge._next_ticket == tries + 1
    assert judge._workers[0].pid == worker


def test_spare_of_the_other_kind_is_not_used(judge: ProgramJudge) -> None:
    assert [status(judge, WHOLE_RIGHT, WHOLE), status(judge, RIGHT), status(judge, WHOLE_RIGHT, WHOLE)] == [
        "passed"
    ] * 3


def test_verdicts_of_mixed_programs_come_in_order(judge: ProgramJudge) -> None:
    kinds = [
        (TASK, RIGHT, "passed"),
        (WHOLE, WHOLE_RIGHT, "passed"),
        (TASK, "def f(x): return x", "wrong answer"),
        (TASK, "import os\ndef f(x): os._exit(0)", "exited"),
        (WHOLE, "print(int(input()))", "wrong answer"),
        (TASK, "def f(x)", "compile error"),
        (TASK, "import os, signal\ndef f(x): os.kill(os.getpid(), signal.SIGSEGV)\nimport os; os.abort()", "crashed"),
    ]
    items = [(task, sample_of(f"{text}\n# {i}", task.task_id, i)) for i in range(5) for task, text, _ in kinds]
    assert [verdict.status for verdict in judge.judge(items)] == [wanted for _, _, wanted in kinds] * 5


def test_tests_hold_no_connection_of_the_workers(judge: ProgramJudge) -> None:
    """Least of all the channel of a candidate that waits."""
    (tester,) = of_role(judge, "tester")
    os.kill(tester, signal.SIGKILL)  # the next is forked while a spare waits
    assert status(judge, "def f(x): return x") == "wrong answer"
    assert status(judge, RIGHT) == "passed"
    (tester,) = of_role(judge, "tester")
    assert sockets(tester).isdisjoint(sockets(judge._workers[0].pid))


def test_program_that_fills_the_memory_leaves_later_verdicts_alone(judge: ProgramJudge) -> None:
    """The spare and the process that forks are in its control group."""
    greedy = """
import os
def f(x):
    for _ in range(12):
        if os.fork() == 0:
            held = []
            while True:
                held.append(bytearray(b"x" * (1 << 20)))
    while True:
        pass
"""
    items = [(TASK, sample_of(f"{text}\n# {i}", "t", i)) for i in range(1) for text in (greedy, RIGHT)]
    verdicts = [verdict.status for verdict in judge.judge(items)]
    assert verdicts[1::2] == ["passed"]
    assert "passed" not in verdicts[::2]


# --- one after the other ----------------------------------------------------------------------------------------------


def in_turns(judge: ProgramJudge, *programs: str) -> list[str]:
    """The statuses of one stream in which each program comes five times."""
    items = [(TASK, sample_of(f"{text}\n# {i}", "t", i)) for i in range(5) for text in programs]
    return [verdict.status for verdict in judge.judge(items)]


def test_processes_that_a_program_leaves_take_none_from_the_next(judge: ProgramJudge) -> None:
    leaves = """
import os, signal
def f(x):
    for _ in range(14):
        if os.fork() == 0:
            signal.pause()
    return x + 1
"""
    starts = """
import os
def f(x):
    children = []
    for _ in range(28):
        children.append(os.fork())
        if not children[-1]:
            os._exit(0)
    return x + sum(os.waitpid(pid, 0)[1] == 0 for pid in children) - 27
"""
    assert in_turns(judge, leaves, starts) == ["passed"] * 10


def test_memory_that_a_program_held_takes_none_from_the_next(judge: ProgramJudge) -> None:
    holds = "held = []\ndef f(x):\n    held.append(b'x' * (100 << 20))\n    return x + 1"
    assert in_turns(judge, holds, holds.replace("held", "kept")) == ["passed"] * 10


def test_program_and_the_one_after_it_are_different_users(judge: ProgramJudge) -> None:
    if not judge._workers[0].uid:
        pytest.skip("an ordinary user has one user id for all programs")
    task = Task("t", "", entry_point="f", tests=("assert f() == 0",))
    program = "import os\ndef f(): return os.getuid()"
    verdicts = judge.judge((task, sample_of(f"{program} - {judge._workers[0].uid}  # {i}", "t", i)) for i in range(6))
    statuses = [verdict.status for verdict in verdicts]
    assert statuses in (["passed", "wrong answer"] * 3, ["wrong answer", "passed"] * 3)


def test_item_that_is_tried_again_runs_beside_no_other(judge: ProgramJudge, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a worker then is known to be this item's doing."""
    sent: list[dict[str, Any]] = []
    send = WorkerProcess.send

    def record(worker: WorkerProcess, frame: bytes) -> None:
        sent.append(json.loads(frame.partition(b"\n")[0]))
        send(worker, frame)

    monkeypatch.setattr(WorkerProcess, "send", record)
    for number, verdict in enumerate(judge.judge((TASK, sample_of(f"{RIGHT} # {i}", "t", i)) for i in range(30))):
        assert verdict.sample_id == number
        assert verdict.passed
        if number == 10:
            os.kill(judge._workers[0].pid, signal.SIGKILL)
    times: Counter[str] = Counter()
    for head in sent:
        assert head.get("alone", False) <= (times[head["program"]] == 1)
        times[head["program"]] += 1
    assert [head.get("alone", False) for head in sent].count(True) == 1


# --- time -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def sleeper() -> Iterator[tuple[int, int]]:
    """A process that waits, and a descriptor of it."""
    pid = os.fork()
    if pid == 0:
        signal.pause()
    yield pid, os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_time_limit_counts_from_the_turn_of_a_spare(sleeper: tuple[int, int]) -> None:
    run = Run(*sleeper, timeout=1.0)
    run.start -= 100.0
    assert run.remaining() < 0
    run.begin()
    assert run.remaining() > 0
    run.ended(0, 0.0, 0.0, 0, True)
    assert run.seconds < 50


def test_waiting_for_a_processor_before_its_turn_gives_no_more_time(
    sleeper: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    delay = 7.0
    monkeypatch.setattr(process, "run_delays", lambda pid: {pid: delay})
    run = Run(*sleeper, timeout=1.0)
    run.start -= 100.0
    run.begin()
    run.start -= 3.0  # the wall limit is 2 s
    assert run.remaining() < 0
    delay = 9.0
    assert run.remaining() > 0
    run.ended(0, 0.0, 0.0, 0, True)


def test_long_wait_of_a_spare_is_not_in_the_verdict(judge: ProgramJudge) -> None:
    (spare,) = of_role(judge, "candidate")
    forked = process_start(spare)
    while time.clock_gettime(time.CLOCK_BOOTTIME) - forked < 0.3:  # until it is seen to have stood for a while
        pass
    (verdict,) = judge.judge([(TASK, sample_of(RIGHT + "  # later"))])
    assert verdict.passed
    assert verdict.seconds < 0.25


def process_start(pid: int) -> float:
    """Seconds since the machine started."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


# --- the end --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["worker", "wall", "zygote"])
def test_spare_ends_with_the_process_it_depends_on(judge: ProgramJudge, role: str) -> None:
    (spare,) = of_role(judge, "candidate")
    (pid,) = of_role(judge, role)
    os.kill(pid, signal.SIGKILL)
    end = time.monotonic() + 10
    while Path(f"/proc/{spare}").exists() and time.monotonic() < end:
        os.sched_yield()
    assert not Path(f"/proc/{spare}").exists()
    assert status(judge, RIGHT + "  # again") == "passed"


def test_closed_judge_leaves_no_spare(judge: ProgramJudge) -> None:
    (spare,) = of_role(judge, "candidate")
    judge.close()
    assert not Path(f"/proc/{spare}").exists()
    assert spare not in children(os.getpid())


def test_without_process_namespaces_no_candidate_stands_ready() -> None:
    """There the program that runs could see it."""
    import warnings

    siblings = """
import os, time
def parent(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[1]
    except OSError:
        return ""
def f():
    end = time.monotonic() + 0.2
    seen = set()
    while time.monotonic() < end:
        seen |= {pid for pid in os.listdir("/proc") if pid.isdigit() and parent(pid) == str(os.getppid())}
    return len(seen - {str(os.getpid())})
"""
    options = OPTIONS.model_copy(update={"isolation": "rlimits", "allow_unsafe": True})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        judge = ProgramJudge(options, workers=1)
    with judge:
        assert status(judge, siblings, Task("t", "", entry_point="f", tests=("assert f() == 0",))) == "passed"
