"""Which parts of a test source are counted one by one."""

from __future__ import annotations

import ast
import textwrap

import pytest

from rewardranker.execution.sandbox.splitting import split_check, written_tests


def parts(body: str) -> list[str]:
    tree = ast.parse("def check(candidate):\n" + textwrap.indent(textwrap.dedent(body), "    "))
    return [ast.unparse(part.body[0].body[0]) for part in split_check(tree)]  # type: ignore[attr-defined]


def test_assertions_and_loops_are_parts() -> None:
    body = """
        '''Some cases.'''
        assert candidate(1) == 2
        assert True, 'only a word'
        for i in range(3):
            x = i + 1
            assert candidate(i) == x
        pass
        assert [j for j in range(2)] == candidate(2)
    """
    assert parts(body) == [
        "assert candidate(1) == 2",
        "for i in range(3):\n    x = i + 1\n    assert candidate(i) == x",
        "assert [j for j in range(2)] == candidate(2)",
    ]


def test_loops_may_use_the_same_variable() -> None:
    assert len(parts("for i in range(2): assert candidate(i)\nfor i in range(3): assert candidate(i)\n")) == 2


@pytest.mark.parametrize(
    "body",
    [
        "x = candidate(1)\nassert x == 2\nassert candidate(x) == 3",
        "candidate(1)\nassert candidate(2) == 3",
        "assert (x := candidate(1)) == 2\nassert candidate(x) == 3",
        "for i in range(3): assert candidate(i)\nassert candidate(i)",
        "for i in range(3): x = i\nfor j in range(x): assert candidate(j)",
        "for i in range(3): assert candidate(i)\nfor i in range(i): assert candidate(i)",
        "for i in range(0): assert candidate(i)\nelse: assert candidate(9)\nassert candidate(1)",
        "for i in range(3):\n    import math\nassert candidate(1) == math.pi",
        "for i in range(3):\n    return\nassert candidate(1)",
        "for i in range(3):\n    global n\n    n = i\nassert candidate(1)",
        "try:\n    candidate(1)\nexcept ValueError: pass\nelse: assert False\nassert candidate(1)",
        "if candidate(1): return\nassert candidate(2)",
        "yield\nassert candidate(2)",
    ],
)
def test_dependent_statements_are_kept_together(body: str) -> None:
    assert parts(body) == []


def test_two_definitions_of_check_are_kept_together() -> None:
    tree = ast.parse("def check(c):\n    assert c(1)\n    assert c(2)\n" * 2)
    assert split_check(tree) == []


def test_written_tests_in_the_order_they_run() -> None:
    source = """
        import unittest
        class Base(unittest.TestCase):
            def test_b(self): ...
            def test_a(self): ...
            def helper(self): ...
        if True:
            class More(Base):
                async def test_c(self): ...
                test_number = 3
        class TestHelper:
            def test_x(self): ...
        def test_y(): ...
        def test_z(fixture): ...
    """
    names = ["Base.test_a", "Base.test_b", "More.test_a", "More.test_b", "More.test_c", "test_y"]
    assert written_tests(ast.parse(textwrap.dedent(source))) == names
