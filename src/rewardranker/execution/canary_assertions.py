"""Finds the assertions of a test text, and in each the expected value: an expression made of literals alone.

Forms recognised, in any language: two arguments (`assert.deepEqual(call, VALUE)`, `(check-within call VALUE 0.001)`),
an equality that is asserted (`assert(call == VALUE)`, `.equals(VALUE)`, `abs(call - VALUE) < tolerance`), a
difference that fails (`if (call !== VALUE) { throw ...`), bash's `[[ call = VALUE ]]`, and the table of Go's tests
(`{ actual: call, expected: VALUE }`). What is asserted under a negation or a choice is left alone: there a changed
value need not fail. It does NOT know whether a statement is reached, nor what names stand for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from rewardranker.execution.canary_literals import BOOLEANS
from rewardranker.execution.canary_scanner import Token, partners, scan
from rewardranker.execution.canary_words import (
    CONDITIONS,
    EQUAL_ARGUMENTS,
    FAILS,
    FAILS_IN,
    METHODS,
    PREDICATES,
    TABLE_FIELDS,
    VALUE_WORDS,
)

_LARGEST_TOLERANCE = 0.05


@dataclass(frozen=True, slots=True)
class Assertion:
    """An assertion whose expected value can be told from the rest."""

    start: int
    end: int
    """Offsets of its text."""
    value: tuple[Token, ...]
    """The expected value."""
    relative: bool
    """The comparison forgives an error that grows with the value."""


def find_assertions(language: str, tests: str) -> list[Assertion]:
    """All assertions of a test text whose expected value is made of literals, in order.

    Args:
        language: MultiPL-E's code, one of `canary_scanner.LANGUAGES`.
    """
    finder = _Finder(language, tests)
    found = {assertion.value[0].start: assertion for assertion in finder.find() if assertion.value}
    return [found[start] for start in sorted(found)]


class _Finder:
    def __init__(self, language: str, tests: str) -> None:
        self.language = language
        self.tokens = scan(language, tests)
        self.close = partners(self.tokens)
        self.value_words = frozenset(VALUE_WORDS[language].split())
        self.fails = FAILS | FAILS_IN.get(language, frozenset())
        self.stops_on_failure = bool(re.search(r"^\s*set -\w*e", tests, re.MULTILINE))

    def find(self) -> Iterator[Assertion]:
        for i, token in enumerate(self.tokens):
            if token.kind == "word":
                yield from self._at_word(i)
            elif self.language == "sh" and token.text == "[" and i in self.close:
                yield from self._in_brackets(i)

    def _at_word(self, i: int) -> Iterator[Assertion]:
        word = self.tokens[i].text
        if self.language == "rkt":
            if word in EQUAL_ARGUMENTS and i > 0 and i - 1 in self.close:
                arguments = self._data(i + 1, self.close[i - 1])
                yield from self._pair(arguments, i - 1, self.close[i - 1])
        elif (word in EQUAL_ARGUMENTS and not self._negated(i)) or (word in PREDICATES and self._asserted(i)):
            opening = self._opening(i)
            if opening is not None:
                end = self.close[opening]
                yield from self._pair(self._split(opening + 1, end, ","), i, end)
        elif word in CONDITIONS and not self._negated(i):
            opening = self._opening(i)
            if opening is not None:
                end = self.close[opening]
                yield from self._condition(self._split(opening + 1, end, ",")[0], i, end)
        elif word == "if" and self.language != "sh":
            yield from self._difference(i)
        elif word in TABLE_FIELDS and self.language == "go" and self._text(i + 1) == ":":
            yield from self._field(i)

    def _pair(self, arguments: list[tuple[int, int]], start: int, end: int) -> Iterator[Assertion]:
        if len(arguments) < 2:
            return
        extra = [token for a, b in arguments[2:] for token in self.tokens[a:b]]
        if not self._tolerable(extra):
            return
        # A tolerance that has a name (`tolerance = `, `rel_tol: `) may be relative.
        relative = any(token.kind == "word" for token in extra) and any(token.kind == "number" for token in extra)
        yield from self._sides(arguments[0], arguments[1], start, end, relative)

    def _condition(self, part: tuple[int, int], start: int, end: int) -> Iterator[Assertion]:
        """Equalities that all have to hold within tokens [part)."""
        part = self._unwrapped(part)
        if any(self._top_level(part, text) for text in ("||", "?", "or", "xor")) or self._text(part[0]) == "not":
            return
        for conjunct in (c for a, b in self._split(*part, "&&") for c in self._split(a, b, "and")):
            a, b = self._unwrapped(conjunct)
            if (a, b) != conjunct and self._top_level((a, b), "&&"):
                yield from self._condition((a, b), start, end)
                continue
            equal = self._top_level((a, b), "==") + self._top_level((a, b), "===")
            less = self._top_level((a, b), "<") + self._top_level((a, b), "<=")
            if len(equal) == 1:
                yield from self._sides((a, equal[0]), (equal[0] + 1, b), start, end, False)
            elif not equal and self._text(a) != "!" and self._is_method_call(a, b):
                opening = next(i for i, closing in self.close.items() if closing == b - 1)
                yield from self._sides((a, opening - 2), (opening + 1, b - 1), start, end, False)
            elif len(less) == 1 and self._tolerable(self.tokens[less[0] + 1 : b]):
                yield from self._distance(a, less[0], start, end)

    def _distance(self, a: int, b: int, start: int, end: int) -> Iterator[Assertion]:
        """`abs(call - VALUE)`, perhaps with a prefix such as `Math.`."""
        opening = next((i for i in range(a, b) if self.tokens[i].text == "("), None)
        if opening is None or self.close.get(opening) != b - 1 or self._text(opening - 1) not in ("abs", "fabs", "Abs"):
            return
        minus = self._top_level((opening + 1, b - 1), "-")
        if minus:
            yield from self._sides((opening + 1, minus[0]), (minus[0] + 1, b - 1), start, end, True)

    def _difference(self, i: int) -> Iterator[Assertion]:
        """`if (call != VALUE) { throw ...`: parentheses or, as in Go, none."""
        opening = i + 1
        if self._text(opening) == "(" and opening in self.close:
            part, block = (opening + 1, self.close[opening]), self.close[opening] + 1
        else:
            block = next((j for j in range(i, len(self.tokens)) if self.tokens[j].text == "{"), len(self.tokens))
            part = (i + 1, block)
            parts = self._split(*part, ";")
            part = parts[-1]
        body = self.tokens[block : self.close.get(block, block) + 1] if self._text(block) == "{" else []
        body = body or self.tokens[block : block + 4]
        unequal = self._top_level(part, "!=") + self._top_level(part, "!==")
        plain = not any(self._top_level(part, text) for text in ("&&", "||", "?", "and", "or"))
        if len(unequal) == 1 and plain and any(token.text in self.fails for token in body):
            yield from self._sides((part[0], unequal[0]), (unequal[0] + 1, part[1]), i, part[1], False)

    def _in_brackets(self, i: int) -> Iterator[Assertion]:
        """Bash's `[[ call = VALUE ]]` or `[ call = VALUE ]`, where its failure ends the script."""
        if self._text(i + 1) == "[" or self._text(i - 1) == "!":
            return
        a, b = i + 1, self.close[i]
        after = b + 2 if self._text(i - 1) == "[" else b + 1
        if self._text(after) == "&&" or not (self.stops_on_failure or self._text(after) == "||"):
            return
        if self._text(i - 1) in ("if", "while", "until") or self._text(i - 2) in ("if", "while", "until", "!"):
            return
        equal = self._top_level((a, b), "=") + self._top_level((a, b), "==")
        if len(equal) == 1 and not self._top_level((a, b), "&&") and not self._top_level((a, b), "||"):
            yield from self._sides((a, equal[0]), (equal[0] + 1, b), i, b, False)

    def _field(self, i: int) -> Iterator[Assertion]:
        """`expected: VALUE` in a table; the assertion's text is the row around it."""
        opening = max((j for j in self.close if j < i < self.close[j]), default=None)
        if opening is None:
            return
        row = self.close[opening]
        a, b = self._split(i + 2, row, ",")[0]
        if self._is_value((a, b)):
            yield self._assertion((a, b), opening, row, False)

    def _sides(
        self, left: tuple[int, int], right: tuple[int, int], start: int, end: int, relative: bool
    ) -> Iterator[Assertion]:
        """The side that is a value is the expected one; where both are, nothing tells them apart."""
        if self._is_value(right) != self._is_value(left):
            yield self._assertion(right if self._is_value(right) else left, start, end, relative)

    def _assertion(self, part: tuple[int, int], start: int, end: int, relative: bool) -> Assertion:
        end = min(end, len(self.tokens) - 1)
        return Assertion(self.tokens[start].start, self.tokens[end].end, tuple(self.tokens[slice(*part)]), relative)

    def _is_value(self, part: tuple[int, int]) -> bool:
        a, b = part
        if a >= b:
            return False
        for i in range(a, b):
            token = self.tokens[i]
            if self.language == "swift" and self._is_case(i, a):
                continue
            if token.kind == "string" and self.language == "sh" and re.search(r"(?<!\\)\$", token.text):
                return False
            if token.kind == "word" and token.text not in BOOLEANS and token.text not in self.value_words:
                # Labels of named members, as in `list(a = 1)` or `{a: 1}`, are no names of anything else.
                if self._text(i + 1) not in ("=", ":", "=>") or i + 1 >= b:
                    return False
            elif token.kind == "operator" and token.text in ("$", "@", "==", "!=", "+", "*", "/", "%", ";"):
                return False
        return True

    def _is_case(self, i: int, a: int) -> bool:
        """Swift's `.success(3)`: a case of an enumeration whose name is left out."""
        return self._text(i - 1) == "." and (i - 1 == a or self.tokens[i - 2].kind in ("open", "operator"))

    def _is_method_call(self, a: int, b: int) -> bool:
        """Tokens [a, b) end in `.equals(...)`."""
        opening = next((i for i in range(a, b) if self.close.get(i) == b - 1), None)
        return (
            opening is not None
            and opening - 2 > a
            and self._text(opening - 1) in METHODS
            and self._text(opening - 2) == "."
        )

    def _tolerable(self, extra: Sequence[Token]) -> bool:
        """No number among the further arguments is a tolerance that a changed value could stay within."""
        return all(
            float(match.group()) <= _LARGEST_TOLERANCE
            for token in extra
            if token.kind == "number" and (match := re.match(r"\d+(?:\.\d+)?(?:[eE][-+]?\d+)?", token.text))
        )

    def _opening(self, i: int) -> int | None:
        """The bracket that opens the arguments of the word at `i`, or None: it is no call."""
        for j in (i + 1, i + 2):
            if self._text(j) in ("(", "[") and j in self.close:
                return j if j == i + 1 or self._text(i + 1) == "!" else None
        return None

    def _negated(self, i: int) -> bool:
        while i >= 2 and self._text(i - 1) in (".", "::"):
            i -= 2
        return self._text(i - 1) in ("!", "not", "unless")

    def _asserted(self, i: int) -> bool:
        """Whether a test fails where the predicate at word `i` says no: it stands alone in a condition, or in an `if`
        whose `else` fails."""
        around, opening = self._text(i - 2), i - 1
        if self._text(opening) != "(" or opening not in self.close or self._negated(i - 2):
            return False
        if around == "isTRUE":
            return self._asserted(i - 2)
        block = self.close[opening] + 1
        otherwise = self.close.get(block, block) + 1
        if around == "if" and self._text(block) == "{" and self._text(otherwise) == "else":
            last = self.close.get(otherwise + 1, otherwise)
            return any(token.text in self.fails for token in self.tokens[otherwise:last])
        return around in CONDITIONS

    def _unwrapped(self, part: tuple[int, int]) -> tuple[int, int]:
        a, b = part
        while a < b and self._text(a) == "(" and self.close.get(a) == b - 1:
            a, b = a + 1, b - 1
        return a, b

    def _top_level(self, part: tuple[int, int], text: str) -> list[int]:
        """Where in tokens [part) an operator or word stands outside all brackets."""
        found, i = [], part[0]
        while i < part[1]:
            if self.tokens[i].text == text and self.tokens[i].kind in ("operator", "word"):
                found.append(i)
            i = self.close.get(i, i) + 1
        return found

    def _split(self, a: int, b: int, separator: str) -> list[tuple[int, int]]:
        bounds = [a - 1, *self._top_level((a, b), separator), b]
        return [(left + 1, right) for left, right in pairwise(bounds)]

    def _data(self, a: int, b: int) -> list[tuple[int, int]]:
        """The data of a Lisp list whose items are tokens [a, b): quotes belong to what follows."""
        found, start, i = [], a, a
        while i < b:
            prefix = self.tokens[i].kind == "operator" or self.tokens[i].text in ("#hash", "#")
            i = self.close.get(i, i) + 1
            if not prefix:
                found.append((start, i))
                start = i
        return found

    def _text(self, i: int) -> str:
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""
