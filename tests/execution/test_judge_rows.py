"""Rows with their own tests: what a row may look like, what is said of a bad one, one row in, one row out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rewardranker.errors import DataError, RunDirectoryError
from rewardranker.execution import ProgramJudge
from rewardranker.execution.records import judge_rows_to_file
from rewardranker.execution.rows import Row, is_self_contained, read_rows

CPP = {
    "name": "HumanEval_23_strlen",
    "language": "cpp",
    "prompt": "long f(string s) {\n",
    "completion": "    return s.size();\n}\nint main() { return 0; }",
    "tests": '}\nint main() { assert(f("a") == 1); }\n',
    "stop_tokens": ["\n}"],
}
CHECK = {
    "task_id": "HumanEval/23",
    "prompt": "def f(x):\n",
    "completion": "    return x + 1\n",
    "tests": "def check(candidate):\n    assert candidate(1) == 2\n",
    "entry_point": "f",
}
STDIN = {
    "task_id": "double",
    "language": "python",
    "program": "print(int(input()) * 2)",
    "inputs": [{"input": "2\n", "output": "4\n"}, {"input": "3\n", "output": "6\n"}],
}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows))
    return path


def read_one(tmp_path: Path, row: dict[str, Any]) -> Row:
    (found,) = read_rows(write(tmp_path / "rows.jsonl", row))
    return found


def outputs(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- reading ----------------------------------------------------------------------------------------------------


def test_multipl_e_row_is_prompt_and_completion_cut_at_the_first_stop_token(tmp_path: Path) -> None:
    row = read_one(tmp_path, CPP)
    assert row.sample.program == "long f(string s) {\n    return s.size();"
    assert row.task.tests == CPP["tests"]
    assert (row.task.language, row.task.task_id) == ("cpp", "HumanEval_23_strlen")


def test_the_earliest_stop_token_cuts_whatever_its_place_in_the_list(tmp_path: Path) -> None:
    row = read_one(tmp_path, {**CPP, "stop_tokens": ["ZZ"], "stop": ["\nB", "\nA"], "completion": "x\nA\nBZZ"})
    assert row.sample.program == CPP["prompt"] + "x"


def test_a_whole_program_is_taken_as_it_is(tmp_path: Path) -> None:
    row = read_one(tmp_path, {**CPP, "program": "int main() {\n}\n"})
    assert row.sample.program == "int main() {\n}\n"


@pytest.mark.parametrize(
    ("word", "language"),
    [
        ("JS", "javascript"),
        ("Python", "python"),
        ("py", "python"),
        ("CSharp", "csharp"),
        ("cs", "csharp"),
        ("sh", "bash"),
        ("go_test.go", "go"),
        ("C++", "cpp"),
    ],
)
def test_languages_are_usual_names_or_codes_in_any_case(tmp_path: Path, word: str, language: str) -> None:
    assert read_one(tmp_path, {**CPP, "language": word}).task.language == language


def test_rows_with_an_entry_point_are_python(tmp_path: Path) -> None:
    row = read_one(tmp_path, CHECK)
    assert (row.task.language, row.task.entry_point) == ("python", "f")


def test_prompt_may_be_missing(tmp_path: Path) -> None:
    row = read_one(tmp_path, {"task_id": 7, "language": "py", "completion": "def f(): pass", "tests": ["assert f()"]})
    assert row.sample.program == "def f(): pass"
    assert row.task.tests == ("assert f()",)


def test_id_fields_travel_and_others_do_not(tmp_path: Path) -> None:
    own = {"id": "x", "index": 3, "sample_id": 5, "model": "m", "problem_id": None, "dataset_name": "d", "run_index": 1}
    row = read_one(tmp_path, {**own, **CHECK, "idea": "no", "list_id": [1]})
    assert row.ids == {"task_id": "HumanEval/23", **own}
    assert next(iter(row.ids)) == "task_id"


def test_rows_of_one_task_share_it(tmp_path: Path) -> None:
    first, second = read_rows(write(tmp_path / "rows.jsonl", CHECK, {**CHECK, "completion": "    return 0\n"}))
    assert first.task is second.task
    assert first.digest != second.digest


@pytest.mark.parametrize("field", ["tests", "completion", "prompt", "setup", "entry_point"])
def test_the_digest_tells_every_part_apart(tmp_path: Path, field: str) -> None:
    changed = {**CHECK, field: CHECK.get(field, "") + " "}
    assert read_one(tmp_path, CHECK).digest != read_one(tmp_path, changed).digest


def test_samples_are_told_from_rows() -> None:
    assert is_self_contained(CPP)
    assert is_self_contained(STDIN)
    assert not is_self_contained({"task_id": "a", "sample_id": 0, "program": "", "tests": None})


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**CPP, "language": "cppp"}, "column 'language': unknown language 'cppp': did you mean cpp"),
        ({**CPP, "language": None}, "column 'language' is missing"),
        ({**CPP, "completion": None}, "column 'completion' is missing: give what the model wrote"),
        ({**CPP, "completion": ["x"]}, "column 'completion': expected str, got list"),
        ({**CPP, "tests": None}, "column 'tests' is missing: give the tests' source text or 'inputs'"),
        ({**CPP, "tests": ["assert x"]}, "a list of statements is for python"),
        ({**CPP, "inputs": STDIN["inputs"]}, "both 'tests' and 'inputs' are given"),
        ({**CPP, "stop_tokens": ["a", ""]}, "a stop token is empty"),
        ({**CPP, "stop_tokens": "a"}, "column 'stop_tokens': expected a list"),
        ({**CPP, "name": None}, "column 'task_id' is missing"),
        ({**STDIN, "inputs": [{"input": "1"}]}, "column 'output' is missing"),
        ({**STDIN, "inputs": "1"}, "column 'inputs': expected a list"),
        ({**STDIN, "language": "c++", "entry_point": "f"}, "'inputs' with an 'entry_point' are function calls"),
        ({**CPP, "setup": "import x"}, "column 'setup' is for python only"),
        ({**CHECK, "task_id": "\ud800"}, "column 'task_id' holds half a character"),
        ("[1]\n", "expected a JSON object, got list"),
        ('{"a": }\n', "broken JSON"),
        ("[" * 100_000 + "\n", "nested too deeply"),
        ('{"task_id": "a", "lang', "the last line is cut off"),
    ],
)
def test_a_bad_row_is_named_with_file_line_and_field(tmp_path: Path, row: dict[str, Any] | str, words: str) -> None:
    path = write(tmp_path / "rows.jsonl", CHECK, "\n", row)
    rows = read_rows(path)
    next(rows)
    with pytest.raises(DataError) as error:
        next(rows)
    assert str(error.value).startswith(f"{path}:3: ")
    assert words in str(error.value)


def test_a_last_line_without_line_break_is_a_row(tmp_path: Path) -> None:
    assert len(list(read_rows(write(tmp_path / "rows.jsonl", CHECK, json.dumps(STDIN))))) == 2


def test_a_file_without_rows_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no rows"):
        list(read_rows(write(tmp_path / "rows.jsonl", "\n\n")))


# --- judging ----------------------------------------------------------------------------------------------------

MULTIPL_E_PYTHON = "def check(candidate):\n    assert candidate() == 1\ndef test_check():\n    check(g)\ntest_check()\n"

ROWS = [
    {**CHECK, "model": "m"},
    {**CHECK, "model": "m", "completion": "    return x\n"},
    STDIN,
    {**STDIN, "program": "print(4)"},
    {"id": 4, "language": "PY", "prompt": "def h():\n    return 1\ndef g():\n", "completion": "    return h()\nrest"}
    | {"tests": MULTIPL_E_PYTHON, "stop": ["\nrest"]},
    {**CHECK, "model": "m"},
]


def test_one_row_in_one_row_out_in_order(pool: ProgramJudge, tmp_path: Path) -> None:
    rows = write(tmp_path / "rows.jsonl", *ROWS)
    summary = judge_rows_to_file(rows, tmp_path / "v.jsonl", pool)
    found = outputs(tmp_path / "v.jsonl")
    assert [row["passed"] for row in found] == [True, False, True, False, True, True]
    assert [row["task_id"] for row in found] == [*["HumanEval/23"] * 2, *["double"] * 2, 4, "HumanEval/23"]
    assert (found[3]["status"], found[3]["tests_passed"], found[3]["tests_total"]) == ("wrong answer", 1, 2)
    assert [row["cached"] for row in found] == [False] * 5 + [True]
    assert [row.get("model") for row in found] == ["m", "m", None, None, None, "m"]
    assert all(row["isolation"] == pool.isolation for row in found)
    keys = {"task_id", "passed", "status", "detail", "seconds", "cpu_seconds", "peak_memory_mb", "cached", "isolation"}
    assert keys | {"tests_passed", "tests_total", "toolchain", "language"} <= set(found[0])
    assert (summary["programs"], summary["passed"], summary["pass_rate"]) == (6, 4, 4 / 6)
    assert summary["by_language"] == {"python": 6}
    assert summary["passed_by_language"] == {"python": 4}


@pytest.mark.parametrize("share", [0.0, 0.4, 0.9, 1.0])
def test_a_second_call_goes_on_behind_what_is_there(pool: ProgramJudge, tmp_path: Path, share: float) -> None:
    rows = write(tmp_path / "rows.jsonl", *ROWS)
    whole, torn = tmp_path / "whole.jsonl", tmp_path / "torn.jsonl"
    expected = judge_rows_to_file(rows, whole, pool)
    content = whole.read_bytes()
    torn.write_bytes(content[: int(share * len(content))])
    kept = torn.read_bytes()[: torn.read_bytes().rfind(b"\n") + 1]
    summary = judge_rows_to_file(rows, torn, pool)
    stable = ("task_id", "status", "tests_passed", "cached", "digest")
    assert [[r[k] for k in stable] for r in outputs(torn)] == [[r[k] for k in stable] for r in outputs(whole)]
    assert torn.read_bytes().startswith(kept)
    assert {**summary, "programs_per_second": 0} == {**expected, "programs_per_second": 0}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"completion": "    return 7\n"}, "with another program or other tests"),
        ({"tests": "def check(f): assert f(0) == 1"}, "with another program or other tests"),
        ({"model": "other"}, "model 'm', but line 1 has"),
    ],
)
def test_verdicts_of_other_rows_are_refused(
    pool: ProgramJudge, tmp_path: Path, change: dict[str, str], words: str
) -> None:
    output = tmp_path / "v.jsonl"
    judge_rows_to_file(write(tmp_path / "rows.jsonl", *ROWS), output, pool)
    before = output.read_bytes()
    other = write(tmp_path / "other.jsonl", {**ROWS[0], **change}, *ROWS[1:])
    with pytest.raises(RunDirectoryError, match=rf"v\.jsonl:1 is the verdict of .*{words}"):
        judge_rows_to_file(other, output, pool)
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("prompt", "program", "tests"),
    [
        ("def g():\n", "def g(): return 1", MULTIPL_E_PYTHON),
        ("class A:\n    def f(self):\n", "class A:\n    def f(self): return 1", "assert A().f() == 1"),
        ("def g():\n    pass\nA = 0\n", "A = 1", "assert A == 1"),
    ],
)
def test_tests_of_python_rows_meet_the_program_and_not_the_stub_in_its_prompt(
    pool: ProgramJudge, tmp_path: Path, prompt: str, program: str, tests: str
) -> None:
    row = {"task_id": "a", "language": "python", "prompt": prompt, "program": program, "tests": tests}
    wrong = {**row, "program": program.replace("1", "2")}
    judge_rows_to_file(write(tmp_path / "rows.jsonl", row, wrong), tmp_path / "v.jsonl", pool)
    assert [row["passed"] for row in outputs(tmp_path / "v.jsonl")] == [True, False]


def test_fewer_rows_than_verdicts_are_refused(pool: ProgramJudge, tmp_path: Path) -> None:
    judge_rows_to_file(write(tmp_path / "rows.jsonl", *ROWS), tmp_path / "v.jsonl", pool)
    with pytest.raises(RunDirectoryError, match="6 verdicts but there are only 2 rows"):
        judge_rows_to_file(write(tmp_path / "rows.jsonl", *ROWS[:2]), tmp_path / "v.jsonl", pool)


@pytest.mark.parametrize("bad", [{**CHECK, "tests": None}, '{"task_id": "cut', {**CHECK, "tests": "def check("}])
def test_rows_before_a_bad_one_are_judged_and_kept(
    pool: ProgramJudge, tmp_path: Path, bad: dict[str, Any] | str
) -> None:
    rows, output = tmp_path / "rows.jsonl", tmp_path / "v.jsonl"
    with pytest.raises(DataError, match=r"rows\.jsonl:7: "):
        judge_rows_to_file(write(rows, *ROWS, bad), output, pool)
    assert len(outputs(output)) == 6
    judge_rows_to_file(write(rows, *ROWS, STDIN), output, pool)
    assert len(outputs(output)) == 7
