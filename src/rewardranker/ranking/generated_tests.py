"""Texts that a model wrote as tests of a function -> single assert statements, and the calls in them.

The rule is CodeT's (arXiv 2207.10397, section 3 and appendix A): the prompt ends in `assert `; a text is cut where the
word `assert` comes again and at the usual stop texts; of each text the first five valid statements count. Two things
are stricter here: of a piece only its assert statement is kept, and a statement that every program passes
(`assert (f(1), 2)`, a tuple) or that could keep the judge busy by itself (`9**9**9`) is left out.

Not guaranteed: that a test is right; that is what the rankers weigh.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
"""Where a piece has left its statement."""
PER_TEXT = 5
"""Statements that count of each text (CodeT's `test_case_limit`)."""
_LARGE = 1_000_000
_REFUSED_CALLS = frozenset(
    {"__import__", "breakpoint", "compile", "delattr", "eval", "exec", "exit", "getattr", "globals", "help", "input"}
    | {"open", "print", "quit", "setattr", "vars"}
)
"""Builtins that reach beyond values."""


@dataclass(frozen=True, slots=True)
class GeneratedTests:
    """The distinct tests drawn for a task, the most often drawn first."""

    task_id: str
    tests: tuple[str, ...]
    """Assert statements, in the form `ast.unparse` gives them."""
    counts: tuple[int, ...]
    """How often each was drawn."""
    texts: int = 0
    """Number of texts that they were found in."""


def extract_tests(
    task_id: str, texts: Iterable[str], entry_point: str, *, per_text: int = PER_TEXT, limit: int | None = None
) -> GeneratedTests:
    """The tests in a model's texts.

    Args:
        texts: what the model wrote after a prompt that ends in `assert `; one that begins with the word itself is
            read alike.
        entry_point: the function that a test has to call.
        per_text: of each text only the first so many count.
        limit: keep the so many that were drawn most often; None: all. Of equally frequent ones the first drawn stay.
    """
    counts: dict[str, int] = {}
    total = 0
    for text in texts:
        total += 1
        found = list(_statements(text, entry_point))[:per_text]
        for test in found:
            counts[test] = counts.get(test, 0) + 1
    order = sorted(counts, key=lambda test: -counts[test])[:limit]
    return GeneratedTests(task_id, tuple(order), tuple(counts[test] for test in order), total)


def _statements(text: str, entry_point: str) -> Iterator[str]:
    for piece in text.split("assert "):
        if entry_point not in piece:
            continue
        for stop in STOP:
            piece = piece.split(stop)[0]
        statement = _assertion(piece, entry_point)
        if statement is not None:
            yield statement


def _assertion(piece: str, entry_point: str) -> str | None:
    tree = _parse("assert " + piece.strip())
    if tree is None or not tree.body or not isinstance(tree.body[0], ast.Assert):
        return None
    test = tree.body[0].test
    always_true = isinstance(test, ast.Tuple | ast.List | ast.Dict | ast.Lambda | ast.Constant)
    if always_true or not _calls(tree.body[0], entry_point) or not is_bounded(tree.body[0], entry_point):
        return None
    try:
        return ast.unparse(ast.Assert(test))  # a message would be one more thing to evaluate
    except (ValueError, RecursionError):
        return None


def _parse(source: str) -> ast.Module | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `assert (x, y)`, invalid escapes
            tree = ast.parse(source)
            compile(tree, "<test>", "exec", dont_inherit=True)  # refuses what parses only: `await` outside of async
            return tree
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _calls(node: ast.AST, name: str) -> bool:
    return any(_is_call_of(child, name) for child in ast.walk(node))


def _is_call_of(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name


def is_bounded(node: ast.AST, entry_point: str) -> bool:
    """Whether a test's own part looks as if it ended soon and touched nothing.

    Calls are not of builtins that touch the process; numbers in powers, repetitions and ranges are small; there is at
    most one loop. What goes through nevertheless (`math.factorial(10**9)`) is found by trying it: `usable_tests`.
    """
    loops = 0
    for child in ast.walk(node):
        if isinstance(child, ast.Call) and isinstance(child.func, ast.Name):
            name = child.func.id
            if name == "range" and any(_size(arg) > _LARGE for arg in child.args):
                return False
            if name != entry_point and name in _REFUSED_CALLS:
                return False
        elif isinstance(child, ast.BinOp) and isinstance(child.op, ast.Pow | ast.LShift):
            if _size(child.right) > 64 or _size(child.left) > _LARGE:
                return False
        elif isinstance(child, ast.BinOp) and isinstance(child.op, ast.Mult):
            texts = (ast.List, ast.Tuple, ast.JoinedStr)
            sides = (child.left, child.right)
            repeats = any(isinstance(s, texts) or _is_text(s) for s in sides)
            if repeats and max(_size(side) for side in sides) > _LARGE:
                return False
        elif isinstance(child, ast.Attribute) and child.attr.startswith("__"):
            return False
        elif isinstance(child, ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
            loops += len(child.generators)
    return loops <= 1


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str | bytes)


def _size(node: ast.AST) -> float:
    """An upper bound of a whole number made of constants; infinite where it is not one. Texts have no size."""
    if isinstance(node, ast.Constant):
        return abs(node.value) if isinstance(node.value, int | float) else 0.0
    if isinstance(node, ast.UnaryOp):
        return _size(node.operand)
    if isinstance(node, ast.List | ast.Tuple):
        return 0.0
    if isinstance(node, ast.BinOp):
        left, right = _size(node.left), _size(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            return left + right
        if isinstance(node.op, ast.Mult):
            return left * right if left and right else 0.0
        if isinstance(node.op, ast.Div | ast.FloorDiv | ast.Mod):
            return max(left, right)
        if isinstance(node.op, ast.Pow) and right <= 64 and left <= _LARGE:
            return float(left) ** right
        return float("inf")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("len", "ord", "abs"):
        return max((_size(arg) for arg in node.args), default=0.0)
    return float("inf")


# --- inputs -----------------------------------------------------------------------------------------------------


def extract_calls(tests: GeneratedTests, entry_point: str, limit: int | None = None) -> tuple[str, ...]:
    """The distinct calls of the function in a task's tests whose arguments are literals, as source text.

    They are the inputs on which rankers by execution compare what programs return (MBR-Exec, SRank).

    Args:
        limit: keep the so many that occur most often, weighted by how often their tests were drawn; None: all.
    """
    counts: dict[str, int] = {}
    for test, count in zip(tests.tests, tests.counts, strict=True):
        for node in ast.walk(ast.parse(test)):
            if _is_call_of(node, entry_point) and _is_literal_call(node):
                text = ast.unparse(node)
                counts[text] = counts.get(text, 0) + count
    return tuple(sorted(counts, key=lambda call: -counts[call])[:limit])


def _is_literal_call(node: ast.AST) -> bool:
    assert isinstance(node, ast.Call)
    if any(keyword.arg is None for keyword in node.keywords):
        return False
    try:
        for value in (*node.args, *(keyword.value for keyword in node.keywords)):
            ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
