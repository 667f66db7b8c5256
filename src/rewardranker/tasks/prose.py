"""Prompts of tasks that are told in prose, and the few helpers that readers of such data sets share."""

from __future__ import annotations

import ast
import logging
import warnings
from collections import Counter

_log = logging.getLogger(__name__)

STOP = ('\n"""',)
"""A completion model that opens another text in quotes has gone on to another problem."""


def prose_prompt(text: str, language: str = "python") -> str:
    """A text as the comment that opens a program, which a completion model continues with code and a chat model reads
    as an instruction.

    Python gets a module docstring, raw where the text has backslashes, other languages (of C's family) a block comment.
    """
    text = unix(text).strip() + "\n"
    if language != "python":
        return f"/*\n{text.replace('*/', '* /')}*/\n"
    prefix = "r" if "\\" in text else ""  # an escape would mean something else in a plain docstring
    return f'{prefix}"""\n{text.replace(chr(34) * 3, chr(39) * 3)}"""\n'


def unix(text: str) -> str:
    """The text with line feeds as line breaks."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def parses(program: str) -> bool:
    """Whether this is Python 3 by its syntax. Collections of contest solutions also hold Python 2."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


class LeftOut:
    """Counts the rows that can't become tasks, and says so at the end: nothing is dropped in silence."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._first: dict[str, str] = {}
        self.reasons: Counter[str] = Counter()

    def row(self, reason: str, where: str) -> None:
        self.reasons[reason] += 1
        self._first.setdefault(reason, where)

    def tell(self) -> None:
        for reason, count in self.reasons.items():
            _log.warning("%s: %d rows left out: %s (the first: %s)", self._name, count, reason, self._first[reason])
