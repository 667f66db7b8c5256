"""LiveCodeBench's rows: both kinds of tests, public and packed private ones, days of contests."""

import base64
import json
import pickle
import zlib

import pytest
from task_world import judged, rows_file

from rewardranker.errors import ConfigError, DataError
from rewardranker.sources import HubSet
from rewardranker.tasks import livecodebench, load_tasks
from rewardranker.tasks.livecodebench import selection


def cases(kind: str, *pairs: tuple[str, str]) -> str:
    return json.dumps([{"input": given, "output": out, "testtype": kind} for given, out in pairs])


def packed(text: str) -> str:
    return base64.b64encode(zlib.compress(pickle.dumps(text))).decode()


STDIN = {
    "question_title": "A. Halves",
    "question_content": "Print half of each number.\n\nInput\n\nThe first line has t.\n",
    "platform": "atcoder",
    "question_id": "abc900_a",
    "contest_id": "abc900",
    "contest_date": "2024-08-10T00:00:00",
    "starter_code": "",
    "difficulty": "easy",
    "public_test_cases": cases("stdin", ("1\n4\n", "2\n")),
    "private_test_cases": packed(cases("stdin", ("2\n3\n5\n", "1.5\n2.5\n"))),
    "metadata": "{}",
}
STARTER = "class Solution:\n    def halve(self, numbers: List[int], by: int) -> List[int]:\n        "
FUNCTIONAL = {
    **STDIN,
    "platform": "leetcode",
    "question_id": "3900",
    "contest_date": "2024-09-01T00:00:00",
    "starter_code": STARTER,
    "public_test_cases": cases("functional", ("[2, 4]\n2", "[1, 2]")),
    "private_test_cases": cases("functional", ("[]\n3", "[]"), ("[9]\n3", "[3]")),
    "metadata": '{"func_name": "halve"}',
}


def test_programs_are_judged_by_all_their_tests(tmp_path):
    (task,) = load_tasks(f"livecodebench:v1:{rows_file(tmp_path, [STDIN])}")
    assert (task.task_id, task.entry_point, len(task.inputs)) == ("livecodebench/abc900_a", None, 2)
    assert task.metadata["date"] == "2024-08-10"
    assert task.metadata["difficulty"] == "easy"
    assert "standard input" in task.prompt
    program = task.prompt + "for _ in range(int(input())): print(int(input()) / 2)\n"
    assert judged(task, program).passed  # 2.0 is 2: numbers are compared by value
    whole = judged(task, program.replace("/", "//"))
    assert (whole.status, whole.tests_passed) == ("wrong answer", 1)


def test_functions_are_methods_of_solution(tmp_path):
    (task,) = load_tasks(f"livecodebench:v1:{rows_file(tmp_path, [FUNCTIONAL])}")
    assert task.entry_point == "halve"
    assert "def halve(self, numbers" in task.prompt
    solution = "class Solution:\n    def halve(self, numbers, by):\n        return [n // by for n in numbers]\n"
    assert judged(task, task.prompt + solution).passed
    assert judged(task, task.prompt + solution.replace("// by", "// 2")).tests_passed == 2


@pytest.mark.parametrize(
    ("variant", "ids"),
    [
        ("release_v6", ["abc900_a", "3900"]),
        ("@2024-08-10..2024-08-31", ["abc900_a"]),
        ("v1@2024-08-11..", ["3900"]),
        ("@..2024-09-01", ["abc900_a", "3900"]),
    ],
)
def test_days_of_contests(variant, ids, tmp_path):
    tasks = load_tasks(f"livecodebench:{variant}:{rows_file(tmp_path, [STDIN, FUNCTIONAL])}")
    assert [task.task_id.removeprefix("livecodebench/") for task in tasks] == ids


def test_days_without_a_contest_are_told(tmp_path):
    with pytest.raises(DataError, match="no contest between 2025-01-01 and today"):
        load_tasks(f"livecodebench:@2025-01-01..:{rows_file(tmp_path, [STDIN])}")


@pytest.mark.parametrize(
    ("variant", "files"),
    [
        ("release_v3", ("test.jsonl", "test2.jsonl", "test3.jsonl")),
        ("v1", ("test.jsonl",)),
        ("v6", ("test6.jsonl",)),
        ("v4_v5@2024-01-01..", ("test4.jsonl", "test5.jsonl")),
    ],
)
def test_releases_are_files_of_the_hub(variant, files, monkeypatch):
    asked = []
    monkeypatch.setattr(livecodebench, "read_rows", lambda hub, file: asked.append(hub) or [("f:1", FUNCTIONAL)])
    load_tasks(f"livecodebench:{variant}")
    assert asked == [HubSet("livecodebench/code_generation_lite", "test", files=files)]
    assert selection(variant).files == files


@pytest.mark.parametrize(
    "variant", ["", "v7", "release_v0", "v5_v2", "latest", "@2024", "@a..b", "@2024-09-01..2024-08-01"]
)
def test_unknown_releases_and_days_are_refused(variant):
    with pytest.raises(ConfigError, match="livecodebench:"):
        load_tasks(f"livecodebench:{variant}")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contest_date": "soon"}, "'contest_date': expected a date"),
        ({"public_test_cases": "[1]"}, r"'public_test_cases'\[0\]: expected an object"),
        ({"public_test_cases": '[{"input": "1"}]'}, "column 'output' is missing"),
        ({"private_test_cases": "[{"}, "'private_test_cases': expected JSON"),
        ({"private_test_cases": packed("no")}, "'private_test_cases': expected JSON"),
        ({"private_test_cases": "not packed"}, "'private_test_cases': expected JSON, or base64"),
        ({"metadata": '{"func_name": "f"}'}, "they have to be functional"),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "no test"),
        ({"difficulty": None}, "column 'difficulty'"),
    ],
)
def test_broken_rows_are_named(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_tasks(f"livecodebench:v1:{rows_file(tmp_path, [{**STDIN, **changes}])}")
