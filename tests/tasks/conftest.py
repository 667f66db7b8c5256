from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge
from rewardranker.types import Sample, Task, Verdict

Judged = Callable[[Task, str], Verdict]
WriteRows = Callable[[Sequence[Mapping[str, Any]]], Path]


@pytest.fixture(scope="session")
def pool() -> Iterator[ProgramJudge]:
    with ProgramJudge(JudgeOptions(timeout=2), workers=1) as judge:
        yield judge


@pytest.fixture
def judged(pool: ProgramJudge) -> Judged:
    """judged(task, program) -> its verdict."""

    def run(task: Task, program: str) -> Verdict:
        (verdict,) = pool.judge([(task, Sample(task.task_id, 0, "", "", program))])
        return verdict

    return run


@pytest.fixture
def rows_file(tmp_path: Path) -> WriteRows:
    """rows_file(rows) -> the path of a JSON Lines file of them."""

    def write(rows: Sequence[Mapping[str, Any]]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return write
