"""Faults of the judge's own processes: retried, never a verdict, nothing left behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge
from rewardranker.types import Sample, Task, Verdict

TASK = Task("t", "", entry_point="f", tests=("assert f(1) % 3 == 0", "assert f(2) % 2 == 0"))


def samples_of(count: int) -> list[Sample]:
    return [sample_of(f"def f(x):\n    sum(range(3000))\n    return {i} * x", sample_id=i) for i in range(count)]


def facts(verdicts: list[Verdict]) -> list[tuple[int, str, int]]:
    return [(v.sample_id, v.status, v.tests_passed) for v in verdicts]


EXPECTED = [(i, "passed" if i % 3 == 0 else "wrong answer", 1 + (i % 3 == 0)) for i in range(80)]


def children(pid: int) -> list[int]:
    try:
        return [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def of_role(judge: ProgramJudge, role: str) -> list[int]:
    workers = [worker.pid for worker in judge._workers]
    if role == "worker":
        return workers
    below = [child for worker in workers for child in children(worker)]
    zygotes = [pid for pid in below if " zygote " in command(pid)]
    if role == "tester":
        return [pid for pid in below if pid not in zygotes]
    if role == "wall":
        return zygotes
    walled = [child for pid in zygotes if is_bubblewrap(pid) for child in children(pid)]
    zygotes = walled or zygotes
    return zygotes if role == "zygote" else [child for zygote in zygotes for child in children(zygote)]


def is_bubblewrap(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "bwrap"


def descendants(pid: int) -> set[int]:
    found: set[int] = set()
    todo = [pid]
    while todo:
        below = children(todo.pop())
        found.update(below)
        todo += below
    return found


def processes_of(uids: set[int]) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid in uids:
                found.append(int(entry.name))
        except OSError:
            continue
    return found


@pytest.mark.parametrize("role", ["worker", "wall", "zygote", "tester", "candidate"])
def test_killed_process_changes_no_verdict(role: str) -> None:
    killed = 0
    verdicts = []
    with ProgramJudge(OPTIONS, workers=2) as judge:
        for verdict in judge.judge((TASK, sample) for sample in samples_of(80)):
            verdicts.append(verdict)
            if len(verdicts) % 16 == 0:
                for pid in of_role(judge, role)[:1]:
                    os.kill(pid, signal.SIGKILL)
                    killed += 1
    assert facts(verdicts) == EXPECTED
    assert killed >= (1 if role == "candidate" else 3)


def test_program_killed_from_outside_is_run_again() -> None:
    program = "import time\ndef f(x):\n    time.sleep(0.3)\n    return 6"
    with ProgramJudge(OPTIONS, workers=1) as judge:
        stream = judge.judge([(TASK, sample_of(program)), (TASK, sample_of("def f(x): return 6", sample_id=1))])
        pid = os.fork()
        if pid == 0:
            # Kill the candidate while it sleeps; this process shares nothing else with the judge.
            end = time.monotonic() + 5
            while time.monotonic() < end:
                running = of_role(judge, "candidate")
                if running:
                    time.sleep(0.05)
                    with contextlib.suppress(ProcessLookupError):  # the zygote's own, that it warms up with
                        os.kill(running[0], signal.SIGKILL)
                        os._exit(0)
            os._exit(1)
        verdicts = list(stream)
        assert os.waitpid(pid, 0)[1] == 0
    assert [v.status for v in verdicts] == ["passed", "passed"]


def test_no_process_and_no_folder_is_left_after_close() -> None:
    survivor = (
        "import os, time\ndef f(x):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            time.sleep(1000)\n        os._exit(0)\n    return 6"
    )
    before = descendants(os.getpid())
    judge = ProgramJudge(OPTIONS, workers=2)
    uids = {worker.uid for worker in judge._workers if worker.uid is not None}
    stream = judge.judge((TASK, sample_of(survivor + f" + 6 * {i}", sample_id=i)) for i in range(20))
    next(stream)
    judge.close()
    assert descendants(os.getpid()) <= before
    assert processes_of(uids) == []
    assert not Path(judge._folder).exists()


def test_abandoned_judge_cleans_up() -> None:
    judge = ProgramJudge(OPTIONS, workers=1)
    pid, folder = judge._workers[0].pid, judge._folder
    del judge
    assert not Path(f"/proc/{pid}").exists()
    assert not Path(folder).exists()


def test_workers_end_when_the_user_process_is_killed() -> None:
    code = (
        "import os, signal, sys\nsys.path.insert(0, sys.argv[1])\nfrom rewardranker.execution import ProgramJudge\n"
        "from rewardranker.types import Sample, Task\n"
        "judge = ProgramJudge(workers=1)\n"
        "print(judge._workers[0].pid, judge._workers[0].uid, judge._folder, flush=True)\n"
        "task = Task('t', '', entry_point='f', tests=('assert f() == 1',))\n"
        "list(judge.judge([(task, Sample('t', 0, '', '', 'def f():\\n    while True: pass'))]))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, ""], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    worker, uid, folder = process.stdout.readline().split()
    end = time.monotonic() + 20
    while len(descendants(int(worker))) < 3 and time.monotonic() < end:
        time.sleep(0.01)
    below = descendants(int(worker)) | {int(worker)}
    assert len(below) >= 4
    process.kill()
    process.wait()
    process.stdout.close()
    while any(Path(f"/proc/{pid}").exists() for pid in below) and time.monotonic() < end:
        time.sleep(0.01)
    assert not any(Path(f"/proc/{pid}").exists() for pid in below)
    if uid != "None":
        assert processes_of({int(uid)}) == []
    assert not Path(folder).exists()


def test_lasting_fault_is_an_error_with_its_cause() -> None:
    with ProgramJudge(OPTIONS, workers=1) as judge:
        shutil.rmtree(judge._folder)
        Path(judge._folder).touch()
        os.kill(judge._workers[0].pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match="working directory"):
            list(judge.judge([(TASK, sample_of("def f(x): return 6"))]))


def test_item_that_keeps_killing_workers_is_an_error_that_names_it() -> None:
    with ProgramJudge(OPTIONS, workers=1) as judge:
        start = judge._start_worker

        def start_and_kill(options):
            worker = start(options)
            os.kill(worker.pid, signal.SIGKILL)
            return worker

        judge._start_worker = start_and_kill  # type: ignore[method-assign]
        os.kill(judge._workers[0].pid, signal.SIGKILL)
        with pytest.raises(SandboxError, match=r"3 times on sample 7 of task 't'.*SIGKILL"):
            list(judge.judge([(TASK, sample_of("def f(x): return 6", sample_id=7))]))


def test_ctrl_c_in_the_terminal_does_not_reach_programs() -> None:
    """A worker that died of the user's Ctrl-C would look like a fault."""
    with ProgramJudge(OPTIONS, workers=1) as judge:
        assert os.getpgid(judge._workers[0].pid) != os.getpgid(0)
