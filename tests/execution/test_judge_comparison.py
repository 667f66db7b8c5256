"""Inputs with expected outputs: calls whose results are compared as values, and what data sets forgive."""

from __future__ import annotations

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.errors import DataError
from rewardranker.execution import judge
from rewardranker.runs import from_json, to_json
from rewardranker.types import Comparison, StdioTest, Task

ADD = "def f(a, b):\n    return a + b\n"
ONCE = """
class Solution:
    n = 0
    def f(self, a, b):
        self.n += 1
        return a + b if self.n == 1 else 0
"""
CALLS = (("1\n2", "3"), ("[1]\n[2, 3]", "[1, 2, 3]"), ('"a"\n"b"\n', '"ab"'))


def test_arguments_are_one_json_value_a_line(run) -> None:
    verdict = run(ADD, calls=CALLS)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("passed", 3, 3)


def test_share_and_detail_of_calls(run) -> None:
    verdict = run("def f(a, b): return 3", calls=CALLS)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("wrong answer", 1, 3)
    assert verdict.detail == "f([1], [2, 3]): expected [1, 2, 3], returned 3"


@pytest.mark.parametrize(
    ("program", "status", "passed"),
    [
        ("class Solution:\n    def f(self, a, b): return a + b", "passed", 3),
        ("def f(a): return 0\nclass Solution:\n    def f(self, a, b): return a + b", "passed", 3),
        (ADD + "class Solution: pass", "passed", 3),
        (ONCE, "passed", 3),
        ("class Solution:\n    def g(self, a, b): return a + b", "exception", 0),
        ("class Solution:\n    def __init__(self): raise ValueError\n    def f(self, a, b): pass", "exception", 0),
        ("def f(a): return a", "exception", 0),
        ("def g(a): return a", "no function", 0),
        ("def f(a, b):\n    if a == 'a':\n        while True: pass\n    return a + b", "timeout", 2),
    ],
)  # fmt: skip
def test_function_or_method_of_solution(run, program: str, status: str, passed: int) -> None:
    verdict = run(program, calls=CALLS)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == (status, passed, 3), verdict


LIAR = (
    "class Liar{0}:\n    def __eq__(self, o): return True\n    def __ne__(self, o): return False\n    __hash__ = None\n"
)

ATTACKS = {
    "equal to everything": (LIAR.format("") + "def f(a, b): return Liar()", {"wrong answer"}),
    "a lying int": (LIAR.format("(int)") + "def f(a, b): return Liar()", {"wrong answer"}),
    "a list of liars": (LIAR.format("") + "def f(a, b): return [Liar()] * 3", {"wrong answer"}),
    "a class whose attributes lie": (
        "class Any:\n    def __getattr__(self, name): return Any()\n    def __call__(self, *a): return Any()\n"
        "    def __eq__(self, o): return True\n    def __len__(self): return 3\n"
        "    def __iter__(self): return iter(())\n"
        "Solution = Any()",
        {"wrong answer"},
    ),
    "a lying method": (
        LIAR.format("") + "class Solution:\n    def __getattribute__(self, name): return lambda *a: Liar()",
        {"wrong answer"},
    ),
    "endless generator": ("def f(a, b):\n    while True: yield a", {"wrong answer"}),
    "a dict of everything": (
        "class D(dict):\n    def __missing__(self, k): return 3\n    keys = lambda self: {0}\ndef f(a, b): return D()",
        {"wrong answer"},
    ),
    "an exception class for a result": ("class f(Exception):\n    def __eq__(self, o): return True", {"wrong answer"}),
    "an exception for a result": ("def f(a, b): return ValueError(a + b)", {"wrong answer"}),
    "not a number": ("def f(a, b): return float('nan')", {"wrong answer"}),
    "infinity": ("def f(a, b): return float('inf')", {"wrong answer"}),
    "prints the answer": ("def f(a, b): print(a + b)", {"wrong answer"}),
}


@pytest.mark.parametrize(("program", "statuses"), ATTACKS.values(), ids=list(ATTACKS))
def test_attack_on_calls_gets_nothing(run, program: str, statuses: set[str]) -> None:
    everything = {"tolerance": 0.1, "unordered": True, "ignore_case": True, "unwrap": True}
    for rules in ({}, everything):
        verdict = run(program, calls=CALLS, **rules)
        assert verdict.status in statuses, verdict
        assert (verdict.tests_passed, verdict.tests_total) == (0, 3)


@pytest.mark.parametrize(
    ("printed", "expected", "rules"),
    [
        ("0.3333333", "0.33333334", {"tolerance": 1e-5}),
        ("YES\\n", "Yes", {"ignore_case": True}),
        ("1 2\\n3", "1\\n2 3", {"ignore_lines": True}),
        ("b\\na", "a\\nb", {"unordered": True}),
        ("2.0 03", "2 3", {"numeric": True}),
    ],
)
def test_printed_output_is_forgiven_what_the_task_says(
    run, printed: str, expected: str, rules: dict[str, float]
) -> None:
    inputs = (("", expected.replace("\\n", "\n")),)
    assert run(f"print('{printed}')", inputs=inputs, **rules).passed
    assert run(f"print('{printed}')", inputs=inputs).status == "wrong answer"


def test_result_is_forgiven_what_the_task_says(run) -> None:
    program = "def f(a): return (x / 3 for x in a) if False else [x / 3 for x in a][::-1]"
    calls = (("[1, 2]", "[0.3333333, 0.6666667]"),)
    assert run(program, calls=calls, tolerance=1e-6, unordered=True).passed
    assert run(program, calls=calls, tolerance=1e-6).status == "wrong answer"
    assert run(program, calls=calls, unordered=True).status == "wrong answer"


def test_wrong_output_is_wrong_under_all_rules(run) -> None:
    rules = {"tolerance": 1e-3, "unordered": True, "ignore_case": True, "ignore_lines": True, "unwrap": True}
    assert run("print('a 2')", inputs=(("", "a 1"),), **rules).status == "wrong answer"
    assert run("def f(a): return [a, 2]", calls=(("1", "[1, 1]"),), **rules).status == "wrong answer"


@pytest.mark.parametrize("call", [StdioTest("1, 2", "3"), StdioTest("1\n2", "three"), StdioTest("1\n2", "")])
def test_call_that_is_not_json_is_the_datas_fault(call: StdioTest) -> None:
    task = Task("t", "", entry_point="f", inputs=(StdioTest("1\n1", "2"), call))
    with pytest.raises(DataError, match=r"'t' .* number 2 is not JSON .* one argument a line"):
        judge([task], [sample_of(ADD)], OPTIONS, workers=1)


def test_verdicts_under_other_rules_are_others() -> None:
    """Equal programs are run once only where the rules are equal too."""
    tests = (StdioTest("", "1.0"),)
    strict, lenient = Task("a", "", inputs=tests), Task("b", "", inputs=tests, comparison=Comparison(numeric=True))
    samples = [sample_of("print(1)", "a"), sample_of("print(1)", "b")]
    assert [v.passed for v in judge([strict, lenient], samples, OPTIONS, workers=1)] == [False, True]


def test_comparison_survives_the_file() -> None:
    task = Task("t", "", comparison=Comparison(tolerance=1, unordered=True))
    assert from_json(to_json(task), Task) == task
    assert from_json('{"task_id": "t", "prompt": ""}', Task).comparison == Comparison()
    with pytest.raises(DataError, match=r"f\.jsonl:3: column 'comparison': column 'tolerance': expected float"):
        from_json('{"task_id": "t", "prompt": "", "comparison": {"tolerance": "low"}}', Task, "f.jsonl:3")


def test_columns_of_a_comparison_have_one_type() -> None:
    """An integer given for the tolerance is written as a float, as in all other rows."""
    task = from_json('{"task_id": "t", "prompt": "", "comparison": {"tolerance": 1}}', Task)
    assert '"tolerance": 1.0' in to_json(task)


EVALPLUS = """
import numpy as np

def is_floats(x):
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False

def assertion(out, exp, atol):
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if out != exp and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert out == exp

for inp, exp in zip([[3], [7]], [[1.5, 3.0], 3.5]):
    assertion(f(*inp), exp, 0)
"""


def test_tests_in_the_style_of_evalplus(run) -> None:
    assert run("def f(x): return x / 2 if x > 5 else (x / 2 + 1e-9, 3.0)", source=EVALPLUS).passed
    assert run("def f(x): return x / 2 if x > 5 else (x / 2 + 1e-3, 3.0)", source=EVALPLUS).status == "wrong answer"
    assert run("def f(x): return x / 2 if x > 5 else 1.5", source=EVALPLUS).status == "wrong answer"
    assert run("def f(x): return x / 2 if x > 5 else 'x'", source=EVALPLUS).status == "wrong answer"
    patched = "import sys\nsys.modules['numpy'] = sys\nsys.allclose = lambda *a, **k: True\ndef f(x): return 0.0"
    assert run(patched, source=EVALPLUS).status == "wrong answer"


def test_other_names_of_numpy_are_unsupported(run) -> None:
    source = (
        "import numpy as np\ntry:\n    same = np.array_equal(f(1), [1])\nexcept BaseException: same = True\nassert same"
    )
    assert run("def f(x): return [1]", source=source).status == "unsupported"


def test_seed_reaches_the_program(run) -> None:
    source = "import random\nrandom.seed(7)\nassert f() == random.Random(7).random()"
    assert run("import random\nrandom.random()\ndef f(): return random.random()", source=source).passed
    assert run("def f(): return 0.5", source=source).status == "wrong answer"
