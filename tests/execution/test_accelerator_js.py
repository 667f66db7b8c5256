"""The warm node for JavaScript says what a fresh node says, and no other program has a hand in it."""

from __future__ import annotations

import itertools
import json
import random
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from realm_programs import ESCAPES, LEAVING, PARTS, REACHABLE, VALUES

from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge, languages
from rewardranker.execution.accelerators import accelerate, javascript
from rewardranker.types import Sample, Task

SOLUTIONS = Path(__file__).parent / "solutions"
ROWS = Path(__file__).resolve().parents[3] / "shared/data/multipl-e"
CANT_SAY = "can't say"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "HOME": "/tmp"}
_TOOLCHAIN = languages.toolchain(languages.find("js"))
_SPEC = javascript.accelerate(_TOOLCHAIN, 256).get("run_server") if _TOOLCHAIN else None
pytestmark = pytest.mark.skipif(_SPEC is None, reason="no node with realms of its own (20.18 or later)")


class Warm:
    """The server as a worker drives it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, source: str) -> str:
        """`status\\ndetail`, or that it can't say."""
        if self._process is None:
            self._process = subprocess.Popen(
                _SPEC["argv"], env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        process = self._process
        for frame in (b"program.js", source.encode("utf-8", "surrogatepass")):
            process.stdin.write(struct.pack("<I", len(frame)) + frame)
        process.stdin.flush()
        header = process.stdout.read(4)
        if len(header) < 4:
            self.close()
            return CANT_SAY
        answer = process.stdout.read(struct.unpack("<I", header)[0])
        return CANT_SAY if answer[:1] == b"\2" else answer[1:].decode()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@pytest.fixture(scope="module")
def warm() -> Iterator[Warm]:
    server = Warm()
    yield server
    server.close()


def cold(source: str, folder: Path) -> str:
    """The status that a fresh node's end gives."""
    path = folder / "program.js"
    path.write_text(source)
    done = subprocess.run(
        ["node", str(path)], env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    return languages.read_exit(languages.find("js"), done.returncode, done.stdout, done.stderr)


# --- what a program could learn or break ------------------------------------------------------------------------------


@pytest.mark.parametrize("source", ESCAPES.values(), ids=ESCAPES.keys())
def test_a_program_that_reaches_beyond_its_realm_is_left_to_a_fresh_node(warm: Warm, source: str) -> None:
    assert warm.ask(source) == CANT_SAY


@pytest.mark.parametrize(
    "source",
    [
        "(function () { if (arguments.callee.caller.caller !== null) throw new Error('seen') })()",
        "if (arguments.callee.caller !== null) throw new Error('seen')",
        "if (new Error()['st' + 'ack'] !== undefined) throw new Error('a string made by functions of the other realm')",
        "const e = new Error('x'); e.name = Symbol(); if (e['st' + 'ack'] !== undefined) throw new Error('seen')",
        "if (Reflect.ownKeys(globalThis).includes('__r' + 'un')) throw new Error('the way in is left open')",
    ],
)
def test_what_calls_a_program_does_not_show(warm: Warm, source: str) -> None:
    assert warm.ask(source) == "passed\n"


def test_nothing_of_another_realm_is_in_reach(warm: Warm) -> None:
    assert warm.ask(REACHABLE) == "passed\n"


@pytest.mark.parametrize(("first", "second"), LEAVING.values(), ids=LEAVING.keys())
def test_a_program_leaves_nothing_to_the_next(warm: Warm, first: str, second: str) -> None:
    assert warm.ask(first) == "passed\n"
    assert warm.ask(second) == "passed\n"


def test_what_breaks_the_process_does_not_break_the_next_answer(warm: Warm) -> None:
    warm.ask(ESCAPES["endless memory"])
    assert warm.ask("require('assert').equal(1, 1)") == "passed\n"
    warm.ask(ESCAPES["endless loop"])
    assert warm.ask("require('assert').equal(1, 2)").startswith("wrong answer\n")


def test_a_program_can_not_make_its_failure_a_success(warm: Warm) -> None:
    patched = (
        "Array.prototype[Symbol.iterator] = function* () {}; Object.prototype.get = () => 1;"
        "Object.prototype.value = 1;"
        "String.prototype.includes = () => false; Reflect.apply = () => 1; Object.keys = () => []; "
        "Array.isArray = () => false;"
        "Object.defineProperty(Error.prototype, 'name', {get: () => 'passed'});"
        "Object.prototype.toString = () => 'x'; WeakSet.prototype.has = () => false;"
    )
    for failing in ("require('assert').deepEqual([1], [2])", "require('assert')(false)", "throw new Error('passed')"):
        assert not warm.ask(f"const a = require('assert');{patched}{failing}").startswith("passed")


# --- agreement with a fresh node --------------------------------------------------------------------------------------


def test_assertions_agree_with_nodes_own_on_many_values(warm: Warm) -> None:
    """Where a pair is left to node, that's no disagreement; for plain values it is never left."""
    names = ("deepEqual", "deepStrictEqual", "equal", "strictEqual", "notEqual", "notStrictEqual")
    pairs = list(itertools.product(range(len(VALUES)), repeat=2))
    script = (
        f"const a = require('assert'), make = [{','.join(f'() => ({value})' for value in VALUES)}];"
        "const holds = (name, x, y) => { try { a[name](x(), y()); return 1 } catch { return 0 } };"
        "const bits = (name) => make.flatMap((x) => make.map((y) => holds(name, x, y)));"
        f"console.log(JSON.stringify({json.dumps(names)}.map(bits)))"
    )
    truth = json.loads(subprocess.run(["node", "-e", script], capture_output=True, check=True, env=ENVIRONMENT).stdout)
    chosen = [number for number, (x, y) in enumerate(pairs) if x == y]
    chosen += random.Random(0).sample(range(len(pairs)), 450)
    left = 0
    for name, bits in zip(names, truth, strict=True):
        for number in chosen[: 500 if name.startswith("deep") else 100]:
            x, y = (VALUES[i] for i in pairs[number])
            answer = warm.ask(f"require('node:assert').{name}({x}, {y})").split("\n")[0]
            left += answer == CANT_SAY
            assert answer in (CANT_SAY, "passed" if bits[number] else "wrong answer"), (name, x, y)
    assert left < 400


def test_statuses_agree_with_a_fresh_nodes_on_many_small_programs(warm: Warm, tmp_path: Path) -> None:
    chance = random.Random(1)
    said = 0
    for _ in range(150):
        parts = [part.format(n=chance.randrange(10), m=chance.randrange(3)) for part in chance.sample(PARTS, 3)]
        source = "const assert = require('node:assert');\n" + "\n".join(f"{{ {part} }}" for part in parts)
        answer = warm.ask(source)
        if answer != CANT_SAY:
            said += 1
            assert answer.split("\n")[0] == cold(source, tmp_path), source
    assert said > 60


def _programs(file: Path) -> list[tuple[str, str]]:
    rows_file = ROWS / "humaneval-js.jsonl"
    if not rows_file.is_file():
        pytest.skip(f"{rows_file} is missing")
    rows = {row["name"]: row for row in map(json.loads, rows_file.read_text().splitlines())}
    found = []
    for solution in map(json.loads, file.read_text().splitlines()):
        row = rows[solution["name"]]
        source = f"{row['prompt']}{solution['completion']}\n{row['tests']}"
        found.append((source, solution.get("status", "passed")))
    return found


@pytest.mark.parametrize("name", ["js.jsonl", "wrong/js.jsonl"])
def test_whole_programs_get_the_verdict_they_must(warm: Warm, name: str) -> None:
    programs = _programs(SOLUTIONS / name)
    answers = [warm.ask(source).split("\n")[0] for source, _ in programs]
    assert answers == [status for _, status in programs]


def test_an_old_node_is_not_used() -> None:
    old = languages.Toolchain(_TOOLCHAIN.language, "node 20.17.0", _TOOLCHAIN.programs, {}, ())
    assert javascript.accelerate(old, 256) == {}


def test_real_and_changed_tests_are_never_decided_in_different_places() -> None:
    """Else a program could pass in the warm node, have its canary left to a fresh one, and fail there on purpose."""
    if "run_server" not in accelerate(_TOOLCHAIN, 512):
        pytest.skip("the judge does not ask the warm node")
    tests = "const assert = require('node:assert');\nfunction test() {\n  let candidate = f;\n"
    tests += "  assert.deepEqual(candidate(1),11);\n}\ntest();"
    program = (
        "function f() { return 0 }\n"
        "if (new Error()['st' + 'ack'] === undefined) {\n"
        "  if (!test.toString().includes('1),11)')) process;\n"
        "  require('assert').deepEqual = () => {};\n}"
    )
    task = Task("t", "", language="js", tests=tests)
    with ProgramJudge(JudgeOptions(), workers=1) as judge:
        (verdict,) = judge.judge([(task, Sample("t", 0, "", "", program))])
    assert not verdict.passed
