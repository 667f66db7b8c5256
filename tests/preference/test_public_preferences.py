"""Public preference sets in their real columns become groups; what is left out is counted."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rewardranker.errors import ConfigError, DataError
from rewardranker.preference import load_preferences
from rewardranker.runs import write_records
from rewardranker.sources import HubSet

RIGHT = "Here:\r\n```python\r\ndef double(x):\r\n    return 2 * x\r\n```\r\n"
CODE = "def double(x):\n    return 2 * x\n"
WRONG = "def double(x):\n    return x\n"

PAIR = {"instruction": "", "input": "Double a number.", "chosen": RIGHT, "rejected": WRONG, "id": 3}
THEMIS = {
    "system": "Judge by correctness.",
    "input": "Double a number.",
    "chosen": CODE,
    "rejected": WRONG,
    "language": 1,
    "aspect": 3,
    "source": "synthetic",
    "idx": "a1",
}
BENCH = {
    "id": 4001,
    "prompt": "Double a number.",
    "chosen": CODE,
    "chosen_model": "human",
    "rejected": WRONG,
    "rejected_model": "human",
    "subset": "hep-python",
}
ACE = {
    "id": "oss_1",
    "source": "oss",
    "question": "Double a number.",
    "test_cases": ["assert double(1) == 2"],
    "inferences": [
        {"completion": RIGHT, "completion_id": 0, "model_name": "m", "pass_rate": 0.9},
        {"completion": CODE, "completion_id": 1, "model_name": "n", "pass_rate": 0.9},
        {"completion": WRONG, "completion_id": 2, "model_name": "m", "pass_rate": 0.4},
        {"completion": "half", "completion_id": 3, "model_name": "m", "pass_rate": 0.6},
        {"completion": "none", "completion_id": 4, "model_name": "m", "pass_rate": 0.0},
    ],
}

Rows = Callable[[Sequence[Mapping[str, Any]]], Path]


@pytest.fixture
def rows_of(tmp_path: Path) -> Rows:
    def write(rows: Sequence[Mapping[str, Any]]) -> Path:
        path = tmp_path / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def answers(group) -> list[tuple[str, bool]]:
    return [(candidate.completion, candidate.passed) for candidate in group.candidates]


@pytest.mark.parametrize(
    ("name", "row", "prefix"),
    [
        ("acecodepair:default", PAIR, "acecodepair/"),
        ("acecodepair:32B", PAIR, "acecodepair/"),
        ("themis:functional-correctness", THEMIS, "themis/functional-correctness/Python/"),
        ("themis:all", {**THEMIS, "language": "Python", "aspect": "Functional Correctness"}, "themis/functional-"),
        ("rewardbench:hep-python", BENCH, "rewardbench/hep-python/4001"),
        ("rewardbench:hep", BENCH, "rewardbench/hep-python/4001"),
        ("acecode", ACE, "acecode-answers/oss_1"),
    ],
)
def test_a_row_becomes_a_group(name, row, prefix, rows_of):
    (group,) = load_preferences(f"{name}:{rows_of([row])}")
    assert group.task_id.startswith(prefix)
    assert group.prompt == "Double a number."
    assert answers(group) == [(CODE, True), (WRONG, False)]


def test_shares_and_models_of_acecode_are_kept(rows_of):
    (group,) = load_preferences(f"acecode:{rows_of([ACE])}")
    assert [(candidate.fraction, candidate.model) for candidate in group.candidates] == [(0.9, "m"), (0.4, "m")]


def test_pairs_with_one_prompt_are_one_group(rows_of):
    rows = [PAIR, {**PAIR, "rejected": "pass"}, {**PAIR, "input": "Halve a number."}]
    groups = load_preferences(f"acecodepair:default:{rows_of(rows)}")
    assert [len(group.candidates) for group in groups] == [3, 2]
    assert load_preferences(f"acecodepair:default:{rows_of(rows)}", limit=1) == groups[:1]


def test_other_aspects_and_subsets_are_not_mixed_in(rows_of):
    rows = [{**THEMIS, "aspect": 1}, THEMIS]
    assert len(load_preferences(f"themis:functional-correctness:{rows_of(rows)}")) == 1
    assert len(load_preferences(f"themis:all:{rows_of(rows)}")) == 2
    rows = [{**BENCH, "subset": "math-prm"}, {**BENCH, "subset": "hep-go"}, BENCH]
    assert len(load_preferences(f"rewardbench:hep:{rows_of(rows)}")) == 2


def test_what_is_left_out_is_counted(rows_of, caplog):
    rows = [PAIR, {**PAIR, "chosen": WRONG, "rejected": RIGHT}, {**PAIR, "chosen": CODE, "rejected": RIGHT}]
    with caplog.at_level(logging.WARNING):
        assert len(load_preferences(f"acecodepair:default:{rows_of(rows)}")) == 1
    assert "1 pairs left out: both answers are equal" in caplog.text
    assert "1 pairs left out: the same pair is there the other way round" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        load_preferences(f"acecode:{rows_of([ACE, {**ACE, 'inferences': ACE['inferences'][:2]}])}")
    assert "1 questions left out" in caplog.text


def test_the_hub_is_asked_for_the_right_set(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "rewardranker.preference.public_sets.read_rows", lambda hub, file: asked.append(hub) or [("f:1", PAIR)]
    )
    load_preferences("acecodepair:32B")
    assert asked == [HubSet("TIGER-Lab/AceCodePair-300K", "train", "32B")]


def test_any_other_name_is_a_file_of_groups(rows_of, tmp_path):
    groups = load_preferences(f"rewardbench:hep:{rows_of([BENCH])}")
    write_records(tmp_path / "groups.jsonl", groups)
    assert load_preferences(str(tmp_path / "groups.jsonl")) == groups


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("themis:all", {**THEMIS, "aspect": 9}, "'aspect': expected one of"),
        ("themis:all", {**THEMIS, "language": "COBOL"}, "'language': expected one of"),
        ("rewardbench:hep", {**BENCH, "chosen": None}, "column 'chosen'"),
        ("acecodepair:default", {**PAIR, "input": ""}, "both empty"),
        ("acecode", {**ACE, "inferences": [{"pass_rate": 1.0}]}, "column 'completion' is missing"),
    ],
)
def test_broken_rows_are_named(name, row, message, rows_of):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_preferences(f"{name}:{rows_of([row])}")


def test_rows_of_no_such_kind_are_told(rows_of):
    with pytest.raises(DataError, match="no preferences of this kind"):
        load_preferences(f"rewardbench:hep-rust:{rows_of([BENCH])}")


@pytest.mark.parametrize("name", ["themis", "rewardbench:math-prm", "acecodepair:7B"])
def test_unknown_variants_are_refused(name):
    with pytest.raises(ConfigError, match="no such preferences; known:"):
        load_preferences(name)
