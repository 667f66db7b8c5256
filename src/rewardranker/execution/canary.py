"""A test text with one expected value changed: a program that passes it too was not judged by its tests.

Programs of other languages than Python decide themselves how their process ends, so exit status 0 is believed only if
the same program fails when one expected value is another one of the same type. The changed text has the same lines
and as many assertions, and which assertion was changed follows from a seed that the program does not know.

Not guaranteed: that the changed assertion is reached when the tests run (every one of MultiPL-E's is; where tests may
skip assertions, ask again with another seed before a program is called a cheat), and that a program which reads the
tests' text can't guess from the values alone which of two texts is the changed one.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rewardranker.execution.canary_assertions import Assertion, find_assertions
from rewardranker.execution.canary_literals import BOOLEANS, Pool, changed
from rewardranker.execution.canary_scanner import LANGUAGES, Token

__all__ = ["Canary", "NoCanary", "make_canary"]


@dataclass(frozen=True, slots=True)
class Canary:
    """Tests that a right program fails."""

    tests: str
    """The whole test text, changed in one literal."""
    line: int
    """Line of `tests` that was changed, from 1."""
    first_line: int
    """First and last line of the assertion in it."""
    last_line: int
    before: str
    """The assertion as it was."""
    after: str
    """The assertion as it is in `tests`."""


@dataclass(frozen=True, slots=True)
class NoCanary:
    """No expected value could be changed."""

    reason: str


def make_canary(language: str, tests: str, seed: int) -> Canary | NoCanary:
    """Change one expected value of a test text.

    Args:
        language: MultiPL-E's code of the language, such as `cpp` or `rkt`.
        tests: the text that follows the program.
        seed: chooses the assertion, the literal in it and its new value; equal seeds choose the same.

    Returns:
        The changed tests, or why there are none.
    """
    if language not in LANGUAGES:
        return NoCanary(f"how to change an expected value is not known for the language {language!r}")
    assertions = find_assertions(language, tests)
    if not assertions:
        return NoCanary("no assertion with a literal as expected value was found in the tests")
    rng = random.Random(seed)
    pool = Pool([assertion.value for assertion in assertions])
    for assertion in rng.sample(assertions, len(assertions)):
        literals = changeable(assertion.value)
        taken = {token.text for token in literals if token.kind != "word"}
        for token in rng.sample(literals, len(literals)):
            new = changed(token, taken, pool, rng, language=language, relative=assertion.relative)
            if new is not None:
                return _canary(tests, assertion, token, new)
    return NoCanary("the expected values hold no literal that can be changed: they are all empty or null")


def changeable(value: tuple[Token, ...]) -> list[Token]:
    """The literals of an expected value that are part of the value, not of its type."""
    return [
        token
        for i, token in enumerate(value)
        if (token.kind in ("string", "char", "number") and not _is_size(value, i)) or token.text in BOOLEANS
    ]


def _is_size(value: tuple[Token, ...], i: int) -> bool:
    """Whether the literal at `i` is a length: Go's `[3]int`, Rust's `[0; 3]`, C++'s `std::array<int, 3>`."""
    before, after = value[i - 1].text if i else "", value[i + 1].text if i + 1 < len(value) else ""
    in_brackets = before == "[" and after == "]" and i + 2 < len(value) and value[i + 2].kind == "word"
    return in_brackets or before == ";" or (after == ">" and before == ",")


def _canary(tests: str, assertion: Assertion, token: Token, new: str) -> Canary:
    text = tests[: token.start] + new + tests[token.end :]
    return Canary(
        tests=text,
        line=tests.count("\n", 0, token.start) + 1,
        first_line=tests.count("\n", 0, assertion.start) + 1,
        last_line=tests.count("\n", 0, assertion.end) + 1,
        before=tests[assertion.start : assertion.end],
        after=text[assertion.start : assertion.end + len(new) - len(token.text)],
    )
