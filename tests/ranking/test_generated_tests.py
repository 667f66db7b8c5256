"""Which statements of a model's texts become tests, and which calls become inputs."""

import pytest

from rewardranker.ranking import GeneratedTests, extract_calls, extract_tests


def drawn(*texts: str, **options: int) -> tuple[str, ...]:
    return extract_tests("t", texts, "f", **options).tests


def test_equal_tests_are_one_with_a_count() -> None:
    found = extract_tests("t", [" f(1)  == 2\nassert f( 3 ) == 4", "assert f(1)==2\n", "f(1) == 2, 'a message'"], "f")
    assert found == GeneratedTests("t", ("assert f(1) == 2", "assert f(3) == 4"), (3, 1), 3)


def test_of_a_text_only_the_first_five_count() -> None:
    text = "\nassert ".join(f"f({i}) == {i}" for i in range(8))
    assert len(drawn(text)) == 5
    assert drawn(text, per_text=2) == ("assert f(0) == 0", "assert f(1) == 1")


def test_those_drawn_most_often_are_kept() -> None:
    assert drawn("f(1) == 1\nassert f(2) == 2", "f(2) == 2", limit=1) == ("assert f(2) == 2",)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("f(1) == 2\ndef g():\n    pass", ("assert f(1) == 2",)),  # cut at a stop text
        ("f(1) == 2\nx = 3", ("assert f(1) == 2",)),  # only the statement
        ("f(1) == (\n    2)", ("assert f(1) == 2",)),  # of several lines
        ("f(1) ==", ()),  # no statement
        ("g(1) == 2", ()),  # of another function
        ("[x for x in 'f']", ()),  # the name in a text is no call
        ("(f(1) == 2, 'always true')", ()),
        ("f(1) == await g()", ()),
        ("f(1) == g(9)", ("assert f(1) == g(9)",)),  # the program may have it
        ("f(1) == eval('1')", ()),
        ("f(1) == __import__('os').getcwd()", ()),
        ("f(1).__class__ == int", ()),
    ],
)
def test_what_counts_as_a_test(text: str, kept: tuple[str, ...]) -> None:
    assert drawn(text) == kept


@pytest.mark.parametrize(
    ("expected", "kept"),
    [
        ("9**9**9", False),
        ("1 << 10**6", False),
        ("[0] * 10**9", False),
        ("'a' * (1000 * 1000 * 1000)", False),
        ("sum(range(10**9))", False),
        ("[i for i in range(9) for j in range(9)]", False),
        ("2**64", True),
        ("[0] * 1000", True),
        ("10**9 + 7", True),
        ("1000000007 * 998244353", True),
        ("sum(range(100))", True),
        ("[i for i in range(9)]", True),
    ],
)
def test_a_test_that_works_long_by_itself_is_left_out(expected: str, kept: bool) -> None:
    assert bool(drawn(f"f(1) == {expected}")) == kept


def test_calls_are_those_with_literals_the_most_frequent_first() -> None:
    found = extract_tests(
        "t", ["f([1, -2], x='a') == f(3)", "f(3) == 2", "f(y) == 1", "f(1 + 1) == 3", "f(*[1]) == 1"], "f"
    )
    assert extract_calls(found, "f") == ("f(3)", "f([1, -2], x='a')")
    assert extract_calls(found, "f", limit=1) == ("f(3)",)
