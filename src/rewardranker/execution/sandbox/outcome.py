"""From how a candidate ended to the verdict's words and figures."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import process
from .candidate import NO_MEMORY

_DETAIL = 500
_WALL_MARGIN = 1.0
"""Wall-clock seconds beyond the CPU limit."""
_UNWATCHED_SECONDS = 0.02
_ALONE_SECONDS = 0.05
_EARLY_SECONDS = 0.05
"""A candidate that stood ready for less can't have waited for a processor for longer: not worth asking."""
_MOST_PATIENCE = 8
"""On a loaded machine the wall limit is stretched by the time spent waiting for a processor, at most so many times."""


@dataclass
class Usage:
    """What a program cost that ran inside another process, in the shape of `Run`'s figures."""

    seconds: float = 0.0
    cpu: float = 0.0
    peak_mb: float = 0.0


class Run:
    """One candidate's life: limits while it lives, figures afterwards.

    Args:
        number: its process id, as the zygote sees it.
        pidfd: descriptor of its process, which this object closes.
        timeout: CPU seconds it may use.
    """

    def __init__(self, number: int, pidfd: int, timeout: float) -> None:
        self.number = number
        self.pidfd = pidfd
        self.timeout = timeout
        self.start = time.monotonic()
        self.seconds = self.cpu = self.peak_mb = 0.0
        self.status = self.survivors = 0
        self.was_alive = True
        self.kills_before = 0
        """Of its control group, for want of memory, when it began."""
        self.out_of_memory = False
        """Whether the kernel killed it because its control group was full."""
        self._delays: dict[int, float] = {}
        self._early_delay = 0.0

    def begin(self) -> None:
        """It gets its program now: time counts from here, however long it stood ready."""
        if time.monotonic() - self.start > _EARLY_SECONDS:
            self._early_delay = sum(process.run_delays(self.pid).values())
        self.start = time.monotonic()

    @functools.cached_property
    def pid(self) -> int:
        """Its process id, looked up when it is first needed: most programs end before."""
        return process.pid_of(self.pidfd)

    def remaining(self) -> float:
        """Seconds until it must be looked at again; 0 or less when its time is over."""
        elapsed = time.monotonic() - self.start
        if elapsed < _UNWATCHED_SECONDS <= self.timeout:
            return _UNWATCHED_SECONDS  # most have ended by then
        try:
            # Processes that it started count too, but few start any, and fewer soon.
            cpu_seconds = process.cpu_seconds if elapsed < _ALONE_SECONDS else process.tree_cpu_seconds
            cpu = self.timeout - (cpu_seconds(self.pid) if self.pid > 0 else 0.0)
        except OSError:
            cpu = self.timeout
        limit = self.timeout + _WALL_MARGIN
        wall = limit - elapsed
        if wall < limit / 2:
            self._delays |= process.run_delays(self.pid)
            delay = sum(self._delays.values()) - self._early_delay
            wall += min(delay, limit * (_MOST_PATIENCE - 1))
        return min(cpu, wall)

    def ended(self, status: int, cpu: float, peak: float, survivors: int, was_alive: bool) -> None:
        """Take down how it ended: wait status, CPU seconds, peak bytes."""
        os.close(self.pidfd)
        self.status, self.cpu, self.peak_mb = status, cpu, peak / 2**20
        self.survivors, self.was_alive = survivors, was_alive
        self.seconds = time.monotonic() - self.start


PASSED = ("passed", "", False)


def explain(run: Run, status: str, detail: str, gone: bool, timed_out: bool) -> tuple[str, str, bool]:
    """The status and detail of a candidate that has ended, and whether something else may have ended it.

    Args:
        status, detail, gone: the tester's view.
    """
    if timed_out or (run.cpu > run.timeout and status in ("passed", "exited")):
        return "timeout", f"{run.cpu:.2f} s CPU, {run.seconds:.2f} s in all", False
    code = os.waitstatus_to_exitcode(run.status)
    is_killed = code in (-signal.SIGKILL, -signal.SIGTERM)
    if not (gone and status == "exited"):
        # It had failed a test before, but the others were not counted.
        return status, detail, gone and is_killed and not run.was_alive
    if run.out_of_memory:
        return "out of memory", "its processes together used more than allowed", False
    if code == NO_MEMORY:
        return "out of memory", "no memory was left to answer", False
    if code >= 0:
        return "exited", f"the process ended with exit status {code} before it answered", False
    if code == -signal.SIGKILL and run.was_alive:
        return "broken channel", "the program closed the channel that answers travel on", False
    if code == -signal.SIGXCPU:
        return "timeout", f"{run.cpu:.2f} s CPU", False
    name = signal.Signals(-code).name if -code in set(signal.Signals) else f"signal {-code}"
    if code == -signal.SIGXFSZ:
        return "output limit", f"the process was ended by {name}", False
    return "crashed", f"the process was ended by {name}", is_killed


def verdict(
    runs: Sequence[Run | Usage],
    status: str,
    detail: str,
    suspect: bool,
    tests_passed: int,
    tests_total: int,
    outcomes: str = "",
) -> dict[str, Any]:
    """The fields of a `Verdict`, and `suspect`: try again before believing it."""
    return {
        "passed": status == "passed",
        "status": status,
        "detail": detail[:_DETAIL].encode("utf-8", "replace").decode(),
        "tests_passed": tests_passed,
        "tests_total": tests_total,
        "outcomes": outcomes,
        "seconds": round(sum(run.seconds for run in runs), 4),
        "cpu_seconds": round(sum(run.cpu for run in runs), 4),
        "peak_memory_mb": round(max(run.peak_mb for run in runs), 1),
        "suspect": suspect,
    }
