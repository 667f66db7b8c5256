"""One text for all programs that differ only in layout, comments, docstrings and private names.

Guarantees: programs with equal canonical texts behave alike, as long as nobody outside looks into them (their caller
passes positional arguments or the public functions' own keywords, and library functions do not call callbacks by
keyword). A Python program that could see its own names, lines or docstrings is left as it is written (`reflection.py`).

Not guaranteed: that programs which behave alike get equal texts. Module-level names, class members, names of classes
and of the parameters of functions that a caller could reach are kept. What does not parse as Python, and programs in
other languages, are compared as text: see `is_structural`.
"""

from __future__ import annotations

import ast
import hashlib
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from rewardranker.preference.reflection import catches_names, reflects
from rewardranker.preference.scopes import COMPREHENSIONS, Calls, Scope, bindings, targets

_STRUCTURE, _SOURCE, _TEXT = "python: ", "source: ", "text: "
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_UNREAD = {"ctx", "kind", "type_comment", "type_ignores"}  # no influence beyond what their place in the tree says
_FIELDS: dict[type, tuple[str, ...]] = {}


@lru_cache(maxsize=32_768)
def canonical_program(source: str, language: str = "python") -> str:
    """The text by which equal programs are recognised.

    Python programs become the BLAKE2b hash (160 bits: a rendering is several times longer than its program, and callers
    hold many) of a rendering of their syntax tree, in which local names, and parameter names that no caller can use,
    are numbered in order of appearance. Any other text keeps its words: line ends are unified and blank
    lines at the start and end removed; unparsable Python also loses trailing blanks and empty lines.

    Args:
        source: a complete program; a completion alone usually does not parse (see `candidate_key`).
    """
    if language != "python":
        return _TEXT + source.replace("\r\n", "\n").strip("\n")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # '\d' in a candidate's string is its affair
            tree = ast.parse(source)
        if reflects(source, tree):
            return _SOURCE + source
        words = _Rendering(tree, rename=not catches_names(tree)).parts
        return (
            _STRUCTURE + hashlib.blake2b(" ".join(words).encode("utf-8", "surrogatepass"), digest_size=20).hexdigest()
        )
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # ValueError: a null byte
        return _TEXT + re.sub(r"[ \t\r\f]*\n(?:[ \t\r\f]*\n)*", "\n", source + "\n").strip("\n")


def is_structural(canonical: str) -> bool:
    """Whether a canonical text stands for a syntax tree; False: it is the program's own text, little changed."""
    return canonical.startswith(_STRUCTURE)


def candidate_key(prompt: str, completion: str, language: str = "python") -> str:
    """The canonical text of a completion in its prompt's place.

    Where prompt and completion together are no Python program (a prompt in words, say), the completion alone is
    taken; the two kinds never equal each other.
    """
    whole = canonical_program(prompt + completion, language)
    if language != "python" or not whole.startswith(_TEXT):
        return whole
    return "completion " + canonical_program(completion, language)


class _Rendering:
    """Renders a tree into words, resolving each name to the scope that binds it."""

    def __init__(self, tree: ast.Module, rename: bool) -> None:
        self.parts: list[str] = []
        self._tree = tree
        self._rename = rename
        self._scope = Scope("module", None)
        self._numbers = 0
        self._known_calls: Calls | None = None
        self._value(tree)

    @property
    def _calls(self) -> Calls:
        if self._known_calls is None:  # only programs with nested functions or lambdas need this walk
            self._known_calls = Calls(self._tree)
        return self._known_calls

    def _name(self, name: str) -> str:
        """A number for a private name, else the name itself."""
        scope = self._scope.owner(name) if self._rename and "__" not in name else None  # `__`: class-private mangling
        if scope is None or name in scope.kept:
            return name
        if name not in scope.numbers:
            scope.numbers[name] = str(self._numbers)
            self._numbers += 1
        return scope.numbers[name]

    def _value(self, value: object) -> None:
        if isinstance(value, ast.AST):
            handler = _HANDLERS.get(type(value))
            if handler is None:
                self._node(value)
            else:
                handler(self, value)
        elif isinstance(value, list):
            self.parts.append("[")
            for item in value:
                # A constant as a statement (a docstring, `...`) does nothing.
                if not (type(item) is ast.Expr and type(item.value) is ast.Constant):
                    self._value(item)
            self.parts.append("]")
        elif isinstance(value, int) and not isinstance(value, bool):
            self.parts.append(hex(value))  # `repr` refuses integers of more than 4,300 digits
        else:
            self.parts.append(repr(value))

    def _node(self, node: ast.AST) -> None:
        kind = type(node)
        fields = _FIELDS.get(kind)
        if fields is None:
            fields = _FIELDS[kind] = tuple(field for field in node._fields if field not in _UNREAD)
        self.parts.append("(" + kind.__name__)
        for field in fields:
            self._value(getattr(node, field, None))
        self.parts.append(")")

    def _simple_name(self, node: ast.Name) -> None:
        self.parts.append(self._name(node.id))

    def _named(self, node: ast.AST, field: str) -> None:
        """A node with one field that is a variable's name, and others."""
        name = getattr(node, field)
        self.parts.append(f"({type(node).__name__} {'None' if name is None else self._name(name)}")
        for other in node._fields:
            if other != field:
                self._value(getattr(node, other))
        self.parts.append(")")

    def _nonlocal(self, node: ast.Nonlocal) -> None:
        self.parts += ["(Nonlocal", *[self._name(name) for name in node.names], ")"]

    def _alias(self, node: ast.alias) -> None:
        self.parts += ["(alias", repr(node.name), "None" if node.asname is None else self._name(node.asname), ")"]

    def _class(self, node: ast.ClassDef) -> None:
        self.parts.append("(ClassDef " + self._name(node.name))
        for value in (node.decorator_list, node.bases, node.keywords):
            self._value(value)
        self._inside(Scope("class", self._scope, *bindings(node.body)), node.body)
        self.parts.append(")")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        name = self._name(node.name)
        self.parts.append(f"({type(node).__name__} {name}")
        for value in (node.decorator_list, node.returns):
            self._value(value)
        private = self._scope.kind == "function" and name != node.name and self._calls.stays_inside(node)
        self._body(node.args, node.body, private)

    def _lambda(self, node: ast.Lambda) -> None:
        self.parts.append("(Lambda")
        variable = self._calls.variable_of(node)
        private = self._calls.passed_on(node) or (variable is not None and self._name(variable) != variable)
        self._body(node.args, [node.body], private)

    def _body(self, arguments: ast.arguments, body: list[ast.stmt] | list[ast.expr], private: bool) -> None:
        scope = Scope("function", self._scope, *bindings(body))
        by_position = [*arguments.posonlyargs, *filter(None, (arguments.vararg, arguments.kwarg))]
        by_keyword = [*arguments.args, *arguments.kwonlyargs]
        scope.bound.update(argument.arg for argument in (*by_position, *by_keyword))
        scope.kept.update(a.arg for a in by_keyword if not private or self._calls.by_keyword(a.arg))
        for kind in ("posonlyargs", "args", "vararg", "kwonlyargs", "kwarg"):
            value = getattr(arguments, kind)
            self.parts.append(kind)
            for argument in value if isinstance(value, list) else filter(None, [value]):
                self._value(argument.annotation)
                self._scope, outer = scope, self._scope
                self.parts.append(self._name(argument.arg))
                self._scope = outer
        self._value(arguments.defaults)
        self._value(arguments.kw_defaults)
        self._inside(scope, body)
        self.parts.append(")")

    def _comprehension(self, node: ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp) -> None:
        self.parts.append("(" + type(node).__name__)
        self._value(node.generators[0].iter)  # the only part that the enclosing scope evaluates
        self._scope, outer = Scope("function", self._scope, targets(node)), self._scope
        for index, generator in enumerate(node.generators):
            self.parts.append("for async" if generator.is_async else "for")
            self._value(generator.target)
            if index:
                self._value(generator.iter)
            self._value(generator.ifs)
        for field in ("elt", "key", "value"):
            if hasattr(node, field):
                self._value(getattr(node, field))
        self._scope = outer
        self.parts.append(")")

    def _inside(self, scope: Scope, body: object) -> None:
        self._scope, outer = scope, self._scope
        self._value(body)
        self._scope = outer


_HANDLERS: dict[type, Callable[[_Rendering, Any], None]] = {
    ast.Name: _Rendering._simple_name,
    ast.Nonlocal: _Rendering._nonlocal,
    ast.alias: _Rendering._alias,
    ast.ClassDef: _Rendering._class,
    ast.Lambda: _Rendering._lambda,
    ast.MatchAs: lambda self, node: self._named(node, "name"),
    ast.MatchStar: lambda self, node: self._named(node, "name"),
    ast.MatchMapping: lambda self, node: self._named(node, "rest"),
    **dict.fromkeys(_FUNCTIONS, _Rendering._function),
    **dict.fromkeys(COMPREHENSIONS, _Rendering._comprehension),
}
