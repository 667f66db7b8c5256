"""Files of rows with any columns become tasks when the user says which column is what."""

import pytest
from task_world import judged, rows_file

from rewardranker.errors import ConfigError, DataError
from rewardranker.tasks import load_tasks
from rewardranker.types import StdioTest

ROW = {
    "question": "def double(x):\n",
    "test_cases": ["assert double(2) == 4"],
    "entry_point": "double",
    "answer": "    return 2 * x\n",
    "level": "easy",
    "long": "x" * 300,
    "points": 3,
}


def test_stated_columns_become_fields(tmp_path):
    file = rows_file(tmp_path, [ROW, ROW])
    first, second = load_tasks(f"rows:prompt=question,tests=test_cases,reference=answer:{file}")
    assert (first.task_id, second.task_id) == ("rows/0", "rows/1")
    assert first.entry_point == "double"  # a column with a field's name
    assert first.metadata == {"level": "easy"}
    assert judged(first, first.prompt + first.reference).passed


def test_inputs_are_pairs(tmp_path):
    row = {
        "id": "a",
        "prompt": "Add.",
        "io": [{"input": "1 2", "output": "3"}],
        "metadata": {"source": "mine"},
        "k": "v",
    }
    (task,) = load_tasks(f"rows:task_id=id,inputs=io:{rows_file(tmp_path, [row])}")
    assert (task.task_id, task.inputs) == ("a", (StdioTest("1 2", "3"),))
    assert task.metadata == {"k": "v", "source": "mine"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("prompt=question,tests=asserts", "column 'asserts', stated for 'tests', is missing; columns here: answer"),
        ("prompt=points,tests=long,setup=test_cases", "column 'setup': expected str"),
        ("tests=test_cases", "column 'prompt' is missing"),
    ],
)
def test_wrong_columns_are_named(columns, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: {message}"):
        load_tasks(f"rows:{columns}:{rows_file(tmp_path, [ROW])}")


@pytest.mark.parametrize(
    "columns", ["question", "prompt=", "promt=question:f", "prompt=a,prompt=b:f", "prompt=question"]
)
def test_what_is_stated_wrongly_is_refused(columns):
    with pytest.raises(ConfigError, match="rows:"):
        load_tasks(f"rows:{columns}")
