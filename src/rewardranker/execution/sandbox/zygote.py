"""The process that candidates are forked from: clean, with the common modules imported.

It never reads a program or a test: it gets file descriptors to hand to the candidate, so nothing of earlier programs
is in the memory a candidate starts with. It adopts what candidates leave behind and kills it before the next one.

Commands on its socket (the worker is the only one who holds the other end):
    b"F" / b"W" + descriptors   fork a candidate for functions (channel) or for a whole program (channel, 0, 1, 2)
                                -> process id
    b"K" / b"G"                 kill it and all it left, at once / after a moment to end by itself
                                -> wait status, CPU seconds, peak bytes, survivors, whether it was alive until then
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import math
import os
import random
import resource
import shutil
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

from . import candidate, process

COMMON_MODULES = """
    abc array bisect cmath collections collections.abc contextlib copy dataclasses datetime decimal enum fractions
    functools heapq io itertools json math numbers operator os random re statistics string struct sys textwrap time
    traceback types typing
""".split()  # noqa: SIM905 - lines to read instead of a column
"""Imported once, before the candidates. Each module makes every fork dearer, so only what short programs use."""

FORKED = struct.Struct("<i")
KILLED = struct.Struct("<iddi?")
_THREADS = 32
_FILES = 64
_LIBRARY = 40
"""Descriptors from here on hold the library's folder, out of the way of the candidate's few."""


class Zygote:
    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._uid = process.usable_uid()
        self._folders = Path(options["folder"])
        self._count = 0
        self._null = os.open(os.devnull, os.O_RDWR)
        process.adopt_orphans()
        if self._uid is not None:
            self._reach_library_by_descriptor()
        self._threads = _THREADS if self._private else _THREADS + process.user_tasks()
        self._space = process.own_address_space() + options["memory_mb"] * 2**20

    @property
    def _private(self) -> bool:
        return self._uid is not None and self._uid != process.NOBODY

    def _reach_library_by_descriptor(self) -> None:
        """Let the candidate's user import from a standard library that lies under a folder closed to it."""
        here = os.path.dirname(os.__file__)
        path = f"/proc/self/fd/{fcntl.fcntl(os.open(here, os.O_PATH), fcntl.F_DUPFD_CLOEXEC, _LIBRARY)}"
        moved = [entry.replace(here, path, 1) for entry in sys.path if entry.startswith(here)]
        sys.path[:] = moved
        for module in list(sys.modules.values()):
            if getattr(module, "__path__", None) and type(module.__path__) is list:
                module.__path__ = [entry.replace(here, path, 1) for entry in module.__path__]

    def serve(self) -> None:
        """Work until the worker is gone; then leave nothing behind."""
        hello = {"uid": self._uid, "space": self._space}
        self._connection.sendall(json.dumps(hello).encode() + b"\n")
        gc.collect()
        gc.freeze()
        pid = 0
        try:
            while True:
                command, fds, _, _ = socket.recv_fds(self._connection, 1, 4)
                if not command:
                    return
                if command in b"KG":
                    self._connection.sendall(KILLED.pack(*self._kill(pid, 0.2 if command == b"G" else 0.0)))
                    continue
                pid = self._fork(command == b"W", fds)
                for fd in fds:
                    os.close(fd)
                self._connection.sendall(FORKED.pack(pid))
        finally:
            if self._private and self._uid is not None:
                process.kill_user(self._uid)
            process.kill_children()

    # --- one candidate ------------------------------------------------------------------------------------------

    def _fork(self, whole: bool, fds: list[int]) -> int:
        self._count += 1
        folder = self._folders / str(self._count)
        folder.mkdir(mode=0o700)
        if self._uid is not None:
            os.chown(folder, self._uid, self._uid)
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        try:
            random.seed(0)
            os.chdir(folder)
            self._confine(fds, parent)
            if whole:
                candidate.run_whole_program(3)
            candidate.Candidate(3, self._options["output_bytes"]).serve()
        except MemoryError:
            os._exit(candidate.NO_MEMORY)
        except BaseException:
            pass
        os._exit(1)

    def _confine(self, fds: list[int], parent: int) -> None:
        """Become a process that can do no harm; the channel becomes descriptor 3."""
        os.setsid()
        channel, *standard = fds
        for number, fd in enumerate(standard or [self._null] * 3):
            os.dup2(fd, number)
        own = self._connection.fileno()
        for fd in {own, self._null, *fds} - {channel}:
            os.close(fd)
        if channel != 3:
            os.dup2(channel, 3)
            os.close(channel)
        output = self._options["output_bytes"]
        cpu = math.ceil(self._options["timeout"])
        process.lower_limit(resource.RLIMIT_CORE, 0)
        process.lower_limit(resource.RLIMIT_CPU, cpu + 1, cpu + 2)
        process.lower_limit(resource.RLIMIT_AS, self._space)
        process.lower_limit(resource.RLIMIT_FSIZE, output)
        process.lower_limit(resource.RLIMIT_NOFILE, _FILES)
        process.lower_limit(resource.RLIMIT_NPROC, self._threads)
        process.lower_limit(resource.RLIMIT_MEMLOCK, 0)
        process.lower_limit(resource.RLIMIT_MSGQUEUE, 0)
        if self._uid is not None:
            process.drop_user(self._uid)
        process.forbid_new_privileges()
        process.die_with_parent(parent)

    def _kill(self, pid: int, patience: float) -> tuple[int, float, float, int, bool]:
        end = time.monotonic() + patience
        while (alive := _is_alive(pid)) and time.monotonic() < end:
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        cpu, peak, left = usage.ru_utime + usage.ru_stime, usage.ru_maxrss, 0
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        else:
            if self._private and self._uid is not None:
                process.kill_user(self._uid)
            for _, _, usage in process.kill_children():
                cpu += usage.ru_utime + usage.ru_stime
                peak = max(peak, usage.ru_maxrss)
                left += 1
        folder = self._folders / str(self._count)
        try:
            folder.rmdir()
        except OSError:
            shutil.rmtree(folder)
        return status, cpu, peak * 1024.0, left, alive


def _is_alive(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main() -> None:
    """`zygote FD OPTIONS`: serve on an inherited socket."""
    for name in COMMON_MODULES:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=int(sys.argv[1]))
    Zygote(connection, json.loads(sys.argv[2])).serve()
