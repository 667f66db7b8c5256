"""JavaScript programs and parts of programs for the tests of the warm node."""

from __future__ import annotations

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
