"""What a worker is told of a language and of a task's tests, for programs that are judged by how they end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


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
    pure_server: dict[str, Any] | None = None
    """A warm machine that runs what `server` has found to do nothing but compute; a worker has two of these."""


@dataclass(frozen=True)
class Canary:
    """Tests that a right program fails, and where; or why there are none."""

    tests: str = ""
    first_line: int = 0
    """Of the changed assertion, in `tests`, from 1."""
    last_line: int = 0
    missing: str = ""

    def holds(self, line: int) -> bool:
        """Whether a line of `tests` is of the changed assertion."""
        return self.first_line <= line <= self.last_line
