"""The worker's handle on a zygote: starts it, has it fork candidates, and learns how they ended."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from . import cgroups, process
from .confine import TEMPORARY_BYTES, THREADS, Command
from .outcome import Run
from .wire import Gone, write_frame
from .zygote import ALIVE, COMMAND, FORKED, Killed


class Fault(Exception):
    """A part of the judge failed."""


class ZygoteProcess:
    """A zygote and its candidates: the one that runs, and at level A one more (`spares`).

    Args:
        options: the worker's.
        number: tells the user ids of this worker's zygotes apart.

    Raises:
        Fault: it does not start.
    """

    def __init__(self, options: dict[str, Any], number: int = 0) -> None:
        ours, theirs = socket.socketpair()
        folder = os.path.join(options["folder"], str(number))
        os.mkdir(folder)
        os.chmod(folder, 0o711)
        own = {**options, "folder": folder, "worker": os.getpid() + number * process.PIDS}
        own["user_tasks"] = process.user_tasks()
        self._timeout = options["timeout"]
        self._memory = options["memory_mb"] * 2**20
        self._owed: Callable[[Run | None], None] | None = None
        """Takes the candidate that was asked for ahead and not yet received."""
        self._group = cgroups.make(os.getpid(), number)
        self._limit(self._memory, THREADS)
        self._process = subprocess.Popen(
            [*options["start_zygote"], "zygote", str(theirs.fileno()), json.dumps(own)],
            env={**os.environ, "LD_BIND_NOW": "1"},  # else every candidate looks symbols up anew
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            preexec_fn=self._before_execution,
            umask=0o022,  # folders that bubblewrap makes must be open to candidates
        )
        theirs.close()
        self._socket = ours
        self.hello: dict[str, Any] = json.loads(ours.makefile("rb").readline() or "{}")
        self.hello["group"] = self._group is not None
        self.keeps_apart: bool = self.hello.get("two_users", False)
        """Whether what a program left, another user's and of other namespaces, may be there while the next one runs."""
        if "uid" not in self.hello:
            status = self._process.wait()
            raise Fault(f"the process that programs are forked from did not start (exit status {status})")

    def _before_execution(self) -> None:
        """In the process that becomes the zygote."""
        process.raise_limit(resource.RLIMIT_MEMLOCK)  # it pins pages, and its user's processes have the limit together
        if self._group is not None:
            self._group.join()

    def fileno(self) -> int:
        return self._socket.fileno()

    def fork(self, whole: bool, fds: list[int]) -> Run:
        """Fork a candidate for functions, or for a whole program, that gets these descriptors; they are closed here.

        Raises:
            Fault: the zygote is gone, or there is no room.
        """
        self.limit_programs()
        forked = self._fork(b"W" if whole else b"F", fds, None)
        if forked is None:
            raise Fault("no process can be forked for a program")
        return self._run(forked, self._timeout)

    def fork_ahead(self, whole: bool, fds: list[int], take: Callable[[Run | None], None]) -> None:
        """`fork`, while another program runs, and without waiting for it.

        Args:
            take: is given the candidate, by `settle` at the latest; None: there was no room for one.

        Raises:
            Fault: the zygote is gone.
        """
        self.settle()
        try:
            self._send(b"W" if whole else b"F", fds, None)
        except (OSError, Gone) as error:
            raise Fault(f"the zygote is gone ({error})") from None
        finally:
            for fd in fds:
                os.close(fd)
        self._owed = take

    def settle(self) -> None:
        """Wait for what `fork_ahead` asked for last.

        Raises:
            Fault: the zygote is gone.
        """
        if self._owed is None:
            return
        take, self._owed = self._owed, None
        try:
            forked = self._receive_forked()
        except OSError as error:
            raise Fault(f"the zygote is gone ({error})") from None
        take(None if forked is None else self._run(forked, self._timeout))

    def limit_programs(self) -> None:
        """Have the control group, if there is one, bound a Python program."""
        self._limit(self._memory, 2 * THREADS if self.keeps_apart else THREADS)

    def execute(self, command: Command, fds: list[int]) -> Run:
        """Fork a candidate that executes a command line, with these descriptors; they are closed here.

        Raises:
            Fault: the zygote is gone.
        """
        self._limit(command.data or command.address_space or self._memory, command.processes)
        forked = self._fork(b"X", fds, command._asdict())
        if forked is None:
            raise Fault("no process can be forked for a command")
        return self._run(forked, command.cpu_seconds)

    def end(self, run: Run, gone: bool = False, before: Callable[[], None] | None = None) -> None:
        """Kill the candidate and all it left; its usage is then in `run`.

        Args:
            gone: it has closed its channel, so it is probably ending by itself; wait a moment for that.
            before: done before the end is waited for; may call `fork_ahead`.

        Raises:
            Fault: the zygote is gone.
        """
        command = b"G" if gone else b"K"
        reply = self._command(command, [], None, ctypes.sizeof(Killed) + 1, run.number, before)
        killed = Killed.from_buffer_copy(reply)
        run.ended(killed.status, killed.cpu, killed.peak_kb * 1024.0, killed.survivors, reply.endswith(ALIVE))
        if not run.was_alive and os.WIFSIGNALED(run.status):
            run.out_of_memory = self.kills() > run.kills_before

    def kills(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        return 0 if self._group is None else self._group.kills()

    def make_box(self, files: dict[str, bytes]) -> int:
        """A folder for a program of another language that holds these files; its number.

        Raises:
            Fault: the zygote is gone or has no room.
        """
        fds = []
        for name, content in files.items():
            fds.append(os.memfd_create(name))
            with open(os.dup(fds[-1]), "wb") as file:
                file.write(content)
        try:
            return int(FORKED.unpack(self._command(b"B", fds, list(files), FORKED.size))[0])
        finally:
            for fd in fds:
                os.close(fd)

    def remove_box(self, number: int) -> None:
        """
        Raises:
            Fault: the zygote is gone.
        """
        self._command(b"D", [], None, FORKED.size, number)

    def close(self) -> None:
        """End it and all its candidates."""
        self._socket.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0 and self.hello["uid"] not in (None, process.NOBODY):
            process.kill_user(self.hello["uid"])
        if self._group is not None:
            self._group.remove()

    def _run(self, forked: tuple[int, int], timeout: float) -> Run:
        run = Run(*forked, timeout)
        run.kills_before = self.kills()
        return run

    def _limit(self, memory: int, processes: int) -> None:
        if self._group is not None:
            self._group.limit(memory + TEMPORARY_BYTES, processes)

    def _fork(self, kind: bytes, fds: list[int], frame: Any) -> tuple[int, int] | None:
        """The zygote's number for the new process and a descriptor of it; None where there is no room for one."""
        try:
            self.settle()
            self._send(kind, fds, frame)
            return self._receive_forked()
        except (OSError, Gone) as error:
            raise Fault(f"the zygote is gone ({error})") from None
        finally:
            for fd in fds:
                os.close(fd)

    def _receive_forked(self) -> tuple[int, int] | None:
        reply, pidfds, _, _ = socket.recv_fds(self._socket, FORKED.size, 1)
        if not reply:
            raise ConnectionError(f"exit status {self._process.poll()}")
        return (FORKED.unpack(reply)[0], pidfds[0]) if pidfds else None

    def _command(
        self,
        kind: bytes,
        fds: list[int],
        frame: Any,
        size: int,
        number: int = 0,
        before: Callable[[], None] | None = None,
    ) -> bytes:
        try:
            self.settle()
            self._send(kind, fds, frame, number)
            if before is not None:
                before()
            reply = b""
            while len(reply) < size:
                part = self._socket.recv(size - len(reply))
                if not part:
                    raise ConnectionError(f"exit status {self._process.poll()}")
                reply += part
            return reply
        except (OSError, Gone) as error:
            raise Fault(f"the zygote is gone ({error})") from None

    def _send(self, kind: bytes, fds: list[int], frame: Any, number: int = 0) -> None:
        command = COMMAND.pack(kind, number)
        if fds:
            socket.send_fds(self._socket, [command], fds)
        else:
            self._socket.sendall(command)
        if frame is not None:
            write_frame(self._socket.fileno(), json.dumps(frame).encode())
