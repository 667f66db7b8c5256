"""The trusted process between the judge and the candidates: one item in, one verdict out.

It decides time limits, watches that tester and zygote live, and turns how a candidate ended into a status. A failure
of its own parts is reported as a fault and ends it: the judge then starts a fresh worker.

Frames on its socket, JSON: in `{"ticket", "program", ...}` and on a line of its own the task; out
`{"ticket", "verdict": {...}}`, `{"ticket", "bad_tests": text}` or `{"ticket", "fault": text}`; first of all
`{"hello": {...}}`.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import resource
import select
import shutil
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

from . import command, process, stdio, tester
from .confine import confine_tester
from .forks import Fault, ZygoteProcess
from .outcome import explain, verdict
from .plan import BadTests, make_plan
from .servers import Servers
from .spares import Candidates
from .wire import FrameReader, Gone, write_frame
from .zygote import COMMON_MODULES

_TESTER_LIFE = 2000
"""Programs that one tester process serves."""
_TESTER_NUMBER = 15
"""Tells the testers' user id from those of the worker's zygotes."""
_STACK = 64 * 2**20
_GRACE = 2.0
_FRAME_MARGIN = 65536
"""The tester takes longer frames than candidates may send, so that honest ones say "too long" themselves."""


class Worker:
    """Owns one zygote.

    Args:
        connection: to the judge.
        options: `timeout` (CPU seconds), `memory_mb`, `output_bytes`, `folder` (for candidates' working directories).
            `level` of isolation, `start_zygote` (command that starts a module of this package inside the level's outer
            wall, arguments appended), `readable` (files and folders that programs may read beside the system's).
    """

    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self.options = options
        self._tester: TesterProcess | None = None
        process.lower_limit(resource.RLIMIT_STACK, _STACK, resource.getrlimit(resource.RLIMIT_STACK)[1])
        self.zygote = ZygoteProcess(options)
        self.candidates = Candidates(self.zygote, ahead=options["level"] == "namespaces")
        self.servers = Servers(options)
        self._tester_uid = process.usable_uid(os.getpid() + _TESTER_NUMBER * process.PIDS)
        self._space = process.own_address_space() + (options["memory_mb"] + 256) * 2**20
        self._hangup = select.poll()
        self._hangup.register(connection.fileno(), select.POLLRDHUP)

    def serve(self) -> None:
        """Work until the judge closes the connection."""
        gc.collect()
        gc.freeze()
        fd = self._connection.fileno()
        reader = FrameReader(fd, 1 << 31)
        try:
            write_frame(fd, json.dumps({"hello": self.zygote.hello}).encode())
            while True:
                frame = reader.read()
                head, _, task = frame.partition(b"\n")
                item = json.loads(head)
                try:
                    reply = self._judge(item, frame, task)
                except BadTests as error:
                    reply = {"bad_tests": str(error)}
                write_frame(fd, json.dumps({"ticket": item["ticket"], **reply}).encode())
        except Gone:
            pass
        except Exception as error:
            text = str(error) if isinstance(error, Fault) else traceback.format_exc()[-1000:]
            write_frame(fd, json.dumps({"fault": text}).encode())
        finally:
            self._close()

    def _close(self) -> None:
        if self._tester is not None:
            self._tester.stop()
        self.servers.close()
        self.zygote.close()
        # The judge does this too, unless it was killed: then the last worker leaves nothing behind.
        folder = self.options["folder"]
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.dirname(folder))

    def _judge(self, item: dict[str, Any], frame: bytes, task_text: bytes) -> dict[str, Any]:
        if item["functions"]:
            return {"verdict": self._judge_functions(frame, task_text)}
        task = item["task"] = json.loads(task_text)
        if task["toolchain"] is not None:
            return {"verdict": command.judge_program(self, item)}
        printed: list[str] | None = [] if item.get("keep_output") else None
        fields = stdio.judge_whole_program(self, item["program"], task, printed)
        return {"verdict": fields} if printed is None else {"verdict": fields, "output": "".join(printed)}

    # --- candidates ---------------------------------------------------------------------------------------------

    def check_hangup(self) -> None:
        """
        Raises:
            Gone: the judge has closed the connection.
        """
        if self._hangup.poll(0):
            raise Gone

    # --- function tests -----------------------------------------------------------------------------------------

    def _judge_functions(self, frame: bytes, task_text: bytes) -> dict[str, Any]:
        tests = self._tester or self._start_tester()
        self._tester = None
        candidate = self.candidates.take(False)
        run = candidate.run
        tests.begin(frame, candidate.channel.fileno())
        candidate.close()
        self.candidates.prepare(False)
        report = self._report(tests, run.remaining)
        timed_out = report is None
        if timed_out:
            # Without its candidate the tester says soon how far it came, unless the tests themselves are stuck.
            self.zygote.end(run)
            end = time.monotonic() + _GRACE
            report = self._report(tests, lambda: end - time.monotonic())
            if report is None:
                tests.stop()
                report = {"outcome": ["timeout", "", 0, make_plan(json.loads(task_text)).total, False, ""]}
        assert report is not None
        if "fault" in report:
            raise Fault(report["fault"])
        if "bad_tests" in report:
            if not timed_out:
                self.zygote.end(run)
            self._tester = tests
            raise BadTests(report["bad_tests"])
        word, detail, passed, total, gone, outcomes = report["outcome"]
        if not timed_out:
            self.zygote.end(run, gone=gone and word == "exited")
        if timed_out or gone or tests.served >= _TESTER_LIFE:
            tests.stop()
        else:
            self._tester = tests
        return verdict([run], *explain(run, word, detail, gone, timed_out), passed, total, outcomes)

    def _start_tester(self) -> TesterProcess:
        """Fork a tester; it serves many programs, as only tests that are trusted run in it, until one ends oddly."""
        ours, theirs = socket.socketpair()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return TesterProcess(pid, ours)
        try:
            # Nothing of the worker's: not its connections, and no channel of a candidate that waits.
            os.closerange(3, theirs.fileno())
            os.closerange(theirs.fileno() + 1, process.LAST_DESCRIPTOR)
            process.lower_limit(resource.RLIMIT_AS, self._space)
            process.lower_limit(resource.RLIMIT_FSIZE, 0)
            confine_tester(self.options["level"], self.options["readable"], self._tester_uid, parent)
            tester.serve(theirs, self.options["output_bytes"] + _FRAME_MARGIN)
        finally:
            os._exit(0)

    def _report(self, tests: TesterProcess, remaining: Callable[[], float]) -> dict[str, Any] | None:
        """A tester's next report; None when the time is over first."""
        while (seconds := remaining()) > 0:
            if select.select([tests.connection], [], [], min(seconds, 1.0))[0]:
                try:
                    report: dict[str, Any] = json.loads(tests.reader.read())
                    return report
                except Gone:
                    tests.stop()
                    raise Fault(f"the tester died (wait status {tests.status})") from None
            self.check_hangup()
        return None


class TesterProcess:
    """A worker's handle on its tester."""

    def __init__(self, pid: int, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = FrameReader(connection.fileno(), 1 << 24)
        self.served = 0
        self.status = 0
        self._pid = pid

    def begin(self, frame: bytes, channel: int) -> None:
        """Hand over a program, its tests, and the channel to its candidate.

        Raises:
            Fault: the tester is gone.
        """
        self.served += 1
        try:
            socket.send_fds(self.connection, [b"T"], [channel])
            write_frame(self.connection.fileno(), frame)
        except (OSError, Gone) as error:
            self.stop()
            raise Fault(f"the tester died (wait status {self.status}, {type(error).__name__})") from None

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGKILL)
        self.status = os.waitpid(self._pid, 0)[1]
        self.connection.close()


def main() -> None:
    """`worker FD OPTIONS`: serve on an inherited socket."""
    for name in COMMON_MODULES:
        __import__(name)
    os.umask(0o077)
    connection = socket.socket(fileno=int(sys.argv[1]))
    options = json.loads(sys.argv[2])
    Worker(connection, options).serve()
