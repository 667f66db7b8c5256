"""Python's scoping rules on syntax trees: which names a body binds, and who can call a nested function by keyword.

Source: the Python reference, section 4.2 "Naming and binding".
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from typing import Literal

COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
# They call what they are given by position, and do not hand it on.
_CALL_FIRST = {"map", "filter", "reduce", "cmp_to_key"}
_CALL_KEY = {"sorted", "min", "max", "sort"}
_PLAIN_DECORATORS = {"cache", "lru_cache"}


class Scope:
    """One scope and the names bound in it."""

    __slots__ = ("bound", "explicit_globals", "kept", "kind", "numbers", "parent")

    def __init__(
        self,
        kind: Literal["module", "class", "function"],
        parent: Scope | None,
        bound: Iterable[str] = (),
        kept: Iterable[str] = (),
        explicit_globals: Iterable[str] = (),
    ) -> None:
        self.kind = kind
        self.parent = parent
        self.bound = set(bound)
        self.kept = set(kept)
        """Bound names that something outside the scope can see."""
        self.explicit_globals = set(explicit_globals)
        self.numbers: dict[str, str] = {}

    def owner(self, name: str) -> Scope | None:
        """The function scope whose variable `name` is here; None: a global, a builtin, or a class member."""
        scope: Scope | None = self
        while scope is not None and scope.kind != "module":
            if scope.kind == "function" or scope is self:  # a class body's names are invisible to the functions in it
                if name in scope.explicit_globals:
                    return None
                if name in scope.bound:
                    return scope if scope.kind == "function" else None
            scope = scope.parent
        return None


def bindings(body: Sequence[ast.AST]) -> tuple[set[str], set[str], set[str]]:
    """Names that a function's or class's body binds; those of them to keep; those declared global."""
    bound: set[str] = set()
    kept: set[str] = set()
    outer: set[str] = set()
    explicit_globals: set[str] = set()
    stack: list[tuple[ast.AST | None, bool]] = [(node, False) for node in body]
    while stack:
        node, in_comprehension = stack.pop()
        children: Iterable[ast.AST | None] = ()
        if isinstance(node, ast.Name):
            if not in_comprehension and not isinstance(node.ctx, ast.Load):
                bound.add(node.id)
        elif isinstance(node, _FUNCTIONS):
            bound.add(node.name)
            annotations = [a.annotation for a in ast.walk(node.args) if isinstance(a, ast.arg)]
            children = (*node.decorator_list, *node.args.defaults, *node.args.kw_defaults, *annotations, node.returns)
        elif isinstance(node, ast.Lambda):
            children = (*node.args.defaults, *node.args.kw_defaults)
        elif isinstance(node, ast.ClassDef):
            bound.add(node.name)
            kept.add(node.name)  # instances show it
            children = (*node.decorator_list, *node.bases, *node.keywords)
        elif isinstance(node, ast.Global):
            explicit_globals.update(node.names)
        elif isinstance(node, ast.Nonlocal):
            outer.update(node.names)
        elif isinstance(node, ast.alias):
            name = node.asname or node.name.partition(".")[0]
            bound.add(name)
            if node.asname is None:
                kept.add(name)
        elif isinstance(node, COMPREHENSIONS):
            in_comprehension = True
            children = ast.iter_child_nodes(node)
        elif isinstance(node, ast.NamedExpr):
            bound.add(node.target.id)  # also inside a comprehension: PEP 572
            children = (node.value,)
        elif node is not None:
            for field in ("name", "rest"):  # match patterns, exception handlers
                if isinstance(variable := getattr(node, field, None), str):
                    bound.add(variable)
            children = ast.iter_child_nodes(node)
        stack += [(child, in_comprehension) for child in children]
    return bound - outer - explicit_globals, kept, explicit_globals


def targets(comprehension: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> set[str]:
    """The names that a comprehension's `for`s bind."""
    return {
        node.id
        for generator in comprehension.generators
        for node in ast.walk(generator.target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    }


class Calls:
    """How a program calls and passes on its functions: by name alone, which errs towards keeping parameter names."""

    def __init__(self, tree: ast.Module) -> None:
        self._keywords: set[str] = set()
        self._any_keyword = False
        self._assigned: dict[ast.Lambda, str] = {}
        self._passed: set[ast.AST] = set()
        direct: set[ast.AST] = set()
        loads: list[ast.Name] = []
        rebound: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                direct.add(node.func)
                name = _last_name(node.func)
                if name in _CALL_FIRST:
                    self._passed.update(node.args[:1])
                elif name in _CALL_KEY:
                    self._passed.update(keyword.value for keyword in node.keywords if keyword.arg == "key")
            elif isinstance(node, ast.keyword):
                if node.arg is None:
                    self._any_keyword = True
                else:
                    self._keywords.add(node.arg)
            elif isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Load):
                    loads.append(node)
                else:
                    rebound.add(node.id)
            elif isinstance(node, ast.arg):
                rebound.add(node.arg)
            elif isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
                rebound.add(node.name)
            elif isinstance(node, ast.alias) and node.asname:
                rebound.add(node.asname)
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Lambda):
                target = node.targets[0]
                if len(node.targets) == 1 and isinstance(target, ast.Name):
                    self._assigned[node.value] = target.id
        self._own = rebound
        if rebound & (_CALL_FIRST | _CALL_KEY):  # the program's own `sorted` may do anything
            self._passed.clear()
        self._escaping = {name.id for name in loads if name not in direct and name not in self._passed}

    def by_keyword(self, parameter: str) -> bool:
        """Whether some call might pass this parameter by keyword."""
        return self._any_keyword or parameter in self._keywords

    def passed_on(self, function: ast.Lambda) -> bool:
        """Whether a lambda goes straight to a function that calls it by position."""
        return function in self._passed

    def variable_of(self, function: ast.Lambda) -> str | None:
        """The variable that a lambda is assigned to, where every use of that is harmless; else None."""
        name = self._assigned.get(function)
        return None if name in self._escaping else name

    def stays_inside(self, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
        """Whether every use of a nested function is a call, or passing it to one that calls it by position."""
        decorators = {_last_name(d.func if isinstance(d, ast.Call) else d) for d in function.decorator_list}
        return function.name not in self._escaping and decorators <= _PLAIN_DECORATORS - self._own


def _last_name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
