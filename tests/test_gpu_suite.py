"""`benchmarks/gpu_suite.sh`: its plan, its refusals, and all its steps in small on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SUITE = Path(__file__).parents[1] / "benchmarks" / "gpu_suite.sh"


def suite(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": sys.executable, "PROCESSES": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(SUITE), *arguments], capture_output=True, text=True, env=environment)


def test_a_dry_run_prints_every_step_and_runs_none(tmp_path: Path) -> None:
    done = suite("--dry-run", "--output", str(tmp_path / "out"), "--data", "DATA")
    assert done.returncode == 0, done.stderr
    steps = [line.split(":")[0] for line in done.stdout.splitlines()]
    assert steps[:9] == [
        "tests", "quickstart", "throughput", "scoring", "reward", "ppo", "sampling", "loop", "control",
    ]  # fmt: skip
    assert "humaneval" in steps
    assert "multipl-e-cpp" in steps
    assert not (tmp_path / "out").exists()


def test_every_script_that_it_calls_is_there() -> None:
    plan = suite("--dry-run", "--data", "DATA").stdout
    scripts = {word for word in plan.split() if word.startswith("benchmarks/") and word.endswith(".py")}
    assert len(scripts) == 5
    assert [script for script in scripts if not (SUITE.parents[1] / script).exists()] == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_what_to_do(tmp_path: Path) -> None:
    done = suite("--output", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "no CUDA device here: --tiny" in done.stderr


@pytest.mark.slow
def test_all_steps_run_in_small_and_are_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = suite("--tiny", "--output", str(out))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((out / "throughput.json").read_text())["parts"]["scoring"]["tokens_per_second"] > 0
    assert (out / "runs" / "control" / "report.html").exists()
    assert (out / "humaneval" / "evaluation.json").exists()
    again = suite("--tiny", "--output", str(out))
    assert again.returncode == 0
    assert again.stdout.count(": done") == len(list((out / ".done").iterdir())) >= 7
