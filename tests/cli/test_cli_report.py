"""`rewardranker report` as a user calls it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.cli import main


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """The folder of an evaluation: figures without records."""
    interval = {"mean": 0.4, "low": 0.3, "high": 0.5}
    rows = [{"ranker": name, "n": n, **interval} for name in ("mean of n", "codet", "oracle") for n in (1, 2)]
    document = {"schema": "rewardranker.evaluation/1", "tasks": 8, "samples": 32, "n": 2, "rows": rows}
    folder = tmp_path / "evaluated"
    folder.mkdir()
    (folder / "evaluation.json").write_text(json.dumps(document))
    return folder


def test_writes_page_and_plots_beside_each_other_and_prints_the_table(
    evaluated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(evaluated)]) == 0
    output = capsys.readouterr().out
    assert "8 tasks, 32 programs, best of 2" in output
    assert "codet" in output
    assert (evaluated / "report.html").is_file()
    assert (evaluated / "plots" / "best-of-n-samples.svg").is_file()


def test_takes_the_document_itself_and_another_place(evaluated: Path, tmp_path: Path) -> None:
    page = tmp_path / "elsewhere" / "page.html"
    assert main(["report", str(evaluated / "evaluation.json"), "--output", str(page), "--no-plots"]) == 0
    assert page.is_file()
    assert not (page.parent / "plots").exists()
    assert not (evaluated / "report.html").exists()


def test_table_only_writes_nothing(evaluated: Path) -> None:
    before = sorted(evaluated.rglob("*"))
    assert main(["report", str(evaluated), "--table-only"]) == 0
    assert sorted(evaluated.rglob("*")) == before


def test_what_is_not_expected_is_said_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({"score": 3}))
    assert main(["report", str(tmp_path)]) == 3
    assert "neither the figures of a run" in capsys.readouterr().err
