"""Test functions and `unittest` classes: each test is counted as one.

A test is a method `test*` of a class that derives from `TestCase`, or a function `test*` without parameters at the top
level that the source does not call itself (`unittest.main()` is left out). All run in the tester; what they call of
the program's crosses as for any other test.

A skipped test counts as held, as in unittest, but when all are skipped nothing is decided: `unsupported`. A failing
`setUpClass` or `setUpModule` fails the tests that depend on it. Tests that a source makes while it runs
(parametrised, `load_tests`) are not known beforehand, so that their number could differ between programs: refused.
"""

from __future__ import annotations

import sys
import types
import unittest
from collections.abc import Callable
from typing import Any

from .link import Halt, Link
from .surroundings import watch

MODULE = "__tests__"

Failure = tuple[str, str, bool]
"""Status, detail, whether the candidate is gone."""


class MadeTests(Exception):
    """The tests that are there on running are not those that are written."""


def run_unittests(
    link: Link,
    space: dict[str, Any],
    written: list[str],
    attempt: Callable[[Callable[[], Any]], Failure | None],
    explain: Callable[[BaseException], Failure],
) -> tuple[list[Failure], int]:
    """Run the tests that a source has defined.

    Args:
        space: the namespace it ran in.
        attempt: runs a function test; the failure, or None.
        explain: the failure that an exception in a test method stands for.

    Returns:
        The failures in order, and how many tests held.

    Raises:
        MadeTests: see there.
    """
    cases = {
        value.__name__: value
        for value in space.values()
        if isinstance(value, type) and issubclass(value, unittest.TestCase) and value.__module__ == MODULE
    }
    loader = unittest.TestLoader()
    found = {f"{name}.{method}" for name, case in cases.items() for method in loader.getTestCaseNames(case)}
    functions = [name for name in written if "." not in name]
    if found != {name for name in written if "." in name} or not all(callable(space.get(f)) for f in functions):
        raise MadeTests(", ".join(sorted(found ^ {name for name in written if "." in name})) or "functions")
    result = _Result(link, explain)
    module = types.ModuleType(MODULE)
    module.__dict__.update(space)  # the runner looks for setUpModule there
    sys.modules[MODULE] = module
    try:
        unittest.TestSuite(loader.loadTestsFromTestCase(case) for case in cases.values()).run(result)
    except Halt as halt:  # out of setUpClass or tearDownClass
        result.note((halt.status, halt.detail, True))
    finally:
        del sys.modules[MODULE]
    for name in functions:
        if result.shouldStop:
            break
        failure = attempt(space[name])
        if failure is None:
            result.held.add(name)
        else:
            result.note(failure)
    if result.faults:
        return result.faults, len(result.held)
    if not result.held - result.left_out:
        return [("unsupported", "all tests were skipped", False)], 0
    return [], len(written)  # those of a class that was skipped did not start


class _Result(unittest.TestResult):
    """Takes what unittest's runner tells; a test whose questions had no answer has failed, whatever it made of that."""

    def __init__(self, link: Link, explain: Callable[[BaseException], Failure]) -> None:
        super().__init__()
        self._link = link
        self._explain = explain
        self._failure: Failure | None = None
        self.faults: list[Failure] = []
        self.held: set[str] = set()
        self.left_out: set[str] = set()

    def note(self, failure: Failure) -> None:
        self.faults.append(failure)
        if failure[2]:
            self.stop()

    def startTest(self, test: unittest.TestCase) -> None:
        self._failure = None
        self._link.halt = self._link.raised = None
        watch(self._link)

    def stopTest(self, test: unittest.TestCase) -> None:
        halt = self._link.halt
        if halt is not None:
            self._failure = (halt.status, halt.detail, halt.gone)
        if self._failure is None:
            self.held.add(_name(test))
        else:
            self.note(self._failure)
        self._link.halt = None

    def addError(self, test: Any, err: Any) -> None:
        if isinstance(test, unittest.TestCase):
            self._failure = self._failure or self._explain(err[1])
        else:  # setUpClass or setUpModule: its tests are not started
            self.note(self._explain(err[1]))
            self._link.halt = None

    addFailure = addError

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        if err is not None:
            self.addError(test, err)

    def addUnexpectedSuccess(self, test: Any) -> None:
        self._failure = ("wrong answer", f"{_name(test)} was expected to fail", False)

    def addExpectedFailure(self, test: Any, err: Any) -> None: ...

    def addSuccess(self, test: Any) -> None: ...

    def addSkip(self, test: Any, reason: str) -> None:
        """Of a test, or of the class that could not be set up, whose tests then don't start."""
        if isinstance(test, unittest.TestCase):
            self.left_out.add(_name(test))


def _name(test: unittest.TestCase) -> str:
    return f"{type(test).__name__}.{test._testMethodName}"
