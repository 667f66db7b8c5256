"""The corpus of cheating and harmful programs: each gets the better of a naive judge, and nothing from this one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attacks import contained, naive, other_languages
from attacks.corpus import HONEST, LEVELS, TESTS, Attack, compiled_attacks, python_attacks
from attacks.scene import Scene

import rewardranker.execution.sandbox
from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge, languages
from rewardranker.execution.items import TaskTexts
from rewardranker.types import Sample, StdioTest, Task, Verdict

ROOT = os.geteuid() == 0
PYTHON_SECONDS = 0.2
OTHER_SECONDS = 5.0
COMPILE_SECONDS = 2.0
SLACK = 5.0
"""Seconds on top of what the judge promises, for a machine that is busy with other things."""
LONGEST_DETAIL = 10_000

ATTACKS = [*python_attacks(), *compiled_attacks()]
LANGUAGES = sorted(other_languages.TESTS)


def name_of(attack: Attack) -> str:
    return f"{attack.language}: {attack.kind}: {attack.name}"


def skip_without_toolchain(language: str) -> None:
    if language != "python" and (lacking := naive.lacking(language)):
        pytest.skip(f"{lacking} is not installed")


# --- the corpus against naive judges ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sandbox() -> None:
    if reason := contained.why_not_possible():
        pytest.skip(reason)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("attack", [pytest.param(a, id=name_of(a), marks=[pytest.mark.slow] * a.slow) for a in ATTACKS])
def test_attack_gets_the_better_of_a_naive_judge(attack: Attack) -> None:
    skip_without_toolchain(attack.language)
    outcome = contained.run_naive(attack)
    if attack.harm:
        assert outcome.found, outcome
    else:
        assert outcome.passed, outcome


CONTROLS = [Attack("", "", "", HONEST, naive=judge) for judge in naive.JUDGES]
CONTROLS += [
    Attack("", "", "", program, naive="exit_status", language=language, tests=other_languages.TESTS[language])
    for language, program in other_languages.HONEST.items()
]


def _controls() -> Iterator[object]:
    for control in CONTROLS:
        marks = [pytest.mark.slow] * (control.language in ("go", "java", "typescript"))
        yield pytest.param(control, id=f"{control.language}: {control.naive}", marks=marks)


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("control", list(_controls()))
def test_naive_judge_is_right_about_plain_programs(control: Attack) -> None:
    """Otherwise the attacks would show nothing: it passes what is right, fails what is wrong, and sees no harm."""
    skip_without_toolchain(control.language)
    assert contained.run_naive(control).passed
    wrong = control.program.replace("+ y", "- y").replace("+ $", "- $").replace("'two'", "'three'")
    assert wrong != control.program
    assert not contained.run_naive(Attack("", "", "", wrong, "", control.naive, control.language, control.tests)).passed


HARMS = sorted({attack.harm for attack in ATTACKS if attack.harm} - {"solved"})


@pytest.mark.usefixtures("sandbox")
@pytest.mark.parametrize("harm", HARMS)
def test_probe_finds_no_harm_in_an_honest_program(harm: str) -> None:
    assert contained.run_naive(Attack("", "", "", HONEST, harm)).found == ""


# --- the corpus against this judge ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    package = Path(rewardranker.execution.sandbox.__file__).parent
    with Scene(package) as scene, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATTACK_SECRET", scene.secret)
        yield scene


Judges = Callable[[str, str], ProgramJudge]


@pytest.fixture(scope="module")
def judges(scene: Scene) -> Iterator[Judges]:
    """judges(level, language): one judge with one worker for Python and one for the rest, started when first used.

    Skips the test where the level is not to be had on this machine.
    """
    started: dict[tuple[str, bool], ProgramJudge | str] = {}
    closed: dict[tuple[str, str], str] = {}
    fields = TaskTexts._toolchain_fields

    def get(level: str, language: str) -> ProgramJudge:
        key = (level, language == "python")
        if key not in started:
            seconds = PYTHON_SECONDS if language == "python" else OTHER_SECONDS
            options = JudgeOptions(
                timeout=seconds,
                memory_mb=256,
                output_kb=256,
                isolation=level,
                allow_unsafe=level in ("auto", "rlimits"),
            )
            try:
                started[key] = ProgramJudge(options, workers=1)
            except SandboxError as error:
                started[key] = f"level {level} is not to be had here: {error}"
        judge = started[key]
        if isinstance(judge, str):
            pytest.skip(judge)
        if level not in ("auto", LEVELS[0]) and language != "python":
            if (level, language) not in closed:
                closed[level, language] = why_closed(judge, language)
            if closed[level, language]:
                pytest.skip(f"{language} can't be run at level {level} here: {closed[level, language]}")
        return judge

    with pytest.MonkeyPatch.context() as patch:
        # Compile-time bombs would last for as long as an honest compiler may on a slow machine.
        patch.setattr(
            TaskTexts,
            "_toolchain_fields",
            lambda self, found: {**fields(self, found), "compile_seconds": COMPILE_SECONDS},
        )
        yield get
    for judge in started.values():
        if isinstance(judge, ProgramJudge):
            judge.close()


def why_closed(judge: ProgramJudge, language: str) -> str:
    """A toolchain below a folder of root's own can be shown to a program's own user by mounts alone."""
    plain = Attack("", "", "", "", language=language, tests=other_languages.TESTS[language])
    try:
        judged(judge, other_languages.HONEST[language], plain)
    except SandboxError as error:
        return str(error)
    return ""


def judged(judge: ProgramJudge, program: str, attack: Attack) -> Verdict:
    entry_point = "f" if attack.language == "python" else None
    task = Task("t", "", attack.language, entry_point, attack.tests)
    if attack.inputs:
        task = Task("t", "", attack.language, inputs=tuple(StdioTest(*pair) for pair in attack.inputs))
    (verdict,) = judge.judge([(task, Sample("t", 0, "", "", program))])
    return verdict


def bound(attack: Attack) -> float:
    """Seconds that a program may take on the wall clock."""
    if attack.language == "python":
        return 2 * PYTHON_SECONDS + 1 + SLACK
    return 2 * (2 * COMPILE_SECONDS + 1) + 2 * OTHER_SECONDS + 1 + SLACK


def _plain(language: str) -> Attack:
    return Attack("", "", "", "", language=language, tests=other_languages.TESTS[language])


PLAIN = {
    "python": (HONEST, "def f(x): return 1\n", Attack("", "", "", "")),
    "javascript": (other_languages.HONEST["javascript"], "function add(x, y) { return 0; }\n", _plain("javascript")),
    "java": (
        other_languages.HONEST["java"],
        other_languages.HONEST["java"].replace("x + y", "x - y"),
        _plain("java"),
    ),
}
"""A right and a wrong program where one process of the judge serves many programs, which an attack could spoil."""
COMMENT = {"python": "#", "javascript": "//", "java": "//"}
FAILED = ("wrong answer", "exception")


def _promised() -> Iterator[object]:
    """Weaker levels differ in what surrounds a program, not in who decides: compilers and sleepers are slow there."""
    for level in LEVELS:
        for attack in ATTACKS:
            slow = attack.slow or (level != LEVELS[0] and (attack.language != "python" or attack.sleeps))
            if attack.promised(level, ROOT):
                marks = [pytest.mark.slow] if slow else []
                yield pytest.param(level, attack, id=f"{level}: {name_of(attack)}", marks=marks)


@pytest.mark.parametrize(("level", "attack"), list(_promised()))
def test_attack_gets_nothing(level: str, attack: Attack, judges: Judges, scene: Scene) -> None:
    skip_without_toolchain(attack.language)
    judge = judges(level, attack.language)
    scene.new_token()
    begin = time.monotonic()
    verdict = judged(judge, scene.render(attack.program), attack)
    seconds = time.monotonic() - begin
    if attack.statuses:
        assert verdict.status in attack.statuses, verdict
    if not attack.harm:
        assert not verdict.passed
        assert verdict.tests_passed == 0
    elif attack.harm == "solved":
        assert not verdict.passed
    else:
        assert scene.find(attack.harm, verdict.detail) == ""
    assert seconds < bound(attack)
    assert len(verdict.detail) < LONGEST_DETAIL
    if attack.language in PLAIN:
        # The judge is as good as before: what is right passes, what is wrong does not.
        right, wrong, plain = PLAIN[attack.language]
        assert judged(judge, f"{right}// {scene.token}\n".replace("//", COMMENT[attack.language]), plain).passed
        assert (
            judged(judge, f"{wrong}// {scene.token}\n".replace("//", COMMENT[attack.language]), plain).status in FAILED
        )


@pytest.mark.parametrize("language", LANGUAGES)
def test_honest_program_passes_after_the_attacks(language: str, judges: Judges) -> None:
    """Otherwise the attacks in its language would fail whatever the judge did."""
    skip_without_toolchain(language)
    if languages.toolchain(languages.find(language)) is None:
        pytest.skip(f"the judge finds no toolchain for {language}")
    plain = Attack(
        "", "", "", other_languages.HONEST[language], language=language, tests=other_languages.TESTS[language]
    )
    verdict = judged(judges("auto", language), plain.program, plain)
    assert verdict.passed, verdict


def test_corpus_has_one_attack_for_each_property() -> None:
    names = [name_of(attack) for attack in ATTACKS]
    assert len(set(names)) == len(names)
    assert len({(attack.program, attack.tests) for attack in ATTACKS}) == len(ATTACKS)
    assert all(attack.why for attack in ATTACKS)
    assert TESTS
