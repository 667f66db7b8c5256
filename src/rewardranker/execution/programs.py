"""From a task's prompt, a completion and its tests to the source text that is compiled and run.

The text is put together as MultiPL-E does it, so that equal rows are equal programs: the completion is cut before the
first of the row's stop tokens, then prompt, completion, a line break and tests follow each other. Nothing is repaired.
In particular, tests that begin with the bracket that closes the function (C++, Java, C#, Rust, Bash, ...) rely on
the stop token to take away the completion's own; one that closes the function so that no stop token matches (on the
line of its last statement, or as the last characters in Java, C# and Scala, whose token ends with a line break) has one
bracket too many and does not compile, there as here.

Not guaranteed: that the text is well-formed, or that the tests in it are reached.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from rewardranker.execution.language_table import Language

_PHP_TAG = re.compile(r"<\?(php\b|=)", re.IGNORECASE)
_CLASS = re.compile(r"(?m)^[^\n/*\"]*?\b(?:class|object|enum|record|interface)\s+(\w+)")
_PUBLIC_CLASS = re.compile(r"(?m)^\s*public\s+(?:(?:abstract|final|strictfp)\s+)*(?:class|enum|record)\s+(\w+)")
_MAIN = re.compile(r"\bmain\s*\(|\bextends\s+App\b")


def cut(completion: str, stop_tokens: Sequence[str]) -> str:
    """The completion up to the first place where a stop token begins; empty tokens don't count."""
    places = [place for token in stop_tokens if token and (place := completion.find(token)) >= 0]
    return completion[: min(places)] if places else completion


def assemble(language: Language, prompt: str, completion: str, tests: str, stop_tokens: Sequence[str] = ()) -> str:
    """The source text of a whole program.

    Args:
        prompt: may be empty, when the completion is the whole program. Stop tokens in it don't count.
        tests: may be empty, for programs that are decided by what they print.

    Returns:
        The text. A PHP program without an opening tag anywhere gets one: without it PHP would print the text, tests
        and all, and exit with status 0.
    """
    completion = cut(completion, stop_tokens)
    text = f"{prompt}{completion}\n{tests}"
    if language.code == "php" and not _PHP_TAG.search(prompt + completion):
        return f"<?php\n{text}"
    return text


def main_class(language: Language, program: str) -> str:
    """The class (Java) or object (Scala) that the run command starts; it also names Java's source file.

    It is the one that the language's usual tests define (`Problem`) where the program has it; else the public class;
    else the last one opened before the first `main`; the usual name where there is none of these. Empty for a language
    without such a thing.
    """
    if not language.main_class:
        return ""
    names = [(match.start(), match[1]) for match in _CLASS.finditer(program)]
    if any(name == language.main_class for _, name in names):
        return language.main_class
    public = _PUBLIC_CLASS.search(program)
    if public:
        return public[1]
    main = _MAIN.search(program)
    before = [name for place, name in names if main and place < main.start()]
    return before[-1] if before else language.main_class
