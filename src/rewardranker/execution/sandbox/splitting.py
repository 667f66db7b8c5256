"""Which parts of a test source are counted as tests, found in its text once for a task.

The number of tests then is the same for every program, and the verdict the same as if the source ran as a whole.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterable, Iterator

# --- test functions and classes -----------------------------------------------------------------------------------


def written_tests(tree: ast.Module) -> list[str]:
    """`Class.method` and `function` of every test in a source, in the order in which they run."""
    classes = {node.name: node for node in _top(tree) if isinstance(node, ast.ClassDef)}
    names = []
    for name, node in classes.items():
        if _is_test_case(node, classes):
            names += [f"{name}.{method}" for method in sorted(_methods(node, classes))]
    for statement in _top(tree):
        if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test"):
            names += [statement.name] * (not _needs_arguments(statement))
    return list(dict.fromkeys(names))


def _needs_arguments(function: ast.FunctionDef) -> bool:
    arguments = function.args
    required = len(arguments.posonlyargs) + len(arguments.args) - len(arguments.defaults)
    return required > 0 or any(default is None for default in arguments.kw_defaults)


def is_main_call(node: ast.stmt) -> bool:
    """Whether this is `unittest.main()`, which would look for the tests elsewhere and exit."""
    return (
        isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "unittest.main"
    )


def _top(tree: ast.Module) -> Iterator[ast.stmt]:
    """Statements at the top level, also under a condition there."""
    for node in tree.body:
        yield node
        if isinstance(node, ast.If | ast.Try):
            yield from _top(ast.Module([*node.body, *node.orelse], []))


def _is_test_case(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> bool:
    for base in node.bases:
        name = base.id if isinstance(base, ast.Name) else base.attr if isinstance(base, ast.Attribute) else ""
        if name.endswith("TestCase") and name not in classes:
            return True
        if name in classes and classes[name] is not node and _is_test_case(classes[name], classes):
            return True
    return False


def _methods(node: ast.ClassDef, classes: dict[str, ast.ClassDef]) -> set[str]:
    functions = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    found = {n.name for n in functions if n.name.startswith("test")}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in classes and classes[base.id] is not node:
            found |= _methods(classes[base.id], classes)
    return found


# --- check(candidate) ---------------------------------------------------------------------------------------------


def split_check(tree: ast.Module) -> list[ast.Module]:
    """Definitions of `check`, each with one test of its body; empty where the body is more than independent tests.

    They are run in order on one program. Up to the first that fails the program sees the calls that the whole `check`
    would have made, so all of them hold exactly when the whole does. Constant assertions are no tests and left out; a
    loop is one test.
    """
    function = next(n for n in reversed(tree.body) if isinstance(n, ast.FunctionDef) and n.name == "check")
    if function.decorator_list or len([n for n in tree.body if getattr(n, "name", None) == "check"]) > 1:
        return []
    statements = [node for node in function.body if not _is_constant(node)]
    if not all(isinstance(node, ast.Assert | ast.For) for node in statements) or not _independent(statements):
        return []
    if any(isinstance(node, _TOO_MUCH) for statement in statements for node in ast.walk(statement)):
        return []
    parts = []
    for statement in statements:
        part = copy.copy(function)
        part.body = [statement]
        parts.append(ast.Module([part], []))
    return parts


_TOO_MUCH = (
    *(ast.Return, ast.Yield, ast.YieldFrom, ast.Await, ast.Global, ast.Nonlocal),
    *(ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Try, ast.TryStar, ast.Match),
)
"""Statements that leave the function, or bind names in ways not looked at here."""


def _is_constant(node: ast.stmt) -> bool:
    """Docstrings, `pass`, `assert True`."""
    if isinstance(node, ast.Assert):
        return isinstance(node.test, ast.Constant) and bool(node.test.value)
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _independent(statements: list[ast.stmt]) -> bool:
    """Whether no statement reads a name that another one binds, but for loop variables that it binds anew first."""
    bound = [_names([statement], ast.Store) for statement in statements]
    for number, statement in enumerate(statements):
        others: set[str] = set().union(*bound[:number], *bound[number + 1 :])
        own: set[str] = set()
        first: list[ast.AST] = [statement]
        if isinstance(statement, ast.For):
            if statement.orelse or others & _names([statement.iter], ast.Load):
                return False
            own = _names([statement.target], ast.Store)
            first = [*statement.body]
        if (others - own) & _names(first, ast.Load):
            return False
    return True


def _names(nodes: Iterable[ast.AST], use: type[ast.expr_context]) -> set[str]:
    return {n.id for node in nodes for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, use)}
