"""`rewardranker judge` as a user calls it: both forms of input, its options, errors, interruption."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from rewardranker.cli import main

ROW = {
    "task_id": "add",
    "language": "py",
    "prompt": "def add(a, b):\n",
    "completion": "    return a + b\n",
    "tests": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}
WRONG = {**ROW, "completion": "    return a - b\n"}
SPIN = {**ROW, "completion": "    while True: pass\n"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, *rows: dict[str, Any]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


def verdicts(name: str = "out.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(name).read_text().splitlines()]


def judge(*arguments: str) -> int:
    return main(["judge", *arguments, "--workers", "1", "--output", "out.jsonl"])


def test_rows_with_their_own_tests_need_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(write("in.jsonl", ROW, WRONG, ROW), "--timeout", "1") == 0
    assert [row["passed"] for row in verdicts()] == [True, False, True]
    told = capsys.readouterr().out
    for line in (
        "programs: 3",
        "pass rate: 0.6667",
        "by status: passed 2, wrong answer 1",
        "by language: python 3",
        "passed by language: python 2",
        "written: out.jsonl",
    ):
        assert line in told.splitlines()
    assert "programs per second: " in told
    assert f"isolation: {verdicts()[0]['isolation']}" in told


def test_samples_are_judged_by_the_tests_of_their_tasks() -> None:
    write("tasks.jsonl", {"task_id": "a", "prompt": "", "entry_point": "f", "tests": ["assert f() == 1"]})
    sample = {"task_id": "a", "sample_id": 0, "text": "", "completion": "", "program": "def f(): return 1"}
    # With --tasks a row's own tests do not count.
    write("in.jsonl", sample, {**sample, "sample_id": 1, "program": "", "tests": "assert True"})
    assert judge("in.jsonl", "--tasks", "tasks.jsonl") == 0
    assert [(row["sample_id"], row["passed"]) for row in verdicts()] == [(0, True), (1, False)]


def test_the_time_limit_reaches_the_judge() -> None:
    assert judge(write("in.jsonl", SPIN), "--timeout", "0.3") == 0
    (row,) = verdicts()
    assert row["status"] == "timeout"
    assert 0.25 < row["cpu_seconds"] < 2


def test_a_cache_is_shared_by_calls() -> None:
    write("in.jsonl", ROW, WRONG)
    assert judge("in.jsonl", "--cache", "1e3") == 0  # a name that YAML would read as a number
    Path("out.jsonl").unlink()
    assert judge("in.jsonl", "--cache", "1e3") == 0
    assert [(row["passed"], row["cached"]) for row in verdicts()] == [(True, True), (False, True)]


def test_the_options_of_isolation_are_the_recipes(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--isolation", "rlimits", "--allow-unsafe", "--no-canary", "--cache", "c.db", "--dry-run")
    assert judge(write("in.jsonl", ROW, {**ROW, "language": "cpp"}), *options) == 0
    told = capsys.readouterr().out.splitlines()
    for line in ("  isolation: rlimits", "  allow_unsafe: true", "  canary: false", "  cache: c.db"):
        assert line in told
    assert "# python: 1 programs with their own tests" in told
    assert "# cpp: 1 programs with their own tests" in told
    assert not Path("c.db").exists()


def test_a_dry_run_finds_bad_rows(capsys: pytest.CaptureFixture[str]) -> None:
    assert judge(write("in.jsonl", ROW, {**ROW, "completion": None}), "--dry-run") == 3
    told = capsys.readouterr()
    assert "error: in.jsonl:2: column 'completion' is missing" in told.err
    assert told.out == ""


def test_a_bad_row_keeps_what_was_judged(capsys: pytest.CaptureFixture[str]) -> None:
    with open(write("in.jsonl", ROW, WRONG), "a") as file:
        file.write('{"task_id": "add", "langu')
    assert judge("in.jsonl") == 3
    assert "in.jsonl:3: the last line is cut off" in capsys.readouterr().err
    assert len(verdicts()) == 2
    write("in.jsonl", ROW, WRONG, SPIN)
    assert judge("in.jsonl", "--timeout", "0.3") == 0
    assert [row["status"] for row in verdicts()] == ["passed", "wrong answer", "timeout"]


def test_a_language_without_toolchain_is_named_with_its_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from rewardranker.execution import languages

    monkeypatch.setattr(languages, "toolchain", lambda language: None)
    assert judge(write("in.jsonl", {**ROW, "language": "swift"})) == 7
    assert "in.jsonl:1: Swift programs can't be judged on this machine" in capsys.readouterr().err


def test_ray_that_is_missing_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert judge(write("in.jsonl", ROW), "--executor", "ray") == 5
    assert "pip install 'rewardranker[ray]'" in capsys.readouterr().err
    assert not Path("out.jsonl").exists()


def start(*rows: dict[str, Any]) -> subprocess.Popen[str]:
    command = ["judge", write("in.jsonl", *rows), "--workers", "1", "--timeout", "1", "--output", "out.jsonl"]
    return subprocess.Popen([sys.executable, "-m", "rewardranker", *command], stderr=subprocess.PIPE, text=True)


def wait_for(lines: int) -> None:
    end = time.monotonic() + 60
    while not Path("out.jsonl").exists() or len(Path("out.jsonl").read_bytes().splitlines()) < lines:
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_and_gone_on_with(how: signal.Signals) -> None:
    """While a slow program runs, what was judged before it is in the file; the same call then judges the rest."""
    rows = [{**ROW, "completion": f"    return a + b + {i}\n"} for i in range(5)]
    process = start(*rows, SPIN, ROW)
    wait_for(5)
    os.kill(process.pid, how)
    told = process.communicate()[1]
    if how == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on where it stopped" in told
        assert "Traceback" not in told
    before = Path("out.jsonl").read_bytes()
    assert before.count(b"\n") in (5, 6, 7)
    assert judge("in.jsonl", "--timeout", "1") == 0
    assert Path("out.jsonl").read_bytes().startswith(before)
    words = ["passed", *["wrong answer"] * 4, "timeout", "passed"]
    assert [row["status"] for row in verdicts()] == words
