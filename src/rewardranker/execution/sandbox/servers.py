"""Compilers and runtimes that stay warm: long-lived processes that a worker asks instead of starting one per program.

A server is confined as a candidate is, in a zygote of its own, and sees no program's files: a request goes in on its
standard input, an answer comes out on its standard output, both as frames (see `wire`). It is killed when it takes too
long, and replaced after so many requests. An answer that does not come is no verdict: the plain way decides then.
"""

from __future__ import annotations

import json
import os
import select
import socket
import time
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

    def ask(self, *frames: bytes) -> tuple[bytes | None, Usage]:
        """The answer to one request, None where there is none, and what it cost.

        Raises:
            Fault: its process can't be forked.
        """
        usage = Usage()
        if self._failures >= _MOST_FAILURES:
            return None, usage
        seconds = _SECONDS
        if self._run is None:
            self._start()
            seconds = _START_SECONDS
        assert self._run is not None
        start, cpu = time.monotonic(), process.tree_cpu_seconds(self._run.pid)
        answer = self._exchange(b"".join(HEADER.pack(len(frame)) + frame for frame in frames), start + seconds)
        usage.seconds = time.monotonic() - start
        if answer is not None:
            usage.cpu = process.tree_cpu_seconds(self._run.pid) - cpu
            usage.peak_mb = _resident_mb(self._run.pid)
        if answer is not None:
            self._failures = 0
        elif self._served == 0:
            self._failures += 1
        self._served += 1
        if answer is None or self._served >= self._spec.requests:
            self._stop()
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

    def _exchange(self, request: bytes, deadline: float) -> bytes | None:
        poll = select.poll()
        poll.register(self._requests, select.POLLOUT)
        poll.register(self._answers, select.POLLIN)
        view = memoryview(request)
        while (left := deadline - time.monotonic()) > 0:
            for fd, event in poll.poll(left * 1000 + 1):
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

    def _read(self) -> bytes | None:
        try:
            return self._reader.read()
        except (Gone, TooLong):
            return None

    def _stop(self) -> None:
        assert self._zygote is not None
        assert self._run is not None
        self._close_pipes()
        self._zygote.end(self._run)
        self._run = None

    def _close_pipes(self) -> None:
        os.close(self._requests)
        os.close(self._answers)


class Servers:
    """All servers of a worker, by how they are started."""

    def __init__(self, options: dict[str, Any]) -> None:
        self._options = options
        self._servers: dict[str, Server] = {}

    def get(self, spec: dict[str, Any]) -> Server:
        key = json.dumps(spec, sort_keys=True)
        if key not in self._servers:
            self._servers[key] = Server(self._options, ServerSpec(**spec), len(self._servers) + 1)
        return self._servers[key]

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


def _resident_mb(pid: int) -> float:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * _PAGE / 2**20
    except OSError:
        return 0.0
