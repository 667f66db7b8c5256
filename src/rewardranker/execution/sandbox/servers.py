"""Compilers and runtimes that stay warm: long-lived processes that a worker asks instead of starting one per program.

A server is confined as a candidate is, in a zygote of its own, and sees no program's files: a request goes in on its
standard input, an answer comes out on its standard output, both as frames (see `wire`). It is killed when it takes too
long or more CPU time than the request may, and replaced after so many requests. An answer that does not come is no
verdict: the plain way decides then.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from . import process
from .candidate import READY
from .confine import Command
from .forks import Fault, ZygoteProcess
from .outcome import Run, Usage
from .wire import HEADER, FrameReader, Gone, TooLong

_SECONDS = 20.0
"""Wall clock of one request, a cold start included."""
_START_SECONDS = 60.0
_LOOK_SECONDS = 0.05
"""How often the CPU time of a request is looked at that has a limit of it."""
_LONGEST = 1 << 26
_MOST_FAILURES = 3
"""After so many starts without a single answer it is not asked again: something is broken, and each start costs."""
_LIFE_SECONDS = 1e6
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class ServerSpec:
    """How a server is started."""

    argv: list[str]
    environment: dict[str, str]
    memory_mb: int
    requests: int
    """After so many it is replaced, whatever it may have kept."""
    processes: int = 64
    greets: bool = False
    """Whether it answers an empty request, so that no program's time is used by its start."""


class Server:
    """One server of a worker, started when it is first asked."""

    def __init__(self, options: dict[str, Any], spec: ServerSpec, number: int) -> None:
        self._options = options
        self._spec = spec
        self._number = number
        self._zygote: ZygoteProcess | None = None
        self._run: Run | None = None
        self._served = 0
        self._failures = 0

    def ask(self, *frames: bytes, cpu_seconds: float | None = None) -> tuple[bytes | None, Usage]:
        """The answer to one request, None where there is none, and what it cost.

        Args:
            cpu_seconds: it is ended when it has used so many without an answer.

        Raises:
            Fault: its process can't be forked.
        """
        usage = Usage()
        if self._failures >= _MOST_FAILURES:
            return None, usage
        seconds = _SECONDS
        if self._run is not None and self._is_gone():
            self.stop()
        if self._run is None:
            self._start()
            seconds = _START_SECONDS
            if self._spec.greets:
                if self._exchange([b"", b""], time.monotonic() + seconds) is None:
                    self._failures += 1
                    self.stop()
                    return None, usage
                self._served = 1
        assert self._run is not None
        pid = self._run.pid
        start, cpu = time.monotonic(), process.tree_cpu_seconds(pid)
        most = None if cpu_seconds is None else cpu + cpu_seconds
        answer = self._exchange(frames, start + seconds, most)
        usage.seconds = time.monotonic() - start
        with contextlib.suppress(OSError):
            usage.cpu = process.tree_cpu_seconds(pid) - cpu
            usage.peak_mb = _resident_mb(pid)
        if answer is not None:
            self._failures = 0
        elif self._served == 0:
            self._failures += 1
        self._served += 1
        if answer is None or self._served >= self._spec.requests:
            self.stop()
        return answer, usage

    def close(self) -> None:
        """End it."""
        if self._zygote is not None:
            self._zygote.close()
            if self._run is not None:
                self._close_pipes()
                os.close(self._run.pidfd)
        self._zygote = self._run = None

    def _start(self) -> None:
        if self._zygote is None:
            self._zygote = ZygoteProcess(self._options, self._number)
        spec = self._spec
        command = Command(
            argv=spec.argv,
            environment={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", **spec.environment},
            cpu_seconds=_LIFE_SECONDS,
            data=spec.memory_mb * 2**20,
            processes=spec.processes,
        )
        ours, theirs = socket.socketpair()
        stdin, self._requests = os.pipe()
        self._answers, stdout = os.pipe()
        null = os.open(os.devnull, os.O_WRONLY)
        run = self._zygote.execute(command, [theirs.detach(), stdin, stdout, null])
        with ours:
            greeting = FrameReader(ours.fileno(), 1 << 12)
            try:
                first = greeting.read()
            except (Gone, TooLong):
                first = b""
            if first != READY:
                raise Fault(f"{spec.argv[0]} was not executed: {first.decode('utf-8', 'replace')}")
        os.set_blocking(self._requests, False)
        self._reader = FrameReader(self._answers, _LONGEST)
        self._run, self._served = run, 0

    def _exchange(self, frames: Sequence[bytes], deadline: float, most: float | None = None) -> bytes | None:
        """The answer to a request; None where there is none by the deadline, or when the process has used `most` CPU
        seconds since it was started."""
        assert self._run is not None
        poll = select.poll()
        poll.register(self._requests, select.POLLOUT)
        poll.register(self._answers, select.POLLIN)
        view = memoryview(b"".join(HEADER.pack(len(frame)) + frame for frame in frames))
        while (left := deadline - time.monotonic()) > 0:
            events = poll.poll(1 + (left if most is None else min(left, _LOOK_SECONDS)) * 1000)
            if not events and most is not None and self._used(most):
                return None
            for fd, event in events:
                if fd == self._answers:
                    return self._read()
                if event & (select.POLLERR | select.POLLHUP):
                    return None
                try:
                    view = view[os.write(fd, view) :]
                except OSError:
                    return None
                if not view:
                    poll.unregister(fd)
        return None

    def _is_gone(self) -> bool:
        """Whether it has ended, or says something unasked."""
        return bool(select.select([self._answers], [], [], 0)[0])

    def _used(self, cpu_seconds: float) -> bool:
        assert self._run is not None
        try:
            return process.tree_cpu_seconds(self._run.pid) >= cpu_seconds
        except OSError:
            return True

    def _read(self) -> bytes | None:
        try:
            return self._reader.read()
        except (Gone, TooLong):
            return None

    def stop(self) -> None:
        """End its process; the next request gets a new one."""
        if self._run is None:
            return
        assert self._zygote is not None
        self._close_pipes()
        self._zygote.end(self._run)
        self._run = None

    def _close_pipes(self) -> None:
        os.close(self._requests)
        os.close(self._answers)


class Servers:
    """All servers of a worker, by how they are started, and those started alike by their number."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._servers: dict[str, Server] = {}

    def get(self, spec: dict[str, Any], number: int = 0) -> Server:
        key = json.dumps([number, spec], sort_keys=True)
        if key not in self._servers:
            self._servers[key] = Server(self._options, ServerSpec(**spec), len(self._servers) + 1)
        return self._servers[key]

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


def _resident_mb(pid: int) -> float:
    """Memory of a process and its children: where it has its own process ids, the server is one of these."""
    total = 0.0
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            pids = [pid, *map(int, file.read().split())]
        for each in pids:
            with open(f"/proc/{each}/statm") as file:
                total += int(file.read().split()[1]) * _PAGE / 2**20
    return total
