"""Whole programs: standard input in, printed output out, compared line by line up to white space.

The worker itself compares, as text: nothing of the program's runs where the expected output is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
from typing import TYPE_CHECKING, Any

from .candidate import READY
from .outcome import Run, explain, verdict
from .plan import make_plan
from .wire import FrameReader, Gone, TooLong, write_frame

if TYPE_CHECKING:
    from .worker import Worker

_TAIL = 600
_PIPE_READS = 17
"""Reads of 64 KiB that empty a pipe of the largest size a program may ask for (1 MiB)."""


def judge_whole_program(worker: Worker, program: str, task: dict[str, Any]) -> dict[str, Any]:
    """Run a program once for each input; all are run, unless the program does not compile or runs out of time."""
    setup = make_plan({**task, "tests": "0"}).setup if task["setup"] else ""
    runs: list[Run] = []
    passed, first = 0, None
    for test in task["inputs"]:
        run, outcome = _run_once(worker, setup, program, test["input"], test["output"])
        runs.append(run)
        if outcome[0] == "passed":
            passed += 1
            continue
        first = first or outcome
        if outcome[0] in ("timeout", "compile error") or outcome[2]:
            break
    return verdict(runs, *(first or ("passed", "", False)), passed, len(task["inputs"]))


def _run_once(worker: Worker, setup: str, program: str, text: str, expected: str) -> tuple[Run, tuple[str, str, bool]]:
    from .worker import Fault

    ours, theirs = socket.socketpair()
    stdin = os.memfd_create("stdin")
    with open(os.dup(stdin), "wb") as file:
        file.write(text.encode("utf-8", "surrogateescape"))
    os.lseek(stdin, 0, os.SEEK_SET)
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    run = worker.start_candidate(True, [theirs.detach(), stdin, out_end, err_end])
    with ours:
        reader = FrameReader(ours.fileno(), 1 << 16)
        try:
            ready = reader.read()
        except (Gone, TooLong):
            ready = b""
        if ready != READY:
            raise Fault("the candidate's process failed before it had the program")
        with contextlib.suppress(Gone):
            write_frame(ours.fileno(), json.dumps(["", setup, program]).encode())
        printed, errors, over = _collect(worker, run, out, err)
        worker.end_candidate(run)
        ours.setblocking(False)
        try:
            word = json.loads(reader.read())[0]
        except Exception:
            word = "exit"
    os.close(out)
    os.close(err)
    return run, _outcome(run, word, printed, errors, over, expected)


def _collect(worker: Worker, run: Run, out: int, err: int) -> tuple[bytes, bytes, str]:
    """Read what is printed until the process ends; say what ran over: `""`, `time` or `output`."""
    limit = worker.options["output_bytes"]
    printed, errors = bytearray(), b""
    pidfd = os.pidfd_open(run.pid)
    poll = select.poll()
    for fd in (pidfd, out, err):
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    try:
        while (seconds := run.remaining()) > 0:
            ready = {fd for fd, _ in poll.poll(min(seconds, 1.0) * 1000 + 1)}
            if not ready:
                worker.check_hangup()
            # After its end all that it printed is in the pipes, whatever processes it left go on writing.
            for fd in (out, err) * (_PIPE_READS if pidfd in ready else 1):
                part = _read(fd)
                if part is None:
                    continue
                if not part and fd in ready and pidfd not in ready:
                    poll.unregister(fd)
                if fd == out:
                    printed += part
                else:
                    errors = (errors + part)[-_TAIL:]
            if len(printed) > limit:
                return bytes(printed), errors, "output"
            if pidfd in ready:
                return bytes(printed), errors, ""
        return bytes(printed), errors, "time"
    finally:
        os.close(pidfd)


def _read(fd: int) -> bytes | None:
    """A piece, empty at the end, None where there is nothing now."""
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _outcome(run: Run, word: str, printed: bytes, errors: bytes, over: str, expected: str) -> tuple[str, str, bool]:
    tail = errors.decode("utf-8", "replace").strip()
    if over == "output":
        return "output limit", "it printed more than allowed", False
    code = os.waitstatus_to_exitcode(run.status)
    if over == "time" or code < 0 or run.cpu > run.timeout:
        return explain(run, "exited", tail, True, over == "time")
    if code == 0:
        if normal_lines(printed.decode("utf-8", "replace")) == normal_lines(expected):
            return "passed", "", False
        return "wrong answer", _difference(printed.decode("utf-8", "replace"), expected), False
    words = {"syntax": "compile error", "memory": "out of memory", "raise": "exception"}
    return words.get(word, "exited"), tail or f"exit status {code}", False


def normal_lines(text: str) -> list[list[str]]:
    """Words of each line, blank lines at the end left out."""
    return [line.split() for line in text.rstrip().splitlines()]


def _difference(printed: str, expected: str) -> str:
    got, want = normal_lines(printed), normal_lines(expected)
    for number in range(max(len(got), len(want))):
        line = " ".join(got[number]) if number < len(got) else "(no line)"
        right = " ".join(want[number]) if number < len(want) else "(no line)"
        if line != right:
            return f"line {number + 1}: expected {right[:200]!r}, printed {line[:200]!r}"
    return "the output differs"
