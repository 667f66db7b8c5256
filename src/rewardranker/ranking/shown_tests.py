"""Tests and inputs that a task gives away: the first test that its prompt shows, and the inputs of its tests."""

from __future__ import annotations

import ast
import doctest
import json
from dataclasses import replace

from rewardranker.ranking.generated_tests import GeneratedTests, extract_calls
from rewardranker.types import Task


def first_test(task: Task) -> Task | None:
    """The task with the first test that its prompt shows in place of all its tests; None if it shows none.

    Of a task with a list of assert statements or of inputs it is the first that stands in the prompt word for word;
    else, in Python, the first doctest example with a value.
    """
    shown = " ".join(task.prompt.split())
    if isinstance(task.tests, tuple):
        for test in task.tests:
            if " ".join(test.split()) in shown:
                return replace(task, tests=(test,), inputs=())
    for pair in task.inputs:
        if (
            pair.input.strip()
            and pair.output.strip()
            and {*_lines(pair.input), *_lines(pair.output)} <= _lines(task.prompt)
        ):
            return replace(task, tests=(), inputs=(pair,))
    if task.language == "python" and task.entry_point:
        for example in _examples(task.prompt):
            written = _as_assert(example.source, example.want)
            if written is not None and task.entry_point in written:
                return replace(task, tests=(written,), inputs=())
    return None


def shown_examples(task: Task) -> Task | None:
    """The task with all doctest examples of its prompt that call its function as tests; None if it shows none."""
    if task.language != "python" or not task.entry_point:
        return None
    written = (_as_assert(example.source, example.want) for example in _examples(task.prompt))
    tests = tuple(dict.fromkeys(test for test in written if test is not None and task.entry_point in test))
    return replace(task, tests=tests, inputs=()) if tests else None


def _lines(text: str) -> set[str]:
    return {" ".join(line.split()) for line in text.splitlines() if line.strip()}


def _examples(prompt: str) -> list[doctest.Example]:
    try:
        return doctest.DocTestParser().get_examples(prompt)
    except ValueError:  # a prompt sign without a space, uneven indentation
        return []


def _as_assert(source: str, want: str) -> str | None:
    """A doctest example as an assert statement, where it is a call with a literal value."""
    for quotes in ('"""', "'''"):  # a prompt is source text: the docstring's end belongs to its last example
        want = want.split(quotes)[0]
    try:
        call, value = ast.parse(source.strip(), mode="eval"), ast.literal_eval(want.strip())
    except (SyntaxError, ValueError):
        return None
    return f"assert {ast.unparse(call)} == {value!r}"


def given_calls(task: Task, limit: int | None = None) -> tuple[str, ...]:
    """Calls with the inputs of a task's own tests, without what they expect: what MBR-Exec ran programs on (arXiv
    2204.11454). Empty for tasks without an entry point."""
    if task.language != "python" or not task.entry_point:
        return ()
    calls: dict[str, None] = {}
    for pair in task.inputs:
        values = [json.loads(line) for line in pair.input.splitlines() if line.strip()]
        calls[f"{task.entry_point}({', '.join(map(repr, values))})"] = None
    for source in [task.tests] if isinstance(task.tests, str) else task.tests:
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id == "candidate":
                node.id = task.entry_point
        text = ast.unparse(tree)
        calls |= dict.fromkeys(extract_calls(GeneratedTests(task.task_id, (text,), (1,)), task.entry_point))
    return tuple(calls)[:limit]
