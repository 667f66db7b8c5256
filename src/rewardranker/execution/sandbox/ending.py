"""What the end of a command line says: an outcome, from exit status, output and limits."""

from __future__ import annotations

import os
import re
import signal
from dataclasses import dataclass

from .exits import ExitRules, read_exit
from .outcome import Run, explain

TAIL = 32_000
"""Bytes of a program's output, from its end, that are looked at."""
SHOWN = 500
"""Characters of a program's or compiler's output that verdicts hold."""
_MEMORY = re.compile(
    r"std::bad_alloc|OutOfMemory|out of memory|[Cc]annot allocate|not enough memory|memory exhausted|NoMemoryError"
    r"|Allowed memory size|memory allocation of \d+ bytes failed|failed to allocate memory|heap limit"
)
_ABORTS = (signal.SIGABRT, signal.SIGILL, signal.SIGTRAP)
"""How runtimes end themselves after saying why."""

Outcome = tuple[str, str, bool]
"""Status, detail, and whether something else than the program may be the cause."""


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
        return _joined(self.printed, self.errors)


def failed(rules: ExitRules, step: Step) -> Outcome | None:
    """What went wrong; None where nothing did."""
    run = step.run
    if step.over == "output":
        return "output limit", "it printed more than allowed", False
    if step.over == "time" or run.cpu > run.timeout:
        return explain(run, "exited", "", True, True)
    code = os.waitstatus_to_exitcode(run.status)
    outcome = read_end(rules, code, step.printed, step.errors)
    if outcome is None or outcome[0] != "crashed":
        return outcome
    if -code not in _ABORTS:
        return explain(run, "exited", "", True, False)
    return "exception", *outcome[1:]


def read_end(rules: ExitRules, code: int, printed: bytes, errors: bytes) -> Outcome | None:
    """What exit status and output say; None where nothing went wrong.

    Args:
        code: as `subprocess` gives it: negative for a signal.
    """
    status = read_exit(rules, code, *(part.decode("utf-8", "replace") for part in (printed, errors)))
    if status == "passed":
        return None
    text = _joined(printed, errors)
    if status in ("crashed", "exception") and _MEMORY.search(text):
        status = "out of memory"
    return status, end_of(text) or f"exit status {code}", False


def end_of(text: str) -> str:
    return text[-SHOWN:]


def _joined(printed: bytes, errors: bytes) -> str:
    return (printed[-TAIL:] + b"\n" + errors).decode("utf-8", "replace").strip()
