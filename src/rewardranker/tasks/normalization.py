"""A task's reference program without what does not change its meaning: names it binds, docstrings, layout."""

from __future__ import annotations

import ast
import builtins
import re
import warnings

from rewardranker.types import Task

DOCUMENTED = (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def normalized_program(task: Task) -> str:
    """The reference program in a form equal for renamed copies; empty without a reference.

    Python that parses loses docstrings, comments and layout, and every name that the program binds is numbered by
    first use. Other text only loses whitespace and comment lines.
    """
    if not task.reference:
        return ""
    program = task.prompt + task.reference
    if task.language == "python":
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)
                tree = ast.parse(program)
        except (SyntaxError, ValueError, RecursionError):
            pass
        else:
            return _numbered(tree)
    lines = [line for line in program.splitlines() if not re.match(r"\s*(//|#(?!include))", line)]
    return "".join("".join(lines).split())


def _numbered(tree: ast.Module) -> str:
    bound = {name for node in ast.walk(tree) for name in _binds(node)} - set(dir(builtins))
    numbers: dict[str, str] = {}

    def rename(name: str) -> str:
        return numbers.setdefault(name, f"v{len(numbers)}") if name in bound else name

    for node in _in_order(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.name = rename(node.name)
        elif isinstance(node, ast.arg):
            node.arg = rename(node.arg)
            node.annotation = None
        elif isinstance(node, ast.Name):
            node.id = rename(node.id)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
    body = [node for node in tree.body if not isinstance(node, ast.Import | ast.ImportFrom)]
    return ast.unparse(ast.Module(body, []))


def _binds(node: ast.AST) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.arg):
        return [node.arg]
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
        return [node.id]
    return []


def _in_order(node: ast.AST) -> list[ast.AST]:
    """The nodes depth first, so that numbers follow the program's text."""
    nodes = [node]
    for child in ast.iter_child_nodes(node):
        nodes += _in_order(child)
    return nodes
