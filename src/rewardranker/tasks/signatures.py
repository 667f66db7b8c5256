"""The signature of a Python task's function: its name and the names of its parameters.

Written in any style: `hasCloseElements(numbers)` is `has_close_elements(numbers)`. Names that data sets give to the
functions of all their tasks say nothing and have no signature.
"""

from __future__ import annotations

import ast
import re
import warnings

from rewardranker.types import Task

GENERIC = frozenset(
    {
        *("f", "fn", "fun", "func", "function", "foo", "solve", "solver", "solution", "main", "run", "test", "check"),
        *("candidate", "answer", "result", "calculate", "compute", "process", "taskfunc", "myfunction"),
    }
)


def signature(task: Task) -> str:
    """`name(first, second)` in lower case without underscores; empty where there is none.

    Looked for in the program (prompt and reference), else in the prompt's text, where starter code may be shown.
    """
    if task.language != "python" or not task.entry_point or _plain(task.entry_point) in GENERIC:
        return ""
    parameters = _from_program(task)
    if parameters is None:
        parameters = _from_text(task)
    if parameters is None:
        return ""
    return f"{_plain(task.entry_point)}({', '.join(_plain(name) for name in parameters)})"


def _from_program(task: Task) -> list[str] | None:
    for text in (task.prompt + (task.reference or ""), task.prompt + "\n    pass\n"):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == task.entry_point:
                names = [argument.arg for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                return _without_self(names)
    return None


def _from_text(task: Task) -> list[str] | None:
    match = re.search(rf"\bdef +{re.escape(task.entry_point or '')} *\(([^()]*)\)", task.prompt)
    if match is None:
        return None
    parts = [re.match(r"\s*\**(\w+)", part) for part in re.sub(r"\[[^\[\]]*\]", "", match[1]).split(",")]
    return _without_self([part[1] for part in parts if part])


def _without_self(names: list[str]) -> list[str]:
    return names[1:] if names[:1] == ["self"] else names


def _plain(name: str) -> str:
    return name.lower().replace("_", "")
