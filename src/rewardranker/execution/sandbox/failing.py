"""Whether the tests of a task can fail at all: tests that can't would pass every program.

Seen in the text alone: a statement that can fail has to be reached from the top level, through functions and classes
that reached code names. Not guaranteed: that it is reached for every program, or that it tests anything.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator

_EXITS = frozenset({"exit", "quit", "_exit", "abort", "fail"})
_DYNAMIC = frozenset({"globals", "locals", "vars", "exec", "eval"})
"""Code that names these may reach anything."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def can_fail(trees: Iterable[ast.Module], *called: str) -> bool:
    """Whether an assertion, a raise or an exit is reached when the sources run one after the other.

    Args:
        called: functions of the sources that the judge calls itself.
    """
    waiting: list[ast.AST] = []
    definitions: dict[str, list[ast.AST]] = {}
    for node in (node for tree in trees for node in _top(tree)):
        if isinstance(node, Definition) and not node.decorator_list:
            definitions.setdefault(node.name, []).append(node)
        else:
            waiting.append(node)
    for name in called:
        waiting += definitions.pop(name, [])
    while waiting:
        node = waiting.pop()
        if _fails(node):
            return True
        if isinstance(node, Definition):
            waiting += [inner for inner in ast.walk(node) if inner is not node]
        elif isinstance(node, ast.Name):
            for name in list(definitions) if node.id in _DYNAMIC else [node.id]:
                waiting += definitions.pop(name, [])
    return False


def is_under_main(node: ast.AST) -> bool:
    """Whether this is `if __name__ == "__main__":`, which does not hold for tests."""
    return isinstance(node, ast.If) and any(_name(part) == "__name__" for part in ast.walk(node.test))


def _top(node: ast.AST) -> Iterator[ast.AST]:
    """What runs at the top level: not the bodies of definitions, nor what stands under `if __name__ == ...`."""
    for child in ast.iter_child_nodes(node):
        is_main = is_under_main(child)
        if not is_main:
            yield child
        if not is_main and not isinstance(child, Definition):
            yield from _top(child)


def _fails(node: ast.AST) -> bool:
    if isinstance(node, ast.Assert):
        return not (isinstance(node.test, ast.Constant) and node.test.value)
    if isinstance(node, ast.Call):
        name = _name(node.func)
        return name.startswith("assert") or name in _EXITS
    return isinstance(node, ast.Raise)


def _name(node: ast.AST | None) -> str:
    """The last part of a dotted name."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
