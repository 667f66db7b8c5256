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

from rewardranker.execution import languages
from rewardranker.execution.accelerators import javascript

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

ESCAPES = {
    "code by Function": "(() => {}).constructor('return this')()",
    "code by a bound function's constructor": "(function () {}).bind().constructor('return this')()",
    "code by GeneratorFunction": "(function* () {}).constructor('yield 1')",
    "code by a subclass of Function": "class F extends Function {} new F('return this')",
    "code by eval": "eval('1')",
    "code by indirect eval": "(0, eval)('1')",
    "code by the constructor of require": "require.constructor('return process')()",
    "code by the constructor of assert": "require('assert').deepEqual.constructor('return process')()",
    "code by the constructor of console.log": "console.log.constructor('return process')()",
    "code by the constructor of an accessor": (
        "Object.getOwnPropertyDescriptor(globalThis, 'process').get.constructor('return process')()"
    ),
    "process": "process.exit(0)",
    "process, asked for by typeof": "if (typeof process === 'undefined') throw new Error('not here')",
    "process as a property": "globalThis['proc' + 'ess']",
    "another module": "require('fs').readFileSync('/etc/passwd')",
    "the module's own": "module.constructor._load; module.children",
    "import()": "import('fs')",
    "asynchronous function": "(async () => { throw 1 })()",
    "promise": "Promise.resolve().then(() => { throw 1 })",
    "timer": "setTimeout(() => { throw 1 }, 1)",
    "microtask": "queueMicrotask(() => { throw 1 })",
    "clock": "Date.now()",
    "clock of new Date": "new Date()",
    "clock of Date()": "Date()",
    "clock of a subclass": "new (class extends Date {})()",
    "clock behind the prototype": "new (new Date(0).constructor)()",
    "clock of Intl": "new Intl.DateTimeFormat().format()",
    "clock of performance": "performance.now()",
    "clock by waiting": "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10)",
    "randomness": "Math.random()",
    "view of the garbage collector": "new WeakRef({})",
    "notice of the garbage collector": "new FinalizationRegistry(() => {})",
    "machine code": "WebAssembly.Module",
    "stack depth, by catch": "let n = 0; const f = () => { n++; f() }; try { f() } catch { if (n % 2) throw 1 }",
    "stack depth, by finally": "let n = 0; const f = () => { n++; f() }; (() => { try { f() } finally { return } })()",
    "stack depth, by an iterator that is closed": (
        "let n = 0; const f = () => { n++; f() };"
        "for (const x of {[Symbol.iterator]: () => ({next: () => ({value: 1}), return: () => ({})})}) f()"
    ),
    "stack depth, uncaught": "const f = () => f() + 1; f()",
    "stack frames": "Error['prepare' + 'StackTrace'] = (e, s) => s; new Error().stack[0].getThis()",
    "captured stack": "Error['capture' + 'Stack' + 'Trace']({})",
    "endless loop": "for (;;);",
    "endless output": "for (;;) console.log('a long line of nothing, again and again');",
    "endless memory": "const a = []; for (;;) a.push(new Array(1e6).fill(1.5));",
    "memory that stays": "for (let i = 0; ; i++) Symbol.for('x'.repeat(1e6) + i);",
    "memory that may not be there": "const a = []; for (;;) a.push(new ArrayBuffer(1e9));",
    "an accessor that runs when its error is looked at": (
        "throw Object.defineProperty(new Error(), 'message', {get() { for (;;); }})"
    ),
    "a proxy that runs when it is looked at": "throw new Proxy(new Error('x'), {getPrototypeOf() { for (;;); }})",
    "no error": "throw 1",
    "an own class of errors": "class E extends Error {} throw new E('x')",
    "syntax": "let a = ;",
}


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


REACHABLE = """
const seen = new Set();
const todo = [globalThis, require, module, exports, console, arguments, this, function* () {}, [][Symbol.iterator](),
  new Map().entries(), new Set().values(), 'a'.matchAll(/a/g), ''[Symbol.iterator](), Object(1n)];
while (todo.length) {
  const value = todo.pop();
  if (value === null || !['object', 'function'].includes(typeof value) || seen.has(value)) continue;
  seen.add(value);
  let last = value;
  while (Object.getPrototypeOf(last) !== null) last = Object.getPrototypeOf(last);
  if (last !== Object.prototype && Object.hasOwn(last, 'hasOwnProperty')) throw new Error('another realm');
  if (typeof value === 'function' && !(value instanceof Object)) throw new Error("another realm's function");
  todo.push(Object.getPrototypeOf(value));
  for (const key of Reflect.ownKeys(value)) {
    const found = Object.getOwnPropertyDescriptor(value, key);
    todo.push(found.value, found.get, found.set);
  }
}
if (seen.size < 500) throw new Error('only ' + seen.size);
"""


def test_nothing_of_another_realm_is_in_reach(warm: Warm) -> None:
    assert warm.ask(REACHABLE) == "passed\n"


LEAVING = {
    "prototypes": (
        "Object.prototype.left = 1; Array.prototype.push = () => 1; Function.prototype.call = () => 1",
        "if ({}.left || [].push(1, 2) !== 2 || (function () { return this }).call(3) != 3) throw new Error('left')",
    ),
    "globals": (
        "left = 1; globalThis.other = 2",
        "if ('left' in globalThis || 'other' in globalThis) throw new Error()",
    ),
    "assert": (
        "const a = require('assert'); a.deepEqual = a.ok = a.strictEqual = () => {}; Object.is = () => true",
        "require('assert').deepEqual([1], [1]); require('assert').strictEqual(Object.is(1, 2), false)",
    ),
    "primitives' methods": ("String.prototype.trim = () => 'x'", "if (' a '.trim() !== 'a') throw new Error('left')"),
    "symbols": (
        "Symbol.for('k').description; Symbol.prototype.k = 1",
        "if (Symbol.for('k').k) throw new Error('left')",
    ),
    "regular expressions": ("/(b)/.exec('abc')", "if (RegExp.$1 !== '' || RegExp.lastMatch !== '') throw new Error()"),
    "template objects": ("(s => s)`a`.raw; Object.freeze(Array.prototype)", "[].push(1); Array.prototype.x = 1"),
    "species": (
        "Array[Symbol.species]; Object.defineProperty(Array, Symbol.species, {value: String})",
        "if (!Array.isArray([1].map(x => x))) throw new Error('left')",
    ),
    "numbers": (
        "Number.prototype.valueOf = () => 7; Math.max = () => 0",
        "if (Math.max(1, 2) !== 2) throw new Error()",
    ),
    "json": ("JSON.parse = JSON.stringify = () => 1", "if (JSON.stringify([1]) !== '[1]') throw new Error('left')"),
}


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

VALUES = (
    "0",
    "-0",
    "1",
    "NaN",
    "'1'",
    "'a'",
    "''",
    "true",
    "false",
    "null",
    "undefined",
    "10n",
    "Symbol.iterator",
    "() => 1",
    "[]",
    "[1]",
    "['1']",
    "[undefined]",
    "[null]",
    "[NaN]",
    "[[]]",
    "[1, [2, {a: 3}]]",
    "[1, ['2', {a: '3'}]]",
    "[,]",
    "{}",
    "{a: 1}",
    "{a: '1'}",
    "{a: undefined}",
    "{b: undefined}",
    "{a: 1, b: 2}",
    "{b: 2, a: 1}",
    "{0: 1}",
    "{0: 1, length: 1}",
    "Object.create(null)",
    "Object.assign(Object.create(null), {a: 1})",
    "new Set([1])",
    "new Map()",
    "new Date(0)",
    "/a/",
    "new (class { constructor() { this.a = 1 } })()",
    "Object.assign([1], {x: 1})",
    "new Number(1)",
    "'abc'.match(/b/)",
    "{[Symbol.iterator]: 1}",
    "new Proxy([1], {})",
)


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
    chosen = random.Random(0).sample(range(len(pairs)), 500)
    left = 0
    for name, bits in zip(names, truth, strict=True):
        for number in chosen[: 500 if name.startswith("deep") else 100]:
            x, y = (VALUES[i] for i in pairs[number])
            answer = warm.ask(f"require('node:assert').{name}({x}, {y})").split("\n")[0]
            left += answer == CANT_SAY
            assert answer in (CANT_SAY, "passed" if bits[number] else "wrong answer"), (name, x, y)
    assert left < 400


PARTS = (
    "let v = {n};",
    "const list = [3, {n}, 2].sort((a, b) => a - b);",
    "console.log('{n}', {n}, [1, {n}], {{a: {n}}});",
    "function f(x) {{ return x * {n}; }}",
    "assert.deepEqual([{n}].map((x) => x % 3), [{m}]);",
    "assert.equal({n} % 2, {m});",
    "assert.deepStrictEqual({{a: [{n}]}}, {{a: [{m}]}});",
    "assert({n} % 4);",
    "assert.ok([{n}].length);",
    "missing{n}();",
    "null.x;",
    "undefined.f();",
    "if ({n} > 6) throw new Error('number {n}');",
    "if ({n} > 7) throw new TypeError('t');",
    "new Array({m} - 1);",
    "JSON.parse('{n}}}'.slice(0, {m}));",
    "class A {{ #p = {n}; get p() {{ return this.#p; }} }}",
    "const g = function* () {{ yield {n}; }}; assert.equal([...g()][0], {n});",
    "(x => x.y.z)({{y: {{}}}});",
    "assert.deepEqual(new Set([{n}]), new Set([{n}]));",
    "for (const c of 'abc') v2 = c;",
    "if ({n} === 5) throw {n};",
    "'use strict'; undeclared{n} = {m};",
    "setTimeout(() => {{ if ({n} > 5) throw new Error('late') }}, 0);",
    "Promise.reject(new Error('{n}'));",
    "if (typeof process === 'object' && {n} > 5) process.exit({m});",
    "return;",
    "assert.throws(() => {{ null.x }});",
    "assert.equal(Object.keys({{a: 1}}).length, {m}, 'message {n}');",
    "const s = `${{{n}}}`.padStart(3, '0'); assert.equal(s.length, 3);",
    "let v = ;",
    "new Date({n}).toISOString();",
)


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
