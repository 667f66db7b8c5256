"""The table of languages: names, this machine's toolchains, and what an exit says."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from rewardranker.errors import DataError
from rewardranker.execution import languages, programs
from rewardranker.execution.language_examples import EXAMPLES
from rewardranker.execution.languages import LANGUAGES, Language, Toolchain, find, toolchain
from rewardranker.execution.status import STATUSES

DATA = Path(__file__).resolve().parents[3] / "shared/data/multipl-e"
ROWS = {row.code: row for row in LANGUAGES}


def run_plainly(found: Toolchain, program: str, folder: Path) -> tuple[str, str]:
    """Compile and run trusted text by the row's plain commands: the status, and all output."""
    main = programs.main_class(found.language, program)
    environment = {**found.environment, "HOME": str(folder), "TMPDIR": str(folder)}
    (folder / found.source_name(main)).write_text(program)

    def execute(command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=100)

    for way in found.compile_ways(main):
        for step in way:
            done = execute(step)
            if done.returncode != 0:
                break
        else:
            break
        return "compile error", done.stdout + done.stderr
    done = execute(found.run_command(512, main))
    return languages.read_exit(found.language, done.returncode, done.stdout, done.stderr), done.stdout + done.stderr


def written(code: str, completion: str) -> str:
    prompt, _, _, tests = EXAMPLES[code]
    return programs.assemble(ROWS[code], prompt, completion, tests)


def usable_toolchain(language: Language) -> Toolchain:
    found = toolchain(language)
    if found is None or found.lacking:
        pytest.skip(languages.install_hint(language))
    return found


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_right_program_passes_by_the_plain_commands(code: str, tmp_path: Path) -> None:
    status, output = run_plainly(usable_toolchain(ROWS[code]), written(code, EXAMPLES[code][1]), tmp_path)
    assert status == "passed", output


@pytest.mark.parametrize("code", EXAMPLES)
def test_a_wrong_program_is_a_wrong_answer(code: str, tmp_path: Path) -> None:
    status, output = run_plainly(usable_toolchain(ROWS[code]), written(code, EXAMPLES[code][2]), tmp_path)
    assert status == "wrong answer", output


@pytest.mark.parametrize("code", EXAMPLES)
def test_what_is_no_program_is_a_compile_error(code: str, tmp_path: Path) -> None:
    status, output = run_plainly(usable_toolchain(ROWS[code]), written(code, ") ( ] [ } {"), tmp_path)
    assert status == "compile error", output


THROWS = {
    "py": "    raise ValueError('no')",
    "cpp": '    throw std::runtime_error("no");',
    "java": '        throw new RuntimeException("no");',
    "js": "  throw new Error('no');\n}",
    "php": "    return nothing();\n}",
    "cs": '        throw new Exception("no");',
    "go": '    panic("no")\n}\n',
    "rb": "  raise 'no'\nend",
    "lua": "    error('no')\nend",
    "pl": "    die 'no';\n}",
    "r": "\n    stop('no')\n}",
    "rkt": "  (error 'no))",
    "d": '{\n    throw new Exception("no");\n}',
    "rs": '    panic!("no")',
}


@pytest.mark.parametrize("code", THROWS)
def test_an_error_of_the_program_itself_is_no_wrong_answer(code: str, tmp_path: Path) -> None:
    status, output = run_plainly(usable_toolchain(ROWS[code]), written(code, THROWS[code]), tmp_path)
    assert status in ("exception", "crashed"), output


def test_every_row_of_the_reference_data_has_a_language() -> None:
    files = sorted(DATA.glob("humaneval-*.jsonl"))
    if not files:
        pytest.skip(f"no reference data in {DATA}")
    codes = {json.loads(line).get("language", "py") for file in files for line in file.read_text().splitlines()}
    assert len(codes) == 19
    assert {find(code).code for code in codes} == set(ROWS)


def test_no_two_languages_share_a_name() -> None:
    names = [name.casefold() for row in LANGUAGES for name in {row.code, row.name, *row.aliases}]
    assert [name for name, count in Counter(names).items() if count > 1] == []


@pytest.mark.parametrize(
    ("name", "code"),
    [
        *(("C++", "cpp"), ("C#", "cs"), ("Golang", "go"), ("go_test.go", "go"), ("bash", "sh"), ("Shell", "sh")),
        *((" R ", "r"), ("JavaScript", "js"), ("PYTHON", "py"), ("julia", "jl"), ("humaneval_to_dlang.py", "d")),
    ],
)
def test_usual_names_are_found_in_any_letter_case(name: str, code: str) -> None:
    assert find(name).code == code


def test_an_unknown_name_is_told_with_the_nearest_known_ones() -> None:
    with pytest.raises(DataError, match=r"unknown language 'javascrip': did you mean javascript"):
        find("javascrip")


def test_every_row_is_complete() -> None:
    for row in LANGUAGES:
        commands = [row.run, *row.version, *(step for way in row.compile for step in way)]
        commands += [library.probe for library in row.libraries if not library.files]
        assert {command[0] for command in commands} <= {*row.programs, "./program"}, row.code
        named = {match for command in commands for word in command for match in re.findall(r"\{library:(.+?)\}", word)}
        assert named == {library.name for library in row.libraries if library.files}, row.code
        assert ("{main}" in " ".join(row.run)) == bool(row.main_class), row.code
        for pattern in (row.failed_stderr, row.failed_stdout, row.wrong_answer, row.compile_error):
            re.compile(pattern)
        assert row.install
        assert row.tests


def test_a_missing_toolchain_is_named_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    row = replace(ROWS["rs"], code="none", programs={"rustc": ("rustc-none", "none")})
    monkeypatch.setitem(languages._by_name(), "none", row)
    assert toolchain(row) is None
    assert languages.install_hint(row) == f"rustc-none or none is missing: {row.install}"


def executable(folder: Path, name: str, script: str) -> Path:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_toolchain_is_asked_for_its_version_in_an_empty_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path, "madeup", 'echo "Made up compiler (build $SECRET) version 3.${VARIED:-1}.4"')
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("VARIED", "2")
    row = replace(ROWS["rs"], code="madeup", programs={"rustc": ("madeup",)})
    monkeypatch.setitem(languages._by_name(), "madeup", row)
    found = toolchain(row)
    assert found is not None
    assert found.version == "madeup 3.1.4"
    assert found.programs == {"rustc": str(tmp_path / "bin" / "madeup")}
    assert found.folders == (str(tmp_path),)


def test_a_toolchain_that_does_not_tell_its_version_is_not_usable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    executable(tmp_path, "broken", "exit 3")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    row = replace(ROWS["rs"], code="broken", programs={"rustc": ("broken",)})
    monkeypatch.setitem(languages._by_name(), "broken", row)
    assert toolchain(row) is None
    assert "`rustc --version` does not work" in languages.install_hint(row)


def test_the_compiler_behind_rustup_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "toolchains" / "stable"
    installed.mkdir(parents=True)
    executable(installed, "madeup", "echo madeup 1.2.3")
    executable(tmp_path, "rustup", f'[ "$2" = sysroot ] && echo {installed}').rename(tmp_path / "rustup")
    (tmp_path / "bin" / "madeup").symlink_to(tmp_path / "rustup")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    row = replace(ROWS["rs"], code="behind", programs={"rustc": ("madeup",)})
    monkeypatch.setitem(languages._by_name(), "behind", row)
    found = toolchain(row)
    assert found is not None
    assert found.programs == {"rustc": str(installed / "bin" / "madeup")}
    assert found.folders == (str(installed),)


def test_a_missing_library_concerns_the_programs_that_ask_for_it_only(monkeypatch: pytest.MonkeyPatch) -> None:
    found = usable_toolchain(ROWS["lua"])
    without = replace(found, libraries={})
    assert [library.name for library in without.lacking_for("lu = require('luaunit')")] == ["luaunit"]
    assert without.lacking_for("print(1)") == ()
    assert found.lacking_for("lu = require('luaunit')") == ()
    monkeypatch.setattr(languages, "toolchain", lambda language: without)
    assert (
        languages.install_hint(ROWS["lua"])
        == "programs whose tests need luaunit can't be judged: apt-get install lua-unit"
    )


@pytest.mark.parametrize(
    ("code", "exit_status", "stdout", "stderr", "status"),
    [
        ("rkt", 0, "", "--------------------\nFAILURE\nname: check-within\n", "wrong answer"),
        ("rkt", 0, "", "a word", "exception"),
        ("scala", 0, "", "a word", "exception"),
        ("cs", 0, "", "  at System.Diagnostics.DefaultTraceListener.Fail (System.String m)", "wrong answer"),
        ("cs", 0, "", "a word", "passed"),
        ("pl", 0, "ok!ERROR", "", "exception"),
        ("pl", 1, "ok!", "", "wrong answer"),
        ("go", 0, "--- FAIL: TestAdd", "", "exception"),
        ("js", 0, "FAIL", "ERROR", "passed"),
        ("sh", 1, "", "", "wrong answer"),
        ("sh", 2, "", "program.sh: line 3: syntax error near unexpected token `)'", "compile error"),
        ("cpp", -6, "", "program: program.cpp:9: int main(): Assertion `f(1) == (2)' failed.", "wrong answer"),
        ("cpp", -11, "", "", "crashed"),
        ("jl", 1, "Test Failed at program.jl:9", "ERROR: LoadError: Some tests did not pass", "wrong answer"),
        ("swift", -4, "", "program/program.swift:9: Assertion failed", "wrong answer"),
    ],
)
def test_an_exit_is_read_by_the_rules_of_the_language(
    code: str, exit_status: int, stdout: str, stderr: str, status: str
) -> None:
    assert languages.read_exit(ROWS[code], exit_status, stdout, stderr) == status
    assert status in STATUSES


def test_go_programs_are_vetted_as_go_test_does(tmp_path: Path) -> None:
    completion = '    fmt.Printf("%d", "a text")\n    return 7\n}\n'
    status, output = run_plainly(usable_toolchain(ROWS["go"]), written("go", completion), tmp_path)
    assert status == "compile error"
    assert "wrong type string" in output
