"""What the tests of a task need from the program, found once for a task: code objects and the names to ask for.

How a name in the tests is resolved, first match wins:
1. the task's `entry_point`: the program's, always;
2. names that the tests themselves or the task's `setup` define;
3. names that the task's prompt defines, where the prompt is Python source (HumanEval's helper functions): the
   prompt's own definitions are used, not what the program made of them;
4. builtins, then modules of the standard library: the tester's own, so a program can't replace what decides;
5. the rest is asked of the program.
"""

from __future__ import annotations

import ast
import builtins
import json
import symtable
import sys
from dataclasses import dataclass, field
from types import CodeType
from typing import Any

from .comparing import Rules
from .failing import Definition, can_fail, is_under_main
from .foreseen import ForeseenCall, foreseen_call
from .splitting import is_main_call, split_check, written_tests

_BUILTINS = frozenset(dir(builtins))


@dataclass
class Plan:
    """Compiled tests of one task.

    `source` runs first, if there is one. Then those of these run that are there: `asserts`, one by one; `check`, called
    by the judge; `written`, test functions and classes that `source` has defined; `calls`. A plan with none of them is
    decided by `source` alone.
    """

    source: CodeType | None = None
    lines: list[str] = field(default_factory=list)
    """Of the text that `source` and the definitions of `check` come from, to show the one that failed."""
    asserts: list[tuple[str, CodeType]] = field(default_factory=list)
    """(source, code) of statements counted one by one."""
    checks: list[CodeType] = field(default_factory=list)
    """Definitions of `check`, each with a part of its body that is counted as one test."""
    foreseen: list[ForeseenCall | None] = field(default_factory=list)
    """For each of `asserts` or `checks` the one call that it makes, where that is known."""
    calls_check: bool = False
    """`source` defines `check` and does not call it itself; where `checks` is empty it is one test."""
    written: list[str] = field(default_factory=list)
    calls: list[tuple[list[Any], Any]] = field(default_factory=list)
    """Arguments and expected result."""
    rules: Rules = field(default_factory=Rules)
    """How the results of `calls` are compared."""
    uses_mock: bool = False
    prelude: list[CodeType] = field(default_factory=list)
    """Run in the tester before the tests: helpers of the prompt, then the task's setup."""
    modules: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    """Asked of the program."""
    entry_point: str | None = None
    setup: str = ""
    """The part of the task's setup that does not depend on the program: also run before the program."""
    total: int = 1


class BadTests(Exception):
    """The task's tests do not compile or do not call anything: the data's fault."""


def make_plan(task: dict[str, Any]) -> Plan:
    """Compile a task's tests.

    Args:
        task: `tests` (source or list of statements) or `calls`, `entry_point`, `setup`, `prompt`, `comparison`.

    Raises:
        BadTests: the tests can't be used with any program.
    """
    tests = task["tests"]
    try:
        setup = ast.parse(task["setup"])
        if isinstance(tests, str):
            parts = [ast.parse(tests)]
            plan = _source_plan(parts[0], tests)
        else:
            parts = [ast.parse(text) for text in tests]
            codes = [compile(part, "<tests>", "exec", dont_inherit=True) for part in parts]
            plan = Plan(asserts=list(zip(tests, codes, strict=True)), total=len(tests))
        loads, defined = _names("\n".join([task["setup"], *([tests] if isinstance(tests, str) else tests)]))
    except (SyntaxError, ValueError) as error:
        raise BadTests(f"its tests or setup do not compile ({type(error).__name__}: {error})") from None
    _add_calls(plan, task)
    plan.entry_point = task["entry_point"] or _builtin_entry_point(parts, loads - defined - _BUILTINS)
    if plan.calls:
        loads |= {"Solution"}
    if plan.asserts:
        plan.foreseen = [foreseen_call(part.body, {plan.entry_point or ""}) for part in parts]
    free = loads - defined - _BUILTINS - {plan.entry_point}
    _refuse_tests_that_pass_everything(plan, [setup, *parts])
    plan.modules = sorted(free & sys.stdlib_module_names)
    free -= set(plan.modules)
    helpers = _prompt_definitions(task["prompt"], plan.entry_point) if free else None
    if helpers is not None and free & _bound(helpers):
        plan.prelude.append(compile(helpers, "<prompt>", "exec", dont_inherit=True))
        free -= _bound(helpers)
    own = _without_program(setup)
    plan.setup = ast.unparse(own)
    if setup.body:
        plan.prelude.append(compile(setup, "<setup>", "exec", dont_inherit=True))
    plan.names = sorted(free | ({plan.entry_point} if plan.entry_point else set()))
    return plan


def _source_plan(tree: ast.Module, text: str) -> Plan:
    """Tests that are one source: what in it is counted as a test."""
    if not tree.body:
        raise BadTests("its tests are empty")
    plan = Plan(lines=text.splitlines(), uses_mock="mock" in text)
    tree.body = [node for node in tree.body if not is_main_call(node)]
    plan.calls_check = _defines(tree, "check") and not _calls(tree, "check")
    checks = split_check(tree) if plan.calls_check else []
    plan.checks = [compile(part, "<tests>", "exec", dont_inherit=True) for part in checks]
    plan.foreseen = [_foreseen_in_check(part) for part in checks]
    if not plan.calls_check:
        plan.written = [name for name in written_tests(tree) if "." in name or not _calls(tree, name)]
    plan.source = compile(tree, "<tests>", "exec", dont_inherit=True)
    plan.total = len(plan.checks) or len(plan.written) or 1
    return plan


def _foreseen_in_check(definition: ast.Module) -> ForeseenCall | None:
    (function,) = definition.body
    assert isinstance(function, ast.FunctionDef)
    return foreseen_call(function.body, {arg.arg for arg in function.args.args[:1]})


def _add_calls(plan: Plan, task: dict[str, Any]) -> None:
    plan.rules = Rules(**task.get("comparison") or {})
    calls = task.get("calls") or []
    for number, call in enumerate(calls, 1):
        try:
            arguments = [json.loads(line) for line in call["input"].splitlines() if line.strip()]
            plan.calls.append((arguments, json.loads(call["output"])))
        except ValueError as error:
            raise BadTests(
                f"its inputs are calls of {task['entry_point']}, but number {number} is not JSON ({error}): give one "
                "argument a line and one expected value"
            ) from None
    if calls:
        own = 0 if plan.source is None and not plan.asserts else plan.total
        plan.total = own + len(calls)


def _refuse_tests_that_pass_everything(plan: Plan, parts: list[ast.Module]) -> None:
    if plan.calls:
        return
    if plan.calls_check and plan.entry_point is None:
        raise BadTests("its tests define check(candidate), so it needs an entry_point")
    called = {"check"} if plan.calls_check else {name.partition(".")[0] for name in plan.written}
    if not can_fail(parts, *called):
        raise BadTests(
            "its tests can't fail, so every program would pass: nothing that runs asserts, raises or exits (functions "
            "that nothing calls are not run, but for check(candidate) and test functions without parameters)"
        )


def _names(source: str) -> tuple[set[str], set[str]]:
    """Global names that a source reads in any scope, and those it binds at its top level."""
    loads: set[str] = set()
    top = symtable.symtable(source, "<tests>", "exec")
    tables = [top]
    while tables:
        table = tables.pop()
        tables += table.get_children()
        loads |= {s.get_name() for s in table.get_symbols() if s.is_referenced() and (table is top or s.is_global())}
    defined = {s.get_name() for s in top.get_symbols() if s.is_assigned() or s.is_imported() or s.is_namespace()}
    return loads, defined


def _defines(tree: ast.Module, name: str) -> bool:
    return any(isinstance(node, ast.FunctionDef) and node.name == name for node in tree.body)


def _calls(tree: ast.Module, name: str) -> bool:
    """Whether the top level calls a function of the top level, itself or by way of others."""
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    waiting = [node for node in tree.body if not isinstance(node, Definition) and not is_under_main(node)]
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == name:
                    return True
                waiting += [functions.pop(node.func.id)] if node.func.id in functions else []
    return False


def _builtin_entry_point(parts: list[ast.Module], free: set[str]) -> str | None:
    """Tests that name nothing but builtins test a function that is called like one (`def sum(a, b)`): the outermost
    name called first in every test."""
    if free:
        return None
    firsts = set()
    for part in parts:
        calls = [n.func.id for n in ast.walk(part) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)]
        firsts.add(calls[0] if calls else None)
    return firsts.pop() if len(firsts) == 1 else None


def _prompt_definitions(prompt: str, entry_point: str | None) -> ast.Module | None:
    """Imports, functions, classes and constants of a prompt that is Python source, but for what the program goes on
    with: the entry point, or the last function where none is named."""
    for source in (prompt, prompt.rstrip() + "\n    pass\n"):
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            continue
        kinds = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
        functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
        own = entry_point or (functions[-1] if functions else None)
        body: list[ast.stmt] = []
        body += [node for node in tree.body if isinstance(node, kinds) and getattr(node, "name", None) != own]
        return ast.Module(body, [])
    return None


def _bound(tree: ast.Module) -> set[str]:
    return _names(ast.unparse(tree))[1]


def _without_program(setup: ast.Module) -> ast.Module:
    """The statements of the setup that name nothing which only the program can define (`root = Node(1)` does)."""
    known = set(_BUILTINS)
    body = []
    for statement in setup.body:
        loads, defined = _names(ast.unparse(statement))
        if loads - defined <= known:
            body.append(statement)
            known |= defined
    return ast.Module(body, [])
