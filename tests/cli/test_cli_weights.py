"""`rewardranker weights` on the folder of an evaluation."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.cli import main
from rewardranker.runs import write_records
from rewardranker.types import Ranking, Sample, Task, Verdict

SCORES = {
    "mean-logprob": [[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [1.0, 2.0, 3.0]],
    "logprob": [[0.0, 3.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 3.0]],
    "oracle": [[0.0, 1.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
}
PASSED = [[False, True, False], [False, True, False], [False, False, True]]
"""The likelier sample by `mean-logprob` passes once in three tasks, that by `logprob` always."""


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    tasks = [Task(f"t{i}", "def f():\n", entry_point="f", tests=("assert f()",)) for i in range(3)]
    write_records(tmp_path / "tasks.jsonl", tasks)
    samples = [Sample(t.task_id, k, f"    return {k}", f"return {k}", f"def f(): {k}") for t in tasks for k in range(3)]
    write_records(tmp_path / "samples.jsonl", samples)
    write_records(
        tmp_path / "verdicts.jsonl",
        [Verdict(f"t{i}", k, PASSED[i][k], "passed or not", tests_total=1) for i in range(3) for k in range(3)],
    )
    write_records(
        tmp_path / "rankings.jsonl",
        [Ranking(f"t{i}", n, (0, 1, 2), tuple(rows[i])) for n, rows in SCORES.items() for i in range(3)],
    )
    return tmp_path


def weights(folder: Path, *arguments: str) -> int:
    return main(["weights", str(folder), *arguments])


def test_the_sum_is_a_spec_that_ranks_better(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(evaluation) == 0
    text = capsys.readouterr().out
    assert "passes 33.3% alone" in text
    assert "passes 100.0%, on the tasks that it was fitted on" in text
    spec = text.split("--rankers '")[1].split("'")[0]
    names = [term.split("*")[-1] for term in spec.split("+")]
    assert names == ["mean-logprob", "logprob"]  # and not the oracle


def test_the_first_ranker_named_has_weight_1(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(evaluation, "--rankers", "logprob,mean-logprob") == 0
    assert "--rankers 'logprob'" in capsys.readouterr().out  # the other adds nothing


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ("logprob,codet", "has no scores of 'codet' but of mean-logprob, logprob, oracle"),
        ("logprob", "a sum needs two rankers or more, got logprob"),
    ],
)
def test_a_wrong_choice_is_named(
    evaluation: Path, chosen: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights(evaluation, "--rankers", chosen) != 0
    assert message in capsys.readouterr().err


def test_a_title_that_is_no_ranker_is_named(evaluation: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = evaluation / "rankings.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        row["ranker"] = row["ranker"].replace("mean-logprob", "mine")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert weights(evaluation) != 0
    assert "is a title, not a ranker" in capsys.readouterr().err


def test_a_folder_that_is_no_evaluation_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(tmp_path) != 0
    assert "is not the folder of `rewardranker eval" in capsys.readouterr().err
