"""`benchmarks/gpu_suite.sh`: its plan, its refusals, how it goes on, and all its pieces in small on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SUITE = Path(__file__).parents[1] / "benchmarks" / "gpu_suite.sh"


def suite(*arguments: str, python: str = sys.executable) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHON": python, "PROCESSES": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.run([str(SUITE), *arguments], capture_output=True, text=True, env=environment)


def table(out: Path) -> dict[str, tuple[str, str]]:
    """Word and reason of each piece."""
    rows = [[cell.strip() for cell in line.split("|")] for line in (out / "summary.md").read_text().splitlines()[2:]]
    return {row[1]: (row[2], row[4]) for row in rows}


def test_a_dry_run_prints_every_piece_and_runs_none(tmp_path: Path) -> None:
    done = suite("--dry-run", "--output", str(tmp_path / "out"), "--data", "DATA")
    assert done.returncode == 0, done.stderr
    pieces = [line.split(":")[0] for line in done.stdout.splitlines()]
    sizes = [f"{kind}-{size}" for size in ("135m", "1.3b") for kind in ("model", "throughput", "sampling")]
    assert pieces[:12] == ["tests", *sizes, "quickstart", "reward", "scoring", "loop", "control"]
    assert pieces[12:14] == ["humaneval", "multipl-e-cpp"]
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


@pytest.mark.parametrize(
    ("arguments", "words"), [(["--minutes"], "--minutes needs a value"), (["--minutes", "ten"], "not 'ten'")]
)
def test_a_wrong_option_is_refused(arguments: list[str], words: str) -> None:
    done = suite(*arguments)
    assert done.returncode == 2
    assert words in done.stderr


def fake_python(folder: Path) -> str:
    """An interpreter whose pieces do as the file `does` says; its checks are the real one's."""
    path = folder / "python"
    path.write_text(
        f'#!/bin/sh\ncase "$1" in -c) exec {sys.executable} "$@" ;; esac\n'
        f'echo "$*" >> {folder}/called\n'
        f'case "$*" in "-m pytest"*) . {folder}/does ;; *gpu_throughput*) exit 0 ;; esac\n'
    )
    path.chmod(0o755)
    return str(path)


def test_what_fails_is_tried_again_after_the_rest_and_what_is_done_is_not_repeated(tmp_path: Path) -> None:
    out, python = tmp_path / "out", fake_python(tmp_path)
    call = ("--tiny", "--output", str(out), "--only", "tests,model-tiny,throughput-tiny,scoring")
    (tmp_path / "does").write_text("echo broken; exit 7")
    first = suite(*call, python=python)
    assert first.returncode == 1, first.stdout + first.stderr
    assert table(out) == {
        "tests": ("failed", f"exit status 7, see {out}/tests.log"),
        "model-tiny": ("done", ""),
        "throughput-tiny": ("done", ""),
        "scoring": ("skipped", "--data was not given"),
    }
    assert "broken" in (out / "tests.log").read_text()
    (tmp_path / "does").write_text("exit 0")
    (tmp_path / "called").unlink()
    (out / ".state" / "throughput-tiny").unlink()
    again = suite(*call, python=python)
    assert again.returncode == 0, again.stdout
    called = (tmp_path / "called").read_text().splitlines()
    assert ["gpu_throughput" in called[0], "-m pytest" in called[1], len(called)] == [True, True, 2]


def test_it_stops_before_the_minutes_are_over_and_says_that_something_is_left(tmp_path: Path) -> None:
    out, python = tmp_path / "out", fake_python(tmp_path)
    done = suite("--tiny", "--minutes", "0", "--output", str(out), "--only", "tests,scoring", python=python)
    assert done.returncode == 3
    assert table(out)["tests"] == ("left", "no time before --minutes 0")
    assert not (tmp_path / "called").exists()


@pytest.mark.slow
def test_all_pieces_run_in_small_and_are_not_repeated(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = suite("--tiny", "--output", str(out))
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = table(out)
    ran = {name for name, (word, _) in found.items() if word == "done"}
    assert ran >= {
        "tests",
        "model-tiny",
        "throughput-tiny",
        "sampling-tiny",
        "quickstart",
        "loop",
        "control",
        "humaneval",
    }
    assert {word for word, _ in found.values()} <= {"done", "skipped"}
    parts = json.loads((out / "throughput-tiny.json").read_text())["parts"]
    assert set(parts) == {"SFT", "reward training", "scoring", "sampling", "PPO"}
    assert all(part["tokens_per_second"] > 0 for part in parts.values())
    assert (out / "runs" / "control" / "report.html").exists()
    assert (out / "humaneval" / "evaluation.json").exists()
    again = suite("--tiny", "--output", str(out))
    assert again.returncode == 0
    assert again.stdout.count(": done") == len(ran)
