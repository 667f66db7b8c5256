"""The process that runs a task's tests against a candidate: the only one that knows the expected values.

Where the tests name the program's function they get a `Remote` (`link.py`), which asks the candidate over the channel.
What comes back is decoded to builtin objects (`wire.py` lists them), so every comparison is between objects made here.

The rule for what is not plain data:

- A result that is an object of the program's (an instance, class, function, generator, iterator, open file) stays in
  its process. Tests can call it, read and set attributes and items, ask for its length, text and truth, and go through
  its items. It equals nothing but itself, has no arithmetic and no order, and the program's `__eq__` is never asked.
- An exception arrives as the class of the program's that the tests name, or else as the nearest builtin class.
- Arguments that the program changed in place are changed here too. A function of the tests that is an argument is
  called here. What a call prints arrives here where the tests have replaced `sys.stdout`.
- What only a common process could give makes a test `unsupported`, which is neither a pass nor the program's fault:
  an argument that is neither plain data nor a function; two objects of the program's that are compared with each
  other; one that is derived from, awaited, or used in a `with` statement; what tests do to files, environment or
  libraries (`surroundings.py`); a module that the tests import and that is not in the standard library (but for the
  names in `numpy_names.py`).
"""

from __future__ import annotations

import errno
import gc
import json
import os
import random
import socket
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType
from typing import Any

from . import numpy_names, surroundings
from .comparing import values_match
from .link import Halt, Link, NotReady, Remote, Unforeseen
from .plan import BadTests, Plan, make_plan
from .wire import FrameReader, write_frame

_DETAIL = 500
_PLANS = 1024
"""Compiled tests kept: samples of one task come together."""
_MODULE = "__tests__"

Failure = tuple[str, str, bool]
"""Status, detail, whether the candidate is gone."""

# --- the process --------------------------------------------------------------------------------------------------


def serve(connection: socket.socket, limit: int) -> None:
    """Run the tests of one program after the other: a descriptor (the candidate's channel) and an item come in, a
    report goes out: `{"outcome": [status, detail, tests passed, tests in all, whether the candidate is gone]}`,
    `{"bad_tests": text}` or `{"fault": text}`.

    Args:
        limit: bytes of a candidate's answer.
    """
    reader = FrameReader(connection.fileno(), 1 << 31)
    plans: dict[str, Plan] = {}
    surroundings.install()
    numpy_names.install()
    gc.freeze()
    while True:
        command, fds, _, _ = socket.recv_fds(connection, 1, 1)
        if not command:
            return
        head, _, task = reader.read().partition(b"\n")
        item = json.loads(head)
        report: dict[str, Any]
        try:
            plan = plans.pop(item["key"], None) or make_plan(json.loads(task))
            plans[item["key"]] = plan
            report = {"outcome": run_tests(plan, item["program"], fds[0], limit)}
        except BadTests as error:
            report = {"bad_tests": str(error)}
        except NotReady:
            report = {"fault": "the candidate's process failed before it had the program"}
        except (Exception, Unforeseen):
            report = {"fault": traceback.format_exc()[-1000:]}
        os.close(fds[0])
        if len(plans) > _PLANS:
            del plans[next(iter(plans))]
        write_frame(connection.fileno(), json.dumps(report).encode())


# --- the tests --------------------------------------------------------------------------------------------------


def run_tests(plan: Plan, program: str, fd: int, limit: int) -> list[Any]:
    """Decide one program.

    Returns:
        [status, detail, tests passed, tests in all, whether the candidate was gone, `Verdict.outcomes`].

    Raises:
        NotReady: the candidate's process failed before it had the program.
        BadTests: the tests turn out to be others than those counted.
    """
    random.seed(0)
    link = Link(fd, limit)
    link.wait_until_ready()
    space: dict[str, Any] = {"__name__": _MODULE}
    failure = _attempt(link, lambda: space.update(link.load(plan, program)))
    if failure is None and plan.entry_point is not None and not _is_there(plan, space):
        failure = ("no function", f"the program does not define {plan.entry_point}", False)
    if failure is None:
        failure = _attempt(link, lambda: _prepare(plan, space))
    if failure is None and plan.source is not None:
        failure = _attempt(link, lambda: _run_source(plan, space), plan.lines)
    if failure is not None:
        return [failure[0], failure[1], 0, plan.total, failure[2], ""]
    outcomes = ""
    if plan.written:
        failures, passed = _run_written(plan, link, space)
    else:
        failures, outcomes = _run_one_by_one(plan, link, space)
        passed = outcomes.count("1")
    if not failures:
        return ["passed", "", plan.total, plan.total, False, outcomes]
    # A test that can't be judged says nothing about the program, one that fails does.
    first = next((f for f in failures if f[0] != "unsupported"), failures[0])
    return [*first[:2], passed, plan.total, failures[-1][2], outcomes]


def _is_there(plan: Plan, space: dict[str, Any]) -> bool:
    return plan.entry_point in space or (bool(plan.calls) and "Solution" in space)


def _prepare(plan: Plan, space: dict[str, Any]) -> None:
    import importlib

    for name in plan.modules:
        space[name] = importlib.import_module(name)
    if plan.uses_mock:
        surroundings.replace_patch()
    entry = space.get(plan.entry_point or "")
    for code in plan.prelude:
        exec(code, space)
    if entry is not None and plan.entry_point:
        space[plan.entry_point] = entry


def _run_source(plan: Plan, space: dict[str, Any]) -> None:
    assert plan.source is not None
    entry = space.get(plan.entry_point or "")
    exec(plan.source, space)
    if plan.calls_check and not plan.checks:
        space["check"](entry)


def _run_written(plan: Plan, link: Link, space: dict[str, Any]) -> tuple[list[Failure], int]:
    from .unittests import MadeTests, run_unittests

    try:
        return run_unittests(
            *(link, space, plan.written),
            attempt=lambda work: _attempt(link, work, plan.lines),
            explain=lambda error: _explain(link, error, plan.lines),
        )
    except MadeTests as error:
        raise BadTests(f"its test classes make tests while they run: {error}; write each as a method") from None


def _run_one_by_one(plan: Plan, link: Link, space: dict[str, Any]) -> tuple[list[Failure], str]:
    """All are run, so that the share that holds is right; only a dead candidate ends it early."""
    entry = space.get(plan.entry_point or "")
    outcomes = "1" * (plan.source is not None and not plan.checks)
    failures: list[Failure] = []
    for number, (work, lines) in enumerate(_tests(plan, space, entry)):
        if not link.is_ahead:
            _ask_ahead(plan, link, space, entry, number)
        failure = _attempt(link, work, lines)
        outcomes += str(int(failure is None))
        if failure is None:
            continue
        failures.append(failure)
        if failure[2]:
            break
    return failures, outcomes.ljust(plan.total, "-")


def _ask_ahead(plan: Plan, link: Link, space: dict[str, Any], entry: Any, number: int) -> None:
    """Send the calls that this test and those after it will make, up to the first test whose call is not known."""
    calls = []
    for call in plan.foreseen[number:]:
        if call is None:
            break
        calls.append(call)
    # Tests may have put their own in the place of what the foreseen ones name.
    is_entry = type(entry) is Remote and (not plan.asserts or space.get(plan.entry_point or "") is entry)
    if len(calls) > 1 and is_entry and "abs" not in space:
        link.ask_ahead(entry, calls)


def _tests(plan: Plan, space: dict[str, Any], entry: Any) -> Iterator[tuple[Callable[[], Any], list[str]]]:
    """The tests counted one by one, and the lines that their code is numbered by."""
    for text, code in plan.asserts:
        yield partial(exec, code, space), [text]
    for code in plan.checks:
        yield partial(_check, code, space, entry), plan.lines
    for args, expected in plan.calls:
        yield partial(_call, plan, space, args, expected), []


def _check(code: CodeType, space: dict[str, Any], entry: Any) -> None:
    exec(code, space)
    space["check"](entry)


def _call(plan: Plan, space: dict[str, Any], args: list[Any], expected: Any) -> None:
    """One call with its result. A class `Solution` that has the method is made anew for each."""
    name = plan.entry_point or ""
    shown = f"{name}({', '.join(repr(arg)[:100] for arg in args)})"
    function = space.get(name)
    if "Solution" in space:
        try:
            function = getattr(space["Solution"](), name)
        except AttributeError:
            if function is None:
                raise
    assert function is not None
    result = function(*args)
    if not values_match(result, expected, plan.rules):
        raise AssertionError(f"{shown}: expected {repr(expected)[:200]}, returned {_shown(result)}")


def _shown(result: Any) -> str:
    return f"an object ({object.__getattribute__(result, '_type')})" if type(result) is Remote else repr(result)[:200]


# --- failures ---------------------------------------------------------------------------------------------------


def _attempt(link: Link, work: Callable[[], Any], lines: list[str] | None = None) -> Failure | None:
    """Run a piece of the tests: None if it holds."""
    link.halt = link.raised = None
    surroundings.watch(link)
    try:
        work()
    except Unforeseen:
        raise
    except BaseException as error:
        if link.halt is None:
            return _explain(link, error, lines or [])
    finally:
        surroundings.watch(None)
    if link.halt is not None:
        return link.halt.status, link.halt.detail, link.halt.gone
    return None


def _explain(link: Link, error: BaseException, lines: list[str]) -> Failure:
    """The failure that an exception in a test stands for. Reads no file: tests may be watched now."""
    if isinstance(error, Halt):
        return error.status, error.detail, error.gone
    if link.raised is not None and link.raised[0] is error:
        status = "exception"
        if isinstance(error, MemoryError):
            status = "out of memory"
        if isinstance(error, OSError) and error.errno == errno.EFBIG:
            status = "output limit"
        return status, link.raised[1][-_DETAIL:], False
    if isinstance(error, MemoryError):
        return "out of memory", "the tests ran out of memory on the program's answer", False
    if isinstance(error, NameError) and error.name is not None:
        return "no function", f"the program does not define {error.name}", False
    if isinstance(error, ImportError):
        return "unsupported", f"the tests can't be run: {error} (they have the standard library only)", False
    numbers = [line for frame, line in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == "<tests>"]
    source = "\n".join(lines).splitlines()
    line = source[numbers[-1] - 1].strip() if numbers and numbers[-1] <= len(source) else ""
    if isinstance(error, AssertionError):
        text = f"{line}\n{error}" if str(error) else line
    else:
        text = f"{line}\n{type(error).__name__}: {error}"
    return "wrong answer", text.strip()[:_DETAIL], False
