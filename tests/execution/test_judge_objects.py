"""Objects of the program that tests hold: what can be done with them, and what no object can fake."""

from __future__ import annotations

import pytest

STACK = """
class Stack:
    size = 0
    def __init__(self, *items): self.items = list(items)
    def push(self, item): self.items.append(item); return self
    def pop(self):
        if not self.items: raise Empty('nothing to pop')
        return self.items.pop()
    def __len__(self): return len(self.items)
    def __getitem__(self, i): return self.items[i]
    def __iter__(self): return iter(self.items)
    def __str__(self): return 'Stack' + str(self.items)
    def __repr__(self): return 'Stack()'
class Empty(LookupError): pass
def f(n):
    for i in range(n): yield {'i': i}
"""


@pytest.mark.parametrize(
    "test",
    [
        "s = Stack(1, 2)\ns.push(3).push(4)\nassert len(s) == 4 and s.pop() == 4 and list(s) == [1, 2, 3] and 2 in s",
        "s = Stack()\ns.items = [7]\nassert s.items == [7] and s[0] == 7 and Stack.size == 0",
        "assert str(Stack(1)) == 'Stack[1]' and repr(Stack(1)) == 'Stack()' and f'{Stack(2)}' == 'Stack[2]'",
        "try: Stack().pop()\nexcept Empty as e: assert e.args == ('nothing to pop',)\nelse: assert False",
        "try: Stack().pop()\nexcept LookupError: pass\nelse: assert False",
        "a, b = Stack(1), Stack(1)\nassert a is not b and a == a and a != 1 and a != [1] and len({a, b}) == 2",
        "assert list(f(3)) == [{'i': 0}, {'i': 1}, {'i': 2}] and sum(x['i'] for x in f(4)) == 6",
        "g = f(2)\nassert next(g) == {'i': 0} and next(g) == {'i': 1} and next(g, None) is None",
        "import itertools\nassert [x['i'] for x in itertools.islice(f(10**9), 2)] == [0, 1]",
        "assert dict(zip('a', f(5))) == {'a': {'i': 0}}",
        "pairs = list(enumerate(f(2)))\nassert pairs == [(0, {'i': 0}), (1, {'i': 1})]",
    ],
)  # fmt: skip
def test_what_tests_do_with_objects(run, test: str) -> None:
    verdict = run(STACK, source=test)
    assert verdict.passed, verdict


@pytest.mark.parametrize(
    "test",
    [
        "assert Stack(1) == Stack(1)",
        "class More(Stack): pass\nassert More(1).pop() == 1",
        "assert isinstance(Stack(1), Stack)",
        "with Stack(1) as s: assert s.pop() == 1",
        "import asyncio\nasync def t(): return await Stack(1)\nassert asyncio.run(t()) == 1",
        "class Own: pass\nassert f(Own()) == 1",
        "try: f(Own())\nexcept Exception: pass\nassert True is not False\nclass Own: pass\nassert Stack(Own())",
    ],
)
def test_what_needs_a_common_process_is_unsupported(run, test: str) -> None:
    assert run(STACK, source=test).status == "unsupported"


def test_callback_that_calls_the_program_is_unsupported(run) -> None:
    program = "def f(g=None): return 1 if g is None else g()"
    assert run(program, "assert f(lambda: 1) == 1").passed
    assert run(program, "assert f(lambda: f()) == 1").status == "unsupported"


def test_swallowed_refusal_does_not_pass(run) -> None:
    test = "class Own: pass\ntry: f(Own())\nexcept BaseException: pass\nassert f(1) == 2"
    assert run("def f(x): return 2", test).status == "unsupported"


def test_real_failure_outweighs_a_refusal(run) -> None:
    """Whatever can't be asked, a false assertion shows that the program is wrong."""
    tests = ("class Own: pass\nassert f(Own()) == 2", "assert f(1) == 2", "assert f(2) == 3")
    verdict = run("def f(x): return 2", *tests)
    assert (verdict.status, verdict.detail, verdict.tests_passed) == ("wrong answer", "assert f(2) == 3", 1)
    assert run("def f(x): return x + 1", *tests).status == "unsupported"


def test_printed_text_reaches_the_test_that_catches_it(run) -> None:
    source = (
        "import io, contextlib\ndef check(f):\n    for n in (1, 2):\n        out = io.StringIO()\n"
        "        with contextlib.redirect_stdout(out):\n            f(n)\n"
        "        assert out.getvalue() == 'line\\n' * n\n"
    )
    assert run("def f(n):\n    for i in range(n): print('line')", source=source).passed
    assert run("import sys\ndef f(n): sys.stdout.write('line\\n' * n); return 'other'", source=source).passed
    assert run("def f(n): print('line')", source=source).status == "wrong answer"
    assert run("def f(n): return 'line'", source=source).status == "wrong answer"
    assert run("def f(n):\n    while True: print('line' * 1000)", source=source).status in (
        "timeout", "out of memory", "output limit",
    )  # fmt: skip


CHANNEL = (
    "import sys\nframe = sys._getframe()\n"
    "while type(frame.f_locals.get('self')).__name__ != 'Candidate': frame = frame.f_back\n"
    "me = frame.f_locals['self']\n"
)

ATTACKS = {
    "prints without being asked": CHANNEL + "def f(x):\n    me._reply(['printed', '2'])\n    return 0",
    "an exception class in the place of a value": "class f(Exception):\n    def __eq__(self, o): return True",
    "a class whose metaclass lies": (
        "class M(type):\n    def __eq__(c, o): return True\n    def __call__(c, *a): return c\n"
        "    __hash__ = lambda c: 0\n"
        "class f(metaclass=M): pass"
    ),
    "an int in whose class everything is true": (
        "class I(int):\n    def __eq__(s, o): return True\n    __ne__ = lambda s, o: False\n"
        "    __hash__ = int.__hash__\n"
        "def f(x): return I(0)"
    ),
    "a generator in the place of a value": "def f(x):\n    while True: yield 2",
    "a property that fits every test": (
        "class A:\n    def __getattribute__(self, name): return 2\ndef f(x): return A()"
    ),
    "a reference that claims to be an error": (
        CHANNEL + "me._do_call = lambda *a: ['ok', {'ref': 0, 'type': 'int', 'true': True, 'error': ['int', 7]}, []]\n"
        "def f(x): return 0"
    ),
    "a number for a class name": (
        CHANNEL + "me._do_call = lambda *a: ['ok', {'ref': 0, 'type': 'int', 'true': True, 'error': 3}, []]\n"
        "def f(x): return 0"
    ),
    "a counter of lies": CHANNEL + "me._do_call = lambda *a: ['ok', {'counter': [[[], 2]]}, []]\ndef f(x): return 0",
}  # fmt: skip


@pytest.mark.parametrize("program", ATTACKS.values(), ids=list(ATTACKS))
def test_attack_gets_nothing(run, program: str) -> None:
    verdict = run(program, "assert f(1) == 2", "assert f(2) in (2, 3)", "assert sorted([f(3)]) == [2]")
    assert verdict.status in ("wrong answer", "broken channel", "timeout"), verdict
    assert verdict.tests_passed == 0


def test_program_can_not_print_where_the_judge_does(run) -> None:
    assert run(ATTACKS["prints without being asked"], "assert f(1) == 2").status == "broken channel"


def test_asserts_of_check_are_counted_one_by_one(run) -> None:
    source = (
        "METADATA = {}\ndef check(candidate):\n    assert True, 'starts'\n    assert candidate(1) == 2\n"
        "    for i in range(4):\n        assert candidate(i) == i + 1\n    assert candidate(7) == 8, 'seven'\n"
    )
    verdict = run("def f(x): return x + 1", source=source)
    assert (verdict.passed, verdict.tests_passed, verdict.tests_total) == (True, 3, 3)
    verdict = run("def f(x): return 2 if x == 1 else 8", source=source)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("wrong answer", 2, 3)
    assert verdict.detail == "assert candidate(i) == i + 1"
    for program in ("", "def f(x) return", "import os; os._exit(0)", "def f(x):\n    while True: pass"):
        assert run(program, source=source).tests_total == 3


def test_program_with_a_memory_is_judged_as_by_the_whole_check(run) -> None:
    """All calls go to one process in the order of the text, so what a program remembers counts as it would."""
    program = "n = 0\ndef f(x):\n    global n\n    n += 1\n    return x if n < 3 else 0"
    body = "    assert candidate(1) == 1\n    assert candidate(2) == 2\n    assert candidate(3) == 3\n"
    one_by_one = run(program, source="def check(candidate):\n" + body)
    whole = run(program, source="def check(candidate):\n    unused = 0\n" + body)
    assert (one_by_one.status, whole.status) == ("wrong answer", "wrong answer")
    assert (one_by_one.tests_total, whole.tests_total) == (3, 1)
