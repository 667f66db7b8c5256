"""`import rewardranker` and `rewardranker --help` answer at once: measured in fresh interpreters."""

from __future__ import annotations

import ast
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import rewardranker

LIMIT = 0.3
"""CPU seconds, the best of `RUNS`: other load on the machine only adds (to the wall clock far more)."""
RUNS = 7

HEAVY = {"torch", "transformers", "numpy", "pydantic", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in `sys.modules` after `code` ran in a fresh interpreter."""
    probe = f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}


def best_time(*arguments: str, runs: int = RUNS) -> float:
    times = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if times[-1] < LIMIT:
            break
    return min(times)


def test_a_slow_import_would_be_seen() -> None:
    busy = f"import time\nwhile time.process_time() < {LIMIT}: pass"
    assert best_time("-c", busy, runs=2) > LIMIT


@pytest.mark.parametrize("arguments", [("-c", "import rewardranker"), ("-m", "rewardranker", "--help")])
def test_under_the_limit(arguments: tuple[str, ...]) -> None:
    assert best_time(*arguments) < LIMIT


def test_import_loads_nothing_heavy() -> None:
    assert loaded_by("import rewardranker; rewardranker.__version__") & HEAVY == set()


def test_help_loads_every_command_and_nothing_heavy() -> None:
    loaded = loaded_by("from rewardranker.cli import main; main(['--help'])")
    assert loaded & HEAVY == set()
    assert "rewardranker" in loaded


@pytest.mark.parametrize("stage", ["tasks", "execution", "preference", "ranking", "evaluation", "report"])
def test_stages_without_models_do_not_load_torch(stage: str) -> None:
    assert "torch" not in loaded_by(f"import rewardranker.{stage}")


def test_public_names_are_all_there() -> None:
    """Those whose module loads no torch are used; of the rest the definition is looked for in the source."""
    heavy = set()
    for name in rewardranker.__all__:
        module, _, attribute = rewardranker._PUBLIC.get(name, "").partition(":")
        if module in ("generation", "reward"):
            heavy.add(name)
            assert attribute in bound(f"rewardranker.{module}"), name
        else:
            assert getattr(rewardranker, name) is not None
    assert heavy == {"RewardRanker", "sample"}


def bound(module: str) -> set[str]:
    """Names that the source of a package's `__init__` imports from modules that define them."""
    names = set()
    for node in ast.parse(source(module)).body:
        if isinstance(node, ast.ImportFrom) and node.module:
            defined = {
                d.name for d in ast.parse(source(node.module)).body if isinstance(d, ast.ClassDef | ast.FunctionDef)
            }
            names |= {alias.asname or alias.name for alias in node.names if alias.name in defined}
    return names


def source(module: str) -> str:
    path = Path(rewardranker.__file__).parent.joinpath(*module.split(".")[1:])
    return (path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text()


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = rewardranker.nosuch
