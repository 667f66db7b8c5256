"""The warm TypeScript compiler accepts, refuses and writes what plain tsc does, and sees nothing but the program."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rewardranker.execution import languages
from rewardranker.execution.accelerators import typescript

DATA = Path(__file__).resolve().parents[3] / "shared/data/multipl-e"
SOLUTIONS = Path(__file__).parent / "solutions/ts.jsonl"
WRITTEN, REFUSED, CANT_SAY = 0, 1, 2
_TOOLCHAIN = languages.toolchain(languages.find("ts"))
_SPEC = typescript.accelerate(_TOOLCHAIN, 256).get("server") if _TOOLCHAIN else None
pytestmark = pytest.mark.skipif(_SPEC is None, reason="no TypeScript 7, whose compiler can be kept warm")


class Warm:
    """The server as a worker drives it."""

    def __init__(self) -> None:
        environment = {**languages.BASE_ENVIRONMENT, **_SPEC["environment"]}
        self._process = subprocess.Popen(
            _SPEC["argv"], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def compile(self, source: str) -> tuple[int, str]:
        """The kind of answer, and the JavaScript or the errors."""
        for frame in (b"program.ts", source.encode()):
            self._process.stdin.write(struct.pack("<I", len(frame)) + frame)
        self._process.stdin.flush()
        answer = self._frame()
        if answer[0] != WRITTEN:
            return answer[0], answer[1:].decode()
        name_length = struct.unpack("<I", answer[1:5])[0]
        assert answer[5 : 5 + name_length] == b"program.js"
        return WRITTEN, answer[5 + name_length + 4 :].decode()

    def _frame(self) -> bytes:
        return self._process.stdout.read(struct.unpack("<I", self._process.stdout.read(4))[0])

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    server = Warm()
    yield server
    server.close()


def plain(source: str, folder: Path) -> tuple[int, str, str]:
    """Exit status, messages and JavaScript of the table's own way to compile."""
    (folder / "program.ts").write_text(source)
    (command,) = _TOOLCHAIN.compile_ways()[0]
    done = subprocess.run(command, cwd=folder, env=_TOOLCHAIN.environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, (folder / "program.js").read_text()


ACCEPTED = {
    "classes": (
        "interface Shape { area(): number }\n"
        "abstract class Base<T> { declare q: number; w: string; static s = 1; abstract f(): T;\n"
        "  constructor(readonly x?: T) {} }\n"
        "class Square extends Base<number> implements Shape { f() { return this.x! }\n"
        "  area(): number { return this.f() ** 2 } }"
    ),
    "assertions": "let a = (<any>1) as unknown as string; const f = (x: any): x is string => (x satisfies any, true);",
    "overloads": "function g(x: string): string; function g(x: number): number; function g(x: any) { return x }",
    "generics": "const m = new Map<string, number[]>(); for (const [k, v] of m.entries()) console.log(k, v.length);",
    "asynchronous": "const f = async <T,>(x: T): Promise<T> => { for await (const y of [x]) return y; };",
    "beyond ASCII": "const é: string = 'ü😀'; let x: number = é.length;",
}
REFUSED_BY_BOTH = {
    "type error": "let x: number = 'a';",
    "type error after other characters": "const é = '😀'; let b: number = é;",
    "syntax error": "let x: number = ;",
    "unknown name": "process.exit(0);",
    "duplicate of the library's": "const name = 'a';",
    "class of the library's name": "class Event {}",
}
ADDING = {
    "overload of a library function": "function open(a: number) { return a }",
    "members for a library interface": "interface Node { value: number }",
}


@pytest.mark.parametrize("source", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_what_it_writes_is_what_tsc_writes(warm: Warm, tmp_path: Path, source: str) -> None:
    exit_status, messages, written = plain(source, tmp_path)
    assert (exit_status, messages) == (0, "")
    assert warm.compile(source) == (WRITTEN, written)


@pytest.mark.parametrize("source", REFUSED_BY_BOTH.values(), ids=REFUSED_BY_BOTH.keys())
def test_what_it_refuses_tsc_refuses_in_the_same_words(warm: Warm, tmp_path: Path, source: str) -> None:
    exit_status, messages, _ = plain(source, tmp_path)
    kind, errors = warm.compile(source)
    assert (exit_status != 0, kind) == (True, REFUSED)
    assert errors.splitlines()[0] == messages.splitlines()[0]


@pytest.mark.parametrize("source", ADDING.values(), ids=ADDING.keys())
def test_what_only_the_librarys_own_check_would_refuse_is_left_to_tsc(warm: Warm, tmp_path: Path, source: str) -> None:
    assert plain(source, tmp_path)[0] != 0
    assert warm.compile(source)[0] == CANT_SAY


@pytest.mark.parametrize(
    "source",
    [
        "/// <reference path='/etc/hostname' />",
        "import fs from 'fs';",
        "import x = require('/etc/hostname');",
        "// @ts-nocheck\nlet x: number = '';",
        "declare global { interface Array<T> { x: T } }",
        "function /* a comment */ open(a: number) { return a }",
        "function \\u006fpen(a: number) { return a }",
        "enum E { A }",
    ],
)
def test_what_takes_other_files_or_hides_a_name_is_left_to_tsc(warm: Warm, source: str) -> None:
    assert warm.compile(source)[0] == CANT_SAY


def test_a_program_leaves_no_name_to_the_next(warm: Warm) -> None:
    assert warm.compile("var left = 1; interface Left { a: number } function leftover() {}")[0] == WRITTEN
    for use in ("left;", "let x: Left;", "leftover();"):
        kind, errors = warm.compile(use)
        assert (kind, "TS2304" in errors or "TS2552" in errors) == (REFUSED, True)


def test_solutions_compile(warm: Warm) -> None:
    if not (DATA / "humaneval-ts.jsonl").is_file():
        pytest.skip(f"{DATA / 'humaneval-ts.jsonl'} is missing")
    rows = {row["name"]: row for row in map(json.loads, (DATA / "humaneval-ts.jsonl").read_text().splitlines())}
    for solution in map(json.loads, SOLUTIONS.read_text().splitlines()):
        row = rows[solution["name"]]
        assert warm.compile(f"{row['prompt']}{solution['completion']}\n{row['tests']}")[0] == WRITTEN, solution["name"]
