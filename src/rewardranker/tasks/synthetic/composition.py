"""A problem drawn from the tables: its words and its program, correct or with chosen bugs.

The composition is the combination of constructs without the constants; it decides the split.
"""

from __future__ import annotations

import functools
import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from rewardranker.tasks.synthetic import catalogue
from rewardranker.tasks.synthetic.constructs import Bug, Construct, Reduction, Source

NAME = "solve"
VARIABLES = {"number": "x", "word": "w", "character": "c"}
SPLITS = ("train", "validation", "test")


@dataclass(frozen=True, slots=True)
class Slot:
    """A construct with its constants."""

    k: int = 0
    m: int = 0


@dataclass(frozen=True, slots=True)
class Problem:
    """A fully determined problem; everything but the choice of words and idiom."""

    source: Source
    filter: Construct
    map: Construct
    map_first: bool
    reduction: Reduction
    post: Construct
    constants: tuple[Slot, Slot, Slot, Slot]
    """Constants of source, filter, map, post."""

    @property
    def composition(self) -> str:
        steps = [self.filter.name, self.map.name]
        if self.map_first:
            steps.reverse()
        return "|".join([self.source.name, *steps, self.reduction.name, self.post.name])

    @property
    def split(self) -> str:
        return split_of(self.composition)

    @property
    def key(self) -> str:
        """Equal exactly for equal problems."""
        return f"{self.composition}|{'|'.join(f'{s.k},{s.m}' for s in self.constants)}"


@dataclass(frozen=True, slots=True)
class Faults:
    """Bugs chosen for one program: replacement code by place; None where the construct is written correctly."""

    source: str | None = None
    filter: str | None = None
    map: str | None = None
    reduction: str | None = None
    post: str | None = None
    swapped: bool = False

    def __bool__(self) -> bool:
        return self.swapped or any((self.source, self.filter, self.map, self.reduction, self.post))


@functools.cache
def split_of(composition: str) -> str:
    """The split of a composition: 5 % validation, 5 % test, decided by its name alone (never by a seed)."""
    bucket = int.from_bytes(hashlib.blake2b(composition.encode(), digest_size=4).digest(), "big") % 20
    return {0: "validation", 1: "test"}.get(bucket, "train")


def draw(rng: random.Random) -> Problem:
    """Draw a problem of any split."""
    source = _pick(catalogue.SOURCES, rng)
    map_ = _pick(catalogue.MAPS[source.elements], rng)
    map_first = bool(map_.code) and rng.random() < 0.35
    filtered = "number" if map_first and map_.gives == "int" else source.elements
    filter_ = _pick(catalogue.FILTERS[filtered], rng)
    if not filter_.code:  # then the order means nothing: one name for one program
        map_first, filter_ = False, catalogue.FILTERS[source.elements][0]
    reduction = _pick(catalogue.REDUCTIONS[map_.gives], rng)
    posts = catalogue.POSTS[reduction.gives]
    post = _pick(posts, rng) if reduction.post else posts[0]
    constants = (
        _constants(source.code, rng),
        _constants(filter_.code, rng),
        _constants(map_.code, rng),
        _constants(post.code, rng),
    )
    return Problem(source, filter_, map_, map_first, reduction, post, constants)


def draw_faults(problem: Problem, loop: bool, rng: random.Random) -> Faults:
    """Choose bugs, each construct's by its own rates."""
    reduction = problem.reduction
    swappable = problem.filter.code and problem.map.code and problem.map.gives == problem.source.gives
    return Faults(
        source=_fault(problem.source.bugs, rng),
        filter=_fault(problem.filter.bugs, rng),
        map=_fault(problem.map.bugs, rng),
        reduction=_fault(reduction.loop_bugs if loop else reduction.bugs, rng),
        post=_fault(problem.post.bugs, rng),
        swapped=bool(swappable) and rng.random() < catalogue.SWAP_RATE,
    )


def describe(problem: Problem, rng: random.Random) -> str:
    """The prompt: signature and docstring, in words drawn by `rng`."""
    source, filter_, map_, post = problem.constants
    place = rng.choice(problem.source.places).format(k=source.k)
    elements = f"the {problem.source.noun} {place}"
    which = rng.choice(problem.filter.words).format(k=filter_.k, m=filter_.m)
    what = rng.choice(problem.reduction.words)
    after = rng.choice(problem.post.words).format(k=post.k)
    verb = rng.choice(("Return ", "Give ", "Compute "))
    if not problem.map.code:
        text = f"{verb}{what} {elements} {which}"
    else:
        change = rng.choice(problem.map.words)
        results = rng.choice(("the results", "these values"))
        operand = elements if problem.map_first else f"{elements} {which}".rstrip()
        change = change.format(operand, k=map_.k)
        chosen = f"{results} {which}" if problem.map_first else results
        text = f"{change[0].upper()}{change[1:]}, then {verb.lower()}{what} {chosen}"
    return f'def {NAME}({problem.source.argument}):\n    """{text.rstrip()}{after}."""\n'


def write(problem: Problem, faults: Faults = Faults(), loop: bool = False) -> str:
    """The completion: the function's body."""
    slots = problem.constants
    v = VARIABLES[problem.source.elements]
    iterable = (faults.source or problem.source.code).format(k=slots[0].k)
    condition = (faults.filter or problem.filter.code).format(x=v, k=slots[1].k, m=slots[1].m)
    element = (faults.map or problem.map.code).format(x=v, k=slots[2].k) or v
    lines: list[str] = []
    if element != v and condition and problem.map_first != faults.swapped:
        lines.append(f"vs = [{element} for {v} in {iterable}]")
        iterable, element = "vs", v
    template = faults.reduction or (problem.reduction.loop if loop else problem.reduction.code)
    if loop:
        start, step = template.split("; ")
        lines += [f"t = {start}", f"for {v} in {iterable}:"]
        indent = "    "
        if condition:
            lines.append(f"{indent}if {condition}:")
            indent *= 2
        lines.append(indent + step.format(e=element))
        result = "t"
    else:
        bare = element == v and not condition
        inner = f"{element} for {v} in {iterable}" + (f" if {condition}" if condition else "")
        code = template.format(
            g=iterable if bare else inner,
            p=iterable if bare else f"({inner})",
            l=f"list({iterable})" if bare else f"[{inner}]",
        )
        *before, result = code.split("; ")
        lines += before
    result = (faults.post or problem.post.code).format(r=result, k=slots[3].k)
    return "".join(f"    {line}\n" for line in [*lines, f"return {result}"])


class _Weighted(Protocol):
    @property
    def weight(self) -> float: ...


W = TypeVar("W", bound=_Weighted)


def _pick(options: Sequence[W], rng: random.Random) -> W:
    point = rng.random() * sum(option.weight for option in options)
    for option in options:
        point -= option.weight
        if point < 0:
            return option
    return options[-1]


def _constants(code: str, rng: random.Random) -> Slot:
    if "{m}" in code:
        k = rng.randint(2, 7)
        return Slot(k, rng.randint(k + 2, 9))
    return Slot(rng.randint(2, 9)) if "{k}" in code else Slot()


def _fault(bugs: Sequence[Bug], rng: random.Random) -> str | None:
    if not bugs:
        return None
    point = rng.random()
    for bug in bugs:
        point -= bug.rate
        if point < 0:
            return bug.code
    return None
