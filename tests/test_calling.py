"""What programs return, through the real judge: equal values are equal texts, and nothing else is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rewardranker.calling import run_calls, run_calls_to_file
from rewardranker.config import JudgeOptions
from rewardranker.errors import RunDirectoryError
from rewardranker.execution import ProgramJudge
from rewardranker.ranking import ProgramOutputs
from rewardranker.runs import read_records
from rewardranker.types import Sample, Task

TASK = Task("t", "def f(a):\n", entry_point="f", tests=("assert f(1)",))


def sample(body: str, number: int = 0) -> Sample:
    program = f"class Odd:\n    def __repr__(self):\n        return '1'\n\ndef f(a):\n    {body}\n"
    return Sample("t", number, program, program, program)


@pytest.fixture(scope="module")
def judge() -> Iterator[ProgramJudge]:
    with ProgramJudge(JudgeOptions(timeout=0.3), workers=1) as judge:
        yield judge


def outputs(judge: ProgramJudge, body: str, *calls: str) -> list[str]:
    return list(run_calls([(TASK, sample(body))], {"t": calls or ("f(1)",)}, judge)[0].outputs)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("return a + 0.5", "1.5"),
        ("return None", "None"),
        ("return 'a\\tb'", r"'a\tb'"),
        ("return [1, (2,), ()]", "[1, (2,), ()]"),
        ("return {8, 1}", "set{1, 8}"),
        ("return {'b': 1, 'a': 2}", "{'a': 2, 'b': 1}"),
        ("return float('nan')", "nan"),
        ("return [a][3]", "!IndexError"),
        ("return Odd()", "<object>"),
        ("return [Odd()]", "[<object>]"),
        ("return 'é'", r"'\xe9'"),
    ],
)
def test_a_value_has_one_text(judge: ProgramJudge, body: str, text: str) -> None:
    assert outputs(judge, body) == [text]


def test_long_values_are_equal_where_they_are_the_same(judge: ProgramJudge) -> None:
    calls = ("f(0)", "f(1)", "f(0)")
    first, second, third = outputs(judge, "return 'x' * 500 + str(a)", *calls)
    assert first == third != second
    assert len(first) <= 24


def test_many_calls_are_all_answered_in_order(judge: ProgramJudge) -> None:
    calls = [f"f({i})" for i in range(70)]
    assert outputs(judge, "return -a", *calls) == [repr(-i) for i in range(70)]


def test_calls_beside_one_that_never_ends_are_answered(judge: ProgramJudge) -> None:
    found = outputs(judge, "while a == 2: pass\n    return a", *(f"f({i})" for i in range(5)))
    assert found == ["0", "1", "!timeout", "3", "4"]


def test_a_program_that_ends_everywhere_is_given_up(judge: ProgramJudge) -> None:
    found = outputs(judge, "raise SystemExit", *(f"f({i})" for i in range(16)))
    assert set(found) <= {"", "!exited"}
    assert "" in found


def test_a_program_that_does_not_load_has_no_value(judge: ProgramJudge) -> None:
    assert outputs(judge, "return (", "f(1)", "f(2)") == ["!compile error"] * 2


def test_a_second_call_goes_on(judge: ProgramJudge, tmp_path: Path) -> None:
    path, calls = tmp_path / "outputs.jsonl", {"t": ("f(1)",)}
    samples = [sample("return 1"), sample("return a", 1), sample("return 1", 2)]
    run_calls_to_file([TASK], samples[:1], calls, path, judge)
    with path.open("ab") as file:
        file.write(b'{"task_id": "t", "samp')  # a killed write
    figures = run_calls_to_file([TASK], samples, calls, path, judge)
    rows = list(read_records(path, ProgramOutputs))
    assert [(row.sample_id, row.outputs) for row in rows] == [(0, ("1",)), (1, ("1",)), (2, ("1",))]
    assert figures == {"programs": 3, "executions": sum(row.programs for row in rows), "calls": 3, "without_value": 0}
    with pytest.raises(RunDirectoryError, match="other samples or calls"):
        run_calls_to_file([TASK], samples, {"t": ("f(2)",)}, path, judge)
