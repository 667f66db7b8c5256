"""Calls that are sent ahead: which are known beforehand, and that nothing but the waiting changes."""

from __future__ import annotations

import ast

import pytest
from conftest import Run

from rewardranker.execution.sandbox.foreseen import foreseen_call
from rewardranker.types import Verdict


@pytest.mark.parametrize(
    ("test", "args"),
    [
        ("assert f(1) == 2", (1,)),
        ("assert f([1, {'a': (2,)}], -3, 'x') == [1]", ([1, {"a": (2,)}], -3, "x")),
        ("assert f()", ()),
        ("assert not f('a')", ("a",)),
        ("assert f(1) is None, 'why'", (1,)),
        ("assert abs(f(2.5) - 1.5) < 1e-6", (2.5,)),
        ("assert 3 != f(1)", (1,)),
    ],
)
def test_plain_assertion_makes_a_known_call(test: str, args: tuple[object, ...]) -> None:
    call = foreseen_call(ast.parse(test).body, {"f"})
    assert call is not None
    assert call.args == args


@pytest.mark.parametrize(
    "test",
    [
        "assert f(1) == f(2)",  # the second depends on the first's answer
        "assert f(f(1)) == 1",
        "assert f(x) == 1",
        "assert f(*[1]) == 1",
        "assert f(a=1) == 1",
        "assert g(1) == 1",
        "assert len(f(1)) == 1",  # asks an object of the program for more
        "assert sorted(f(1)) == [1]",
        "assert 1 in f(1)",
        "assert f(1)[0] == 1",
        "assert f(1) == 1 or f(2) == 2",
        "assert f(1) == 1, f(2)",
        "assert 1 / 0 == f(1)",  # fails before it calls
        "assert f({[]: 1}) == 1",
        "assert 1 == 1",
        "f(1)",
        "assert f(1) == 1; assert f(2) == 2",
        "for i in [1]: assert f(i) == 1",
    ],
)
def test_any_other_call_is_not_foreseen(test: str) -> None:
    assert foreseen_call(ast.parse(test).body, {"f"}) is None


def sorts(verdict: Verdict) -> tuple[str, str]:
    return verdict.status, verdict.outcomes


def test_answers_belong_to_their_tests(run: Run) -> None:
    program = "calls = []\ndef f(x):\n    calls.append(x)\n    return list(calls)"
    tests = ["assert f(1) == [1]", "assert f(2) == [1, 2]", "assert f(3) == [1, 3]", "assert f(4) == [1, 2, 3, 4]"]
    assert sorts(run(program, *tests)) == ("wrong answer", "1101")


def test_an_exception_is_of_its_own_test_only(run: Run) -> None:
    tests = ["assert f(1) == 1.0", "assert f(0) == 1.0", "assert f(2) == 0.5"]
    verdict = run("def f(x): return 1 / x", *tests)
    assert sorts(verdict) == ("exception", "101")
    assert "ZeroDivisionError" in verdict.detail


def test_program_that_ends_itself_keeps_what_it_answered_before(run: Run) -> None:
    program = "import os\ndef f(x):\n    if x == 3: os._exit(0)\n    return x"
    verdict = run(program, *(f"assert f({i}) == {i}" for i in range(1, 7)))
    assert sorts(verdict) == ("exited", "110---")


def test_program_that_never_answers_keeps_what_it_answered_before(run: Run) -> None:
    program = "def f(x):\n    while x == 3: pass\n    return x"
    verdict = run(program, *(f"assert f({i}) == {i}" for i in range(1, 7)))
    assert (verdict.status, verdict.tests_passed) == ("timeout", 2)


def test_tests_between_that_ask_more_are_asked_in_their_turn(run: Run) -> None:
    program = "calls = []\ndef f(x):\n    calls.append(x)\n    return calls"
    tests = ["assert f(1) == [1]", "assert f(2) == [1, 2]", "assert len(f(3)) == 3", "assert f(4)[3] == 4"]
    tests += ["assert f(5) == [1, 2, 3, 4, 5]", "assert f(6) == [1, 2, 3, 4, 5, 6]"]
    assert sorts(run(program, *tests)) == ("passed", "111111")


def test_calls_of_more_than_a_socket_holds_are_answered(run: Run) -> None:
    tests = [f"assert f('{i}' * 20000) == {20000 * len(str(i))}" for i in range(40)]
    assert sorts(run("def f(x): return len(x)", *tests)) == ("passed", "1" * 40)


def test_answers_longer_than_a_socket_holds_arrive(run: Run) -> None:
    tests = [f"assert f({i}) == '{i}' * 30000" for i in range(8)]
    assert sorts(run("def f(x): return str(x) * 30000", *tests)) == ("passed", "1" * 8)


def test_function_of_the_tests_that_takes_the_name_is_called_instead(run: Run) -> None:
    tests = ["assert f(1) == 1", "def f(x): return 0", "assert f(1) == 0", "assert f(2) == 0"]
    assert sorts(run("def f(x): return x", *tests)) == ("passed", "1111")


def test_program_that_calls_back_a_function_of_the_tests_is_asked_one_by_one(run: Run) -> None:
    program = "kept = []\ndef f(x):\n    if callable(x): kept.append(x)\n    return kept[0](1)"
    tests = ["assert f(lambda n: n + 1) == 2", "assert f(1) == 2", "assert f(2) == 2", "assert f(3) == 2"]
    assert sorts(run(program, *tests)) == ("passed", "1111")


def test_what_calls_print_is_caught_where_earlier_tests_left_the_output_replaced(run: Run) -> None:
    tests = ["sys.stdout = io.StringIO()", "assert f(1) == 1", "assert f(2) == 2"]
    tests.append("assert sys.stdout.getvalue() == '1\\n2\\n'")
    assert sorts(run("def f(x):\n    print(x)\n    return x", *tests)) == ("passed", "1111")


def test_a_program_that_reads_ahead_can_answer_no_better(run: Run) -> None:
    """It may learn the arguments and nonces of later calls early, but nothing that is expected."""
    program = """
import json, os, struct
def f(x):
    import sys
    frames = [o for o in __import__("gc").get_objects() if type(o).__name__ == "FrameReader"]
    ahead = frames[0]._buffer
    while ahead:
        (size,) = struct.unpack_from("<I", ahead)
        question = json.loads(ahead[4:4 + size])
        ahead = ahead[4 + size:]
        body = json.dumps([question[0], "ok", True, []]).encode()
        os.write(3, struct.pack("<I", len(body)) + body)
    return True
"""
    verdict = run(program, *(f"assert f({i}) == {i}" for i in range(2, 6)))
    assert verdict.tests_passed == 0
    assert not verdict.passed
