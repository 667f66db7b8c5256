"""Finds Python programs that could see their own source: names of locals, line numbers, docstrings.

The test errs towards yes. It does not find names that are put together at run time from harmless pieces.
"""

from __future__ import annotations

import ast
import re

_NAMES = {
    *("locals", "globals", "vars", "dir", "eval", "exec", "compile", "getattr", "attrgetter", "breakpoint", "help"),
    *("inspect", "ast", "dis", "gc", "traceback", "linecache", "logging", "pickle", "marshal", "symtable", "tokenize"),
    *("importlib", "runpy", "pdb", "warnings", "get_type_hints", "signature", "return_exceptions", "argv"),
    *("exc_info", "last_value", "last_exc", "exception", "settrace", "setprofile", "currentframe", "_getframe"),
    *("_current_frames", "excepthook", "unraisablehook", "getsource", "f_locals", "f_code", "f_lineno", "tb_frame"),
    *("tb_lineno", "gi_frame", "gi_code", "cr_frame", "cr_code", "ag_frame", "ag_code", "co_varnames"),
}
_METHODS_ALSO = {"compile", "dir", "help"}  # re.compile, ...
_HARMLESS = {
    *("__init__", "__new__", "__post_init__", "__name__", "__main__", "__iter__", "__next__", "__len__", "__call__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__", "__repr__", "__str__", "__bool__"),
    *("__add__", "__sub__", "__mul__", "__getitem__", "__setitem__", "__contains__", "__int__", "__float__"),
}
_HINT = re.compile(r"__|\b(?:" + "|".join(sorted(_NAMES)) + r")\b")
_DEFINES_AND_SEES = {"__exit__", "__aexit__", "__getattr__", "__getattribute__", "__set_name__", "__init_subclass__"}


def reflects(source: str, tree: ast.Module) -> bool:
    """Whether a program mentions a way to look at its own text."""
    return _HINT.search(source) is not None and any(_looks(node) for node in _code(tree))


def catches_names(tree: ast.Module) -> bool:
    """Whether names could reach the program through an exception's message, or scopes are beyond these rules.

    `except ... as e` may hold "cannot access local variable 'x'". Type parameters (PEP 695) have scopes of their own.
    """
    stack: list[ast.AST] = list(tree.body)
    while stack:
        node = stack.pop()
        if isinstance(node, ast.ExceptHandler) and node.name is not None:
            return True
        if getattr(node, "type_params", None) or type(node).__name__ == "TypeAlias":
            return True
        if not isinstance(node, ast.expr):  # statements, handlers and match cases hold statements; expressions do not
            stack += ast.iter_child_nodes(node)
    return False


def _code(tree: ast.Module) -> list[ast.AST]:
    """All nodes but docstrings."""
    found: list[ast.AST] = []
    stack: list[ast.AST] = [tree]
    while stack:
        node = stack.pop()
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            found.append(node)
            stack += ast.iter_child_nodes(node)
    return found


def _looks(node: ast.AST) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _NAMES or _is_special(node.id)
    if isinstance(node, ast.Attribute):
        return (node.attr in _NAMES and node.attr not in _METHODS_ALSO) or (
            _is_special(node.attr) or node.attr == "__name__"
        )
    if isinstance(node, ast.alias):
        return any(part in _NAMES for part in node.name.split(".")) or _is_special(node.name)
    if isinstance(node, ast.ImportFrom):
        return any(part in _NAMES for part in (node.module or "").split("."))
    if isinstance(node, ast.keyword):
        return node.arg in _NAMES and node.arg not in _METHODS_ALSO
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return node.name in _DEFINES_AND_SEES
    if isinstance(node, ast.Constant):
        return isinstance(node.value, str) and "__" in node.value and node.value != "__main__"
    return False


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__") and name not in _HARMLESS
