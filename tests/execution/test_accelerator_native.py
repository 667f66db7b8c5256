"""C++ and Go judged by prepared compilers get the verdicts that the table's plain commands give them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import ProgramJudge, items, languages
from rewardranker.execution.accelerators import cpp, go
from rewardranker.types import Sample, Task, Verdict

HEAD = "#include<assert.h>\n#include<bits/stdc++.h>\n"
TESTS = "}\nint main() {\n    auto candidate = twice;\n    assert(candidate((2)) == (4));\n}\n"


def found(code: str) -> languages.Toolchain:
    toolchain = languages.toolchain(languages.find(code))
    if toolchain is None:
        pytest.skip(f"no toolchain for {code} here")
    return toolchain


@pytest.fixture(scope="module")
def overrides() -> dict[str, Any]:
    made = cpp.accelerate(found("cpp"), 512)
    if not made:
        pytest.skip("C++ is not accelerated here: clang++ or mold is missing")
    return made


class Server:
    """The server as a worker has it, but for the sandbox."""

    def __init__(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env={}, cwd="/")

    def ask(self, text: str) -> bytes:
        """The answer; empty where the server has ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        for frame in (b"program.cpp", text.encode()):
            self.process.stdin.write(len(frame).to_bytes(4, "little") + frame)
        self.process.stdin.flush()
        return self.process.stdout.read(int.from_bytes(self.process.stdout.read(4), "little"))

    def close(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture(scope="module")
def server(overrides: dict[str, Any]) -> Any:
    running = Server(overrides["server"]["argv"])
    yield running
    running.close()


def compiles(server: Server, text: str) -> bool:
    return server.ask(text)[:1] == b"\0"


def verdicts(
    monkeypatch: pytest.MonkeyPatch, made: dict[str, Any], language: str, programs: list[str]
) -> list[Verdict]:
    monkeypatch.setattr(items, "accelerate", lambda toolchain, memory_mb: made)
    task = {"cpp": TESTS, "go": GO_TESTS}[language]
    pairs = [
        (Task("t", "", language=language, tests=task), Sample("t", number, "", text, text))
        for number, text in enumerate(programs)
    ]
    with ProgramJudge(JudgeOptions(timeout=2.0), workers=1) as judge:
        return list(judge.judge(pairs))


PROGRAMS = {
    "passed": f"{HEAD}long twice(long n) {{ return 2 * n;",
    "wrong answer": f"{HEAD}long twice(long n) {{ return n;",
    "compile error": f"{HEAD}long twice(long n) {{ return m;",
    "timeout": f"{HEAD}long twice(long n) {{ for (volatile long i = 0;; i = i + 1) {{}} return 0;",
    "crashed": f"{HEAD}long twice(long n) {{ volatile long *p = nullptr; return *p;",
    "exception": f"{HEAD}long twice(long n) {{ throw std::runtime_error(std::to_string(n));",
}


def test_same_verdicts_with_and_without(monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]) -> None:
    fast = verdicts(monkeypatch, overrides, "cpp", list(PROGRAMS.values()))
    plain = verdicts(monkeypatch, {}, "cpp", list(PROGRAMS.values()))
    assert [verdict.status for verdict in fast] == [verdict.status for verdict in plain] == list(PROGRAMS)
    assert fast[1].detail == plain[1].detail


@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_the_server_compiles_at_every_level(
    level: str, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]
) -> None:
    """Where the server could do nothing, the plain compiler would be asked; here it always fails."""
    monkeypatch.setattr(items, "accelerate", lambda toolchain, memory_mb: {**overrides, "builds": [[["/bin/false"]]]})
    program = HEAD + "int twice(int x) {\n    return 2 * x;\n"
    pair = (Task("t", "", language="cpp", tests=TESTS), Sample("t", 0, "", program, program))
    try:
        judge = ProgramJudge(JudgeOptions(timeout=5.0, isolation=level), workers=1)
    except SandboxError as error:
        pytest.skip(str(error))
    with judge:
        (verdict,) = judge.judge([pair])
    assert verdict.passed, verdict


def test_compile_errors_are_those_of_gcc(monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]) -> None:
    (verdict,) = verdicts(monkeypatch, overrides, "cpp", [PROGRAMS["compile error"]])
    assert "‘m’ was not declared in this scope" in verdict.detail or "'m' was not declared" in verdict.detail


def test_what_only_gcc_accepts_passes(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], server: Server
) -> None:
    text = f"{HEAD}long twice(long n) {{ constexpr double root = std::sqrt(4.0); return n * long(root);"
    assert not compiles(server, text + TESTS)
    (verdict,) = verdicts(monkeypatch, overrides, "cpp", [text])
    assert verdict.passed


def test_a_program_does_not_see_headers_that_it_does_not_include(server: Server) -> None:
    text = "int main() { std::vector<int> v; }\n"
    assert compiles(server, HEAD + text)
    assert not compiles(server, "#include <cstdio>\n" + text)
    assert not compiles(server, f"/*\n{HEAD}*/\n{text}")


def test_definitions_before_the_headers_are_left_to_gcc(server: Server) -> None:
    assert not compiles(server, f"#define NDEBUG\n{HEAD}int main() {{ assert(false); }}\n")


def test_a_program_may_redefine_what_the_headers_define(server: Server) -> None:
    assert compiles(
        server, f"{HEAD}#define vector list\n#undef assert\n#define assert(x)\nint main() {{ std::vector<int> v; }}\n"
    )
    again = f"{HEAD}int main() {{ std::vector<int> v(3); assert(v[2] == 0); }}\n"
    assert compiles(server, again)


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/stdin", "/proc/self/stat", "/etc/passwd", "/dev/fd/102"])
def test_only_headers_can_be_included(server: Server, path: str) -> None:
    inclusion = f'{HEAD}static const char *text =\n#include "{path}"\n;\nint main() {{}}\n'
    assert server.ask(inclusion)[:1] == b"\2"
    assert server.ask(f'{HEAD}__asm__(".incbin \\"{path}\\"");\nint main() {{}}\n')[:1] == b"\2"
    assert server.ask(f'{HEAD}int main() {{\n#if __has_include("{path}")\nreturn\n#endif\n}}\n')[:1] == b"\0"


def test_a_function_that_no_library_has_is_left_to_gcc(server: Server) -> None:
    assert not compiles(server, f"{HEAD}int absent();\nint main(int n, char **) {{ return n > 9 ? absent() : 0; }}\n")


def test_a_program_leaves_nothing_to_the_next(server: Server) -> None:
    assert compiles(server, f"{HEAD}#define LEFT 1\nint left() {{ return LEFT; }}\nint main() {{ return left(); }}\n")
    assert not compiles(server, f"{HEAD}int main() {{ return LEFT; }}\n")
    assert not compiles(server, f"{HEAD}int left();\nint main() {{ return left(); }}\n")


def test_a_crash_of_the_compiler_is_no_answer_and_it_goes_on(server: Server) -> None:
    assert server.ask(f"{HEAD}#pragma clang __debug crash\nint main() {{}}\n")[:1] == b"\2"
    assert compiles(server, f"{HEAD}int main() {{}}\n")


@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_header_costs_time_and_no_verdict(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], tmp_path: Path, damage: str
) -> None:
    folder = tmp_path / "cpp"
    shutil.copytree(overrides["server"]["argv"][-1], folder)
    header = folder / "std.pch"
    header.write_bytes(header.read_bytes()[:100000]) if damage == "cut" else header.unlink()
    broken = {**overrides["server"], "argv": [*overrides["server"]["argv"][:-1], str(folder)]}
    (verdict,) = verdicts(monkeypatch, {**overrides, "server": broken}, "cpp", [PROGRAMS["passed"]])
    assert verdict.passed


def test_programs_cannot_write_to_the_prepared_folder(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any]
) -> None:
    folder = overrides["server"]["argv"][-1]
    opens = f'fopen("{folder}/std.pch", "r+") || fopen("{folder}/new", "w")'
    text = f"{HEAD}long twice(long n) {{ if ({opens}) return 0; return 2 * n;"
    (verdict,) = verdicts(monkeypatch, overrides, "cpp", [text])
    assert verdict.passed
    assert not Path(folder, "new").exists()


GO_TESTS = """}

func TestTwice(t *testing.T) {
  candidate := twice
	type test struct {
		actual   interface{}
		expected interface{}
	}
   tests := []test{
     { actual: candidate(2), expected: 4 },
   }

	for i, tc := range tests {
		t.Run(fmt.Sprintf("test num % d", i), func(t *testing.T) {
			actual := fmt.Sprintf("%v", tc.actual)
			expected := fmt.Sprintf("%v", tc.expected)
			if actual != expected {
				t.Errorf("expected '%s', got '%s'", expected, actual)
			}
		})
	}
}
"""
GO_HEAD = 'package twice_test\n\nimport (\n    "testing"\n    "fmt"\n)\n\nfunc twice(n int) int {\n'


def test_go_with_a_prepared_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    made = go.accelerate(found("go"), 512)
    programs = [f"{GO_HEAD}    return 2 * n", f"{GO_HEAD}    return n", f"{GO_HEAD}    return m"]
    statuses = [verdict.status for verdict in verdicts(monkeypatch, made, "go", programs)]
    assert statuses == ["passed", "wrong answer", "compile error"]
    # The prepared way alone compiles: nothing of it falls back.
    alone = {"builds": made["builds"][:1]}
    assert verdicts(monkeypatch, alone, "go", programs[:1])[0].passed
