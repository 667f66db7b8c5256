"""Programs of all languages through the judge: right ones pass, wrong ones fail as they should, cheats are caught."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import sample_of

from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge, language_examples, languages, programs
from rewardranker.execution.language_examples import EXAMPLES
from rewardranker.types import Sample, StdioTest, Task, Verdict

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "multipl-e"
SOLUTIONS = Path(__file__).parent / "solutions"
CODES = [row.code for row in languages.LANGUAGES if row.code in EXAMPLES]
PAPER = ("cpp", "java", "js", "ts", "php", "cs", "sh")
SLOW = ("scala",)
FEW = 2
"""Solutions a language that the fast tests run; `test_every_solution_passes` runs all."""


@pytest.fixture(scope="module")
def judge():
    with ProgramJudge(JudgeOptions(timeout=5), workers=2) as judge:
        yield judge


def usable(code: str) -> None:
    language = languages.find(code)
    if languages.toolchain(language) is None:
        pytest.skip(languages.install_hint(language))


def row_of(code: str, name: str) -> dict[str, str]:
    path = DATA / f"humaneval-{code}.jsonl"
    if not path.exists():
        pytest.skip(f"reference data is missing: {path.name}")
    return next(row for row in map(json.loads, path.read_text().splitlines()) if row["name"] == name)


def solutions(code: str, folder: str = "", few: int | None = None) -> list[dict[str, str]]:
    path = SOLUTIONS / folder / f"{code}.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines[:few]]


def item_of(code: str, solution: dict[str, str]) -> tuple[Task, Sample]:
    row = row_of(code, solution["name"])
    program = row["prompt"] + programs.cut(solution["completion"], row["stop_tokens"])
    task = Task(row["name"], row["prompt"], row["language"], tests=row["tests"])
    return task, sample_of(program, row["name"])


def example_item(code: str, completion: str) -> tuple[Task, Sample]:
    example = EXAMPLES[code]
    return Task("t", example.prompt, code, tests=example.tests), sample_of(example.prompt + completion)


def one(judge: ProgramJudge, item: tuple[Task, Sample]) -> Verdict:
    (verdict,) = judge.judge([item])
    return verdict


@pytest.mark.parametrize("code", CODES)
def test_example_passes_and_its_wrong_version_does_not(judge: ProgramJudge, code: str) -> None:
    usable(code)
    right = one(judge, example_item(code, EXAMPLES[code].right))
    wrong = one(judge, example_item(code, EXAMPLES[code].wrong))
    assert (right.status, wrong.status) == ("passed", "wrong answer"), (right.detail, wrong.detail)
    assert right.toolchain


@pytest.mark.parametrize("code", [code for code in CODES if code not in (*SLOW, "py")])
def test_solutions_pass_and_wrong_ones_get_their_status(judge: ProgramJudge, code: str) -> None:
    usable(code)
    items = [item_of(code, solution) for solution in solutions(code, few=FEW)]
    wrong = solutions(code, "wrong", FEW)
    verdicts = list(judge.judge([*items, *(item_of(code, solution) for solution in wrong)]))
    assert [verdict.status for verdict in verdicts] == ["passed"] * len(items) + [row["status"] for row in wrong]


@pytest.mark.slow
@pytest.mark.parametrize("code", [code for code in CODES if code != "py"])
def test_every_solution_passes_and_every_wrong_one_gets_its_status(judge: ProgramJudge, code: str) -> None:
    usable(code)
    rows = solutions(code)
    assert len(rows) >= (30 if code in PAPER else 5)
    wrong = solutions(code, "wrong")
    verdicts = list(judge.judge([item_of(code, row) for row in [*rows, *wrong]]))
    expected = ["passed"] * len(rows) + [row["status"] for row in wrong]
    found = {
        v.task_id: (v.status, v.detail) for v, status in zip(verdicts, expected, strict=True) if v.status != status
    }
    assert found == {}


@pytest.mark.parametrize("code", ["cpp", "sh", "php", "pl", "rb", "lua", "js"])
def test_program_that_ends_with_success_before_its_tests_is_cheating(judge: ProgramJudge, code: str) -> None:
    usable(code)
    early = {
        "cpp": "    _exit(0);",
        "sh": "    :\n}\nexit 0\nf() {\n    :",
        "php": "    return 1;\n}\nexit(0);",
        "pl": "    return 1;\n}\nexit(0);",
        "rb": "  1\nend\nexit!(0)",
        "lua": "  return 1\nend\nos.exit(0)",
        "js": "  return 1;\n}\nprocess.exit(0);",
    }
    verdict = one(judge, example_item(code, early[code]))
    assert (verdict.passed, verdict.status) == (False, "cheated"), verdict


@pytest.mark.parametrize("code", ["cpp", "sh", "php", "rb", "pl", "js"])
def test_inputs_and_outputs_decide_whole_programs(judge: ProgramJudge, code: str) -> None:
    usable(code)
    text = {
        "cpp": "#include <iostream>\nint main() { long a, b; std::cin >> a >> b; std::cout << a + b << std::endl; }",
        "sh": "read a b; echo $((a + b))",
        "php": "<?php [$a, $b] = explode(' ', trim(fgets(STDIN))); echo $a + $b, \"\\n\";",
        "rb": "puts gets.split.map(&:to_i).sum",
        "pl": "my ($x, $y) = split ' ', <STDIN>; print $x + $y, qq(\\n);",
        "js": "const [a, b] = require('fs').readFileSync(0, 'utf8').split(' ').map(Number); console.log(a + b);",
    }[code]
    task = Task("t", "", code, inputs=(StdioTest("1 2\n", "3"), StdioTest("5 5\n", "10"), StdioTest("2 2\n", "5")))
    verdict = one(judge, (task, sample_of(text)))
    assert (verdict.status, verdict.tests_passed, verdict.tests_total) == ("wrong answer", 2, 3), verdict
    assert verdict.detail == "line 1: expected '5', printed '4'"


@pytest.mark.parametrize(
    ("completion", "status"),
    [
        ("    return *(volatile long*)0;", "crashed"),
        ("    throw 3;", "exception"),
        ("    while (true);", "timeout"),
        ("    std::string s; while (true) s += std::string(1 << 20, 'a');", "out of memory"),
        ('    while (true) puts("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");', "output limit"),
        ("    return undeclared;", "compile error"),
    ],
)
def test_status_of_compiled_programs(completion: str, status: str) -> None:
    usable("cpp")
    with ProgramJudge(JudgeOptions(timeout=0.5, memory_mb=256), workers=1) as judge:
        verdict = one(judge, example_item("cpp", completion))
    assert verdict.status == status, verdict


def test_time_of_sleeping_program_is_bounded(judge: ProgramJudge) -> None:
    usable("sh")
    with ProgramJudge(JudgeOptions(timeout=0.2), workers=1) as judge:
        verdict = one(judge, example_item("sh", "    sleep 60"))
    assert verdict.status == "timeout"
    assert verdict.cpu_seconds < 0.2


def test_broken_toolchain_is_an_error_and_no_verdict(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Else every program of the language would seem to be wrong."""
    usable("pl")
    example = EXAMPLES["pl"]
    broken = example._replace(right="    die;\n}")  # as if perl could not run what it should
    monkeypatch.setitem(language_examples.EXAMPLES, "pl", broken)
    with (
        ProgramJudge(JudgeOptions(timeout=1), workers=1) as judge,
        pytest.raises(SandboxError, match=r"toolchain of Perl"),
    ):
        one(judge, example_item("pl", example.wrong))


def test_language_without_toolchain_is_an_error_that_says_how_to_get_it(judge: ProgramJudge) -> None:
    missing = [code for code in CODES if languages.toolchain(languages.find(code)) is None]
    if not missing:
        pytest.skip("this machine has the toolchain of every language")
    with pytest.raises(SandboxError, match=r"can't be judged on this machine: .*missing"):
        one(judge, example_item(missing[0], ""))


def test_right_programs_pass_on_a_loaded_machine() -> None:
    """Limits count the program's own CPU time: eight workers on fewer cores must not turn waiting into timeouts."""
    usable("sh")
    with ProgramJudge(JudgeOptions(timeout=1), workers=8) as judge:
        busy = "    for ((i = 0; i < 20000; i++)); do :; done\n" + EXAMPLES["sh"].right
        items = [example_item("sh", f"    # {i}\n{busy}") for i in range(24)]
        assert [verdict.status for verdict in judge.judge(items)] == ["passed"] * 24


@pytest.mark.parametrize("code", ["php", "rb", "js"])
def test_program_that_leaves_its_tests_by_chance_never_passes(judge: ProgramJudge, code: str) -> None:
    """It would pass where it leaves before the real tests and stays for the changed ones: once in four."""
    usable(code)
    text = {
        "php": "    return 5;\n}\nif (random_int(0, 1)) exit(0); // {}",
        "rb": "  5\nend\nexit!(0) if rand(2) == 0 # {}",
        "js": "  return 5;\n}\nif (Math.random() < 0.5) process.exit(0); // {}",
    }[code]
    items = [example_item(code, text.replace("{}", str(number))) for number in range(24)]
    statuses = {verdict.status for verdict in judge.judge(items)}
    assert statuses == {"wrong answer", "cheated"}


def test_pass_without_a_canary_says_so(judge: ProgramJudge) -> None:
    usable("sh")
    task = Task("t", "", "sh", tests="f; true")
    verdict = one(judge, (task, sample_of("f() { :; }")))
    assert verdict.passed
    assert verdict.detail.startswith("believed by its exit status alone: no assertion")


def test_setup_stands_before_real_and_changed_tests(judge: ProgramJudge) -> None:
    usable("php")
    example = EXAMPLES["php"]
    task = Task("t", "", "php", tests=example.tests, setup="function offset() {\n    return 0;\n}")
    program = example.prompt + example.right.replace("max(0,", "max(offset(),")
    assert one(judge, (task, sample_of(program))).status == "passed"
