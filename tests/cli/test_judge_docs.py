"""The rows that docs/judge.md shows are judged as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from rewardranker.cli import main
from rewardranker.execution import languages

PAGE = Path(__file__).resolve().parents[2] / "docs" / "judge.md"


def test_rows_of_the_documentation_pass(tmp_path: Path) -> None:
    if languages.toolchain(languages.find("cpp")) is None:
        pytest.skip(languages.install_hint(languages.find("cpp")))
    block = re.search(r"```json\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert block
    programs, output = tmp_path / "programs.jsonl", tmp_path / "verdicts.jsonl"
    programs.write_text(block[1])
    assert main(["judge", str(programs), "--output", str(output), "--workers", "1"]) == 0
    verdicts = [json.loads(line) for line in output.read_text().splitlines()]
    assert [(verdict["task_id"], verdict["status"]) for verdict in verdicts] == [
        ("add/cpp", "passed"),
        ("add/py", "passed"),
        ("sum", "passed"),
    ]
    shown = {
        word.strip("`") for word in re.findall(r"`[a-z_]+`", PAGE.read_text().split("A verdict has")[1].split(".")[0])
    }
    assert shown <= set(verdicts[0]), shown
