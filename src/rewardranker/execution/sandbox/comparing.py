"""Whether what a program printed or returned is what a test expects. The whole comparison is here, and only that.

Printed text is compared word by word: spaces inside a line and at its ends don't count, nor do blank lines at the
end. Returned values are plain builtin objects (see `wire.py`); a list equals a tuple of equal items at any depth,
because expected values written as JSON can't tell them apart.

Not guaranteed: the special checkers of contest problems with many right answers. `Rules` holds what data sets define
for all their tasks alike, nothing for a single task.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?\Z")
_SHOWN = 200
_LONGEST = 4000
"""Characters of a number; longer words are compared as text. Nothing below then leaves the range of `Decimal`."""


@dataclass(frozen=True)
class Rules:
    """How a task's outputs are compared; the fields are those of `types.Comparison`, where they are explained."""

    tolerance: float = 0.0
    numeric: bool = False
    unordered: bool = False
    ignore_case: bool = False
    ignore_lines: bool = False
    unwrap: bool = False


# --- printed text -------------------------------------------------------------------------------------------------


def output_difference(printed: str, expected: str, rules: Rules = Rules()) -> str | None:
    """Where printed text differs from the expected; None where it is right."""
    got, want = _lines(printed, rules), _lines(expected, rules)
    if got == want:
        return None
    if rules.unordered:
        # Sorted alike, so lines that match under a tolerance meet unless numbers closer than it order them otherwise.
        got, want = sorted(got, key=_line_order), sorted(want, key=_line_order)
    for number in range(max(len(got), len(want))):
        line = got[number] if number < len(got) else None
        right = want[number] if number < len(want) else None
        if line is None or right is None or not _words_match(line, right, rules):
            where = "a line" if rules.unordered else f"line {number + 1}"
            return f"{where}: expected {_show(right)}, printed {_show(line)}"
    return None


def _lines(text: str, rules: Rules) -> list[list[str]]:
    """Words of each line, blank lines at the end left out."""
    text = text.rstrip()
    if rules.ignore_case:
        text = text.lower()
    return [text.split()] if rules.ignore_lines else [line.split() for line in text.splitlines()]


def _words_match(got: list[str], want: list[str], rules: Rules) -> bool:
    if got == want:
        return True
    numeric = rules.numeric or rules.tolerance > 0
    return (
        numeric
        and len(got) == len(want)
        and all(a == b or _numbers_match(a, b, rules.tolerance) for a, b in zip(got, want, strict=True))
    )


def _numbers_match(got: str, want: str, tolerance: float) -> bool:
    """Two integers must be equal however large they are; other numbers may differ by the tolerance."""
    if not (_is_number(got) and _is_number(want)):
        return False
    a, b = Decimal(got), Decimal(want)
    if _INTEGER.match(got) and _INTEGER.match(want):
        return a == b
    return abs(a - b) <= Decimal(tolerance) * max(Decimal(1), abs(b))


def _line_order(line: list[str]) -> tuple[list[str], list[Decimal], list[str]]:
    """Words that are no numbers first: near-equal numbers then seldom decide."""
    words = [word for word in line if not _is_number(word)]
    return words, [Decimal(word) for word in line if _is_number(word)], line


def _is_number(word: str) -> bool:
    return len(word) <= _LONGEST and _NUMBER.match(word) is not None


def _show(line: list[str] | None) -> str:
    return repr(" ".join(line)[:_SHOWN]) if line is not None else "'(no line)'"


# --- returned values ----------------------------------------------------------------------------------------------


def values_match(got: Any, want: Any, rules: Rules = Rules()) -> bool:
    """Whether a returned value is the expected one.

    Args:
        got: plain builtin objects, or a reference, which matches nothing.
        want: what JSON can hold.
    """
    if rules.unwrap and isinstance(want, list) and len(want) == 1 and values_match(got, want[0], _plain(rules)):
        return True
    if rules.unordered and isinstance(want, list) and isinstance(got, list | tuple | set | frozenset):
        return _match(sorted(got, key=_order), sorted(want, key=_order), rules)
    return _match(got, want, rules)


def _plain(rules: Rules) -> Rules:
    return Rules(tolerance=rules.tolerance, unordered=rules.unordered, ignore_case=rules.ignore_case)


def _match(got: Any, want: Any, rules: Rules) -> bool:
    if isinstance(want, Sequence) and not isinstance(want, str):
        if not isinstance(got, list | tuple) or len(got) != len(want):
            return False
        return all(_match(a, b, rules) for a, b in zip(got, want, strict=True))
    if isinstance(want, Mapping):
        if not isinstance(got, dict) or got.keys() != want.keys():
            return False
        return all(_match(got[key], want[key], rules) for key in want)
    if isinstance(want, float) and math.isnan(want):
        return isinstance(got, float) and math.isnan(got)
    if isinstance(want, str) and isinstance(got, str) and rules.ignore_case:
        return got.lower() == want.lower()
    if got == want:
        return True
    if rules.tolerance and isinstance(got, int | float) and isinstance(want, int | float):
        return _close(got, want, rules.tolerance)
    return False


def _close(got: float, want: float, tolerance: float) -> bool:
    """As for printed numbers: two integers must be equal."""
    if isinstance(got, int) and isinstance(want, int):
        return False
    try:
        return math.isclose(got, want, rel_tol=tolerance, abs_tol=tolerance)
    except OverflowError:  # an integer beyond all floats
        return False


def _order(value: Any) -> tuple[Any, ...]:
    """A key under which all values that cross can be sorted together."""
    if isinstance(value, int | float):
        return (0, value)
    if isinstance(value, str):
        return (1, value)
    if isinstance(value, list | tuple):
        return (2, [_order(item) for item in value])
    if isinstance(value, dict):
        return (3, sorted(([_order(key), _order(item)] for key, item in value.items()), key=lambda pair: pair[0]))
    return (4, type(value).__name__)
