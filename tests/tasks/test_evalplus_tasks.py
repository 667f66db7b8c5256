"""Both forms of EvalPlus's rows: references pass, what only the added inputs catch fails, special rules hold."""

import gzip
import json

import pytest
from task_world import judged, rows_file

from rewardranker.errors import DataError
from rewardranker.tasks import load_tasks
from rewardranker.tasks.evalplus import arguments_of, humaneval_plus_task, mbpp_plus_task

ASSERTION = """
import numpy as np

def is_floats(x) -> bool:
    if isinstance(x, float):
        return True
    if isinstance(x, (list, tuple)):
        return all(isinstance(i, float) for i in x)
    if isinstance(x, np.ndarray):
        return x.dtype == np.float64 or x.dtype == np.float32
    return False

def assertion(out, exp, atol):
    exact_match = out == exp
    if atol == 0 and is_floats(exp):
        atol = 1e-6
    if not exact_match and atol != 0:
        assert np.allclose(out, exp, rtol=1e-07, atol=atol)
    else:
        assert exact_match
"""
LOOP = "for i, (inp, exp) in enumerate(zip(inputs, results)):\n"

HUMANEVAL = {
    "task_id": "HumanEval/900",
    "prompt": 'def mean(a, b):\n    """ The mean. """\n',
    "canonical_solution": "    return (a + b) / 2\n",
    "entry_point": "mean",
}
HUMANEVAL_HUB = {
    **HUMANEVAL,
    "test": f"{ASSERTION}\ndef check(candidate):\n    inputs = [[1, 2], [-3, 1]]\n    results = [1.5, -1.0]\n    {LOOP}"
    "        assertion(candidate(*inp), exp, 0)\n",
}
HUMANEVAL_OWN = {**HUMANEVAL, "contract": "", "base_input": [[1, 2]], "plus_input": [[-3, 1], [0, 1]], "atol": 0}
MBPP_HUB = {
    "task_id": 900,
    "code": "import math\n\ndef root(n):\n    return math.isqrt(n)\n",
    "prompt": "Write a function to find the whole root of a number.",
    "source_file": "Benchmark Questions Verification V2.ipynb",
    "test_imports": ["import math"],
    "test_list": ["assert root(9) == 3", "assert root(10) == 3"],
    "test": f"{ASSERTION}\ninputs = [[9], [math.perm(4)]]\nresults = [3, 4]\n{LOOP}    assertion(root(*inp), exp, 0)\n",
}


def own_mbpp(number: int, entry_point: str, solution: str, *inputs: list, atol: float = 0) -> dict:
    return {
        "task_id": f"Mbpp/{number}",
        "prompt": f'"""\nWrite a function.\nassert {entry_point}(1) == 1\n"""\n',
        "entry_point": entry_point,
        "canonical_solution": solution,
        "base_input": [inputs[0]],
        "plus_input": list(inputs[1:]),
        "atol": atol,
        "contract": "",
    }


@pytest.mark.parametrize("row", [HUMANEVAL_HUB, HUMANEVAL_OWN])
def test_humaneval_plus_in_both_forms(row):
    task = humaneval_plus_task(row, "f:1")
    assert (task.task_id, task.metadata["source"]) == ("humaneval-plus/900", "humaneval-plus")
    assert judged(task, task.prompt + task.reference).passed
    assert judged(task, task.prompt + "\n    return (a + b) * 0.5 + 1e-9\n").passed  # floats need not be equal
    assert not judged(task, task.prompt + "\n    return (a + b) / 2 + 1e-3\n").passed
    only_base = task.prompt + "\n    return abs(a + b) / 2\n"
    assert judged(task, only_base).status == "wrong answer"


def test_own_inputs_are_counted_one_by_one():
    task = humaneval_plus_task(HUMANEVAL_OWN, "f:1")
    verdict = judged(task, task.prompt + "\n    return abs(a + b) / 2\n")
    assert (verdict.tests_passed, verdict.tests_total) == (2, 3)


def test_mbpp_plus_of_the_hub():
    task = mbpp_plus_task(MBPP_HUB, "f:1")
    assert task.entry_point == "root"
    assert "assert root(9) == 3" in task.prompt
    assert judged(task, task.prompt + task.reference).passed
    assert not judged(task, task.prompt + "def root(n):\n    return 3\n").passed


def test_arguments_get_their_python_types():
    solution = "\ndef size(pairs):\n    assert all(type(p) is tuple for p in pairs)\n    return len(pairs)\n"
    task = mbpp_plus_task(own_mbpp(64, "size", solution, [[["a", 1], ["b", 2]]], [[]]), "f:1")
    assert judged(task, task.prompt + task.reference).passed
    given_lists = mbpp_plus_task(own_mbpp(65, "size", solution, [[["a", 1]]]), "f:1")
    assert not judged(given_lists, task.prompt + task.reference).passed


@pytest.mark.parametrize(
    ("number", "json_arguments", "arguments"),
    [
        ("2", [[1], [2]], [(1,), (2,)]),
        ("75", [[[1, 2]], 3], [[(1, 2)], 3]),
        ("106", [[1], [2]], [[1], (2,)]),
        ("115", [[[1, 1], []]], [[{1}, {}]]),
        ("124", ["0", "1j"], [0.0, 1j]),
        ("259", [[[1], [2]]], [((1,), (2,))]),
        ("278", [[[1], 2]], [((1,), 2)]),
        ("307", [[1], 2, 3], [(1,), 2, 3]),
        ("580", [[1, [2, [3]]]], [(1, (2, (3,)))]),
        ("722", [{"a": [1.5, 2]}, 3], [{"a": (1.5, 2)}, 3]),
        ("3", [[1]], [[1]]),
    ],
)
def test_shapes_of_arguments(number, json_arguments, arguments):
    assert arguments_of(number, json_arguments, "f:1") == arguments


def test_arguments_of_another_shape_are_refused():
    with pytest.raises(DataError, match=r"f:1: arguments .* MBPP task 722"):
        arguments_of("722", [[1]], "f:1")


@pytest.mark.parametrize(
    ("row", "right", "wrong"),
    [
        (own_mbpp(2, "similar_elements", "def similar_elements(a, b):\n    return {*a} & {*b}\n", [[1, 2], [2, 1]]),
         "def similar_elements(a, b):\n    return [2, 1, 2]\n", "def similar_elements(a, b):\n    return [2]\n"),
        (own_mbpp(434, "check_str", "import re\ndef check_str(s):\n    return re.match('a', s)\n", ["ab"], ["b"]),
         "def check_str(s):\n    return s[0] == 'a'\n", "def check_str(s):\n    return True\n"),
        (own_mbpp(295, "sum_div", "def sum_div(n):\n    return 1\n", [5]),
         "def sum_div(n):\n    return 0\n", "def sum_div(n):\n    return 2\n"),
        (own_mbpp(581, "surface_Area", "def surface_Area(b, s):\n    return 2 * b * s + b * b\n", [3, 4]),
         "def surface_Area(b, h):\n    return 35\n", "def surface_Area(b, h):\n    return 34\n"),
        (own_mbpp(558, "digit_distance_nums", "def digit_distance_nums(a, b):\n    return 0\n", [1, 20]),
         "def digit_distance_nums(a, b):\n    return 3\n", "def digit_distance_nums(a, b):\n    return 4\n"),
        (own_mbpp(7, "plain", "def plain(a):\n    a.append(0)\n    return a\n", [[1]]),
         "def plain(a):\n    return a + [0]\n", "def plain(a):\n    return a\n"),
    ],
)  # fmt: skip
def test_rules_of_single_tasks(row, right, wrong):
    task = mbpp_plus_task(row, "f:1")
    assert judged(task, right).passed
    assert judged(task, wrong).status == "wrong answer"


def test_a_function_called_check_is_the_programs():
    task = mbpp_plus_task(own_mbpp(56, "check", "def check(n):\n    return n == 70\n", [70], [73]), "f:1")
    assert judged(task, task.prompt + task.reference).passed
    assert judged(task, "def check(n):\n    return True\n").status == "wrong answer"


def test_any_root_of_the_polynomial_is_right():
    row = {**HUMANEVAL_OWN, "entry_point": "find_zero", "base_input": [[[-4, 0, 1]]], "plus_input": [], "atol": 1e-4}
    row |= {"prompt": "def find_zero(xs):\n", "canonical_solution": "    return 2.0\n"}
    task = humaneval_plus_task(row, "f:1")
    assert judged(task, "def find_zero(xs):\n    return -2.0\n").passed
    assert not judged(task, "def find_zero(xs):\n    return 1.0\n").passed


def test_compressed_files_are_read(tmp_path):
    file = tmp_path / "HumanEvalPlus.jsonl.gz"
    file.write_bytes(gzip.compress((json.dumps(HUMANEVAL_OWN) + "\n").encode()))
    (task,) = load_tasks(f"humaneval-plus:{file}")
    assert task.task_id == "humaneval-plus/900"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"base_input": "[1]"}, "'base_input': expected a list of argument lists"),
        ({"base_input": [], "plus_input": {}}, "nothing would decide"),
        ({"entry_point": None}, "column 'entry_point'"),
    ],
)
def test_broken_rows_are_named(changes, message, tmp_path):
    with pytest.raises(DataError, match=rf"rows\.jsonl:1: .*{message}"):
        load_tasks(f"humaneval-plus:{rows_file(tmp_path, [{**HUMANEVAL_OWN, **changes}])}")


def test_rows_of_another_set_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"'test' .* or 'base_input'"):
        load_tasks(f"humaneval-plus:{rows_file(tmp_path, [{'task_id': 'a', 'question': 'b'}])}")
