"""Records as JSON Lines: what is written is read back, and what can't be read is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rewardranker.errors import DataError
from rewardranker.runs import from_json, from_row, read_records, to_json, write_records
from rewardranker.types import Candidate, PreferenceGroup, Ranking, Sample, StdioTest, Task, Verdict

TASK = Task(
    "HumanEval/0",
    'def f(x):\n    """Naïve \u2028 line."""\n',
    entry_point="f",
    tests=("assert f(1) == 1", "assert f(2) == 2"),
    inputs=(StdioTest("1\n", "2\n"),),
    stop=("\nclass",),
    metadata={"split": "test"},
)
CANDIDATES = (Candidate("    return x", True, 1.0), Candidate("    pass", False, 0.5, mined_score=-1.25))
RECORDS = [
    TASK,
    Task("stdin", "Read n.", tests="def check(candidate): ..."),
    Sample("HumanEval/0", 3, "t", "c", "p", token_ids=(1, 2), token_logprobs=(-0.5, -1.0), finish_reason="length"),
    Verdict("HumanEval/0", 3, False, "timeout", detail="…", tests_passed=1, tests_total=2, cached=True),
    PreferenceGroup("HumanEval/0", "def f(x):\n", CANDIDATES),
    Ranking("HumanEval/0", "reward", (0, 1), (1.0, -2.5)),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_a_record_is_read_back_as_it_was(record: object) -> None:
    line = to_json(record)
    assert "\n" not in line
    assert from_json(line, type(record)) == record


def test_a_file_is_read_back_in_order(tmp_path: Path) -> None:
    samples = [Sample("t", i, "x" * i, "c", "p") for i in range(5)]
    assert write_records(tmp_path / "a.jsonl", samples) == 5
    assert list(read_records(tmp_path / "a.jsonl", Sample)) == samples


def test_a_verdict_of_no_tests_counts_as_all_or_nothing() -> None:
    assert Verdict("t", 0, True, "passed").fraction == 1.0
    assert Verdict("t", 0, False, "exception", tests_passed=3, tests_total=4).fraction == 0.75


def test_pairs_of_a_group_are_correct_times_wrong() -> None:
    group = PreferenceGroup("t", "p", (*CANDIDATES, *CANDIDATES, CANDIDATES[1]))
    assert (len(group.correct), len(group.wrong), group.pairs) == (2, 3, 6)


def test_a_sample_without_tokens_is_the_least_likely() -> None:
    assert Sample("t", 0, "", "", "").mean_logprob == float("-inf")
    assert RECORDS[2].mean_logprob == -0.75  # type: ignore[attr-defined]


def test_tokens_are_counted_without_their_ids() -> None:
    assert Sample("t", 0, "", "", "", token_ids=(1, 2), token_logprobs=(-1.0, -1.0)).tokens == 2
    assert Sample("t", 0, "", "", "", token_logprobs=(-1.0, -1.0, -1.0)).tokens == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_json_does_not_have_are_neither_written_nor_read(value: float) -> None:
    with pytest.raises(DataError, match="can't be written"):
        to_json(Candidate("c", True, value))
    with pytest.raises(DataError, match="finite number"):
        from_json(json.dumps({"completion": "c", "passed": True, "fraction": value}), Candidate)


def test_files_of_other_tools_are_read() -> None:
    row = {"task_id": 11, "prompt": "p", "extra": [1], "entry_point": None, "metadata": {"level": 3, "none": None}}
    assert from_row(row, Task) == Task("11", "p", metadata={"level": "3"})


WRONG = {
    '{"task_id": "a"': "broken JSON",
    "[1, 2]": "expected a JSON object with the columns of Task, got list",
    '{"task_id": "a"}': "column 'prompt' is missing .*columns here: task_id",
    '{"task_id": "a", "prompt": 1.5}': "column 'prompt': expected str, got float 1.5",
    '{"task_id": "a", "prompt": "p", "tests": 3.5}': "column 'tests'",
    '{"task_id": "a", "prompt": "p", "stop": "x"}': "column 'stop': expected a list, got str 'x'",
    '{"task_id": "a", "prompt": "p", "inputs": [{"input": "1"}]}': r"column 'inputs'\[0\]: column 'output' is missing",
    '{"task_id": "a", "prompt": "p", "inputs": ["1"]}': r"column 'inputs'\[0\]: expected an object",
    '{"task_id": "a", "prompt": "p", "metadata": []}': "column 'metadata': expected an object",
}


@pytest.mark.parametrize(("line", "message"), WRONG.items())
def test_a_wrong_line_is_named_with_file_line_and_column(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text(to_json(TASK) + "\n\n" + line + "\n")
    with pytest.raises(DataError, match=f"{path}:3: .*{message}"):
        list(read_records(path, Task))


@pytest.mark.parametrize(
    ("column", "value"), [("sample_id", True), ("sample_id", 1.5), ("token_ids", [1.5]), ("token_logprobs", ["a"])]
)
def test_numbers_of_the_wrong_kind_are_refused(column: str, value: object) -> None:
    row = {"task_id": "t", "sample_id": 0, "text": "", "completion": "", "program": "", column: value}
    with pytest.raises(DataError, match=f"column '{column}'"):
        from_row(row, Sample)


def test_whole_floats_are_integers() -> None:
    row = {"task_id": "t", "sample_id": 2.0, "text": "", "completion": "", "program": ""}
    assert from_row(row, Sample).sample_id == 2


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "has no records"), (b"\n\n", "has no records"), (b"\xff\xfe{", "not UTF-8")]
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"{path}: .*{message}"):
        list(read_records(path, Task))


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.jsonl: no such file"):
        list(read_records(tmp_path / "no.jsonl", Task))
    with pytest.raises(DataError, match="is a folder"):
        list(read_records(tmp_path, Task))


def test_datasets_reads_the_files_with_the_same_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets", reason="needs the extra 'hub'")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    verdicts = [Verdict("t", i, i % 2 == 0, "passed", seconds=float(i)) for i in range(4)]
    write_records(tmp_path / "verdicts.jsonl", verdicts)
    read = datasets.load_dataset(
        "json", data_files=str(tmp_path / "verdicts.jsonl"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert [from_row(row, Verdict) for row in read] == verdicts
