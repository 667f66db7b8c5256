"""One program of another language than Python's functions on its way: compiled and run.

Command lines run in processes of their own; compilers and runtimes that stay warm (`servers`) are asked where the
language has them. Which runs decide a verdict, `command` knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .candidate import READY
from .confine import THREADS, Command
from .ending import SHOWN, TAIL, Outcome, Step, end_of, failed, read_end
from .exits import ExitRules
from .forks import Fault
from .outcome import Run, Usage
from .stdio import collect
from .toolchain import Toolchain
from .wire import HEADER, FrameReader, Gone, TooLong

if TYPE_CHECKING:
    from .worker import Worker

_PURE_SECONDS = 0.5
"""CPU seconds after which a program has to do with a process of its own, though its limit be longer: there it is known
what it used, and a warm machine that has to be ended is a tenth of a second lost."""
BASE_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""Beside HOME and TMPDIR, which the level of isolation decides."""


@dataclass(frozen=True)
class Compiled:
    """What a warm compiler has made."""

    files: dict[str, bytes]
    packed: bytes
    """The same as the compiler has sent it."""
    pure: bool
    """Whether the program is known to do nothing but compute."""


class CantSay(Exception):
    """The warm runtime leaves the program to a process of its own."""


class Programs:
    """Compiles and runs the texts that one verdict takes.

    Args:
        main: the class with the program's `main`.
    """

    def __init__(self, worker: Worker, toolchain: Toolchain, main: str) -> None:
        self.toolchain = toolchain
        self.runs: list[Run | Usage] = []
        """What it took, so far."""
        self._worker = worker
        self._rules = ExitRules(**toolchain.exit_rules)
        self._main = main
        self._compiled: dict[str, Compiled | Outcome | None] = {}

    # --- building -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def built(self, source: str) -> Iterator[tuple[int, Outcome | None]]:
        """A folder with something to run, or what is wrong with the program."""
        compiled = self.compile(source)
        if isinstance(compiled, tuple):
            yield -1, compiled
            return
        box = self._worker.zygote.make_box(compiled.files if compiled else {self._name: _encode(source)})
        try:
            yield box, None if compiled else self._build(box)
        finally:
            self._worker.zygote.remove_box(box)

    def compile(self, source: str) -> Compiled | Outcome | None:
        """What the warm compiler makes of it, or its error; None where there is none or it can't say."""
        if source not in self._compiled:
            answer = self._ask(self.toolchain.server, source)
            if answer[:1] in (b"\0", b"\3"):
                self._compiled[source] = Compiled(_files(answer[1:]), answer[1:], pure=answer[:1] == b"\3")
            elif answer[:1] == b"\1":
                detail = answer[1:].decode("utf-8", "replace").strip()[:SHOWN]
                self._compiled[source] = ("compile error", detail, False)
            else:
                self._compiled[source] = None
        return self._compiled[source]

    @property
    def _name(self) -> str:
        return self.toolchain.source.replace("{main}", self._main)

    def _ask(self, spec: dict[str, Any] | None, source: str) -> bytes:
        if spec is None:
            return b""
        answer, usage = self._worker.servers.get(spec).ask(self._name.encode(), _encode(source))
        self.runs.append(usage)
        return answer or b""

    def _build(self, box: int) -> Outcome | None:
        """None when there is something to run."""
        outcome = None
        for steps in self.toolchain.builds:
            outcome = self._try_build(steps, box)
            if outcome is None:
                return None
        return outcome

    def _try_build(self, steps: list[list[str]], box: int) -> Outcome | None:
        for argv in steps:
            step = self.execute(argv, box, b"", compiling=True)
            if step.succeeded:
                continue
            if step.over == "time" or step.run.cpu > step.run.timeout:
                return "compile error", f"the compiler used more than {step.run.timeout:.0f} s", False
            code = os.waitstatus_to_exitcode(step.run.status)
            detail = step.text or f"the compiler ended with exit status {code}"
            return "compile error", detail[:SHOWN], code == -signal.SIGKILL
        return None

    # --- warm runtimes ------------------------------------------------------------------------------------------

    def ask_runtime(self, source: str) -> Outcome | None:
        """What the warm runtime says of the program, compiled by the warm compiler where the language has one.

        Returns:
            None where it passes.

        Raises:
            CantSay: one of them can't say.
        """
        program = source
        if self.toolchain.builds:
            compiled = self.compile(source)
            if isinstance(compiled, tuple):
                return compiled
            if compiled is None:
                raise CantSay
            program = next(iter(compiled.files.values())).decode("utf-8", "surrogatepass")
        answer = self._ask(self.toolchain.run_server, program)
        if answer[:1] != b"\0":
            raise CantSay
        status, _, detail = answer[1:].decode("utf-8", "replace").partition("\n")
        return None if status == "passed" else (status, end_of(detail), False)

    def run_pure(self, compiled: Compiled, machine: int) -> tuple[Outcome | None, str]:
        """How a program ends that does nothing but compute, run in one of the two warm machines.

        Returns:
            What went wrong (None: nothing did) and what a process of its own would have printed.

        Raises:
            CantSay: a process of its own has to tell.
        """
        assert self.toolchain.pure_server is not None
        server = self._worker.servers.get(self.toolchain.pure_server, machine)
        seconds = min(self._worker.options["timeout"], _PURE_SECONDS)
        answer, usage = server.ask(self._main.encode(), compiled.packed, cpu_seconds=seconds)
        self.runs.append(usage)
        kind = (answer or b"")[:1]
        if kind == b"\3":
            server.stop()
        if kind not in (b"\0", b"\1") or usage.cpu > seconds:
            raise CantSay
        assert answer is not None
        if kind == b"\0":
            return None, ""
        return read_end(self._rules, 1, b"", answer[1:]), answer[1:].decode("utf-8", "replace").strip()

    # --- processes of their own ---------------------------------------------------------------------------------

    def run(self, box: int, text: bytes = b"") -> tuple[Step, Outcome | None]:
        """Run what was built, with a text as standard input: its end, and what went wrong if something did."""
        step = self.execute(self.toolchain.run, box, text)
        return step, failed(self._rules, step)

    def execute(self, argv: list[str], box: int, text: bytes, compiling: bool = False) -> Step:
        """Run a command line in a folder.

        Raises:
            Fault: it was not executed.
        """
        worker = self._worker
        ours, theirs = socket.socketpair()
        stdin = os.memfd_create("stdin")
        with open(os.dup(stdin), "wb") as file:
            file.write(text)
        os.lseek(stdin, 0, os.SEEK_SET)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        run = worker.zygote.execute(self._command(argv, box, compiling), [theirs.detach(), stdin, out_end, err_end])
        self.runs.append(run)
        with ours:
            reader = FrameReader(ours.fileno(), 1 << 12)
            try:
                greeting = reader.read()
                if greeting != READY:
                    why = greeting.decode("utf-8", "replace")
                    raise Fault(f"the candidate's process failed before it executed its program: {why}")
            except (Gone, TooLong):
                raise Fault("the candidate's process failed before it executed its program") from None
            printed, errors, over = collect(worker, run, out, err, TAIL)
            worker.zygote.end(run)
            _take_status(run, reader, argv[0])
        os.close(out)
        os.close(err)
        return Step(run, printed, errors, over)

    def _command(self, argv: list[str], box: int, compiling: bool) -> Command:
        toolchain, options = self.toolchain, self._worker.options
        megabytes = toolchain.compile_memory_mb if compiling else options["memory_mb"] + toolchain.runtime_mb
        # Compilers are limited by what they write to: some reserve far more addresses than they use.
        by_data = compiling or toolchain.memory_limit == "data"
        return Command(
            argv=[word.replace("{main}", self._main) for word in argv],
            environment={**BASE_ENVIRONMENT, **toolchain.environment},
            box=box,
            writable=compiling,
            cpu_seconds=toolchain.compile_seconds if compiling else options["timeout"],
            address_space=None if by_data else megabytes * 2**20,
            data=megabytes * 2**20 if by_data else None,
            processes=toolchain.compile_tasks if compiling else THREADS + toolchain.tasks,
        )


def _encode(source: str) -> bytes:
    return source.encode("utf-8", "surrogatepass")


def _files(packed: bytes) -> dict[str, bytes]:
    """Names and contents, each with its length before it."""
    parts = []
    while packed:
        end = HEADER.size + HEADER.unpack_from(packed)[0]
        parts.append(packed[HEADER.size : end])
        packed = packed[end:]
    return {name.decode(): content for name, content in zip(parts[::2], parts[1::2], strict=True)}


def _take_status(run: Run, reader: FrameReader, program: str) -> None:
    """The program's own wait status, where it ran below the process that was forked.

    Raises:
        Fault: it was not executed.
    """
    try:
        told = json.loads(reader.read())
    except (Gone, TooLong, ValueError):
        return  # it was executed in place, or killed
    if isinstance(told, str):
        hint = "; programs run as a user who can't enter its folder" if told == "Permission denied" else ""
        raise Fault(f"{program} can't be executed: {told}{hint}")
    if isinstance(told, int):
        run.status = told
