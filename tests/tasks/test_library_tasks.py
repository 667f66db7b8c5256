"""BigCodeBench and AceCode: unittest classes, assertions, references."""

import logging

import pytest
from task_world import judged, rows_file

from rewardranker.errors import ConfigError, DataError
from rewardranker.tasks import load_tasks

COMPLETE = (
    "import re\nfrom collections import Counter\n\ndef task_func(text):\n"
    '    """\n    Count the words of a text.\n\n    Requirements:\n    - re\n    - collections\n    """\n'
)
BIG = {
    "task_id": "BigCodeBench/900",
    "complete_prompt": COMPLETE,
    "instruct_prompt": "Count the words of a text.\nYou should write self-contained code starting with:\n"
    "```\nimport re\nfrom collections import Counter\ndef task_func(text):\n```",
    "canonical_solution": "    return dict(Counter(re.findall(r'\\w+', text)))",
    "code_prompt": "import re\nfrom collections import Counter\ndef task_func(text):\n",
    "test": "import unittest\nclass TestCases(unittest.TestCase):\n"
    "    def test_case_1(self):\n        self.assertEqual(task_func('a b a'), {'a': 2, 'b': 1})\n"
    "    def test_case_2(self):\n        self.assertEqual(task_func(''), {})\n",
    "entry_point": "task_func",
    "doc_struct": "{}",
    "libs": "['re', 'collections']",
}
ACE = {
    "id": "oss_900",
    "source": "oss",
    "question": "Write a function that doubles a number.",
    "test_cases": ["assert double(2) == 4", "assert double(-1) == -2"],
    "inferences": [
        {"completion": "def double(x): return 4", "completion_id": 0, "model_name": "m", "pass_rate": 0.5},
        {"completion": "Sure:\n```python\ndef double(x):\n    return 2 * x\n```\nDone.", "completion_id": 1,
         "model_name": "m", "pass_rate": 1.0},
    ],
    "context_messages": [[{"content": "c", "role": "user"}]],
}  # fmt: skip


@pytest.mark.parametrize("variant", ["complete", "instruct", "hard-complete", "hard-instruct"])
def test_bigcodebench_is_decided_by_its_unittest_class(variant, tmp_path):
    (task,) = load_tasks(f"bigcodebench:{variant}:{rows_file(tmp_path, [BIG])}")
    assert task.task_id == f"bigcodebench-{variant}/900"
    assert task.metadata["libraries"] == "re collections"
    verdict = judged(task, task.prompt + task.reference)
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("passed", 2, 2)
    wrong = judged(task, task.prompt + task.reference.replace("findall(", "findall('a' or "))
    assert (wrong.status, wrong.tests_passed) == ("wrong answer", 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"libs": "re"}, "'libs': expected the text of a list"), ({"test": None}, "column 'test'")],
)
def test_broken_bigcodebench_rows_are_named(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_tasks(f"bigcodebench:complete:{rows_file(tmp_path, [{**BIG, **changes}])}")


def test_bigcodebench_needs_a_prompt_style():
    with pytest.raises(ConfigError, match="known: complete, instruct"):
        load_tasks("bigcodebench")


def test_acecode_tasks(tmp_path):
    (task,) = load_tasks(f"acecode:{rows_file(tmp_path, [ACE])}")
    assert (task.task_id, task.entry_point) == ("acecode/oss_900", "double")
    assert "called double" in task.prompt
    assert task.metadata["origin"] == "oss"
    assert judged(task, task.prompt + task.reference).passed  # the answer that passed everything, without its prose
    assert judged(task, "def double(x): return 4").tests_passed == 1


def test_acecode_rows_that_can_not_be_used_are_counted(tmp_path, caplog):
    rows = [
        {**ACE, "id": "a", "test_cases": []},
        {**ACE, "id": "b", "test_cases": ["assert double(1) == 2", "assert double("]},
        {**ACE, "id": "c", "test_cases": ["assert True"]},
        {**ACE, "inferences": []},
    ]
    with caplog.at_level(logging.WARNING):
        (task,) = load_tasks(f"acecode:{rows_file(tmp_path, rows)}")
    assert task.reference is None
    assert "1 rows left out: no tests" in caplog.text
    assert "2 rows left out: a test does not parse, or calls no function" in caplog.text


def test_broken_acecode_rows_are_named(tmp_path):
    file = rows_file(tmp_path, [{**ACE, "inferences": [{"pass_rate": 1.0}]}])
    with pytest.raises(DataError, match=r"rows\.jsonl:1: column 'inferences'\[0\]: column 'completion' is missing"):
        load_tasks(f"acecode:{file}")
