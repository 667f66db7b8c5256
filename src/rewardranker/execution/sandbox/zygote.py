"""The process that candidates are forked from: clean, with the common modules imported.

It never reads a program or a test: it gets file descriptors to hand to the candidate, so nothing of earlier programs
is in the memory a candidate starts with. It ends all that a candidate leaves behind when told to; at the levels
without process namespaces that is before the next one is forked.

Commands on its socket (the worker is the only one who holds the other end), each a letter and a number:
    b"F" / b"W" + descriptors   fork a candidate for functions (channel) or for a whole program (channel, 0, 1, 2)
    b"X" + descriptors + frame  fork a candidate that executes a command line (channel, 0, 1, 2; `confine.Command`)
                                -> process id, and a descriptor of the process; -1 alone: there is no room for one
    b"K" / b"G", process id     kill it and all it left, at once / after a moment to end by itself
                                -> `Killed`, and a byte: whether it was alive until then (`ALIVE`) or not
    b"B" + descriptors + frame  make a folder that holds these files under the names in the frame -> its number
    b"D", number                remove the folder of that number -> the number

What it does for each program is written with few names and objects: every page that it touches between two forks is
copied for it, as every page that a candidate touches is for the candidate.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import random
import signal
import socket
import struct
import sys
import time
from array import array
from typing import Any

from . import candidate, hugepages, namespaces, process, warming
from .confine import Command, Confinement, take
from .wire import FrameReader

COMMON_MODULES = """
    abc array bisect collections collections.abc contextlib copy datetime decimal enum fractions
    functools heapq io itertools json math numbers operator os random re string struct sys textwrap time
    traceback types typing
""".split()  # noqa: SIM905 - lines to read instead of a column
"""Imported once, before the candidates. Each module makes every fork dearer, so only what short programs use."""

COMMAND = struct.Struct("<ci")
FORKED = struct.Struct("<i")
ALIVE, _ENDED = b"\1", b"\0"
_OTHER_USER = 16
"""Tells the second user id of a zygote from the first ones of all (`process.PIDS` apart)."""
_BOX_BYTES = 512 * 2**20
_DESCRIPTORS = socket.CMSG_SPACE(8 * array("i").itemsize)
"""Room for eight."""
_RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_WHOLE = int(socket.MSG_WAITALL)
_KILL = int(signal.SIGKILL)
_PID = int(os.P_PID)
_LOOK = os.WEXITED | os.WNOHANG | os.WNOWAIT
_close, _kill, _pidfd_open, _waitid = os.close, os.kill, os.pidfd_open, os.waitid
_wait4 = ctypes.CDLL(None, use_errno=True).wait4


class Killed(ctypes.Structure):
    """How a candidate ended; the fields from `user_seconds` to `other` are what `wait4` fills in."""

    _fields_ = (
        ("status", ctypes.c_int),
        ("user_seconds", ctypes.c_long),
        ("user_microseconds", ctypes.c_long),
        ("system_seconds", ctypes.c_long),
        ("system_microseconds", ctypes.c_long),
        ("peak_kb", ctypes.c_long),
        ("other", ctypes.c_long * 13),
        ("survivors", ctypes.c_long),
    )

    @property
    def cpu(self) -> float:
        """CPU seconds."""
        microseconds = self.user_microseconds + self.system_microseconds
        return float(self.user_seconds + self.system_seconds + microseconds / 1e6)


class Zygote:
    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self._options = options
        self._frames = FrameReader(connection.fileno(), 1 << 24)
        self._uid = process.usable_uid(options["worker"])
        self._folders: str = options["folder"]
        self._count = 0
        self._turn = False
        """Whether the next Python program has the second user."""
        self._killed = Killed()
        self._status = ctypes.byref(self._killed)
        self._usage = ctypes.byref(self._killed, Killed.user_seconds.offset)
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
                received, ancillary, _, _ = self._connection.recvmsg(COMMAND.size, _DESCRIPTORS, _WHOLE)
                if not received:
                    return
                command, number = COMMAND.unpack(received)
                fds = memoryview(ancillary[0][2]).cast("i").tolist() if ancillary else []
                if command == b"K" or command == b"G":
                    alive = self._kill(number, 0.2 if command == b"G" else 0.0)
                    self._connection.sendmsg((self._killed, ALIVE if alive else _ENDED))
                elif command == b"F" or command == b"W":
                    if command == b"F" and not is_warm:
                        self._warm_up()
                        is_warm = True
                    self._say_forked(self._fork(command, fds, None))
                elif command == b"X":
                    self._say_forked(self._fork(command, fds, Command(**json.loads(self._frames.read()))))
                elif command == b"B":
                    self._connection.sendall(FORKED.pack(self._make_box(json.loads(self._frames.read()), fds)))
                else:
                    self._remove_box(number)
                    self._connection.sendall(FORKED.pack(number))
                for fd in fds:
                    _close(fd)
        finally:
            if self._private and self._uid is not None and self._namespaces is None:
                process.kill_user(self._uid)
            process.kill_children()

    def _warm_up(self) -> None:
        warming.warm_up(self._options["output_bytes"], self._confinement)
        warming.pin_pages(
            lambda fds: self._fork(b"F", fds, None), lambda pid: self._kill(pid, 0.0), self._namespaces is not None
        )

    def _say_forked(self, pid: int | None) -> None:
        if pid is None:
            self._connection.sendall(FORKED.pack(-1))
            return
        pidfd = _pidfd_open(pid)
        self._connection.sendmsg((FORKED.pack(pid),), ((*_RIGHTS, FORKED.pack(pidfd)),))
        _close(pidfd)

    # --- one candidate ------------------------------------------------------------------------------------------

    def _fork(self, kind: bytes, fds: list[int], command: Command | None) -> int | None:
        """Its process id; None where there is no room for another process."""
        folder, temporary = (None, "/tmp") if command is None and self._namespaces else self._folders_for(command)
        self._turn = not self._turn
        try:
            pid = self._namespaces.fork() if self._namespaces else process.fork()
        except OSError:
            return None
        if pid:
            return pid
        try:
            try:
                take(*self._confinement.steps(fds, folder, temporary, command, self._turn))
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

    def _kill(self, pid: int, patience: float) -> bool:
        """End a candidate; what became of it is in `_killed`. Whether it was alive until then."""
        alive = _waitid(_PID, pid, _LOOK) is None
        if alive and patience:
            end = time.monotonic() + patience
            while (alive := _waitid(_PID, pid, _LOOK) is None) and time.monotonic() < end:
                time.sleep(0.001)
        if alive:
            _kill(pid, _KILL)
        if self._namespaces is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, _KILL)
        if _wait4(pid, self._status, 0, self._usage) != pid:
            raise OSError(ctypes.get_errno(), "a candidate can't be waited for")
        if self._namespaces:
            return alive  # with the first process all of its namespace have ended
        killed = self._killed
        killed.survivors = 0
        try:
            os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            pass
        else:
            if self._private and self._uid is not None:
                process.kill_user(self._uid)
            for _, _, usage in process.kill_children():
                killed.user_microseconds += int((usage.ru_utime + usage.ru_stime) * 1e6)
                killed.peak_kb = max(killed.peak_kb, usage.ru_maxrss)
                killed.survivors += 1
        folder = self._box(self._count)
        if os.path.exists(folder):
            _remove(folder)
        return alive

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


def main() -> None:
    """`zygote FD OPTIONS`: serve on an inherited socket."""
    for name in COMMON_MODULES:
        __import__(name)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.umask(0o077)
    for name in ("PWD", "LD_BIND_NOW"):  # bubblewrap's, and the worker's for this process
        os.environ.pop(name, None)
    hugepages.move_code()
    connection = socket.socket(fileno=int(sys.argv[1]))
    Zygote(connection, json.loads(sys.argv[2])).serve()
