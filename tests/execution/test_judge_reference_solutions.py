"""Correct programs of public data sets must pass, and what fails in plain Python must fail here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.execution import judge
from rewardranker.types import Sample, Task

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


def rows_of(name: str) -> list[dict]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is missing")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def failures(tasks: list[Task], programs: list[str]) -> dict[str, str]:
    samples = [Sample(task.task_id, 0, "", "", program) for task, program in zip(tasks, programs, strict=True)]
    return {v.task_id: f"{v.status}: {v.detail}" for v in judge(tasks, samples, workers=1) if not v.passed}


def test_all_humaneval_solutions_pass() -> None:
    rows = rows_of("codet/humaneval_for_code_generation.jsonl")
    tasks = [Task(r["task_id"], r["prompt"], entry_point=r["entry_point"], tests=r["test"]) for r in rows]
    assert failures(tasks, [r["prompt"] + r["canonical_solution"] for r in rows]) == {}


def test_humaneval_prompts_alone_fail() -> None:
    """Functions that return nothing solve none of the tasks."""
    rows = rows_of("codet/humaneval_for_code_generation.jsonl")
    tasks = [Task(r["task_id"], r["prompt"], entry_point=r["entry_point"], tests=r["test"]) for r in rows]
    assert len(failures(tasks, [r["prompt"] + "    return None\n" for r in rows])) == len(rows) == 164


def _mbpp(rows: list[dict]) -> dict[str, str]:
    tasks = [Task(str(r["task_id"]), r["text"], tests=tuple(r["test_list"]), setup=r["test_setup_code"]) for r in rows]
    return failures(tasks, [r["code"] for r in rows])


def test_mbpp_references_pass() -> None:
    assert _mbpp(rows_of("mbpp.jsonl")[::8]) == {}


@pytest.mark.slow
def test_all_mbpp_references_pass() -> None:
    assert _mbpp(rows_of("mbpp.jsonl")) == {}
