"""Java programs that do nothing but compute run in two warm machines, with the verdicts of machines of their own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pure_java import CHEATS, ENDINGS, IMPURE, LOOP, MEMORY, PURE, RECURSION, RIGHT, TESTS, WRONG, solution

from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge, languages
from rewardranker.execution.accelerators import java
from rewardranker.execution.canary import Canary as MadeCanary
from rewardranker.execution.canary import make_canary
from rewardranker.execution.sandbox.command import _Job
from rewardranker.execution.sandbox.running import CantSay, Compiled
from rewardranker.execution.sandbox.toolchain import Canary, Toolchain
from rewardranker.types import Sample, Task, Verdict

SOLUTIONS = Path(__file__).parent / "solutions"
ROWS = Path(__file__).resolve().parents[3] / "shared/data/multipl-e/humaneval-java.jsonl"
OPTIONS = JudgeOptions(timeout=1.0, memory_mb=256)
_TOOLCHAIN = languages.toolchain(languages.find("java"))
pytestmark = pytest.mark.skipif(_TOOLCHAIN is None or bool(_TOOLCHAIN.lacking), reason="no JDK with javatuples")


class Compiler:
    """The warm compiler as a worker talks to it, without the sandbox around it."""

    def __init__(self, folder: Path) -> None:
        assert _TOOLCHAIN is not None
        self._errors = folder / "errors"
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                java.accelerate(_TOOLCHAIN, 256)["server"]["argv"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
            )

    def why_not_pure(self, source: str) -> str:
        """Empty where the program is known to do nothing but compute."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        before = self._errors.stat().st_size
        for frame in (b"Problem.java", source.encode()):
            self._process.stdin.write(struct.pack("<I", len(frame)) + frame)
        self._process.stdin.flush()
        answer = self._process.stdout.read(struct.unpack("<I", self._process.stdout.read(4))[0])
        assert answer[0] in (0, 3), answer
        why = self._errors.read_text()[before:].strip()
        assert bool(why) == (answer[0] == 0)
        return why

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Compiler]:
    server = Compiler(tmp_path_factory.mktemp("javac"))
    yield server
    server.close()


@pytest.mark.parametrize(("source", "reason"), IMPURE.values(), ids=IMPURE.keys())
def test_what_may_do_more_than_compute_is_known_as_such(compiler: Compiler, source: str, reason: str) -> None:
    why = compiler.why_not_pure(source)
    assert any(each in why for each in reason.split("|")), why


@pytest.mark.parametrize("source", PURE.values(), ids=PURE.keys())
def test_what_honest_programs_use_is_known_to_compute(compiler: Compiler, source: str) -> None:
    assert compiler.why_not_pure(source) == ""


# --- which runs decide ------------------------------------------------------------------------------------------------

CANARY = Canary(tests="changed", first_line=7, last_line=7)
THERE = 'Exception in thread "main" java.lang.AssertionError\n\tat Problem.main(Problem.java:8)'
FAILED = ("wrong answer", "x", False)


class Machines:
    """In place of compiler and machines: what each run ends with, and which machine it was given to."""

    def __init__(self, *endings: Any, pure: bool = True) -> None:
        self.runs: list[Any] = []
        self.machines: list[int] = []
        self._endings = list(endings)
        self._pure = pure

    def compile(self, source: str) -> Compiled:
        return Compiled({}, b"", self._pure)

    def run_pure(self, compiled: Compiled, machine: int) -> Any:
        self.machines.append(machine)
        ending = self._endings.pop(0)
        if ending is None:
            raise CantSay
        return ending


def decided(machines: Machines) -> Any:
    """The status, None where the plain way decides."""
    empty: dict[str, Any] = dict.fromkeys(Toolchain.__dataclass_fields__)
    fields = {**empty, "failed_line": r"at \w+\.main\(\w+\.java:(\d+)\)", "exit_rules": {}, "pure_server": {}}
    job = _Job(None, Toolchain(**fields), "Problem")  # type: ignore[arg-type]
    job._programs = machines  # type: ignore[assignment]
    try:
        outcome = job._decide_pure("program", "tests", CANARY)
    except CantSay:
        return None
    return outcome and outcome[0]


PASSES = (None, "")


@pytest.mark.parametrize(
    ("endings", "status"),
    [
        ((PASSES, (FAILED, THERE)), "passed"),
        ((PASSES, PASSES), "cheated"),
        (((FAILED, THERE),), "wrong answer"),
        ((None,), None),
        ((PASSES, None), None),
        ((PASSES, (FAILED, THERE.replace(":8", ":9"))), None),
        ((PASSES, (FAILED, THERE + "\n\tat Problem.main(Problem.java:9)")), None),
        ((PASSES, (FAILED, THERE.replace("AssertionError", "RuntimeException"))), None),
        ((PASSES, (FAILED, "")), None),
    ],
    ids=[
        "right",
        "changed run passes",
        "wrong",
        "first run unclear",
        "second run unclear",
        "elsewhere",
        "there and elsewhere",
        "another exception",
        "no trace",
    ],
)
def test_two_runs_decide_only_where_both_are_plain(endings: Any, status: str | None) -> None:
    assert decided(Machines(*endings)) == status


def test_a_program_that_may_do_more_is_left_to_the_plain_way() -> None:
    machines = Machines(pure=False)
    assert decided(machines) is None
    assert machines.machines == []


def test_no_machine_sees_both_runs_and_chance_decides_which_sees_the_right_tests() -> None:
    seen = set()
    for _ in range(60):
        machines = Machines(PASSES, (FAILED, THERE))
        decided(machines)
        seen.add(tuple(machines.machines))
    assert seen == {(0, 1), (1, 0)}


# --- verdicts ---------------------------------------------------------------------------------------------------------


Judged = Callable[..., Verdict]
ONLY_WARM: dict[str, Any] = {"run": ["/bin/false"]}
"""Programs can run nowhere but in the warm machines: all others end as `/bin/false` does."""
ALONE: dict[str, Any] = {"pure_server": None}
"""Each run gets a machine of its own."""


@pytest.fixture(scope="module")
def judged() -> Iterator[Judged]:
    """judged(program, tests, **overrides of the toolchain's fields) -> its verdict, all by one worker."""
    with judging(OPTIONS) as judged_:
        yield judged_


@contextlib.contextmanager
def judging(options: JudgeOptions) -> Iterator[Judged]:
    with ProgramJudge(options, workers=1) as judge:
        texts = judge._texts
        fields = texts._toolchain_fields
        judge._proven.add("java")

        def judged_(text: str, tests: str = TESTS, **overrides: Any) -> Verdict:
            texts._toolchain_fields = lambda found: {**fields(found), **overrides}  # type: ignore[method-assign]
            task = Task("t", "", "java", tests=tests)
            (verdict,) = judge.judge([(task, Sample("t", 0, "", "", text))])
            return verdict

        yield judged_


def rows() -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in map(json.loads, ROWS.read_text().splitlines())} if ROWS.exists() else {}


def corpus() -> list[dict[str, str]]:
    return [json.loads(line) for path in (SOLUTIONS, SOLUTIONS / "wrong") for line in (path / "java.jsonl").open()]


@pytest.mark.skipif(not ROWS.exists(), reason=f"{ROWS} is missing")
def test_honest_programs_are_decided_by_the_warm_machines(judged: Judged) -> None:
    known = rows()
    for each in corpus():
        row = known[each["name"]]
        verdict = judged(row["prompt"] + each["completion"], row["tests"], **ONLY_WARM)
        assert verdict.status == each.get("status", "passed"), (each["name"], verdict)
    assert not judged(f"{RIGHT}static {{ System.lineSeparator().wait(); }}", **ONLY_WARM).passed


@pytest.mark.skipif(not ROWS.exists(), reason=f"{ROWS} is missing")
@pytest.mark.slow
def test_verdicts_on_the_corpus_are_those_of_machines_of_their_own(judged: Judged) -> None:
    """Right programs, wrong ones, and right ones whose tests have another expected value."""
    known = rows()
    for each in corpus():
        row = known[each["name"]]
        changed = make_canary("java", row["tests"], seed=3)
        assert isinstance(changed, MadeCanary)
        for tests in (row["tests"], changed.tests):
            warm, own = (judged(row["prompt"] + each["completion"], tests, **way) for way in ({}, ALONE))
            assert said(warm) == said(own)


def said(verdict: Verdict) -> tuple[Any, ...]:
    return verdict.status, verdict.detail, verdict.passed, verdict.tests_passed, verdict.tests_total, verdict.outcomes


@pytest.mark.parametrize(("status", "text"), ENDINGS.values(), ids=ENDINGS.keys())
def test_a_program_that_fails_gets_the_verdict_of_a_machine_of_its_own(judged: Judged, status: str, text: str) -> None:
    warm = judged(text)
    assert warm.status == status
    assert said(warm) == said(judged(text, **ALONE))


COUNTING = solution("calls++; assert calls == x; return x + 1;", members="static long calls;")


def test_each_run_finds_its_classes_as_new(judged: Judged) -> None:
    assert [judged(COUNTING, **ONLY_WARM).status for _ in range(4)] == ["passed"] * 4


IN_THE_WAY = {"remembers by threads that stay", "remembers by properties", "remembers by the default locale"}


@pytest.mark.parametrize(
    "text",
    [pytest.param(text, id=name, marks=[pytest.mark.slow] * (name in IN_THE_WAY)) for name, text in CHEATS.items()],
)
def test_a_cheat_gets_the_verdict_of_machines_of_its_own(judged: Judged, text: str) -> None:
    for _ in range(2):  # the second time it may find what it left
        warm = judged(text)
        assert not warm.passed
    assert warm.status == judged(text, **ALONE).status
    assert judged(RIGHT).passed


@pytest.mark.parametrize(("text", "status"), [(LOOP, "timeout"), (RECURSION, "exception"), (MEMORY, "out of memory")])
def test_a_program_that_takes_too_much_gets_its_usual_status(judged: Judged, text: str, status: str) -> None:
    assert judged(text).status == status


def test_programs_that_break_their_machine_keep_no_others_from_it(judged: Judged) -> None:
    for text in (*[LOOP] * 5, RECURSION, MEMORY):
        assert not judged(text, **ONLY_WARM).passed
    assert judged(RIGHT, **ONLY_WARM).passed


def machines_of(parent: int) -> list[int]:
    """Process ids of the warm machines among a process's descendants."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if b"JavaRunner" in (entry / "cmdline").read_bytes() and parent in _ancestors(int(entry.name)):
                    found.append(int(entry.name))
    return found


def _ancestors(pid: int) -> Iterator[int]:
    while pid > 1:
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        yield pid


def test_a_killed_machine_changes_no_verdict(judged: Judged) -> None:
    assert judged(RIGHT, **ONLY_WARM).passed
    machines = machines_of(os.getpid())
    assert len(machines) == 2
    for pid in machines:
        os.kill(pid, signal.SIGKILL)
    assert judged(RIGHT, **ONLY_WARM).passed
    assert judged(WRONG, **ONLY_WARM).status == "wrong answer"


def test_a_verdict_of_warm_machines_has_figures(judged: Judged) -> None:
    verdict = judged(RIGHT, **ONLY_WARM)
    assert verdict.passed
    assert 0 < verdict.cpu_seconds < verdict.seconds + 1
    assert verdict.peak_memory_mb > 20  # a virtual machine's


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::rewardranker.execution.judge.IsolationWarning")
@pytest.mark.parametrize("level", ["landlock", "rlimits"])
def test_warm_machines_decide_at_weaker_levels_too(level: str) -> None:
    options = OPTIONS.model_copy(update={"isolation": level, "allow_unsafe": True})
    try:
        with judging(options) as judged:
            assert judged(RIGHT, **ONLY_WARM).passed
            assert judged(WRONG, **ONLY_WARM).status == "wrong answer"
            assert judged(CHEATS["always equal"], **ONLY_WARM).status == "cheated"
    except SandboxError as error:
        pytest.skip(f"level {level} is not to be had here: {error}")
