"""`rewardranker tasks`: lists, shows, writes, and finds evaluation tasks in other sets."""

import dataclasses
import json
from pathlib import Path

import pytest

from rewardranker.cli import main
from rewardranker.preference import read_groups
from rewardranker.runs import read_records, write_records
from rewardranker.tasks import BENCHMARKS
from rewardranker.types import Task

CLEAN = Task(
    "clean", 'def odd(a):\n    """Say whether a is odd."""\n', entry_point="odd", reference="    return a % 2\n"
)
HELD = Task("held", 'def halve(n):\n    """Half of a number."""\n', entry_point="halve", reference="    return n / 2\n")
COPY = dataclasses.replace(HELD, task_id="copy", prompt='def halve(n):\n    """Split it."""\n')


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_records("train.jsonl", [CLEAN, COPY])
    write_records("eval.jsonl", [HELD])
    write_records("other.jsonl", [dataclasses.replace(CLEAN, task_id="other")])
    return tmp_path


def test_every_benchmark_is_listed(capsys):
    assert main(["tasks", "--list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for benchmark in BENCHMARKS.values() for name in benchmark.names)


def test_what_an_evaluation_task_repeats_is_told_and_left_out(folder, capsys):
    assert main(["tasks", "train.jsonl", "--against", "eval.jsonl", "--output", "kept.jsonl"]) == 0
    out = capsys.readouterr().out
    assert "train.jsonl against eval.jsonl: 1 of 2 training tasks repeat one of 1" in out
    assert "copy ~ held: program:" in out
    assert list(read_records("kept.jsonl", Task)) == [CLEAN]


def test_the_report_is_json_or_text(folder, capsys):
    sets = ["--against", "eval.jsonl", "--against", "other.jsonl"]
    write_records("train.jsonl", [CLEAN, COPY, dataclasses.replace(CLEAN, task_id="new", prompt="", reference="x = 1")])
    assert main(["tasks", "train.jsonl", *sets, "--report", "r.json"]) == 0
    record = json.loads(Path("r.json").read_text())
    assert record["tasks"] == "train.jsonl"
    assert record["against"]["eval.jsonl"]["counts"] == {
        "prompt": 0, "program": 1, "signature": 1, "words": 0, "composition": 0
    }  # fmt: skip
    assert record["against"]["other.jsonl"]["pairs"][0]["training_id"] == "clean"
    assert main(["tasks", "train.jsonl", *sets, "--report", "r.txt"]) == 0
    assert "against other.jsonl: 1 of 3" in Path("r.txt").read_text()


def test_a_set_of_which_nothing_is_left_is_not_written(folder, capsys):
    sets = ["--against", "eval.jsonl", "--against", "other.jsonl"]
    assert main(["tasks", "train.jsonl", *sets, "--report", "r.json", "--output", "kept.jsonl"]) == 3
    assert "none of the 2 tasks of train.jsonl is left" in capsys.readouterr().err
    assert Path("r.json").exists()
    assert not Path("kept.jsonl").exists()


def test_a_preference_set_becomes_groups(folder, capsys):
    row = {"id": 1, "prompt": "Say.", "chosen": "a", "rejected": "b", "subset": "hep-go"}
    Path("pairs.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["tasks", "rewardbench:hep:pairs.jsonl", "--preferences", "--output", "groups.jsonl"]) == 0
    assert "1 groups, 1 pairs" in capsys.readouterr().out
    (group,) = read_groups("groups.jsonl")
    assert group.task_id == "rewardbench/hep-go/1"


@pytest.mark.parametrize(
    ("arguments", "message"), [([], "give a NAME"), (["train.jsonl", "--report", "r.json"], "give --against")]
)
def test_what_is_missing_is_told(arguments, message, folder, capsys):
    assert main(["tasks", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_local_file_of_a_benchmark_is_shown(folder, capsys):
    row = {"task_id": "HumanEval/900", "prompt": "def f(a):\n", "canonical_solution": "    return a\n"}
    row |= {"test": "def check(c):\n    assert c(1) == 1\n", "entry_point": "f"}
    Path("he.jsonl").write_text(json.dumps(row) + "\n")
    assert main(["tasks", "humaneval:he.jsonl", "--show", "HumanEval/900"]) == 0
    assert "--- tests\ndef check(c):" in capsys.readouterr().out
