"""The process that candidates are forked from: clean, with the common modules imported.

It never reads a program or a test: it gets file descriptors to hand to the candidate, so nothing of earlier programs
is in the memory a candidate starts with. It ends all that a candidate leaves behind when told to; at the levels
without process namespaces that is before the next one is forked.

Commands on its socket (the worker is the only one who holds the other end):
    b"F" / b"W" + descriptors   fork a candidate for functions (channel) or for a whole program (channel, 0, 1, 2)
    b"X" + descriptors + frame  fork a candidate that executes a command line (channel, 0, 1, 2; `confine.Command`)
                                -> process id, and a descriptor of the process; -1 alone: there is no room for one
    b"K" / b"G" + process id    kill it and all it left, at once / after a moment to end by itself
                                -> wait status, CPU seconds, peak bytes, survivors, whether it was alive until then
    b"B" + descriptors + frame  make a folder that holds these files under the names in the frame -> its number
    b"D" + frame                remove the folder of that number -> the number
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from typing import Any

from . import candidate, namespaces, process, warming
from .confine import Command, Confinement, take
from .wire import FrameReader

COMMON_MODULES = """
    abc array bisect cmath collections collections.abc contextlib copy datetime decimal enum fractions
    functools heapq io itertools json math numbers operator os random re statistics string struct sys textwrap time
    traceback types typing
""".split()  # noqa: SIM905 - lines to read instead of a column
"""Imported once, before the candidates. Each module makes every fork dearer, so only what short programs use."""

FORKED = struct.Struct("<i")
KILLED = struct.Struct("<iddi?")
_OTHER_USER = 16
"""Tells the second user id of a zygote from the first ones of all (`process.PIDS` apart)."""
_BOX_BYTES = 512 * 2**20


class Zygote:
    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._frames = FrameReader(connection.fileno(), 1 << 24)
        self._uid = process.usable_uid(options["worker"])
        self._folders: str = options["folder"]
        self._count = 0
        process.adopt_orphans()
        self._other_uid: int | None = None
        if options["level"] == "namespaces" and process.is_private(self._uid):
            other = process.usable_uid(options["worker"] + _OTHER_USER * process.PIDS)
            self._other_uid = other if process.is_private(other) else None
        self._confinement = Confinement(options, self._uid, self._other_uid, connection.fileno())
        self._candidate = candidate.Candidate(3, options["output_bytes"])
        self._namespaces: namespaces.ProcessNamespaces | None = None
        if options["level"] == "namespaces":
            self._namespaces = namespaces.ProcessNamespaces()
            namespaces.mount_folder(namespaces.WORK, 2**20, 0o711)

    @property
    def _private(self) -> bool:
        return self._uid is not None and self._uid != process.NOBODY

    def serve(self) -> None:
        """Work until the worker is gone; then leave nothing behind."""
        hello = {"uid": self._uid, "space": self._confinement.space, "level": self._options["level"]}
        hello["two_users"] = self._other_uid is not None
        self._connection.sendall(json.dumps(hello).encode() + b"\n")
        random.seed(0)  # for all candidates: `process.fork` leaves the generator as it is
        gc.collect()
        gc.freeze()
        is_warm = False
        try:
            while True:
                command, fds, _, _ = socket.recv_fds(self._connection, 1, 8)
                if not command:
                    return
                if command in b"KG":
                    (pid,) = FORKED.unpack(self._connection.recv(FORKED.size, socket.MSG_WAITALL))
                    self._connection.sendall(KILLED.pack(*self._kill(pid, 0.2 if command == b"G" else 0.0)))
                    continue
                frame: Any = json.loads(self._frames.read()) if command in b"XBD" else None
                if command == b"B":
                    self._connection.sendall(FORKED.pack(self._make_box(frame, fds)))
                elif command == b"D":
                    self._remove_box(frame)
                    self._connection.sendall(FORKED.pack(frame))
                else:
                    if command == b"F" and not is_warm:
                        warming.warm_up(self._options["output_bytes"])
                        is_warm = True
                    self._say_forked(self._fork(command, fds, frame))
                for fd in fds:
                    os.close(fd)
        finally:
            if self._private and self._uid is not None and self._namespaces is None:
                process.kill_user(self._uid)
            process.kill_children()

    def _say_forked(self, pid: int | None) -> None:
        if pid is None:
            self._connection.sendall(FORKED.pack(-1))
            return
        pidfd = os.pidfd_open(pid)
        socket.send_fds(self._connection, [FORKED.pack(pid)], [pidfd])
        os.close(pidfd)

    # --- one candidate ------------------------------------------------------------------------------------------

    def _fork(self, kind: bytes, fds: list[int], frame: dict[str, Any] | None) -> int | None:
        """Its process id; None where there is no room for another process."""
        command = Command(**frame) if frame is not None else None
        folder, temporary = self._folders_for(command)
        steps = self._confinement.steps(fds, folder, temporary, command)
        try:
            pid = self._namespaces.fork() if self._namespaces else process.fork()
        except OSError:
            return None
        if pid:
            return pid
        try:
            try:
                take(steps)
            except Exception as error:
                candidate.say_why_not(3, error)
            if command is not None:
                environment = {"HOME": temporary, "TMPDIR": temporary, **command.environment}
                candidate.execute(3, command.argv, environment, as_child=self._namespaces is not None)
            elif kind == b"W":
                candidate.run_whole_program(3)
            self._candidate.serve()
        except MemoryError:
            os._exit(candidate.NO_MEMORY)
        except BaseException:
            pass
        os._exit(1)

    def _folders_for(self, command: Command | None) -> tuple[str | None, str]:
        """The folder that the candidate works in, None where that is the temporary one, and the temporary one."""
        box = self._box(command.box) if command is not None and command.box is not None else None
        if self._namespaces:
            return box, "/tmp"
        self._count += 1
        return box, self._new_folder(self._count)

    def _new_folder(self, number: int) -> str:
        folder = self._box(number)
        os.mkdir(folder, 0o700)
        if self._namespaces:
            namespaces.mount_folder(folder, _BOX_BYTES)
        if self._uid is not None:
            os.chown(folder, self._uid, self._uid)
        return folder

    def _kill(self, pid: int, patience: float) -> tuple[int, float, float, int, bool]:
        end = time.monotonic() + patience
        while (alive := _is_alive(pid)) and time.monotonic() < end:
            time.sleep(0.001)
        if alive:
            os.kill(pid, signal.SIGKILL)
        if self._namespaces is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        cpu, peak, left = usage.ru_utime + usage.ru_stime, usage.ru_maxrss, 0
        if self._namespaces:
            return status, cpu, peak * 1024.0, left, alive  # with the first process all of its namespace have ended
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
        folder = self._box(self._count)
        if os.path.exists(folder):
            _remove(folder)
        return status, cpu, peak * 1024.0, left, alive

    # --- programs of other languages ----------------------------------------------------------------------------

    def _box(self, number: int) -> str:
        return os.path.join(namespaces.WORK if self._namespaces else self._folders, str(number))

    def _make_box(self, names: list[str], fds: list[int]) -> int:
        self._count += 1
        number = -self._count
        folder = self._new_folder(number)
        for name, fd in zip(names, fds, strict=True):
            path = os.path.join(folder, name)
            with open(path, "wb") as file:
                size, done = os.fstat(fd).st_size, 0
                while done < size:
                    done += os.sendfile(file.fileno(), fd, done, size - done)
            os.chmod(path, 0o644)
        return number

    def _remove_box(self, number: int) -> None:
        folder = self._box(number)
        if self._namespaces:
            namespaces.unmount_folder(folder)
            os.rmdir(folder)
        else:
            _remove(folder)


def _remove(folder: str) -> None:
    """Remove a folder whatever a program has done to it: closed it, or nested it deeper than Python can walk."""
    try:
        os.rmdir(folder)
        return
    except OSError:
        pass
    import shutil
    import subprocess

    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["/bin/chmod", "-R", "u+rwX", folder], check=False, capture_output=True)
        subprocess.run(["/bin/rm", "-rf", folder], check=True, capture_output=True)


def _is_alive(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def main() -> None:
    """`zygote FD OPTIONS`: serve on an inherited socket."""
    for name in COMMON_MODULES:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    for name in ("PWD", "LD_BIND_NOW"):  # bubblewrap's, and the worker's for this process
        os.environ.pop(name, None)
    connection = socket.socket(fileno=int(sys.argv[1]))
    Zygote(connection, json.loads(sys.argv[2])).serve()
