"""APPS, TACO and CodeContests: programs and functions, their references, and rows that can't be used."""

import json
import logging

import pytest
from task_world import judged, rows_file

from rewardranker.errors import ConfigError, DataError
from rewardranker.tasks import load_tasks

APPS = {
    "id": 7,
    "question": "Print the sum of two numbers.\n\n-----Input-----\nTwo \\(a, b\\).\n",
    "solutions": json.dumps(["print input()\n", "a, b = map(int, input().split())\r\nprint(a + b)"]),
    "input_output": json.dumps({"inputs": ["1 2\n", ["3 4"]], "outputs": ["3\n", ["7"]]}),
    "difficulty": "introductory",
    "url": "https://example.org/7",
    "starter_code": "",
}
CALLED = {
    **APPS,
    "id": 8,
    "solutions": json.dumps(["class Solution:\n    def add(self, a, b):\n        return a + b\n"]),
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2], [[1], [2]]], "outputs": [[3], [1, 2]]}),
    "starter_code": "class Solution:\n    def add(self, a: int, b: int):\n        ",
}
TACO = {
    **{key: value for key, value in APPS.items() if key != "id"},
    "difficulty": "MEDIUM_HARD",
    "raw_tags": "[]",
    "name": None,
    "source": "codewars",
    "tags": "['Fundamentals']",
    "skill_types": "[]",
    "Expected Auxiliary Space": None,
    "time_limit": "2.0 seconds",
    "date": None,
    "picture_num": None,
    "memory_limit": None,
    "Expected Time Complexity": None,
    "starter_code": "def add(a, b):\n\t",
    "solutions": json.dumps(["def add(a, b):\n    return a + b"]),
    "input_output": json.dumps({"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}),
}
CONTEST = {
    "name": "1_A. Larger",
    "description": "Print the larger number's half.\n\nInput\n\nTwo numbers. */ <image>\n",
    "public_tests": {"input": ["1 2\n"], "output": ["1\n"]},
    "private_tests": {"input": [], "output": []},
    "generated_tests": {"input": ["3 2\n", "1 1\n"], "output": ["1.5\n", "0.5\n"]},
    "source": 2,
    "difficulty": 7,
    "solutions": {
        "language": [1, 2, 3, 3, 4],
        "solution": [
            "print max(map(int, raw_input().split())) / 2.0",
            '#include <cstdio>\nint main() { int a, b; scanf("%d %d", &a, &b); printf("%f", (a > b ? a : b) / 2.0); }',
            "print 1",
            "a, b = map(int, input().split())\nprint('%.6f' % (max(a, b) / 2))",
            "class Main {}",
        ],
    },
    "incorrect_solutions": {"language": [], "solution": []},
    "cf_contest_id": 1,
    "cf_index": "A",
    "cf_points": 0.0,
    "cf_rating": 1200,
    "cf_tags": ["math"],
    "is_description_translated": False,
    "untranslated_description": "",
    "time_limit": {"seconds": 2, "nanos": 0},
    "memory_limit_bytes": 256000000,
    "input_file": "",
    "output_file": "",
}


def test_apps_programs(tmp_path):
    (task,) = load_tasks(f"apps:train:{rows_file(tmp_path, [APPS])}")
    assert (task.task_id, task.entry_point, len(task.inputs)) == ("apps/train/7", None, 2)
    assert task.metadata["difficulty"] == "introductory"
    assert task.prompt.startswith('r"""\nPrint the sum')
    assert judged(task, task.prompt + task.reference).passed  # the first that is Python 3
    assert not judged(task, task.prompt + "print(3)").passed


def test_apps_functions_are_methods_and_results_may_be_wrapped(tmp_path):
    (task,) = load_tasks(f"apps:test:{rows_file(tmp_path, [CALLED])}")
    assert (task.task_id, task.entry_point) == ("apps/test/8", "add")
    assert "Complete this code:\n\nclass Solution:" in task.prompt
    assert judged(task, task.prompt + task.reference).passed
    wrong = judged(task, task.prompt + task.reference.replace("a + b", "b if a == 1 else a + b"))
    assert (wrong.status, wrong.tests_passed) == ("wrong answer", 1)


def test_taco_rows_are_numbered(tmp_path):
    tasks = load_tasks(f"taco:test:{rows_file(tmp_path, [TACO, TACO])}")
    assert [task.task_id for task in tasks] == ["taco/test/0", "taco/test/1"]
    assert tasks[0].metadata["difficulty"] == "medium_hard"
    assert tasks[0].metadata["platform"] == "codewars"
    assert judged(tasks[0], tasks[0].prompt + tasks[0].reference).passed


def test_rows_without_usable_tests_are_counted(tmp_path, caplog):
    huge = '{"inputs": ["1"], "outputs": ["2"], "n": ' + "9" * 5000 + "}"
    keys = {"fn_name": "f", "inputs": [[{"1": 2}]], "outputs": [1]}
    rows = [
        *(
            {**APPS, "id": i, "input_output": text}
            for i, text in enumerate(("", "{}", '{"inputs": [], "outputs": []}'))
        ),
        {**APPS, "id": 3, "input_output": huge},
        {**APPS, "id": 4, "input_output": json.dumps(keys)},
        {**APPS, "id": 5, "input_output": '{"inputs": ["1"], "outputs": []}'},
        {**APPS, "id": 6, "input_output": '{"inputs": [{"a": 1}], "outputs": ["1"]}'},
        APPS,
    ]
    with caplog.at_level(logging.WARNING):
        assert [task.task_id for task in load_tasks(f"apps:test:{rows_file(tmp_path, rows)}")] == ["apps/test/7"]
    assert "3 rows left out: no tests" in caplog.text
    assert "rows.jsonl:1)" in caplog.text
    assert len(caplog.records) == 5


def test_solutions_may_be_missing(tmp_path):
    tasks = load_tasks(
        f"apps:test:{rows_file(tmp_path, [{**APPS, 'solutions': ''}, {**APPS, 'id': 1, 'solutions': '[]'}])}"
    )
    assert [task.reference for task in tasks] == [None, None]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_output": "{"}, "'input_output': expected JSON"),
        ({"input_output": "[1]"}, "'input_output': expected an object with lists"),
        ({"solutions": "[1]"}, "'solutions': expected a list of programs"),
        ({"question": 1.5}, "column 'question'"),
        ({"id": None}, "expected a column problem_id or id"),
    ],
)
def test_broken_apps_rows_are_named(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_tasks(f"apps:test:{rows_file(tmp_path, [{**APPS, **changes}])}")


def test_code_contests_in_python(tmp_path):
    (task,) = load_tasks(f"code-contests:valid:{rows_file(tmp_path, [CONTEST])}")
    assert (task.task_id, len(task.inputs), task.language) == ("code-contests/valid/0", 3, "python")
    assert task.metadata["platform"] == "codeforces"
    assert task.metadata["difficulty"] == "a"
    assert task.metadata["rating"] == "1200"
    assert judged(task, task.prompt + task.reference).passed  # 1.000000 is 1
    assert judged(task, "print('1')").tests_passed == 1


def test_code_contests_in_another_language(tmp_path):
    (task,) = load_tasks(f"code-contests:test-cpp:{rows_file(tmp_path, [CONTEST])}")
    assert task.language == "cpp"
    assert task.prompt.startswith("/*\n")
    assert task.prompt.count("*/") == 1
    assert task.reference.startswith("#include <cstdio>")


def test_lists_of_objects_read_alike(tmp_path):
    pairs = {
        name: [dict(zip(CONTEST[name], pair, strict=True)) for pair in zip(*CONTEST[name].values(), strict=True)]
        for name in ("public_tests", "private_tests", "generated_tests", "solutions")
    }
    first, second = load_tasks(f"code-contests:test:{rows_file(tmp_path, [CONTEST, {**CONTEST, **pairs}])}")
    assert (first.inputs, first.reference) == (second.inputs, second.reference)


def test_problems_with_files_are_left_out(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        tasks = load_tasks(f"code-contests:test:{rows_file(tmp_path, [{**CONTEST, 'input_file': 'a.in'}, CONTEST])}")
    assert [task.task_id for task in tasks] == ["code-contests/test/1"]
    assert "1 rows left out: it reads or writes files" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"public_tests": {"input": ["1"], "output": []}}, "'public_tests': 1 of 'input', 0 others"),
        ({"public_tests": "x"}, "'public_tests': expected lists"),
        ({"generated_tests": {"input": [1], "output": ["1"]}}, "'generated_tests': expected texts"),
        ({"difficulty": 99}, "unknown 'source' 2 or 'difficulty' 99"),
    ],
)
def test_broken_contest_rows_are_named(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_tasks(f"code-contests:test:{rows_file(tmp_path, [{**CONTEST, **changes}])}")


@pytest.mark.parametrize("name", ["apps", "taco:dev", "code-contests:test-rust", "code-contests:dev"])
def test_unknown_sets_are_refused(name):
    with pytest.raises(ConfigError, match=name.partition(":")[0]):
        load_tasks(name)
