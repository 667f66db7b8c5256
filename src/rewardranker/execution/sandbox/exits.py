"""What a finished program's exit says, by the rules of its language."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class ExitRules:
    """The fields are those of `language_table.Language`, where they are explained."""

    failed_stderr: str = ""
    failed_stdout: str = ""
    wrong_answer: str = ""
    wrong_answer_exit: int | None = None
    compile_error: str = ""


def read_exit(rules: ExitRules, exit_status: int, stdout: str, stderr: str) -> str:
    """The status (see `status.STATUSES`) of a program that ran to its end.

    Args:
        exit_status: as `subprocess` gives it: negative for a signal.

    Returns:
        `passed`, `wrong answer`, `compile error`, `crashed` or `exception`.
    """
    failed = exit_status != 0 or _matches(rules.failed_stderr, stderr) or _matches(rules.failed_stdout, stdout)
    if not failed:
        return "passed"
    streams = f"{stderr}\n{stdout}"
    if _matches(rules.compile_error, streams):
        return "compile error"
    if exit_status == rules.wrong_answer_exit or _matches(rules.wrong_answer, streams):
        return "wrong answer"
    return "crashed" if exit_status < 0 else "exception"


def _matches(pattern: str, text: str) -> bool:
    return bool(pattern) and re.search(pattern, text) is not None
