"""Preference files: our groups, other tools' pairs, and every way they can be broken."""

import json
from pathlib import Path
from typing import Any

import pytest

from rewardranker.errors import DataError
from rewardranker.preference import read_groups, to_pairs
from rewardranker.runs import write_records
from rewardranker.types import Candidate, PreferenceGroup

GROUP = PreferenceGroup(
    "t",
    "def f():\n",
    (
        Candidate("    return 1\n", True, 1.0, "passed", 0),
        Candidate("    return 2\n", True, 1.0, "passed", 1, "positive", "m", 1, 2, 0.7, 0.9, 1.5),
        Candidate("    return 3\n", False, 0.5, "wrong answer", 2, "hard_negative", mined_score=2.5),
    ),
)


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


def pair(prompt: Any, chosen: Any, rejected: Any, **more: Any) -> dict[str, Any]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, **more}


def shape(groups: list[PreferenceGroup]) -> list[tuple[str, list[str], list[str]]]:
    return [(g.prompt, [c.completion for c in g.correct], [c.completion for c in g.wrong]) for g in groups]


def test_our_groups_come_back_as_they_were(tmp_path: Path) -> None:
    write_records(tmp_path / "groups.jsonl", [GROUP])
    assert read_groups(tmp_path / "groups.jsonl") == [GROUP]


def test_pairs_have_all_comparisons_and_come_back_as_groups(tmp_path: Path) -> None:
    rows = list(to_pairs([GROUP]))
    assert [(r["prompt"], r["chosen"], r["rejected"]) for r in rows] == [
        ("def f():\n", "    return 1\n", "    return 3\n"),
        ("def f():\n", "    return 2\n", "    return 3\n"),
    ]
    assert (rows[1]["chosen_mined_score"], rows[1]["rejected_status"], rows[1]["task_id"]) == (1.5, "wrong answer", "t")
    write_records(tmp_path / "pairs.jsonl", rows)
    groups = read_groups(tmp_path / "pairs.jsonl")
    assert groups[0].task_id == "t"
    assert shape(groups) == shape([GROUP])


def test_conversations_are_read_as_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "chat.jsonl",
        pair([user("add")], [assistant("a + b")], [assistant("a - b")]),
        pair([{"role": "system", "content": "Be brief."}, user("add")], [assistant("x")], [assistant("y")]),
        {"chosen": [user("sub"), assistant("a - b")], "rejected": [user("sub"), assistant("a + b")]},
    )
    assert shape(read_groups(path)) == [
        ("add", ["a + b"], ["a - b"]),
        ("Be brief.\n\nadd", ["x"], ["y"]),
        ("sub", ["a - b"], ["a + b"]),
    ]


def test_pairs_of_one_prompt_become_one_group(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", pair("q", "a", "b"), pair("r", "a", "b"), pair("q", "a", "c"), pair("q", "a", "b")
    )
    assert shape(read_groups(path)) == [("q", ["a"], ["b", "c"]), ("r", ["a"], ["b"])]


def test_graded_pairs_stay_apart(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.jsonl", pair("q", "best", "middle", task_id="t"), pair("q", "middle", "worst", task_id="t")
    )
    groups = read_groups(path)
    assert shape(groups) == [("q", ["best"], ["middle"]), ("q", ["middle"], ["worst"])]
    assert [g.task_id for g in groups] == ["t#1", "t#2"]


BROKEN: dict[str, tuple[list[Any], str]] = {
    "broken JSON": ([pair("q", "a", "b"), '{"prompt": '], r":2: broken JSON \(.* at column \d+\)"),
    "no object": (["[1]"], r":1: expected a JSON object, got list"),
    "unknown columns": ([{"prompt": "q", "text": "a"}], r":1: expected a group .* columns here: prompt, text"),
    "wrong type": ([pair("q", 3, "b")], r":1: column 'chosen': expected a text or a list of messages, got int"),
    "broken message": ([pair([{"role": "user"}], "a", "b")], r":1: column 'prompt'\[0\]: expected a message"),
    "several turns": (
        [pair([user("a"), assistant("b"), user("c")], "a", "b")],
        r":1: column 'prompt'.*user, assistant, user",
    ),
    "answer by the user": (
        [pair("q", [user("a")], "b")],
        r":1: column 'chosen': expected one assistant message, got roles user",
    ),
    "prompt missing": ([{"chosen": "a", "rejected": "b"}], r":1: column 'prompt' is missing"),
    "nothing shared": (
        [{"chosen": [user("a"), assistant("b")], "rejected": [user("c"), assistant("d")]}],
        r":1: columns 'chosen' and 'rejected' do not begin with the same request",
    ),
    "equal": ([pair("q", "a", "a")], r":1: columns 'chosen' and 'rejected' are equal"),
    "both directions": ([pair("q", "a", "b"), pair("q", "b", "a")], r":2: .* those of line 1 the other way round"),
    "candidate column": (
        [{"task_id": "t", "prompt": "q", "candidates": [{"completion": "a", "passed": True}]}],
        r":1: column 'candidates'\[0\]: column 'fraction' is missing",
    ),
    "no candidates": ([{"task_id": "t", "prompt": "q", "candidates": []}], r":1: column 'candidates' is empty"),
    "task twice": (
        [pair("q", "a", "b", task_id="t"), pair("r", "a", "b", task_id="t")],
        r":2: column 'task_id': 't' occurs twice",
    ),
    "empty": ([], r"the file has no records"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_with_the_place(case: str, tmp_path: Path) -> None:
    rows, message = BROKEN[case]
    with pytest.raises(DataError, match=message) as caught:
        read_groups(write(tmp_path / "data.jsonl", *rows))
    assert "data.jsonl" in str(caught.value)


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        read_groups(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder"):
        read_groups(tmp_path)
    (tmp_path / "data.gz").write_bytes(b"\x1f\x8b\xff\xfe")
    with pytest.raises(DataError, match="not UTF-8"):
        read_groups(tmp_path / "data.gz")
