"""Calls of the program that are known before the tests run: `assert f(1, [2]) == 3` calls f with 1 and [2].

The tester may send such calls ahead, one after the other, and need not wait for an answer before the next question.
Nothing else changes: the program is called in the same order with the same arguments, also when a test fails, and each
answer is compared when its test runs. So a call is foreseen only where a test makes exactly this one, whatever the
program does, and asks nothing more of the answer than the builtin objects in it: no length, no item, no message.
"""

from __future__ import annotations

import ast
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from .wire import Codec

_ARITHMETIC = ast.Add | ast.Sub | ast.Mult | ast.Div
_COMPARISONS = ast.Eq | ast.NotEq | ast.Is | ast.IsNot | ast.Lt | ast.LtE | ast.Gt | ast.GtE


_PLAIN = Codec(lambda value: {}, lambda tagged: None)


@dataclass(frozen=True)
class ForeseenCall:
    args: tuple[Any, ...]
    text: str
    """`args` as they are sent."""


def foreseen_call(body: list[ast.stmt], names: Collection[str]) -> ForeseenCall | None:
    """The one call that a test makes; None where it makes another number or is not that plain.

    Args:
        names: what the test calls the program's function.
    """
    calls: list[ast.Call] = []
    match body:
        case [ast.Assert(test, message)] if message is None or _is_literal(message):
            if not _is_plain(test, names, calls) or len(calls) != 1:
                return None
        case _:
            return None
    args = tuple(ast.literal_eval(arg) for arg in calls[0].args)
    return ForeseenCall(args, _PLAIN.dumps([_PLAIN.plain(arg) for arg in args]).decode("ascii"))


def _is_plain(node: ast.expr, names: Collection[str], calls: list[ast.Call]) -> bool:
    """Whether evaluating this makes the calls that are added to `calls`, and can do nothing before or beside them."""
    match node:
        case ast.Call(ast.Name(name), args, []) if name in names:
            calls.append(node)
            return all(_is_literal(arg) for arg in args)
        case ast.Call(ast.Name("abs"), [inner], []):
            return _is_plain(inner, names, calls)
        case ast.UnaryOp(ast.Not() | ast.USub(), inner):
            return _is_plain(inner, names, calls)
        case ast.BinOp(left, operator, right) if isinstance(operator, _ARITHMETIC):
            return _are_plain([left, right], names, calls)
        case ast.Compare(left, [operator], [right]) if isinstance(operator, _COMPARISONS):
            return _are_plain([left, right], names, calls)
    return False


def _are_plain(nodes: list[ast.expr], names: Collection[str], calls: list[ast.Call]) -> bool:
    """One of two calls, the other is a literal: evaluating that can't fail."""
    return sum(_is_literal(node) for node in nodes) == 1 and all(
        _is_literal(node) or _is_plain(node, names, calls) for node in nodes
    )


def _is_literal(node: ast.expr) -> bool:
    try:
        ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return False
    return True
