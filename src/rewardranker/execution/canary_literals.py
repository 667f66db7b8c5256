"""Changes one literal into another of the same type that no comparison of the tests takes for the same value.

The new literal looks like one that the tests could hold: letters stay letters, numbers keep their number of digits
where that is possible, and whole words come from the other expected values. Numbers move by at least 1 and by at least
a hundred-thousandth of their value, which is far above R's `all.equal` (1.5e-8) and doubles; where the tests name a
tolerance they move by a tenth or more. It does NOT know the types behind the literals: an integer that is a size, an
enumeration or a bit mask is a number as any other.
"""

from __future__ import annotations

import random
import re
import string as characters
from collections.abc import Collection, Sequence

from rewardranker.execution.canary_scanner import Token

BOOLEANS = {"true": "false", "True": "False", "TRUE": "FALSE", "#t": "#f", "#true": "#false"}
BOOLEANS |= {false: true for true, false in BOOLEANS.items()}

_NUMBER_PARTS = re.compile(r"([-+]?)(\d*)((?:\.\d*)?)((?:[eE][-+]?\d+)?)(\w*)$")
# In a string: escapes, and what an interpolating language may read as a name; their characters are never touched.
_PROTECTED = re.compile(
    r"\\(?:\([^)]*\)|u\{[^}]*\}|[uU]?[0-9a-fA-F]{2,8}|x[0-9a-fA-F]+|.)|[$@#%]+(?:\{[^}]*\}|\w*)", re.S
)
_CLASSES = (characters.ascii_lowercase, characters.ascii_uppercase, "123456789", "()[]<>.,;:!?-+*=_|~^/& ")
_NUMERIC_PREFIX = 15
"""Digits that tell two numbers apart even as doubles: only this far into a string is it changed."""


class Pool:
    """What the expected values of a test text hold, as a source of look-alikes."""

    def __init__(self, values: Sequence[Sequence[Token]]) -> None:
        tokens = [token for value in values for token in value if token.kind in ("string", "char")]
        inner = [token.text[1:-1] for token in tokens]
        self.letters = frozenset("".join(_PROTECTED.sub("", text) for text in inner))
        words = sorted({text for text in inner if text.isascii() and text.isalpha()})
        # Few words, each of them used more than once on average: "YES" and "NO", not a list of names.
        self.words = words if 2 <= len(words) <= 4 and len(inner) >= 2 * len(words) else []
        plain = {value[0].text for value in values if len(value) == 1}
        self.perl_booleans = len(plain) == 2 and plain == {"1", '""'} and all(len(value) == 1 for value in values)


def changed(
    token: Token, taken: Collection[str], pool: Pool, rng: random.Random, *, language: str, relative: bool
) -> str | None:
    """Another literal of the same type.

    Args:
        token: the literal.
        taken: texts of all literals in the same expected value; the new one is none of them, so that keys of maps
            and members of sets stay distinct.
        relative: the comparison forgives an error that grows with the value.

    Returns:
        None where the literal can't be changed.
    """
    if language == "pl" and pool.perl_booleans and token.text in ("1", '""'):
        return '""' if token.text == "1" else "1"
    if token.kind == "word":
        return BOOLEANS.get(token.text)
    if token.kind == "number":
        options = _numbers(token.text, relative)
    elif token.text.startswith("#\\"):
        options = [f"#\\{c}" for c in _alike(token.text[2:], pool)] if len(token.text) == 3 else []
    elif token.kind == "char":
        options = [f"'{c}'" for c in _alike(token.text[1:-1], pool)] if len(token.text) == 3 else []
    else:
        quote = token.text[0]
        options = [f"{quote}{text}{quote}" for text in _strings(token.text[1:-1], pool, rng)]
    for group in _same_length_first(token.text, options):
        free = [option for option in group if option not in taken]
        if free:
            return rng.choice(free)
    return None


def _same_length_first(text: str, options: Sequence[str]) -> tuple[list[str], list[str]]:
    return [o for o in options if len(o) == len(text)], [o for o in options if len(o) != len(text)]


def _numbers(text: str, relative: bool) -> list[str]:
    match = _NUMBER_PARTS.match(text)
    if match is None or text.startswith(("0x", "0X", "0b", "0B")):
        return []
    sign, whole, fraction, exponent, suffix = match.groups()
    if not whole or re.match(r"_\d", suffix) or (len(whole) > 1 and whole[0] == "0"):
        # No digit to stand on, separated digits (the suffix holds the rest), or an octal number.
        return []
    if "-" in exponent:
        # A small number and its neighbours are equal within an absolute tolerance: make it a large one.
        return [f"{sign}{whole}{fraction}{exponent.replace('-', '+')}{suffix}"]
    if fraction or exponent or relative or suffix in ("f", "F", "d", "f32", "f64", "m"):
        wholes = _far(whole)
    else:
        wholes = _near(whole)
    return [f"{sign}{digits}{fraction}{exponent}{suffix}" for digits in wholes]


def _near(digits: str) -> list[str]:
    """Neighbours of a natural number, never 0 (whose negative is itself) and never beyond an integer type's end."""
    value = int(digits)
    if value >= 100_000:
        # A neighbour could be the same as a double or within a relative tolerance: move a leading digit, downwards.
        first, second = int(digits[0]), int(digits[1])
        if first > 1:
            return [f"{d}{digits[1:]}" for d in range(1, first)]
        if second > 0:
            return [f"{first}{d}{digits[2:]}" for d in range(second)]
        return [f"{first}{d}{digits[2:]}" for d in (1, 2)]
    at_an_end = value >= 127 and (value & (value + 1) == 0 or value & (value - 1) == 0)
    steps = (-1, -2, -3) if at_an_end else (-2, -1, 1, 2, 3)
    return [str(value + step) for step in steps if value + step > 0]


def _far(digits: str) -> list[str]:
    """Numbers that differ by at least 1 and by a tenth."""
    if len(digits) == 1:
        return [str(d) for d in range(1, 10) if str(d) != digits and abs(d - int(digits)) <= 4]
    return [f"{d}{digits[1:]}" for d in range(1, 10) if str(d) != digits[0]]


def _strings(text: str, pool: Pool, rng: random.Random) -> list[str]:
    """Other strings: another word of the pool, else one character exchanged for its like, else a letter more."""
    if text in pool.words:
        return [word for word in pool.words if word != text]
    protected = {i for match in _PROTECTED.finditer(text) for i in range(*match.span())}
    free = [i for i in range(min(len(text), _NUMERIC_PREFIX)) if i not in protected]
    for wanted in (str.isalnum, lambda c: not c.isspace(), lambda c: True):
        places = [i for i in free if wanted(text[i]) and _alike(text[i], pool)]
        if places:
            place = rng.choice(places)
            return [text[:place] + c + text[place + 1 :] for c in _alike(text[place], pool)]
    if _ends_in_name(text):
        return []
    letters = sorted(c for c in pool.letters if c in characters.ascii_letters) or list("abcdef")
    return [text + c for c in letters]


def _ends_in_name(text: str) -> bool:
    matches = list(_PROTECTED.finditer(text))
    return bool(matches) and matches[-1].end() == len(text) and not matches[-1].group().startswith("\\")


def _alike(char: str, pool: Pool) -> list[str]:
    """Characters of the same class, those that the expected values use where there are any."""
    for members in _CLASSES:
        if char in members or (char == "0" and "1" in members):
            used = [c for c in members if c in pool.letters and c != char]
            if used or members == _CLASSES[-1]:
                return used
            return [c for c in members if c != char]
    return []
