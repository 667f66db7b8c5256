// Runs JavaScript programs, each in a realm of its own, in one process: a server of the judge (see `servers.py`).
//
// A request is two frames, file name and source. The answer is one frame: byte 0, a status, a newline and a detail; or
// byte 2 for "can't say": a fresh node decides. It says only what follows from the program's text (see `realm.js`).
// Words that could make more than that of it (asynchronous code, modules, catching an error, which shows how deep the
// stack was) are not looked into: such a source is "can't say" unread. A program and its canary must be decided in
// one place: where either is "can't say" here, both are a fresh node's. A program can tell the two apart, and what it
// leaves behind (symbols are never freed) can keep its canary from being answered.
//
// Not guaranteed: that a program which breaks V8 itself gets no hold of this process. It has no compiler of machine
// code and no WebAssembly, it is confined as a candidate is, and it does not live long.
'use strict';

const fs = require('fs');
const path = require('path');
const vm = require('vm');

const NOT_HERE =
  /^#!|^\uFEFF|\b(?:async|await|import|export|catch|finally|__filename|__dirname|__run)\b|[sS]tackTrace/;
const STACK = /\bstack\b/;
const ERROR = /Error/;
const MISREAD = /AssertionError|ERR_ASSERTION|SyntaxError|memory|bad_alloc|heap|allocate/;
const PARAMETERS = ['exports', 'require', 'module', '__filename', '__dirname'];
const MILLISECONDS = 500;
const SPARE = 'SharedArrayBuffer Atomics WebAssembly Intl Promise WeakRef FinalizationRegistry eval'.split(' ');

const hostNames = JSON.stringify({
  globals: [...Object.getOwnPropertyNames(globalThis), ...SPARE],
  console: Object.getOwnPropertyNames(console),
});
const furnish = new vm.Script(`(${fs.readFileSync(path.join(__dirname, 'realm.js'), 'utf8')})(${hostNames})`);
const go = new vm.Script('__run()');

function newRealm() {
  const realm = vm.createContext(vm.constants.DONT_CONTEXTIFY, {
    codeGeneration: {strings: false, wasm: false},
    microtaskMode: 'afterEvaluate',
  });
  return {realm, take: furnish.runInContext(realm)};
}

// The outcome, '' for "can't say", null where the process is not to be used again.
function outcomeOf(source, {realm, take}) {
  if (NOT_HERE.test(source) || (STACK.test(source) && ERROR.test(source))) return '';
  let program;
  try {
    program = vm.compileFunction(source, PARAMETERS, {parsingContext: realm});
  } catch {
    return '';
  }
  let outcome;
  try {
    take(program);
    outcome = go.runInContext(realm, {timeout: MILLISECONDS, displayErrors: false});
  } catch {
    return null;
  }
  if (typeof outcome !== 'string') return null;
  return outcome.startsWith('passed\n') || !MISREAD.test(source) ? outcome : '';
}

function read(size) {
  const bytes = Buffer.allocUnsafe(size);
  for (let done = 0; done < size; ) {
    const count = fs.readSync(0, bytes, done, size - done);
    if (count === 0) process.exit(0);
    done += count;
  }
  return bytes;
}

function readFrame() {
  return read(read(4).readUInt32LE(0));
}

function answer(text) {
  const content = text ? Buffer.from(`\0${text}`) : Buffer.from([2]);
  const header = Buffer.alloc(4);
  header.writeUInt32LE(content.length);
  const bytes = Buffer.concat([header, content]);
  for (let done = 0; done < bytes.length; ) done += fs.writeSync(1, bytes, done);
}

for (let next = newRealm(); ; ) {
  readFrame();
  const outcome = outcomeOf(readFrame().toString('utf8'), next);
  if (outcome === null) process.exit(1); // no answer is "can't say" too, and a new process comes
  answer(outcome);
  next = newRealm();
}
