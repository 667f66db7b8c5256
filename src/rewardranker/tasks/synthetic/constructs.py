"""What a construct of the task generator is: words for it, code for it, and the ways in which people get it wrong.

Templates are `str.format` texts. `{x}` is the loop variable, `{k}` a constant in 2-9, `{m}` a larger one (constructs
with two). A bug replaces the construct's code in a fixed share of the corpus' occurrences of that construct.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["int", "str", "bool", "ints", "strs"]
"""Type of a value: of an element (`int`, `str`) or of a result (those, `bool`, lists)."""


@dataclass(frozen=True, slots=True)
class Bug:
    """A wrong way to write a construct, and the share of its occurrences in the corpus written so."""

    code: str
    rate: float


@dataclass(frozen=True, slots=True)
class Construct:
    """A filter, map, or post-processing step.

    Attributes:
        takes: type of the value it works on.
        gives: type of what comes out.
        words: interchangeable descriptions.
        code: an expression; empty for "nothing happens".
        weight: how often it is drawn, relative to the others of its table.
    """

    name: str
    takes: Kind
    gives: Kind
    words: tuple[str, ...]
    code: str
    bugs: tuple[Bug, ...] = ()
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Source:
    """Where the elements come from: `{noun} {place}` in words, an iterable in code."""

    name: str
    argument: Literal["xs", "n", "s"]
    gives: Kind
    noun: str
    places: tuple[str, ...]
    code: str
    bugs: tuple[Bug, ...] = ()
    weight: float = 1.0
    elements: Literal["number", "word", "character"] = "number"


@dataclass(frozen=True, slots=True)
class Reduction:
    """What is made of the elements: `{g}` stands for them as a sole argument, `{p}` as one of several, `{l}` as a list.

    Attributes:
        code: lines separated by `; `, the last one is the value that is returned.
        loop: `start; step` of an explicit loop into `t` (`{e}` is the element), an idiom used instead of `code`.
        loop_bugs: replaces `bugs` when the loop is written.
        loop_share: share of the corpus that uses the loop.
        post: whether a post-processing step may follow.
    """

    name: str
    takes: Kind
    gives: Kind
    words: tuple[str, ...]
    code: str
    bugs: tuple[Bug, ...] = ()
    loop: str = ""
    loop_bugs: tuple[Bug, ...] = ()
    loop_share: float = 0.0
    post: bool = True
    weight: float = 1.0
