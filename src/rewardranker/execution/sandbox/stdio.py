"""Whole programs: standard input in, printed output out, compared line by line up to white space.

The worker itself compares, as text: nothing of the program's runs where the expected output is.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .candidate import READY
from .comparing import Rules, output_difference
from .forks import Fault
from .outcome import PASSED, Run, explain, verdict
from .plan import make_plan
from .wire import FrameReader, Gone, TooLong, write_frame

if TYPE_CHECKING:
    from .worker import Worker

_TAIL = 600
_PIPE_READS = 17
"""Reads of 64 KiB that empty a pipe of the largest size a program may ask for (1 MiB)."""


@dataclass
class Ended:
    """How one run of a program ended, and what it left to be compared."""

    run: Run
    word: str
    """Its own view: `exit`, `syntax`, `memory` or `raise`."""
    printed: bytes
    errors: bytes
    """The end of standard error."""
    over: str
    """What ran over: `time`, `output`, or nothing."""


def judge_whole_program(
    worker: Worker, program: str, task: dict[str, Any], printed: list[str] | None = None
) -> dict[str, Any]:
    """Run a program once for each input; all are run, unless the program does not compile or runs out of time.

    Args:
        printed: where the output of each run is put, if given, with the end of standard error.
    """
    setup = make_plan({**task, "tests": "0"}).setup if task["setup"] else ""
    rules = Rules(**task.get("comparison", {}))
    runs: list[Run] = []
    outcomes, first = "", None
    for test in task["inputs"]:
        ended = run_once(worker, setup, program, test["input"])
        runs.append(ended.run)
        if printed is not None:
            printed.append((ended.printed + ended.errors).decode("utf-8", "replace"))
        outcome = _failure(ended) or _compare(ended, test["output"], rules)
        outcomes += str(int(outcome is None))
        if outcome is None:
            continue
        first = first or outcome
        if outcome[0] in ("timeout", "compile error") or outcome[2]:
            break
    total = len(task["inputs"])
    return verdict(runs, *(first or PASSED), outcomes.count("1"), total, outcomes.ljust(total, "-"))


def run_once(worker: Worker, setup: str, program: str, text: str) -> Ended:
    """Run a program on one input until it ends or runs over.

    Raises:
        Fault: the candidate's process failed before it had the program.
    """
    candidate = worker.candidates.take(True)
    run, channel = candidate.run, candidate.channel
    _fill(candidate.stdin, text.encode("utf-8", "surrogateescape"))
    reader = FrameReader(channel.fileno(), 1 << 16)
    try:
        ready = reader.read()
    except (Gone, TooLong):
        ready = b""
    if ready != READY:
        why = ready.decode("utf-8", "replace")
        raise Fault(f"the candidate's process failed before it had the program: {why}")
    with contextlib.suppress(Gone):
        write_frame(channel.fileno(), json.dumps(["", setup, program]).encode())
    worker.candidates.prepare(True)
    printed, errors, over = collect(worker, run, candidate.out, candidate.err)
    worker.zygote.end(run)
    channel.setblocking(False)
    try:
        word = json.loads(reader.read())[0]
    except Exception:
        word = "exit"
    candidate.close()
    return Ended(run, word, printed, errors, over)


def _fill(fd: int, content: bytes) -> None:
    """Write a file that is read from its beginning by a process which shares the descriptor's position."""
    view, done = memoryview(content), 0
    while done < len(view):
        done += os.pwrite(fd, view[done:], done)


def collect(worker: Worker, run: Run, out: int, err: int, tail: int = _TAIL) -> tuple[bytes, bytes, str]:
    """Read what is printed until the process ends; say what ran over: `""`, `time` or `output`.

    Args:
        tail: bytes kept of the end of what arrives at `err`.
    """
    limit = worker.options["output_bytes"]
    printed, errors = bytearray(), b""
    poll = select.poll()
    for fd in (run.pidfd, out, err):
        os.set_blocking(fd, False)
        poll.register(fd, select.POLLIN)
    while (seconds := run.remaining()) > 0:
        ready = {fd for fd, _ in poll.poll(min(seconds, 1.0) * 1000 + 1)}
        if not ready:
            worker.check_hangup()
        # After its end all that it printed is in the pipes, whatever processes it left go on writing.
        for fd in (out, err) * (_PIPE_READS if run.pidfd in ready else 1):
            part = _read(fd)
            if part is None:
                continue
            if not part and fd in ready and run.pidfd not in ready:
                poll.unregister(fd)
            if fd == out:
                printed += part
            else:
                errors = (errors + part)[-tail:]
        if len(printed) > limit:
            return bytes(printed), errors, "output"
        if run.pidfd in ready:
            return bytes(printed), errors, ""
    return bytes(printed), errors, "time"


def _read(fd: int) -> bytes | None:
    """A piece, empty at the end, None where there is nothing now."""
    try:
        return os.read(fd, 65536)
    except BlockingIOError:
        return None


def _failure(ended: Ended) -> tuple[str, str, bool] | None:
    """Status, detail and whether to try again, where the run failed whatever it printed."""
    run, tail = ended.run, ended.errors.decode("utf-8", "replace").strip()
    if ended.over == "output":
        return "output limit", "it printed more than allowed", False
    code = os.waitstatus_to_exitcode(run.status)
    if ended.over == "time" or code < 0 or run.cpu > run.timeout:
        return explain(run, "exited", tail, True, ended.over == "time")
    if code == 0:
        return None
    words = {"syntax": "compile error", "memory": "out of memory", "raise": "exception"}
    return words.get(ended.word, "exited"), tail or f"exit status {code}", False


def _compare(ended: Ended, expected: str, rules: Rules) -> tuple[str, str, bool] | None:
    difference = output_difference(ended.printed.decode("utf-8", "replace"), expected, rules)
    return None if difference is None else ("wrong answer", difference, False)
