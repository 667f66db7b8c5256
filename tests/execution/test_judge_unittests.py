"""unittest classes and test functions: each test is one, tests that need the program's process are `unsupported`."""

from __future__ import annotations

import textwrap

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.errors import DataError
from rewardranker.execution import judge
from rewardranker.types import Task

ADD = "def f(x):\n    return x + 1\n"
TWO_MORE = """
    def test_one(self):
        self.assertEqual(f(1), 2)
    def test_two(self):
        self.assertEqual(f(2), 3)
"""


def cases(body: str, head: str = "") -> str:
    methods = textwrap.indent(textwrap.dedent(body), "    ")
    return f"import unittest\n{head}\nclass TestCases(unittest.TestCase):\n{methods}\n"


def test_each_method_is_one_test(run) -> None:
    source = cases(TWO_MORE) + "\nif __name__ == '__main__':\n    unittest.main()\n"
    verdict = run(ADD, source=source)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("passed", 2, 2)
    verdict = run("def f(x): return 2", source=source)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("wrong answer", 1, 2)
    assert verdict.detail == "self.assertEqual(f(2), 3)\n2 != 3"


@pytest.mark.parametrize("end", ["unittest.main()", "if __name__ == '__main__':\n    unittest.main(verbosity=2)"])
def test_main_at_the_end_is_left_out(run, end: str) -> None:
    assert run(ADD, source=cases(TWO_MORE) + end).passed
    assert run("def f(x): return 2", source=cases(TWO_MORE) + end).tests_passed == 1


@pytest.mark.parametrize(
    ("program", "method"),
    [
        (ADD, "self.assertAlmostEqual(f(0.1 + 0.2), 1.3)"),
        (ADD, "self.assertIn(f(1), [1, 2]); self.assertIsInstance(f(1), int); self.assertGreater(f(1), 1)"),
        (ADD, "with self.assertRaises(TypeError): f('a')"),
        (ADD, "self.assertRaises(TypeError, f, 'a')"),
        ("def f(x): raise ValueError('bad x')", "with self.assertRaisesRegex(ValueError, 'bad'): f(1)"),
        (ADD, "for i in range(3):\n    with self.subTest(i=i):\n        self.assertEqual(f(i), i + 1)"),
        ("def f(x): return [3, 1, 2]", "self.assertCountEqual(f(1), [1, 2, 3])"),
        ("def f(x): return {'a': (1, 2)}", "self.assertDictEqual(f(1), {'a': (1, 2)})"),
        (
            "from collections import Counter\ndef f(x): return Counter(x)",
            "import collections\nself.assertIsInstance(f('a'), collections.Counter)",
        ),
        ("def f(x):\n    for i in range(x): yield i", "self.assertListEqual(list(f(3)), [0, 1, 2])"),
        (
            "class Bad(ValueError): pass\ndef f(x): raise Bad(x)",
            "with self.assertRaises(Bad) as c: f(7)\nself.assertEqual(c.exception.args, (7,))",
        ),
        (
            "def f(x): print('a', x)",
            "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out): f(1)\n"
            "self.assertEqual(out.getvalue(), 'a 1\\n')",
        ),
    ],
)
def test_assertion_methods(run, program: str, method: str) -> None:
    source = cases("def test_a(self):\n" + textwrap.indent(method, "    "))
    verdict = run(program, source=source)
    assert verdict.passed, verdict
    assert not run("def f(x): return 7\nclass Bad(Exception): pass", source=source).passed


def test_asynchronous_test_case(run) -> None:
    source = (
        "import unittest\nclass A(unittest.IsolatedAsyncioTestCase):\n"
        "    async def test_a(self):\n        self.assertEqual(f(1), 2)\n"
    )
    assert run(ADD, source=source).passed
    assert run("def f(x): return 0", source=source).status == "wrong answer"


def test_fixtures_run_in_their_order(run) -> None:
    body = """
        @classmethod
        def setUpClass(cls): cls.first = f(10)
        def setUp(self): self.second = f(self.first)
        def tearDown(self): self.assertEqual(self.second, 12)
        def test_a(self): self.assertEqual((self.first, self.second), (11, 12))
    """
    assert run(ADD, source=cases(body)).passed
    assert run("def f(x): return x + 1 if x == 10 else 0", source=cases(body)).status == "wrong answer"


def test_failing_set_up_of_a_class_fails_its_tests_only(run) -> None:
    source = cases("@classmethod\ndef setUpClass(cls): f(-1)\n" + TWO_MORE.replace("\n    ", "\n")) + textwrap.dedent(
        """
        class Other(unittest.TestCase):
            def test_a(self): self.assertEqual(f(1), 2)
        """
    )
    program = "def f(x):\n    if x < 0: raise KeyError(x)\n    return x + 1"
    verdict = run(program, source=source)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("exception", 1, 3)


def test_inherited_tests_count_for_each_class(run) -> None:
    source = (
        cases("n = 1\ndef test_a(self): self.assertEqual(f(self.n), self.n + 1)") + "class B(TestCases):\n    n = 5\n"
    )
    verdict = run("def f(x): return 2", source=source)
    assert (verdict.tests_passed, verdict.tests_total) == (1, 2)


def test_skipped_test_holds_but_skipping_all_decides_nothing(run) -> None:
    skipped = "@unittest.skip('why')\ndef test_z(self): self.fail()\n"
    one = cases(skipped + "def test_a(self): self.assertEqual(f(1), 2)\n")
    assert run(ADD, source=one).tests_total == 2
    assert run(ADD, source=one).passed
    assert run(ADD, source=cases(skipped)).status == "unsupported"


def test_expected_failure_must_be_a_failure_of_the_test(run) -> None:
    source = cases(TWO_MORE + "\n    @unittest.expectedFailure\n    def test_z(self): self.assertEqual(f(3), 5)\n")
    assert run(ADD, source=source).passed
    assert run("def f(x): return 5 if x == 3 else x + 1", source=source).status == "wrong answer"
    assert run("def f(x):\n    if x == 3: raise SystemExit\n    return x + 1", source=source).status == "exited"


def test_test_functions_run_one_by_one(run) -> None:
    source = "def test_a():\n    assert f(1) == 2\n\ndef test_b(n=2):\n    assert f(n) == 3\n"
    assert run(ADD, source=source).tests_total == 2
    verdict = run("def f(x): return 3", source=source)
    assert (verdict.status, verdict.tests_passed, verdict.detail) == ("wrong answer", 1, "assert f(1) == 2")


def test_test_function_that_the_source_calls_is_no_test_of_its_own(run) -> None:
    """Its number of runs is the source's own."""
    source = "def test_a(n):\n    assert f(n) == n + 1\ndef test_b():\n    test_a(2)\ntest_a(1)\ntest_b()\n"
    verdict = run(ADD, source=source)
    assert (verdict.passed, verdict.tests_total) == (True, 1)


def test_functions_called_under_main_only_are_run_by_the_judge(run) -> None:
    source = "def test_a():\n    assert f(1) == 2\n\nif __name__ == '__main__':\n    test_a()\n"
    assert run(ADD, source=source).passed
    assert run("def f(x): return 0", source=source).status == "wrong answer"


def test_check_that_the_source_calls_through_a_function_is_run_once(run) -> None:
    """MultiPL-E's Python tests; they name the program's function themselves."""
    source = "def check(candidate):\n    assert candidate() == 1\n\ndef test_check():\n    check(f)\n\ntest_check()\n"
    program = "n = 0\ndef f():\n    global n\n    n += 1\n    return n"
    assert run(program, source=source, entry_point=None).passed
    assert run("def f(): return 0", source=source, entry_point=None).status == "wrong answer"


@pytest.mark.parametrize(
    "method",
    [
        "@patch('builtins.open')\ndef test_z(self, m): self.assertEqual(f(1), 2)",
        "def test_z(self):\n    with patch('os.listdir', return_value=[]): self.assertEqual(f(1), 2)",
        "@patch.object(unittest, 'main')\ndef test_z(self, m): self.assertEqual(f(1), 2)",
        "def test_z(self):\n    p = patch.dict('os.environ', A='1')\n    p.start()\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    with open('data.txt', 'w') as file: file.write('1')\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    import tempfile\n    tempfile.mkdtemp()\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    import os\n    os.path.exists('data.txt')\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    import os\n    os.environ['A'] = '1'\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    import subprocess\n    subprocess.run(['true'])\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    try: open('data.txt')\n    except BaseException: pass\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    import sys, io\n    sys.stdin, old = io.StringIO(), sys.stdin\n"
        "    try: self.assertEqual(f(1), 2)\n    finally: sys.stdin = old",
        "def test_z(self):\n    import pandas\n    self.assertEqual(f(1), 2)",
        "def test_z(self):\n    with self.assertRaises(Exception): f(self)",
    ],
)
def test_what_does_not_reach_the_program_is_unsupported(run, method: str) -> None:
    """Neither a pass nor a fault: the other tests still decide."""
    source = cases(TWO_MORE.replace("\n    ", "\n") + method, "from unittest.mock import patch")
    verdict = run(ADD, source=source)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("unsupported", 2, 3), verdict
    assert run("def f(x): return 2", source=source).status == "wrong answer"


def test_unsupported_class_leaves_the_next_program_alone(run) -> None:
    """Refusing one task's tests does not watch, or patch, those of the next."""
    run(ADD, source=cases("def test_a(self):\n    open('x', 'w')\n    self.assertEqual(f(1), 2)"))
    assert run(ADD, source="import os, io\nassert f(1) == 2 and io.StringIO('a').read() == 'a'").passed


@pytest.mark.parametrize(
    ("tests", "words"),
    [
        (cases("def test_a(self): f(1)"), "can't fail"),
        (cases("def check_a(self): self.assertEqual(f(1), 2)"), "can't fail"),
        ("def test_a(tmp_path):\n    assert f(1) == 2\n", "can't fail"),
        (cases(TWO_MORE) + "TestCases.test_made = lambda self: None\n", "TestCases.test_made"),
    ],
)
def test_tests_that_can_not_be_counted_are_the_datas_fault(tests: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        judge([Task("t", "", entry_point="f", tests=tests)], [sample_of(ADD)], OPTIONS, workers=1)


ATTACKS = {
    "patched TestCase": (
        "import unittest\nfor n in dir(unittest.TestCase):\n    if n.startswith('assert'):\n"
        "        setattr(unittest.TestCase, n, lambda *a, **k: None)\n"
        "unittest.TestCase.run = lambda self, result=None: result\ndef f(x): return 0",
        {"wrong answer"},
    ),
    "patched runner": (
        "import unittest\nunittest.TestResult.wasSuccessful = lambda self: True\n"
        "unittest.TestSuite.run = lambda self, result, debug=False: result\ndef f(x): return 0",
        {"wrong answer"},
    ),
    "raises SkipTest": ("import unittest\ndef f(x): raise unittest.SkipTest('all')", {"exception"}),
    "raises a fake SkipTest": ("class SkipTest(Exception): pass\ndef f(x): raise SkipTest('all')", {"exception"}),
    "equal to everything": (
        "class Liar:\n    def __eq__(self, other): return True\n    __ne__ = lambda self, other: False\n"
        "    __hash__ = lambda self: 0\ndef f(x): return Liar()",
        {"wrong answer"},
    ),
    "exits with success": ("import os\ndef f(x): os._exit(0)", {"exited"}),
    "swallowed exit": ("def f(x): raise SystemExit(0)", {"exited"}),
    "defines the test class": (
        "import unittest\nclass TestCases(unittest.TestCase):\n    def test_one(self): pass\n    test_two = test_one\n"
        "def f(x): return 0",
        {"wrong answer"},
    ),
    "finds no class of tests": (
        "import gc, unittest\nassert not [c for c in gc.get_objects() if isinstance(c, type)"
        " and c.__name__ == 'TestCases']\ndef f(x): return 0",
        {"wrong answer"},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("program", "statuses"), ATTACKS.values(), ids=list(ATTACKS))
def test_attack_gets_nothing(run, program: str, statuses: set[str]) -> None:
    verdict = run(program, source=cases(TWO_MORE))
    assert verdict.status in statuses, verdict
    assert (verdict.tests_passed, verdict.tests_total) == (0, 2)
