"""Test texts in which EvalPlus's canonical solution says what is right.

A text defines `check(candidate)` with one assertion for each input, so that a verdict counts them. The rules are those
of EvalPlus 0.3.1 (`evalplus/eval`): results must be equal, or close where they are floats or the task has a tolerance;
a few tasks have more than one right answer and a rule of their own.

Not guaranteed: EvalPlus's limits, twice the canonical solution's time for each input and 4 GB; the judge has its own.
A few tasks of MBPP+ have inputs that need more: of version 0.1's canonical solutions, 3 of 399 fail with 10 seconds and
512 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

FLOAT_TOLERANCE = 1e-6
"""Absolute, where a float or a list of floats is right and the task has no tolerance of its own."""

_SETS = {
    *("similar_elements", "find_char_long", "common_in_nested_lists", "extract_singly", "larg_nnum"),
    *("intersection_array", "find_dissimilar", "Diff"),
}
"""Functions of MBPP+ whose result may come in any order and with repetitions."""
_NOT_NONE = {"check_str", "text_match_three", "text_starta_endb"}
"""Functions of MBPP+ of which only whether they find something is tested."""

_COMMON = f"""\
import math

inf, nan = math.inf, math.nan
REFERENCE = {{}}
exec(compile(SOURCE, "reference", "exec"), REFERENCE)


def expected(arguments):
    return REFERENCE[ENTRY_POINT](*arguments)


def is_float(value):
    items = value if isinstance(value, (list, tuple)) else [value]
    return all(isinstance(item, float) for item in items)


def close(got, want, tolerance):
    if isinstance(want, (list, tuple)):
        return (
            isinstance(got, (list, tuple))
            and len(got) == len(want)
            and all(close(a, b, tolerance) for a, b in zip(got, want))
        )
    number = (int, float, complex)
    if not isinstance(got, number) or not isinstance(want, number):
        return False
    return got == want or abs(got - want) <= tolerance + 1e-7 * abs(want)


def same(got, want):
    if got == want:
        return True
    tolerance = ATOL or ({FLOAT_TOLERANCE} if is_float(want) else 0)
    return bool(tolerance) and type(got) is type(want) and close(got, want, tolerance)
"""

_PLAIN = """
def agrees(got, arguments):
    return same(got, expected(arguments))
"""
_SET_RULE = """
def agrees(got, arguments):
    return set(got) == set(expected(arguments))
"""
_NOT_NONE_RULE = """
def agrees(got, arguments):
    return (got if isinstance(got, bool) else got is not None) == (expected(arguments) is not None)
"""
_ROOT_RULE = """
def agrees(got, arguments):
    return abs(sum(factor * math.pow(got, power) for power, factor in enumerate(arguments[0]))) <= ATOL
"""
_OR_ZERO_RULE = """
def agrees(got, arguments):
    return got == 0 or same(got, expected(arguments))
"""
_ANYTHING_RULE = """
def agrees(got, arguments):
    return True
"""
_PYRAMID_RULE = """
def agrees(got, arguments):
    base, height = arguments
    upright = round(base**2 + 2 * base * math.sqrt((base / 2) ** 2 + height**2))
    return same(got, expected(arguments)) or abs(got - upright) <= ATOL
"""
_DIGITS_RULE = """
def agrees(got, arguments):
    first, second = (str(number) for number in arguments)
    width = max(len(first), len(second))
    pairs = zip(first.zfill(width), second.zfill(width))
    return same(got, expected(arguments)) or got == sum(abs(int(a) - int(b)) for a, b in pairs)
"""

_RULES = {
    ("humaneval", "find_zero"): _ROOT_RULE,  # any root of the polynomial
    ("mbpp", "are_equivalent"): _ANYTHING_RULE,  # 164: its text can be read in two ways
    ("mbpp", "sum_div"): _OR_ZERO_RULE,  # 295
    ("mbpp", "surface_Area"): _PYRAMID_RULE,  # 581: slant or upright height
    ("mbpp", "digit_distance_nums"): _DIGITS_RULE,  # 558: numbers of different lengths
    **{("mbpp", name): _SET_RULE for name in _SETS},
    **{("mbpp", name): _NOT_NONE_RULE for name in _NOT_NONE},
}


def oracle_tests(data_set: str, entry_point: str, source: str, inputs: Sequence[Sequence[Any]], atol: float) -> str:
    """The test text of a task.

    Args:
        data_set: `humaneval` or `mbpp`: a few of their functions have rules of their own.
        source: a program that defines `entry_point`, run where the tests are.
        inputs: argument lists of the function.
        atol: the task's absolute tolerance.
    """
    head = f"SOURCE = {source!r}\nENTRY_POINT = {entry_point!r}\nATOL = {atol!r}\n"
    rule = _RULES.get((data_set, entry_point), _PLAIN)
    written = [", ".join(repr(argument) for argument in arguments) for arguments in inputs]
    if entry_point == "check":  # MBPP 56: the program's own `check` would be taken for the tests'
        return f"{head}{_COMMON}\n{rule}\n" + "".join(f"assert agrees(check({a}), [{a}])\n" for a in written)
    cases = "".join(f"    assert agrees(candidate({a}), [{a}])\n" for a in written)
    return f"{head}{_COMMON}\n{rule}\n\ndef check(candidate):\n{cases}"
