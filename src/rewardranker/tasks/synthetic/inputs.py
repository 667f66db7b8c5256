"""Hidden tests: inputs near every boundary of a problem, and what the reference returns for them.

The inputs depend on the problem alone, so the same problem has the same tests wherever it is drawn. They do not prove
a program correct: one that differs from the reference only on rare inputs passes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from rewardranker.tasks.synthetic.composition import NAME, Problem

TESTS = 14
VOCABULARY = "apple Egg to Bee orange sky I umbrella Time queue red Ohio elephants go2 ABC Europe zebra"
WORDS = tuple(VOCABULARY.split())
CHARACTERS = "aeiouAEIbcxyzTZ059 ."

Value = Any


def make_inputs(problem: Problem) -> list[Value]:
    """`TESTS` distinct arguments: empties, single elements at the constants' boundaries, and mixtures."""
    rng = random.Random(problem.key)
    make = {"xs": _list, "n": _number, "s": _text}[problem.source.argument]
    inputs: list[Value] = []
    seen: set[str] = set()
    number = 0
    while len(inputs) < TESTS:
        value = make(problem, number, rng)
        number += 1
        if repr(value) not in seen:
            seen.add(repr(value))
            inputs.append(value)
    return inputs


def compiled(program: str) -> Callable[[Value], Value]:
    """The function of a program made by this generator (never of a model's program: those are the judge's)."""
    scope: dict[str, Any] = {}
    exec(compile(program, "<synthetic>", "exec"), scope)
    function: Callable[[Value], Value] = scope[NAME]
    return function


def differs(program: str, inputs: list[Value], expected: list[Value]) -> bool:
    """Whether the program raises or returns something else on any of the inputs."""
    function = compiled(program)
    for value, answer in zip(inputs, expected, strict=True):
        try:
            if function(value) != answer:
                return True
        except Exception:
            return True
    return False


def _boundaries(problem: Problem) -> list[int]:
    """Values on both sides of each constant, also when shifted by the map's constant, and of both signs."""
    values = [-1, 0, 1]
    map_ = problem.constants[2]
    for slot in problem.constants:
        for c in (slot.k, slot.m):
            if c:
                values += [c - 1, c, c, c + 1, -c, 10 + c, -10 - c, 2 * c]
    if problem.map_first and map_.k:  # a filter on mapped values: aim through the map
        c = problem.constants[1].k
        values += [c + map_.k, c - map_.k, map_.k - c, c * map_.k]
    return values


def _list(problem: Problem, number: int, rng: random.Random) -> list[int]:
    if number == 0:
        return []
    boundaries = _boundaries(problem)
    length = 1 if number <= 3 else rng.randint(2, 10)
    values = [rng.choice(boundaries) if rng.random() < 0.6 else rng.randint(-12, 24) for _ in range(length)]
    if length > 3 and rng.random() < 0.5:
        values[-1] = values[rng.randrange(length - 1)]
    return values


def _number(problem: Problem, number: int, rng: random.Random) -> int:
    if problem.source.name == "digits":
        if number < 6:
            return (0, -7, 10)[number] if number < 3 else rng.choice((-1, 1)) * rng.randint(10, 999)
        digits = [
            rng.choice([d for d in _boundaries(problem) if 0 <= d <= 9]) if rng.random() < 0.5 else rng.randint(0, 9)
        ]
        digits += [rng.randint(0, 9) for _ in range(rng.randint(1, 4))]
        rng.shuffle(digits)
        return int("".join(map(str, digits))) * (-1 if rng.random() < 0.25 else 1)
    if number < 3:
        return number
    if rng.random() < 0.5:
        return abs(rng.choice(_boundaries(problem)))
    return rng.randint(2, 40)


def _text(problem: Problem, number: int, rng: random.Random) -> str:
    if number == 0:
        return ""
    if problem.source.elements == "character":
        return "".join(rng.choice(CHARACTERS) for _ in range(1 if number < 3 else rng.randint(2, 12)))
    if number == 1:
        return "  "
    k = problem.constants[1].k
    words = []
    for _ in range(1 if number < 4 else rng.randint(2, 6)):
        word = rng.choice(WORDS)
        if k and rng.random() < 0.5:
            word = "".join(rng.choice("aeEtsnoRI") for _ in range(max(1, k + rng.randint(-1, 1))))
        words.append(word)
    if len(words) > 2 and rng.random() < 0.4:
        words[-1] = words[0]
    text = words[0]
    for word in words[1:]:
        text += ("  " if rng.random() < 0.15 else " ") + word
    return text
