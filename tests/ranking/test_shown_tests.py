"""Which of a task's tests its prompt shows, and the inputs of its tests."""

import pytest

from rewardranker.ranking import first_test, given_calls
from rewardranker.types import StdioTest, Task

CHECK = "def check(candidate):\n    assert candidate([1], k=2) == 3\n    assert candidate(x) == 3\n"


def test_an_assert_that_the_prompt_shows() -> None:
    tests = ("assert f(9) == 9", "assert f(1)  ==  2")
    task = Task("t", "Add one.\nassert f(1) == 2\n", entry_point="f", tests=tests)
    shown = first_test(task)
    assert shown is not None
    assert shown.tests == (tests[1],)


def test_a_doctest_example_with_a_value() -> None:
    prompt = 'def f(a):\n    """Add.\n\n    >>> x = 3\n    >>> f(1)\n    2\n    """\n'
    shown = first_test(Task("t", prompt, entry_point="f", tests=CHECK))
    assert shown is not None
    assert shown.tests == ("assert f(1) == 2",)


def test_an_input_that_the_prompt_shows() -> None:
    inputs = (StdioTest("7\n", "8\n"), StdioTest("1 2\n3\n", "6\n"))
    shown = first_test(Task("t", "Sum.\nInput\n1 2\n3\nOutput\n6\n", inputs=inputs))
    assert shown is not None
    assert (shown.inputs, shown.tests) == ((inputs[1],), ())


@pytest.mark.parametrize(
    "task",
    [
        Task("t", "def f(a):\n", entry_point="f", tests=CHECK),
        Task("t", "def f(a):\n    '''\n    >>>f(1)\n    '''", entry_point="f", tests=CHECK),
        Task("t", "Sum 7.", inputs=(StdioTest("7\n", "8\n"),)),
        Task("t", "Add one.", entry_point="f", tests=("assert f(1) == 2",)),
    ],
)
def test_hidden_tests_stay_hidden(task: Task) -> None:
    assert first_test(task) is None


def test_inputs_come_from_check_from_asserts_and_from_calls() -> None:
    assert given_calls(Task("t", "", entry_point="f", tests=CHECK)) == ("f([1], k=2)",)
    asserts = ("assert f(1) == 2 and f(3)", "assert f(1) > 0")
    assert sorted(given_calls(Task("t", "", entry_point="f", tests=asserts))) == ["f(1)", "f(3)"]
    calls = (StdioTest('[1, 2]\n"a"\n', "3"), StdioTest("null\ntrue\n", "4"))
    assert given_calls(Task("t", "", entry_point="f", inputs=calls)) == ("f([1, 2], 'a')", "f(None, True)")
    assert given_calls(Task("t", "", inputs=calls)) == ()
