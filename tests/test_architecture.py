"""Data walks one way: foundation <- stages <- loop <- command line, and stages do not import each other."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import rewardranker

ROOT = Path(rewardranker.__file__).parent
LOOP = {"rollouts", "selftraining", "measuring", "ablations", "executing", "calling"}
ABOVE = {"serving", "cli", "__main__"}
FOUNDATION_FOLDERS = {"training"}
HEAVY = {"torch", "transformers", "numpy", "pydantic", "matplotlib", "jinja2", "rich", "yaml", "datasets", "peft"}
HEAVY |= {"fastapi", "starlette", "uvicorn", "prometheus_client", "httpx2"}
ONE_PLACE = {
    "fastapi": "serving.app",
    "starlette": "serving.app",
    "uvicorn": "serving.server",
    "prometheus_client": "serving.metrics",
}
"""Packages of extras that one module alone may import when it is imported."""

FOUNDATION, STAGE, LOOP_LAYER, TOP = range(4)


def layer(part: str) -> int:
    """The layer of a direct child of the package: a new file is foundation, a new folder a stage unless named."""
    if part in ABOVE:
        return TOP
    if part in LOOP:
        return LOOP_LAYER
    return STAGE if (ROOT / part).is_dir() and part not in FOUNDATION_FOLDERS else FOUNDATION


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Dotted name inside the package, and the parsed source, of every module but the lazy `__init__`."""
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts != ("__init__",):
            yield ".".join(part for part in parts if part != "__init__"), ast.parse(path.read_text())


def imported(tree: ast.AST, module: str) -> Iterator[str]:
    """Dotted names of all absolute imports below a node, also those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level <= 1, f"{module}: an import from a folder above has to be absolute"
            if node.level == 0:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def backward(module: str, tree: ast.AST) -> list[str]:
    """The imports of a module that run against the layers."""
    own = module.split(".")[0]
    wrong = []
    for name in imported(tree, module):
        if not name.startswith("rewardranker."):
            continue
        other = name.split(".")[1]
        same_layer_is_fine = layer(own) in (FOUNDATION, LOOP_LAYER, TOP)
        if other != own and (layer(other) > layer(own) or (layer(other) == layer(own) and not same_layer_is_fine)):
            wrong.append(f"{module} imports {name}")
    return wrong


def at_import(tree: ast.Module) -> Iterator[str]:
    """Top-level names imported when the module is, so neither in a function nor for type checkers only."""

    def walk(node: ast.AST) -> Iterator[ast.AST]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            yield child
            yield from walk(child)

    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def test_no_import_runs_back() -> None:
    found = list(modules())
    assert len(found) > 20
    assert [line for module, tree in found for line in backward(module, tree)] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("config", "from rewardranker.tasks import load_tasks"),
        ("tasks.loaders", "def f():\n    from rewardranker.reward import RewardRanker"),
        ("report.page", "import rewardranker.selftraining"),
        ("selftraining", "from rewardranker import cli"),
    ],
)
def test_an_import_that_runs_back_is_seen(module: str, source: str) -> None:
    assert len(backward(module, ast.parse(source))) == 1


def test_command_line_modules_import_nothing_heavy_at_their_top() -> None:
    heavy = {module: HEAVY & {*at_import(tree)} for module, tree in modules() if module.split(".")[0] == "cli"}
    assert len(heavy) > 5
    assert {module: names for module, names in heavy.items() if names} == {}


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("import torch.nn", ["torch"]),
        ("try:\n    from torch import nn\nexcept ImportError:\n    pass", ["torch"]),
        ("def f():\n    import torch", []),
        ("if TYPE_CHECKING:\n    import torch", []),
    ],
)
def test_only_imports_at_the_top_count_as_such(source: str, names: list[str]) -> None:
    assert list(at_import(ast.parse(source))) == names


@pytest.mark.parametrize("package", ONE_PLACE)
def test_a_package_of_an_extra_is_imported_in_one_place(package: str) -> None:
    assert [module for module, tree in modules() if package in at_import(tree)] == [ONE_PLACE[package]]
