"""Limits, users and parent-death signals of the judge's processes (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import time
from collections.abc import Callable
from typing import Any

Step = tuple[Callable[..., Any], tuple[Any, ...]]
"""One of the steps that confine a process: a function and its arguments. Failure is -1 from one of C's functions, an
exception from one of Python's."""

_libc = ctypes.CDLL(None, use_errno=True)
fork_quickly = ctypes.PyDLL(None, use_errno=True).fork
"""C's `fork`; see the function of that name here."""
_PR_SET_DUMPABLE = 4
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38

PRIVATE_UID_BASE = 1_900_000_000
"""Above every range that accounts and containers are given; a worker's process id is added."""
NOBODY = 65534
_TICKS = os.sysconf("SC_CLK_TCK")
LAST_DESCRIPTOR = 4096
PIDS = 1 << 22
"""Process ids are smaller (Linux's largest `pid_max`)."""


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def fork() -> int:
    """`os.fork` without what it does for threads and generators of random numbers: 0.6 ms, most of it spent in copying
    the pages that Python's handlers write to. Only for processes of one thread that holds no lock but the
    interpreter's; the child seeds `random` itself if it needs to.

    Raises:
        OSError: there is no new process.
    """
    pid: int = fork_quickly()
    if pid < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"fork: {os.strerror(number)}")
    return pid


def die_with_parent(parent: int) -> None:
    """Be killed when the parent, whose process id is given, is gone. A change of user clears this: call it after."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans() -> None:
    """Orphaned descendants become this process's children instead of init's."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def keep_to(processor: int) -> None:
    """Run on this processor alone, this process and all that it starts."""
    with contextlib.suppress(OSError):  # it may have been taken away meanwhile: any other will do
        os.sched_setaffinity(0, {processor})


def yield_to_others() -> None:
    """Let a process that runs go on when a message arrives here, so that several are read at a time; not inherited."""
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH | os.SCHED_RESET_ON_FORK, os.sched_param(0))


def close_memory() -> None:
    """Keep processes of the same user out of this one's memory and descriptors."""
    _prctl(_PR_SET_DUMPABLE, 0)


def forbid_new_privileges() -> None:
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_user(uid: int) -> None:
    """Give up root for good.

    Raises:
        OSError: it did not happen.
    """
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (uid, uid, uid):
        raise OSError("the kernel did not change the user")


def dropping_user(uid: int) -> list[Step]:
    """The system calls of `drop_user`, for a user id that `usable_uid` has found to work."""
    return [
        (_libc.setgroups, (0, None)),
        (_libc.setresgid, (uid, uid, uid)),
        (_libc.setresuid, (uid, uid, uid)),
    ]


def usable_uid(number: int) -> int | None:
    """A user id for candidates of the worker with this process id alone, `NOBODY` where private ids are not mapped,
    None without root."""
    if os.geteuid() != 0:
        return None
    for uid in (PRIVATE_UID_BASE + number, NOBODY):
        pid = os.fork()
        if pid == 0:
            try:
                drop_user(uid)
                os._exit(0)
            finally:
                os._exit(1)
        if os.waitpid(pid, 0)[1] == 0:
            return uid
    return None


def is_private(uid: int | None) -> bool:
    """Whether nobody else has this user id."""
    return uid is not None and uid >= PRIVATE_UID_BASE


def own_address_space() -> int:
    """Bytes of address space that this process has now."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


def user_tasks() -> int:
    """Threads that this process's user runs on the machine."""
    count = 0
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{entry}").st_uid == os.getuid():
                    count += len(os.listdir(f"/proc/{entry}/task"))
    return count


def lower_limit(which: int, soft: int, hard: int | None = None) -> None:
    """Set a resource limit, never above the hard limit that holds already."""
    most = resource.getrlimit(which)[1]
    hard = soft if hard is None else hard
    if most != resource.RLIM_INFINITY:
        soft, hard = min(soft, most), min(hard, most)
    resource.setrlimit(which, (soft, hard))


def raise_limit(which: int) -> None:
    """Lift a resource limit as far as this process may."""
    most = resource.getrlimit(which)[1]
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        resource.setrlimit(which, (most, most))


class _Limit(ctypes.Structure):
    _fields_ = (("soft", ctypes.c_uint64), ("hard", ctypes.c_uint64))


def limiting(limits: dict[int, tuple[int, int]]) -> list[Step]:
    """The system calls that set resource limits to (soft, hard), never above the hard limits that hold already."""
    steps: list[Step] = []
    for which, wanted in limits.items():
        most = resource.getrlimit(which)[1]
        soft, hard = wanted if most == resource.RLIM_INFINITY else (min(limit, most) for limit in wanted)
        steps.append((_libc.prlimit, (0, which, ctypes.byref(_Limit(soft, hard)), None)))
    return steps


def cpu_seconds(pid: int) -> float:
    """CPU time that a live process (all its threads, not its children) has used."""
    return time.clock_gettime((~pid << 3) | 2)


def tree_cpu_seconds(pid: int) -> float:
    """CPU time of a live process, its live descendants, and those that these have waited for."""
    total, todo = cpu_seconds(pid) + _waited_seconds(pid), _children(pid)
    while todo:
        child = todo.pop()
        todo += _children(child)
        with contextlib.suppress(OSError):
            total += cpu_seconds(child) + _waited_seconds(child)
    return total


def _waited_seconds(pid: int) -> float:
    """CPU time of the children that a process has waited for."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / _TICKS


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(child) for child in file.read().split()]
    return found


def pid_of(pidfd: int) -> int:
    """The process id, as this process sees it, that a descriptor stands for; -1 when it has ended and was reaped."""
    with open(f"/proc/self/fdinfo/{pidfd}") as file:
        return next((int(line.split()[1]) for line in file if line.startswith("Pid:")), -1)


def counts_tasks_by_namespace() -> bool:
    """Whether RLIMIT_NPROC counts within the user namespace (Linux 5.14) and not all processes of the user."""
    major, minor = os.uname().release.split(".")[:2]
    return (int(major), int("".join(c for c in minor if c.isdigit()) or 0)) >= (5, 14)


def run_delays(pid: int) -> dict[int, float]:
    """Seconds that a live process and each of its live descendants (the thread that waited longest) was ready to run
    but waited for a processor; nothing where the kernel does not count them."""
    delays: dict[int, float] = {}
    todo = [pid]
    while todo:
        now = todo.pop()
        todo += _children(now)
        with contextlib.suppress(OSError, IndexError, ValueError):
            delays[now] = max(_run_delay(now, task) for task in os.listdir(f"/proc/{now}/task"))
    return delays


def _run_delay(pid: int, task: str) -> float:
    with open(f"/proc/{pid}/task/{task}/schedstat") as file:
        return int(file.read().split()[1]) / 1e9


def kill_children() -> list[tuple[int, int, Any]]:
    """Kill and reap every child, and the orphans that become children by it, until none is left.

    Returns:
        (process id, wait status, resource usage) of each.
    """
    reaped: list[tuple[int, int, Any]] = []
    while True:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            for child in file.read().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
        try:
            done = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return reaped
        if done[0]:
            reaped.append(done)
        else:
            time.sleep(0.0002)


def kill_user(uid: int) -> None:
    """Kill every process of a private user id. All at once, so that a fork bomb can't outrun it.

    `kill(-1)` by root would end every process of the machine, so it is sent only once the user is seen to be changed.
    """
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(OSError):
            drop_user(uid)
            if uid >= PRIVATE_UID_BASE and 0 not in (*os.getresuid(), os.getuid()):
                os.kill(-1, signal.SIGKILL)
        os._exit(0)
    os.waitpid(pid, 0)
