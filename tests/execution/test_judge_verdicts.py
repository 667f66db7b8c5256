"""What honest programs get: the right word, the right share of tests, figures, order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator

import pytest
from conftest import OPTIONS, sample_of

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, SandboxError
from rewardranker.execution import STATUSES, ProgramJudge, judge
from rewardranker.types import Sample, Task

ADD = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    ("program", "status", "passed"),
    [
        (ADD, "passed", 3),
        ("def f(x): return 2", "wrong answer", 1),
        ("def f(x):\n    if x == 2: raise KeyError(x)\n    return x + 1", "exception", 2),
        ("def f(x):\n    if x == 2: raise SystemExit(3)\n    return x + 1", "exited", 2),
        ("def f(x):\n    if x == 2: import os; os._exit(3)\n    return x + 1", "exited", 1),
        ("def f(x):\n    if x == 2:\n        while True: pass\n    return x + 1", "timeout", 1),
        ("def f(x):\n    if x == 3: return bytearray(10**9)\n    return x + 1", "out of memory", 2),
        ("def f(x):\n    if x == 3: return 'x' * 10**6\n    return x + 1", "output limit", 2),
        ("def f(x) return", "compile error", 0),
        ("f = None\nraise ValueError", "exception", 0),
        ("def g(x): return x + 1", "no function", 0),
        ("x = '\\0'\n" + ADD, "passed", 3),
        ("\0", "compile error", 0),
        ("", "no function", 0),
    ],
)
def test_status_and_share(run, program: str, status: str, passed: int) -> None:
    verdict = run(program, "assert f(1) == 2", "assert f(2) == 3", "assert f(3) == 4")
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == (status, passed, 3)
    assert verdict.passed == (status == "passed")
    assert verdict.status in STATUSES


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(): return float('nan')", "assert math.isnan(f())"),
        ("def f(): return [float('inf'), -0.0, 1e300]", "assert f() == [math.inf, 0.0, 1e300]"),
        ("def f(): return 3 ** 20000", "assert f() == 3 ** 20000"),
        ("def f(): return 1 + 2j", "assert f() == 1 + 2j"),
        (
            "def f(): return {(1, 2): {3, 4}, None: [b'x', frozenset('a')]}",
            "assert f() == {(1, 2): {3, 4}, None: [b'x', frozenset('a')]}",
        ),
        ("def f(): return 'caf\\u00e9 \\ud83d'", "assert f() == 'caf\\u00e9 \\ud83d'"),
        ("from collections import Counter\ndef f(): return Counter('aab')", "assert f() == {'a': 2, 'b': 1}"),
        ("from collections import namedtuple\ndef f(): return namedtuple('P', 'x y')(1, 2)", "assert f() == (1, 2)"),
        ("from decimal import Decimal\ndef f(): return Decimal('1.10')", "assert str(f()) == '1.10'"),
        ("import datetime\ndef f(): return datetime.date(2020, 1, 2)", "assert f() == datetime.date(2020, 1, 2)"),
        ("def f(): return {1: 2}.keys()", "assert f() == {1}"),
        ("def f(): return range(3)", "assert list(f()) == [0, 1, 2]"),
        ("def f(): return (x * x for x in range(4))", "assert list(f()) == [0, 1, 4, 9]"),
        (
            "def f():\n    n = 0\n    while True:\n        yield n\n        n += 1",
            "assert list(itertools.islice(f(), 3)) == [0, 1, 2]",
        ),
        ("def f(): return lambda x: x + 1", "assert f()(2) == 3"),
        (
            "class f:\n    def __init__(self): self.n = 1\n    def up(self, by=1): self.n += by; return self.n",
            "o = f(); assert o.up() == 2 and o.up(by=2) == 4 and o.n == 4",
        ),
        ("import re\ndef f(): return re.search('a', 'bab')", "assert f() and f().group(0) == 'a'"),
        (
            "def f(g=None): return None if g is None else g(3)",
            "assert f(lambda x: x * 2) == 6 and f(str) == '3' and f(math.sqrt) == math.sqrt(3)",
        ),
        ("def f(a=None):\n    if a: a.sort()", "a = [3, 1, 2]; f(a); assert a == [1, 2, 3]"),
        (
            "def f(a=None):\n    if a: raise ValueError('no', 1)",
            "try: f(1)\nexcept ValueError as e: assert e.args == ('no', 1)\nelse: assert False",
        ),
        (
            "class Mine(KeyError): pass\ndef f(): raise Mine('k')",
            "try: f()\nexcept KeyError as e: assert e.args == ('k',)\nelse: assert False",
        ),
        ("def f(*args, **kw): return [args, kw]", "assert f(1, 2, a=3) == [(1, 2), {'a': 3}]"),
        ("import enum\nclass E(enum.IntEnum): A = 1\ndef f(): return E.A", "assert f() == 1"),
        ("def f(): return True", "assert f() is True"),
        (
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass\nclass P:\n    x: int\ndef f(): return P(1).x",
            "assert f() == 1",
        ),
        ("if __name__ == '__main__':\n    raise SystemExit(1)\ndef f(): return 1", "assert f() == 1"),
        (
            "import json.tool, unittest.mock, xml.dom, concurrent.futures\ndef f(): return 'ok'.encode('cp437')",
            "assert f() == b'ok'",
        ),
    ],
)
def test_honest_value_crosses(run, program: str, test: str) -> None:
    verdict = run(program, test)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(): return True", "assert f() == 'True'"),
        ("def f(): return 1", "assert type(f()) is float"),
        ("def f(): return (1, 2)", "assert f() == [1, 2]"),
        ("def f(): return iter([1])", "assert f() == [1]"),
    ],
)
def test_kinds_are_kept_apart(run, program: str, test: str) -> None:
    """Crossing must not make a wrong type right."""
    assert run(program, test).status == "wrong answer"


def test_detail_shows_the_assertion(run) -> None:
    verdict = run(
        "def f(x): return 0",
        source="def check(candidate):\n    assert candidate(1) == 0\n    assert candidate(2) == 1, 'two'\n",
    )
    assert verdict.detail == "assert candidate(2) == 1, 'two'\ntwo"


def test_detail_shows_the_traceback_and_is_bounded(run) -> None:
    verdict = run("def f(x):\n    raise ValueError('y' * 10**5)", "assert f(1)")
    assert "y" * 300 in verdict.detail
    assert len(verdict.detail) <= 500


def test_argument_that_can_not_cross_is_unsupported(run) -> None:
    verdict = run("def f(x): return 1", "class C: pass", "assert f(C()) == 1")
    assert verdict.status == "unsupported"
    assert "C" in verdict.detail


def test_source_is_one_test(run) -> None:
    source = "def check(candidate):\n    x = 1\n    assert candidate(x) == 2\n    assert candidate(x + 1) == 3\n"
    assert run(ADD, source=source).tests_total == 1
    assert run(ADD, source=source).tests_passed == 1


def test_source_that_calls_check_itself_is_run_once(run) -> None:
    """A second call would meet the program in another state."""
    source = "def check(f):\n    assert f(0) == 1\ncheck(f)\n"
    assert run("n = 0\ndef f(x):\n    global n\n    n += 1\n    return n", source=source).passed


def test_source_without_check(run) -> None:
    assert run(ADD, source="for i in range(5):\n    assert f(i) == i + 1\n").passed
    assert run(ADD, source="for i in range(5):\n    assert f(i) == 1\n").status == "wrong answer"


def test_setup_runs_before_the_program_and_before_the_tests(run) -> None:
    setup = "import string\nlimit = 3\nroot = Node(1)\n"
    program = (
        "size = limit * 2\nclass Node:\n    def __init__(self, v): self.v = v\n"
        "def f(n): return n.v + size + len(string.digits)\n"
    )
    assert run(program, "assert f(root) == 1 + 6 + 10 and limit == 3", setup=setup).passed


def test_function_named_like_a_builtin(run) -> None:
    assert run(
        "def sum(a, b): return a * b", "assert sum(2, 3) == 6", "assert sum(4, 3) == 12", entry_point=None
    ).passed
    assert run("def sum(a, b): return a * b", "assert sum(2, 3) == 6", entry_point="sum").passed


def test_whole_program(run) -> None:
    program = (
        "import sys\na, b = map(int, input().split())\nprint(a + b)\nfor line in sys.stdin: print(line.strip(), ' ')\n"
    )
    verdict = run(program, inputs=(("1 2\nx\n", "3\nx\n"), ("2 2\n", "4"), ("2 3\n", "6")))
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("wrong answer", 2, 3)
    assert verdict.detail == "line 1: expected '6', printed '5'"


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print(input())", "passed"),
        ("if __name__ == '__main__': print('a')", "passed"),
        ("import threading\nthreading.Thread(target=lambda: print('a')).start()", "passed"),
        ("import sys\nprint('a')\nsys.exit()", "passed"),
        ("import sys\nprint('a')\nsys.exit(3)", "exited"),
        ("print('a')\nraise ValueError('v')", "exception"),
        ("print('a'", "compile error"),
        ("print('a')\nwhile True: pass", "timeout"),
        ("while True: print('a' * 1000)", "output limit"),
        ("print('a')\nx = bytearray(10**10)", "out of memory"),
        ("import os\nprint('a', flush=True)\nos.abort()", "crashed"),
        ("import os\nprint('a', flush=True)\nos.fork()", "passed"),
        ("print('b')", "wrong answer"),
        ("", "wrong answer"),
    ],
)
def test_whole_program_status(run, program: str, status: str) -> None:
    verdict = run(program, inputs=(("a\n", "a\n"),))
    assert verdict.status == status, verdict


def test_figures_are_those_of_the_program(run) -> None:
    verdict = run(
        "def f():\n    import time\n    x = bytearray(50 * 2**20)\n"
        "    time.sleep(0.3)\n    sum(range(10**6))\n    return len(x)",
        "assert f() > 0",
    )
    assert verdict.passed, verdict
    assert verdict.seconds >= 0.3
    assert 0.01 < verdict.cpu_seconds < verdict.seconds
    assert 50 < verdict.peak_memory_mb < 120


def test_verdicts_do_not_depend_on_hash_order() -> None:
    """Two judges agree on a program whose answer depends on the order of a set of strings, or on `random`."""
    task = Task("t", "", entry_point="f", tests=("assert f() == 0",))
    sample = sample_of("import random\ndef f(): raise ValueError(list({'a', 'b', 'c', 'd', 'e'}), random.random())")
    first, second = (judge([task], [sample], OPTIONS, workers=1)[0].detail for _ in range(2))
    assert first == second


def test_order_is_kept_with_several_workers() -> None:
    rng = random.Random(0)
    task = Task("t", "", entry_point="f", tests=("assert f() % 2 == 0",))
    numbers = [rng.randrange(1000) for _ in range(60)]
    programs = [
        f"import time\ndef f():\n    time.sleep({rng.random() / 50})\n    return {n} + {i} * 2"
        for i, n in enumerate(numbers)
    ]
    samples = [sample_of(program, sample_id=i) for i, program in enumerate(programs)]
    verdicts = judge([task], samples, OPTIONS, workers=3)
    assert [v.sample_id for v in verdicts] == list(range(60))
    assert [v.passed for v in verdicts] == [n % 2 == 0 for n in numbers]


def test_equal_programs_are_run_once() -> None:
    task = Task("t", "", entry_point="f", tests=("assert f() == 1",))
    other = Task("u", "", entry_point="f", tests=("assert f() == 2",))
    programs = ["def f(): return 1", "def f(): return 2", "def f(): return 1", "def f(): return 1"]
    samples = [sample_of(program, sample_id=i) for i, program in enumerate(programs)] + [sample_of(programs[0], "u", 9)]
    verdicts = judge([task, other], samples, OPTIONS, workers=1)
    assert [v.cached for v in verdicts] == [False, False, True, True, False]
    assert [v.passed for v in verdicts] == [True, False, True, True, False]
    assert [(v.task_id, v.sample_id) for v in verdicts] == [("t", 0), ("t", 1), ("t", 2), ("t", 3), ("u", 9)]


def test_items_are_taken_as_they_are_needed(pool: ProgramJudge) -> None:
    """The window is bounded: memory does not grow with the number of samples."""
    taken = Counter()

    def items():
        task = Task("t", "", entry_point="f", tests=("assert f() == 1",))
        for i in range(10**9):
            taken["n"] += 1
            yield task, sample_of(f"def f(): return 1 + 0 * {i}", sample_id=i)

    stream = pool.judge(items())
    assert [next(stream).sample_id for _ in range(3)] == [0, 1, 2]
    stream.close()
    assert taken["n"] < 50
    # What the abandoned stream had under way does not disturb the next.
    task = Task("t", "", entry_point="f", tests=("assert f() == 2",))
    assert [v.status for v in pool.judge([(task, sample_of("def f(): return 2"))])] == ["passed"]


@pytest.mark.parametrize(
    ("task", "words"),
    [
        (Task("t", "", entry_point="f"), "neither tests nor inputs"),
        (Task("t", "", language="cobol", tests="x"), "unknown language 'cobol'"),
        (Task("t", "", tests="def check(candidate): pass"), "entry_point"),
        (Task("t", "", entry_point="f", tests=("assert f( == 1",)), "do not compile"),
        (Task("t", "", entry_point="f", tests="def check(candidate): pass"), "'t' .* can't fail"),
        (Task("other", "", entry_point="f", tests=("assert f() == 1",)), "'t'"),
    ],
)
def test_bad_task_is_an_error_that_names_it(task: Task, words: str) -> None:
    with pytest.raises(DataError, match=words):
        judge([task], [sample_of("def f(): pass")], OPTIONS, workers=1)


def test_closed_judge_says_so() -> None:
    pool = ProgramJudge(JudgeOptions(), workers=1)
    pool.close()
    pool.close()
    with pytest.raises(SandboxError, match="closed"):
        pool.judge([])


def test_outcomes_say_which_tests_hold(run) -> None:
    program = "import os\ndef f(x):\n    if x == 4: os._exit(0)\n    return x if x != 2 else 0"
    tests = [f"assert f({i}) == {i}" for i in (1, 2, 3)]
    assert run(program, *tests).outcomes == "101"
    assert run(program, *tests, "assert f(4) == 4", "assert f(5) == 5").outcomes == "1010-"


def test_outcomes_say_which_inputs_are_answered(run) -> None:
    verdict = run("x = int(input())\nprint(x if x != 2 else 0)", inputs=(("1", "1"), ("2", "2"), ("3", "3")))
    assert (verdict.outcomes, verdict.tests_passed, verdict.tests_total) == ("101", 2, 3)


def test_a_program_that_never_ends_holds_up_no_other_worker() -> None:
    """Until it has its verdict, the others get theirs, and all come in order."""
    endless = sample_of("def f(x):\n    while True: pass", sample_id=0)
    quick = [sample_of(f"def f(x):\n    return x + {i}", sample_id=i) for i in range(1, 150)]
    task = Task("t", "", entry_point="f", tests=("assert f(1) == 2",))
    taken = []

    def items() -> Iterator[tuple[Task, Sample]]:
        for sample in (endless, *quick):
            taken.append(sample.sample_id)
            yield task, sample

    with ProgramJudge(OPTIONS, workers=2) as judge:
        verdicts = judge.judge(items())
        first = next(verdicts)
        judged_meanwhile = len(taken) - 20  # what waits for the two workers
        rest = list(verdicts)
    assert first.status == "timeout"
    assert judged_meanwhile > 20
    assert [verdict.sample_id for verdict in rest] == list(range(1, 150))
