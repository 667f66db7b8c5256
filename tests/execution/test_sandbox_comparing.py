"""Printed text and returned values against what is expected."""

from __future__ import annotations

import random

import pytest

from rewardranker.execution.sandbox.comparing import Rules, output_difference, values_match

CONTESTS = Rules(tolerance=1e-5, ignore_case=True, ignore_lines=True)
LOOSE = Rules(tolerance=1e-5)


@pytest.mark.parametrize(
    ("printed", "expected", "rules", "right"),
    [
        ("1 2\n", "1  2", Rules(), True),
        ("1 2\n\n\n", "1 2", Rules(), True),
        ("1\n\n2", "1\n2", Rules(), False),
        ("1\n2", "1 2", Rules(), False),
        ("1 2", "1\n2", CONTESTS, True),
        ("YES", "yes", Rules(), False),
        ("YES\n0.500004", "yes 0.5", CONTESTS, True),
        ("0.50002", "0.5", LOOSE, False),
        ("100000.9", "100000.0", LOOSE, True),
        ("1000000000000000001", "1000000000000000000", LOOSE, False),
        ("1e3", "1000", LOOSE, True),
        ("1.0", "1", Rules(), False),
        ("1.0", "1", Rules(numeric=True), True),
        ("1.0000001", "1", Rules(numeric=True), False),
        ("nan", "0.5", LOOSE, False),
        ("inf", "0.5", LOOSE, False),
        ("1_0", "10", LOOSE, False),
        ("\u0661", "1", LOOSE, False),
        ("1e99999999", "1", LOOSE, False),
        ("9" * 10**6 + ".0", "9" * 10**6, LOOSE, False),
        ("9" * 4000 + ".0", "1", LOOSE, False),
        ("9" * 3000 + "e9999", "1e-9999", Rules(tolerance=1e300, unordered=True), False),
        ("b\na\na", "a\nb\na", Rules(unordered=True), True),
        ("b\na", "a\nb\na", Rules(unordered=True), False),
        ("b\na\nb", "a\nb\na", Rules(unordered=True), False),
        ("1.0000001 b\n1.0 a", "1.0 a\n1.0 b", Rules(unordered=True, tolerance=1e-5), True),
        ("", "", CONTESTS, True),
        ("", "1", CONTESTS, False),
        ("1 1", "1", CONTESTS, False),
    ],
)
def test_printed(printed: str, expected: str, rules: Rules, right: bool) -> None:
    assert (output_difference(printed, expected, rules) is None) == right


def test_no_output_stops_the_comparison() -> None:
    """A program prints what it likes, and an exception here would look like a fault of the judge."""
    rng = random.Random(0)
    words = [
        "1",
        "-0",
        "+.5",
        "1e9999",
        "1e-9999",
        "9" * 4001,
        "nan",
        "inf",
        "-",
        ".",
        "e5",
        "\0",
        "\ud800",
        "١",
        "\u2028",
        "\n",
    ]
    for _ in range(2000):
        got, want = (" ".join(rng.choices(words, k=rng.randrange(6))) for _ in range(2))
        flags = {name: rng.random() < 0.5 for name in ("numeric", "unordered", "ignore_case", "ignore_lines")}
        rules = Rules(tolerance=rng.choice([0.0, 1e-300, 1e-6, 1e300]), **flags)
        output_difference(got, want, rules)
        assert output_difference(want, want, rules) is None


def test_difference_names_the_line_that_is_wrong_under_the_rules() -> None:
    assert output_difference("1.000001\n2\n4", "1\n2\n3", LOOSE) == "line 3: expected '3', printed '4'"
    assert output_difference("1", "1\n2") == "line 2: expected '2', printed '(no line)'"


@pytest.mark.parametrize(
    ("got", "want", "rules", "right"),
    [
        ((1, (2, [3])), [1, [2, [3]]], Rules(), True),
        ([1, 2], [1, 2, 3], Rules(), False),
        ("ab", ["a", "b"], Rules(), False),
        (["a", "b"], "ab", Rules(), False),
        ({1, 2}, [1, 2], Rules(), False),
        ({"a": (1,)}, {"a": [1]}, Rules(), True),
        ({"a": 1, "b": 2}, {"a": 1}, Rules(), False),
        (0.1 + 0.2, 0.3, Rules(), False),
        ([0.1 + 0.2], [0.3], LOOSE, True),
        (0.30002, 0.3, LOOSE, False),
        (10**18 + 1, 10**18, LOOSE, False),
        (10**400, 0.5, LOOSE, False),
        (1, True, Rules(), True),
        ("1", 1, LOOSE, False),
        (None, 0, LOOSE, False),
        (float("nan"), float("nan"), Rules(), True),
        (float("nan"), 1.0, LOOSE, False),
        (float("inf"), 1.0, LOOSE, False),
        ("Yes", "YES", Rules(ignore_case=True), True),
        ([3, 1, 2], [1, 2, 3], Rules(unordered=True), True),
        ({3, 1, 2}, [1, 2, 3], Rules(unordered=True), True),
        ([1, 1, 2], [1, 2, 2], Rules(unordered=True), False),
        ([[2, 1], [3]], [[3], [1, 2]], Rules(unordered=True), False),
        ([[1, 2], "a", None, {"k": 1}], ["a", {"k": 1}, [1, 2], None], Rules(unordered=True), True),
        (5, [5], Rules(unwrap=True), True),
        ([5], [5], Rules(unwrap=True), True),
        (5, [[5]], Rules(unwrap=True), False),
        (5, [5, 5], Rules(unwrap=True), False),
        ([], {}, Rules(), False),
        ("", [], Rules(), False),
        (0, [], Rules(), False),
    ],
)
def test_returned(got: object, want: object, rules: Rules, right: bool) -> None:
    assert values_match(got, want, rules) == right
