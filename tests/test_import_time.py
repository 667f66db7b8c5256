"""`import rewardranker` and `rewardranker --help` answer at once: measured in fresh interpreters."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

LIMIT = 0.3
"""CPU seconds, the best of `RUNS`: other load on the machine only adds (to the wall clock far more)."""
RUNS = 7

HEAVY = {"torch", "transformers", "numpy", "pydantic", "matplotlib"}


def loaded_by(code: str) -> set[str]:
    """Top-level modules in `sys.modules` after `code` ran in a fresh interpreter."""
    probe = f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]), file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in json.loads(result.stderr.splitlines()[-1])}


def best_time(*arguments: str) -> float:
    times = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        if times[-1] < LIMIT:
            break
    return min(times)


def test_a_slow_import_would_be_seen() -> None:
    busy = f"import time\nwhile time.process_time() < {LIMIT}: pass"
    assert best_time("-c", busy) > LIMIT


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
    import rewardranker

    for name in rewardranker.__all__:
        assert getattr(rewardranker, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nosuch'"):
        _ = rewardranker.nosuch
