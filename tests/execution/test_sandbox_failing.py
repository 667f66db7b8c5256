"""Tests that would pass every program are told from tests that can fail."""

from __future__ import annotations

import ast

import pytest

from rewardranker.execution.sandbox.failing import can_fail

CAN_FAIL = {
    "an assertion": "assert f(1) == 2",
    "a raise": "if f(1) != 2:\n    raise ValueError",
    "an exit": "import sys\nsys.exit(f(1) != 2)",
    "a raise in else": "try:\n    f(-1)\nexcept ValueError:\n    pass\nelse:\n    raise AssertionError",
    "a library's assertion": "import unittest\nunittest.TestCase().assertEqual(f(1), 2)",
    "a function called later": "def t():\n    assert f(1) == 2\nt()",
    "a function called by another": "def a():\n    b()\ndef b():\n    assert f(1) == 2\na()",
    "a function given away": "def t(x):\n    assert f(x)\nlist(map(t, range(3)))",
    "a method": "class T:\n    def a(self):\n        assert f(1)\nT().a()",
    "a decorated function": "import atexit\n@atexit.register\ndef t():\n    assert f(1)",
    "found by name": "def test_a():\n    assert f(1)\nfor n, t in [*globals().items()]:\n    n[:4] == 'test' and t()",
    "in a branch": "if True:\n    def t():\n        assert f(1)\n    t()",
}
CANT_FAIL = {
    "nothing": "",
    "only calls": "f(1)\nprint(f(2))",
    "a function that nothing calls": "def test_a():\n    assert f(1) == 2",
    "functions that only call each other": "def a():\n    b()\ndef b():\n    assert f(1)",
    "a class that nothing uses": "class TestF:\n    def test_a(self):\n        assert f(1)",
    "under main": "def t():\n    assert f(1)\nif __name__ == '__main__':\n    t()",
    "an assertion of a truth": "f(1)\nassert True, 'ran'",
    "a check that nobody calls": "def check(candidate):\n    assert candidate(1)",
}


@pytest.mark.parametrize("source", CAN_FAIL.values(), ids=list(CAN_FAIL))
def test_can_fail(source: str) -> None:
    assert can_fail([ast.parse(source)])


@pytest.mark.parametrize("source", CANT_FAIL.values(), ids=list(CANT_FAIL))
def test_cant_fail(source: str) -> None:
    assert not can_fail([ast.parse(source)])


def test_what_the_judge_calls_is_reached() -> None:
    assert can_fail([ast.parse(CANT_FAIL["a check that nobody calls"])], "check")


def test_a_helper_of_the_setup_counts() -> None:
    setup, tests = ast.parse("def must(a, b):\n    assert a == b"), ast.parse("must(f(1), 2)")
    assert can_fail([setup, tests])
    assert not can_fail([tests])
