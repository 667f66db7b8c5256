"""What a worker is told of a task and a program, as JSON, and the digest under which their verdict is known."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections import OrderedDict
from dataclasses import asdict
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, SandboxError
from rewardranker.execution import languages, programs
from rewardranker.execution.accelerators import accelerate
from rewardranker.execution.canary import Canary, make_canary
from rewardranker.types import Sample, Task

_KEPT = 256
"""Tasks whose text is kept: samples of one task come together."""
PYTHON = f"Python {sys.version.split()[0]}"


class TaskTexts:
    """Tasks as workers get them."""

    def __init__(self, options: JudgeOptions) -> None:
        self._options = options
        self._known: OrderedDict[int, tuple[Task, languages.Language, str, str]] = OrderedDict()

    def frame(self, task: Task, sample: Sample) -> bytes:
        """All of an item but its ticket: the end of a JSON object, and on a line of its own the task.

        A task is read once where its programs come together, so it stands apart.

        Raises:
            DataError: the task can't be judged: no tests, an unknown language, a sample of another task.
            SandboxError: this machine lacks the language's toolchain.
        """
        if task.task_id != sample.task_id:
            raise DataError(f"a sample of task '{sample.task_id}' was paired with task '{task.task_id}'")
        language, text, digest = self._get(task)
        main, program = "", sample.program
        if language.code != "py":
            main = programs.main_class(language, f"{program}\n{task.tests}")
            program = programs.assemble(language, "", program, "").removesuffix("\n")
        functions = json.dumps(language.code == "py" and (bool(task.entry_point) or not task.inputs))
        head = f'"key":"{digest}","functions":{functions},"main":{json.dumps(main)},"program":{json.dumps(program)}}}'
        return f"{head}\n{text}".encode()

    def key(self, task: Task, sample: Sample) -> bytes:
        """Digest of all that a verdict depends on: program, tests, limits, language and toolchain.

        Raises:
            DataError, SandboxError: as `frame`.
        """
        digest = self._get(task)[2]
        return hashlib.sha256(digest.encode() + sample.program.encode("utf-8", "surrogatepass")).digest()

    def toolchain(self, task: Task) -> str:
        """Name and version of what runs the task's programs."""
        return self._version(self._get(task)[0])

    def _get(self, task: Task) -> tuple[languages.Language, str, str]:
        if id(task) in self._known:
            return self._known[id(task)][1:]
        language = languages.find(task.language)
        if not task.tests and not task.inputs:
            raise DataError(f"task '{task.task_id}' has neither tests nor inputs: its programs can't be judged")
        text = json.dumps(self._fields(task, language))
        limits = self._options.model_dump(include={"timeout", "memory_mb", "output_kb", "canary"})
        digest = hashlib.sha256(json.dumps([limits, self._version(language), text]).encode()).hexdigest()
        self._known[id(task)] = (task, language, text, digest)
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return language, text, digest

    def _version(self, language: languages.Language) -> str:
        return PYTHON if language.code == "py" else _toolchain(language.code).version

    def _fields(self, task: Task, language: languages.Language) -> dict[str, Any]:
        inputs = [{"input": test.input, "output": test.output} for test in task.inputs]
        comparison = asdict(task.comparison)
        if language.code == "py":
            return {
                "tests": task.tests,
                "inputs": [] if task.entry_point else inputs,
                "calls": inputs if task.entry_point else [],
                "entry_point": task.entry_point,
                "setup": task.setup,
                "prompt": task.prompt,
                "comparison": comparison,
                "toolchain": None,
            }
        tests = "\n".join([*filter(None, [task.setup]), *([task.tests] if isinstance(task.tests, str) else task.tests)])
        found = _toolchain(language.code)
        for library in found.lacking_for(f"{task.prompt}\n{tests}"):
            raise SandboxError(
                f"task '{task.task_id}' needs {library.name}, which this machine lacks: {library.install}"
            )
        return {
            "tests": tests,
            "inputs": inputs,
            "comparison": comparison,
            "toolchain": self._toolchain_fields(found),
            "canary": self._canary(language, tests) if not inputs else None,
        }

    def _canary(self, language: languages.Language, tests: str) -> dict[str, Any]:
        """The tests with an expected value changed, always the same for the same tests: `toolchain.Canary`'s fields."""
        if not self._options.canary:
            return {"missing": "the option judge.canary is off"}
        seed = int.from_bytes(hashlib.sha256(tests.encode("utf-8", "surrogatepass")).digest()[:8], "little")
        made = make_canary(language.code, tests, seed)
        if not isinstance(made, Canary):
            return {"missing": made.reason}
        return {"tests": made.tests, "first_line": made.first_line, "last_line": made.last_line}

    def _toolchain_fields(self, found: languages.Toolchain) -> dict[str, Any]:
        language = found.language
        return {
            "name": found.version,
            "source": found.source_name("{main}"),
            "run": found.run_command(self._options.memory_mb, "{main}"),
            "builds": found.compile_ways("{main}"),
            "environment": dict(language.environment),
            "compile_seconds": language.compile_seconds,
            "compile_memory_mb": language.compile_memory_mb,
            "compile_tasks": language.compile_tasks,
            "memory_limit": language.memory_limit,
            "runtime_mb": language.runtime_mb,
            "tasks": language.tasks,
            "failed_line": language.failed_line,
            "exit_rules": asdict(languages.exit_rules(language)),
            **accelerate(found, self._options.memory_mb),
        }


@functools.cache
def _toolchain(code: str) -> languages.Toolchain:
    language = languages.find(code)
    found = languages.toolchain(language)
    if found is None:
        hint = languages.install_hint(language)
        raise SandboxError(f"{language.title} programs can't be judged on this machine: {hint}")
    return found
