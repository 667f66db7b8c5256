"""What the tests of loaders share: files of rows, and a judge."""

from __future__ import annotations

import atexit
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge
from rewardranker.types import Sample, Task, Verdict


@functools.cache
def _judge() -> ProgramJudge:
    judge = ProgramJudge(JudgeOptions(timeout=2), workers=1)
    atexit.register(judge.close)
    return judge


def judged(task: Task, program: str) -> Verdict:
    """The verdict on a program."""
    (verdict,) = _judge().judge([(task, Sample(task.task_id, 0, "", "", program))])
    return verdict


def rows_file(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """A JSON Lines file of these rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path
