"""Programs of other languages than Python's functions: compiled and run by command lines, decided by how they end.

A program with tests inside passes when it ends with exit status 0 and prints nothing that its language shows failed
tests by. It is then run again with one expected value changed (the canary): one that passes this too does not look at
its tests and has cheated. A program with inputs is run once for each; what it prints decides.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .candidate import READY
from .comparing import Rules, output_difference
from .confine import THREADS, Command
from .exits import ExitRules, read_exit
from .forks import Fault
from .outcome import PASSED, Run, Usage, explain, verdict
from .stdio import collect
from .wire import HEADER, FrameReader, Gone, TooLong

if TYPE_CHECKING:
    from .worker import Worker

_TAIL = 32_000
_SHOWN = 500
_MEMORY = re.compile(
    r"std::bad_alloc|OutOfMemory|out of memory|[Cc]annot allocate|not enough memory|memory exhausted|NoMemoryError"
    r"|Allowed memory size|memory allocation of \d+ bytes failed|failed to allocate memory|heap limit"
)
_REPEATS = 3
"""How often a program is run where chance could decide unseen: a coin then wins once in 64."""
_ABORTS = (signal.SIGABRT, signal.SIGILL, signal.SIGTRAP)
"""How runtimes end themselves after saying why."""
BASE_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
"""Beside HOME and TMPDIR, which the level of isolation decides."""


@dataclass(frozen=True)
class Toolchain:
    """How one language's programs are built and run: a row of `language_table` with its commands found.

    `{main}` in a word stands for the class that has the program's `main`.
    """

    name: str
    """Names and versions, for verdicts."""
    source: str
    run: list[str]
    builds: list[list[list[str]]]
    """Ways to compile, each some command lines; the next is tried where one fails, and the last one is believed."""
    environment: dict[str, str]
    compile_seconds: float
    compile_memory_mb: int
    compile_tasks: int
    memory_limit: str
    runtime_mb: int
    tasks: int
    failed_line: str
    exit_rules: dict[str, Any]
    server: dict[str, Any] | None = None
    """A warm compiler (`servers.ServerSpec`) that is asked before `builds`."""
    run_server: dict[str, Any] | None = None
    """A warm runtime that is asked before the program is built and run."""


@dataclass(frozen=True)
class Canary:
    """Tests that a right program fails, and where; or why there are none."""

    tests: str = ""
    first_line: int = 0
    """Of the changed assertion, in `tests`, from 1."""
    last_line: int = 0
    missing: str = ""


@dataclass
class Step:
    """One command line's end."""

    run: Run
    printed: bytes
    errors: bytes
    over: str

    @property
    def succeeded(self) -> bool:
        return not self.over and self.run.status == 0 and self.run.cpu <= self.run.timeout

    @property
    def text(self) -> str:
        """The end of what it printed, standard error last."""
        return (self.printed[-_TAIL:] + b"\n" + self.errors).decode("utf-8", "replace").strip()


Outcome = tuple[str, str, bool]
"""Status, detail, and whether something else than the program may be the cause."""


class _CantSay(Exception):
    """The warm runtime leaves the program to a process of its own."""


def judge_program(worker: Worker, item: dict[str, Any]) -> dict[str, Any]:
    """Decide one program: the fields of a `Verdict`.

    Raises:
        Fault: a part of the judge, or a compiler or interpreter, does not start.
    """
    task = item["task"]
    job = _Job(worker, Toolchain(**task["toolchain"]), item["main"])
    if task["inputs"]:
        return job.decide_by_output(item["program"], task)
    return job.decide_by_exit(item["program"], task["tests"], Canary(**task["canary"]))


class _Job:
    """One program's way through compiler and tests."""

    def __init__(self, worker: Worker, toolchain: Toolchain, main: str) -> None:
        self._worker = worker
        self._toolchain = toolchain
        self._rules = ExitRules(**toolchain.exit_rules)
        self._main = main
        self._runs: list[Run | Usage] = []
        self._warm = toolchain.run_server is not None
        """Whether the warm runtime is asked."""
        self._answered = False
        """Whether the warm runtime decided the last run."""
        self._text = ""
        """What the last run printed."""

    def decide_by_exit(self, program: str, tests: str, canary: Canary) -> dict[str, Any]:
        try:
            outcome = self._decide(program, tests, canary)
        except _CantSay:
            self._warm = False
            outcome = self._decide(program, tests, canary)
        if outcome == PASSED and canary.missing:
            outcome = ("passed", f"believed by its exit status alone: {canary.missing}", False)
        return verdict(self._runs, *outcome, int(outcome[0] == "passed"), 1)

    def _decide(self, program: str, tests: str, canary: Canary) -> Outcome:
        """
        Raises:
            _CantSay: the warm runtime leaves a run to a process of its own. Then all runs are left to such: a program
                can tell the two apart, and could have only its canary left over, to fail there on purpose.
        """
        outcome = self._all_pass(f"{program}\n{tests}")
        if outcome == PASSED and not canary.missing:
            outcome = self._with_canary(f"{program}\n{canary.tests}", program.count("\n") + 1, canary)
        return outcome

    def _with_canary(self, source: str, before: int, canary: Canary) -> Outcome:
        """What a program that has passed is worth.

        It has to fail at the changed assertion, where the language tells the line. One that passes or fails by chance
        fails at another; where no line is told, it has to be lucky in all of several runs of both kinds.

        Args:
            before: lines of the program.
        """
        outcome = self._any_passes(source)
        if outcome == PASSED:
            return "cheated", "it also passes with one expected value of its tests changed", False
        if outcome[2]:
            return outcome
        if outcome[0] == "compile error" and self._toolchain.builds:
            # Even compiling can depend on chance: C++ knows the time of day.
            return "wrong answer", f"with one test changed it does not compile: {outcome[1]}"[:_SHOWN], False
        if self._tells_line:
            lines = {int(line) - before for line in re.findall(self._toolchain.failed_line, self._text)}
            if not lines or not lines <= set(range(canary.first_line, canary.last_line + 1)):
                return "wrong answer", f"its second run, alike but for one test, failed elsewhere: {outcome[1]}", False
        return PASSED

    @property
    def _tells_line(self) -> bool:
        return bool(self._toolchain.failed_line) and not self._answered

    def _all_pass(self, source: str) -> Outcome:
        """Where chance could decide unseen, a program has to pass several times."""
        return next((outcome for outcome in self._outcomes(source) if outcome != PASSED), PASSED)

    def _any_passes(self, source: str) -> Outcome:
        outcomes = []
        for outcome in self._outcomes(source):
            if outcome == PASSED or outcome[2]:
                return outcome
            outcomes.append(outcome)
        return outcomes[-1]

    def _outcomes(self, source: str) -> Iterator[Outcome]:
        """One run's outcome, or several where the language does not tell the line of a failed test."""
        self._answered = False
        if self._warm:
            self._answered = True
            yield self._ask_runtime(source)
            return
        with self._built(source) as (box, outcome):
            if outcome is not None:
                yield outcome
                return
            for _ in range(1 if self._toolchain.failed_line else _REPEATS):
                step = self._execute(self._toolchain.run, box, b"")
                self._text = step.text
                yield self._failed(step) or PASSED

    def decide_by_output(self, program: str, task: dict[str, Any]) -> dict[str, Any]:
        rules = Rules(**task.get("comparison", {}))
        total = len(task["inputs"])
        outcomes, first = "", None
        with self._built(program) as (box, outcome):
            if outcome is not None:
                return verdict(self._runs, *outcome, 0, total)
            for test in task["inputs"]:
                step = self._execute(self._toolchain.run, box, test["input"].encode("utf-8", "surrogateescape"))
                outcome = self._failed(step) or _compare(step, test["output"], rules)
                outcomes += str(int(outcome is None))
                if outcome is None:
                    continue
                first = first or outcome
                if outcome[0] == "timeout" or outcome[2]:
                    break
        return verdict(self._runs, *(first or PASSED), outcomes.count("1"), total, outcomes.ljust(total, "-"))

    # --- building -----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _built(self, source: str) -> Iterator[tuple[int, Outcome | None]]:
        """A folder with something to run, or what is wrong with the program."""
        files = self._ask_compiler(source)
        if isinstance(files, tuple):
            yield -1, files
            return
        box = self._worker.zygote.make_box(files or {self._name: _encode(source)})
        try:
            yield box, None if files else self._build(box)
        finally:
            self._worker.zygote.remove_box(box)

    @property
    def _name(self) -> str:
        return self._toolchain.source.replace("{main}", self._main)

    def _ask_compiler(self, source: str) -> dict[str, bytes] | Outcome | None:
        """The warm compiler's files, or its error; None where there is none or it can't say."""
        answer = self._ask(self._toolchain.server, source)
        if answer[:1] == b"\0":
            return _files(answer[1:])
        if answer[:1] == b"\1":
            return "compile error", answer[1:].decode("utf-8", "replace").strip()[:_SHOWN], False
        return None

    def _ask_runtime(self, source: str) -> Outcome:
        """What the warm runtime says of the program, compiled by the warm compiler where the language has one.

        Raises:
            _CantSay: one of them can't say.
        """
        program = source
        if self._toolchain.builds:
            files = self._ask_compiler(source)
            if isinstance(files, tuple):
                return files
            if files is None:
                raise _CantSay
            program = next(iter(files.values())).decode("utf-8", "surrogatepass")
        answer = self._ask(self._toolchain.run_server, program)
        if answer[:1] != b"\0":
            raise _CantSay
        status, _, detail = answer[1:].decode("utf-8", "replace").partition("\n")
        return PASSED if status == "passed" else (status, _end(detail), False)

    def _ask(self, spec: dict[str, Any] | None, source: str) -> bytes:
        if spec is None:
            return b""
        answer, usage = self._worker.servers.get(spec).ask(self._name.encode(), _encode(source))
        self._runs.append(usage)
        return answer or b""

    def _build(self, box: int) -> Outcome | None:
        """None when there is something to run."""
        outcome = None
        for steps in self._toolchain.builds:
            outcome = self._try_build(steps, box)
            if outcome is None:
                return None
        return outcome

    def _try_build(self, steps: list[list[str]], box: int) -> Outcome | None:
        for argv in steps:
            step = self._execute(argv, box, b"", compiling=True)
            if step.succeeded:
                continue
            if step.over == "time" or step.run.cpu > step.run.timeout:
                return "compile error", f"the compiler used more than {step.run.timeout:.0f} s", False
            code = os.waitstatus_to_exitcode(step.run.status)
            detail = step.text or f"the compiler ended with exit status {code}"
            return "compile error", detail[:_SHOWN], code == -signal.SIGKILL
        return None

    # --- running ------------------------------------------------------------------------------------------------

    def _execute(self, argv: list[str], box: int, text: bytes, compiling: bool = False) -> Step:
        worker = self._worker
        ours, theirs = socket.socketpair()
        stdin = os.memfd_create("stdin")
        with open(os.dup(stdin), "wb") as file:
            file.write(text)
        os.lseek(stdin, 0, os.SEEK_SET)
        out, out_end = os.pipe()
        err, err_end = os.pipe()
        run = worker.zygote.execute(self._command(argv, box, compiling), [theirs.detach(), stdin, out_end, err_end])
        self._runs.append(run)
        with ours:
            reader = FrameReader(ours.fileno(), 1 << 12)
            try:
                greeting = reader.read()
                if greeting != READY:
                    why = greeting.decode("utf-8", "replace")
                    raise Fault(f"the candidate's process failed before it executed its program: {why}")
            except (Gone, TooLong):
                raise Fault("the candidate's process failed before it executed its program") from None
            printed, errors, over = collect(worker, run, out, err, _TAIL)
            worker.zygote.end(run)
            _take_status(run, reader, argv[0])
        os.close(out)
        os.close(err)
        return Step(run, printed, errors, over)

    def _command(self, argv: list[str], box: int, compiling: bool) -> Command:
        toolchain, options = self._toolchain, self._worker.options
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

    def _failed(self, step: Step) -> Outcome | None:
        """What went wrong; None where nothing did."""
        run, text = step.run, step.text
        if step.over == "output":
            return "output limit", "it printed more than allowed", False
        if step.over == "time" or run.cpu > run.timeout:
            return explain(run, "exited", "", True, True)
        code = os.waitstatus_to_exitcode(run.status)
        status = read_exit(
            self._rules, code, *(part.decode("utf-8", "replace") for part in (step.printed, step.errors))
        )
        if status == "passed":
            return None
        if status in ("crashed", "exception") and _MEMORY.search(text):
            status = "out of memory"
        if status == "crashed" and -code not in _ABORTS:
            return explain(run, "exited", "", True, False)
        if status == "crashed":
            status = "exception"
        return status, _end(text) or f"exit status {code}", False


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


def _end(text: str) -> str:
    return text[-_SHOWN:]


def _compare(step: Step, expected: str, rules: Rules) -> Outcome | None:
    difference = output_difference(step.printed.decode("utf-8", "replace"), expected, rules)
    return None if difference is None else ("wrong answer", difference, False)
