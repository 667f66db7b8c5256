"""The trusted process between the judge and the candidates: one item in, one verdict out.

It decides time limits, watches that tester and zygote live, and turns how a candidate ended into a status. A failure
of its own parts is reported as a fault and ends it: the judge then starts a fresh worker.

One program runs at a time. Where nothing can pass between two that follow one another (`ZygoteProcess.keeps_apart`),
the tests of the next, if it has arrived, begin before the finished one is ended and its verdict is composed. Should the
kernel have killed for want of memory then, the later one is run again by itself. Verdicts keep the items' order.

Frames on its socket, JSON: in `{"ticket", "program", ...}` (`alone`: beside no other), on a line of its own the task;
out `{"ticket", "verdict": {...}}`, `{"ticket", "bad_tests": text}` or `{"ticket", "fault": text}`; first of all
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
from dataclasses import dataclass
from typing import Any

from . import command, process, stdio, tester
from .confine import confine_tester
from .forks import Fault, ZygoteProcess
from .outcome import Run, explain, verdict
from .plan import BadTests, make_plan
from .servers import Servers
from .spares import Candidate, Candidates
from .wire import HEADER, FrameReader, Gone, write_all, write_frame
from .zygote import COMMON_MODULES

_TESTER_LIFE = 2000
"""Programs that one tester process serves."""
_TESTER_NUMBER = 15
"""Tells the testers' user id from those of the worker's zygotes."""
_STACK = 64 * 2**20
_GRACE = 2.0
_CLOSED_HERE = ("compile error", "output limit", "broken channel")
"""Where the tester was the one to give up the channel."""
_FRAME_MARGIN = 65536
"""The tester takes longer frames than candidates may send, so that honest ones say "too long" themselves."""


@dataclass
class Item:
    """An item as it came: its head, the task's text, and all of the frame."""

    head: dict[str, Any]
    task: bytes
    frame: bytes

    @property
    def is_alone(self) -> bool:
        return bool(self.head.get("alone"))


@dataclass
class Begun:
    """The tests of a Python function at work."""

    item: Item
    tests: TesterProcess
    run: Run
    beside: bool
    """They began before the program before it was ended."""


class Worker:
    """Owns one zygote.

    Args:
        connection: to the judge.
        options: `timeout` (CPU seconds), `memory_mb`, `output_bytes`, `folder` (for candidates' working directories).
            `processor` to keep to or None, `level` of isolation, `start_zygote` (command that starts a module of this
            package inside the level's outer wall, arguments appended), `readable` (files and folders that programs may
            read beside the system's).
    """

    def __init__(self, connection: socket.socket, options: dict[str, Any]) -> None:
        self._connection = connection
        self.options = options
        self._reader = FrameReader(connection.fileno(), 1 << 31)
        self._tester: TesterProcess | None = None
        self._waiting: Item | None = None
        """Read, not begun."""
        self._begun: Begun | None = None
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
        process.yield_to_others()
        fd = self._connection.fileno()
        try:
            write_frame(fd, json.dumps({"hello": self.zygote.hello}).encode())
            while True:
                begun, self._begun = self._begun, None
                item = begun.item if begun is not None else self._waiting or self._read_item()
                self._waiting = None
                try:
                    reply = self._judge(item, begun)
                except BadTests as error:
                    reply = {"bad_tests": str(error)}
                write_frame(fd, json.dumps({"ticket": item.head["ticket"], **reply}).encode())
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

    def _read_item(self) -> Item:
        frame = self._reader.read()
        head, _, task = frame.partition(b"\n")
        return Item(json.loads(head), task, frame)

    def _judge(self, arrived: Item, begun: Begun | None) -> dict[str, Any]:
        item = arrived.head
        if item["functions"]:
            return {"verdict": self._judge_functions(begun or self._begin(arrived))}
        task = item["task"] = json.loads(arrived.task)
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

    def _begin(self, item: Item, spare: Candidate | None = None) -> Begun:
        tests = self._tester or self._start_tester()
        self._tester = None
        candidate = spare or self.candidates.take(False)
        tests.begin(item.frame, candidate.channel.fileno())
        candidate.close()
        return Begun(item, tests, candidate.run, beside=spare is not None)

    def _begin_next(self, item: Item) -> None:
        """Begin the item after this one, whose candidate has not been ended yet, if it is there and may run beside."""
        if not self.zygote.keeps_apart or item.is_alone:
            return
        if not self._reader.has_begun and not select.select([self._connection], [], [], 0)[0]:
            return
        self._waiting = self._read_item()
        if self._waiting.head["functions"] and not self._waiting.is_alone:
            spare = self.candidates.take_spare(False)
            if spare is not None:
                self._begun = self._begin(self._waiting, spare)

    def _prepare(self) -> None:
        self.candidates.prepare(False)

    def _judge_functions(self, begun: Begun) -> dict[str, Any]:
        self._prepare()
        tests, run = begun.tests, begun.run
        report = self._report(tests, run.remaining)
        timed_out = report is None
        if timed_out:
            # Without its candidate the tester says soon how far it came, unless the tests themselves are stuck.
            self.zygote.end(run)
            end = time.monotonic() + _GRACE
            report = self._report(tests, lambda: end - time.monotonic())
            if report is None:
                total = make_plan(json.loads(begun.item.task)).total
                report = {"outcome": ["timeout", "", 0, total, True, ""]}
        assert report is not None
        if begun.beside and self.zygote.kills() > run.kills_before:
            if not timed_out:
                self.zygote.end(run)
            tests.stop()
            return self._judge_functions(self._begin(begun.item))
        if "fault" in report:
            raise Fault(report["fault"])
        if "bad_tests" in report:
            if not timed_out:
                self.zygote.end(run)
            self._tester = tests
            raise BadTests(report["bad_tests"])
        word, detail, passed, total, gone, outcomes = report["outcome"]
        if timed_out or gone or tests.served >= _TESTER_LIFE:
            tests.stop()
        else:
            self._tester = tests
            self._begin_next(begun.item)
        if not timed_out:
            meanwhile = self._prepare if self._begun is not None else None
            self.zygote.end(run, gone and word not in _CLOSED_HERE, meanwhile)
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
            process.yield_to_others()
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
            start = b"T" + HEADER.pack(len(frame)) + frame
            sent = socket.send_fds(self.connection, [start], [channel])
            write_all(self.connection.fileno(), start[sent:])
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
    if options["processor"] is not None:
        process.keep_to(options["processor"])
    Worker(connection, options).serve()
