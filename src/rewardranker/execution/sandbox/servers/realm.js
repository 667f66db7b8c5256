// What a program finds in its own realm: run there first, before any of the program, as one function expression.
//
// The realm is made so that what happens in it follows from the program's text alone: no clock, no randomness, no
// other thread, no view of memory, nothing asynchronous, no code from strings, no object of another realm. Whatever
// node has beyond that is an accessor that notes the use ("can't say") and ends the program: node itself decides then.
// The functions below use only what they took from the realm before the program ran.
//
// Not guaranteed: that a program can't tell this realm from node. It can, but has nothing to gain by it: real and
// changed tests are both decided here, or both by node.
(hostNames) => {
  'use strict';
  const {apply, construct, getPrototypeOf, ownKeys} = Reflect;
  const {defineProperty, is, keys, getOwnPropertyDescriptor, getOwnPropertySymbols, freeze} = Object;
  const {isArray} = Array;
  const {isNaN} = Number;
  const {stringify} = JSON;
  const hasOwn = Object.hasOwn;
  const text = String;
  const realm = globalThis;
  const RealDate = Date;
  const objectPrototype = Object.prototype;
  const arrayPrototype = Array.prototype;
  const method = (prototype, name) => {
    const function_ = prototype[name];
    return (self, ...rest) => apply(function_, self, rest);
  };
  const contains = method(String.prototype, 'includes');
  const cut = method(String.prototype, 'slice');
  const isAssertion = method(WeakSet.prototype, 'has');
  const markAssertion = method(WeakSet.prototype, 'add');
  const assertions = new WeakSet();

  const KEPT = (
    'Object Array Number parseFloat parseInt Infinity NaN undefined Boolean String Symbol RegExp Error ' +
    'AggregateError ' +
    'EvalError RangeError ReferenceError SyntaxError TypeError URIError globalThis JSON Math ArrayBuffer Uint8Array ' +
    'Int8Array Uint16Array Int16Array Uint32Array Int32Array Float32Array Float64Array Uint8ClampedArray ' +
    'BigUint64Array BigInt64Array DataView Map BigInt Set WeakMap WeakSet Proxy Reflect decodeURI ' +
    'decodeURIComponent encodeURI encodeURIComponent escape unescape isFinite isNaN'
  ).split(' ');
  const NAMED = [
    ['TypeError', TypeError.prototype],
    ['ReferenceError', ReferenceError.prototype],
    ['Error', Error.prototype],
  ];
  const MOST_PRINTED = 1 << 16;
  const MOST_SHOWN = 240;
  const DEEPEST = 100;

  let cantSay = false;
  let printed = '';
  let program;

  const giveUp = () => {
    cantSay = true;
    throw undefined;
  };
  const unknown = (object, name) => {
    defineProperty(object, name, {__proto__: null, get: giveUp, set: giveUp, enumerable: false, configurable: false});
  };
  const hidden = (object, name, value) => {
    defineProperty(object, name, {__proto__: null, value, writable: true, enumerable: false, configurable: true});
  };

  // --- assert -----------------------------------------------------------------------------------------------------

  class AssertionError extends Error {
    constructor(message, fields) {
      super(message);
      hidden(this, 'name', 'AssertionError');
      const names = keys(fields);
      for (let i = 0; i < names.length; i++) hidden(this, names[i], fields[names[i]]);
    }
  }

  const fail = (what, actual, expected, operator, message) => {
    if (message !== undefined && typeof message !== 'string') giveUp();
    const shown = message ?? `${what}\n\n${show(actual)}\n\n${MIDDLE[operator] ?? 'and'}\n\n${show(expected)}`;
    const error = new AssertionError(shown, {
      generatedMessage: message === undefined, code: 'ERR_ASSERTION', actual, expected, operator,
    });
    markAssertion(assertions, error);
    throw error;
  };
  const MIDDLE = freeze({__proto__: null, deepEqual: 'should loosely deep-equal', deepStrictEqual: 'should equal'});

  const isPlain = (value, array) => {
    if (array) return getPrototypeOf(value) === arrayPrototype && keys(value).length === value.length;
    const prototype = getPrototypeOf(value);
    return prototype === objectPrototype || prototype === null;
  };

  // Node's rules for primitives, dense arrays and plain objects; what else there is, it decides itself.
  const deepEqual = (a, b, strict, depth) => {
    if (a === b) return a !== 0 || !strict || is(a, b);
    const objects = (a !== null && typeof a === 'object') + (b !== null && typeof b === 'object');
    if (objects === 0) {
      if (!strict) return a == b || (isNaN(a) && isNaN(b));
      return isNaN(a) && isNaN(b);
    }
    if (objects === 1) return false;
    const array = isArray(a);
    if (depth === DEEPEST || !isPlain(a, array) || !isPlain(b, isArray(b))) giveUp();
    if (getOwnPropertySymbols(a).length + getOwnPropertySymbols(b).length > 0) giveUp();
    if (array !== isArray(b)) return false;
    if (strict && getPrototypeOf(a) !== getPrototypeOf(b)) return false;
    if (array) {
      if (a.length !== b.length) return false;
      for (let i = 0; i < a.length; i++) {
        if (!deepEqual(a[i], b[i], strict, depth + 1)) return false;
      }
      return true;
    }
    const names = keys(a);
    if (names.length !== keys(b).length) return false;
    for (let i = 0; i < names.length; i++) {
      if (!hasOwn(b, names[i])) return false;
    }
    for (let i = 0; i < names.length; i++) {
      if (!deepEqual(a[names[i]], b[names[i]], strict, depth + 1)) return false;
    }
    return true;
  };

  const show = (value) => {
    if (typeof value === 'bigint') return `${text(value)}n`;
    if (typeof value === 'function') return '[Function]';
    if (typeof value === 'string') return short(stringify(value));
    if (value === null || typeof value !== 'object') return text(value);
    try {
      return short(text(stringify(value)));
    } catch {
      return '[object]';
    }
  };
  const short = (words) => (words.length > MOST_SHOWN ? `${cut(words, 0, MOST_SHOWN)}...` : words);

  const ok = (count, value, message) => {
    if (count === 0) giveUp();
    if (!value) fail('The expression evaluated to a falsy value:', value, true, '==', message);
  };
  const needTwo = (count) => count < 2 && giveUp();

  function assert(...args) {
    ok(args.length, args[0], args[1]);
  }
  const checks = {
    __proto__: null,
    ok(...args) {
      ok(args.length, args[0], args[1]);
    },
    equal(a, b, message) {
      needTwo(arguments.length);
      if (!(a == b || (isNaN(a) && isNaN(b)))) fail('Expected values to be loosely equal:', a, b, '==', message);
    },
    notEqual(a, b, message) {
      needTwo(arguments.length);
      if (a == b || (isNaN(a) && isNaN(b))) fail('Expected values to be loosely unequal:', a, b, '!=', message);
    },
    strictEqual(a, b, message) {
      needTwo(arguments.length);
      if (!is(a, b)) fail('Expected values to be strictly equal:', a, b, 'strictEqual', message);
    },
    notStrictEqual(a, b, message) {
      needTwo(arguments.length);
      if (is(a, b)) fail('Expected values to be strictly unequal:', a, b, 'notStrictEqual', message);
    },
    deepEqual(a, b, message) {
      needTwo(arguments.length);
      if (!deepEqual(a, b, false, 0)) fail('Expected values to be loosely deep-equal:', a, b, 'deepEqual', message);
    },
    deepStrictEqual(a, b, message) {
      needTwo(arguments.length);
      const what = 'Expected values to be strictly deep-equal:';
      if (!deepEqual(a, b, true, 0)) fail(what, a, b, 'deepStrictEqual', message);
    },
  };
  for (const name of keys(checks)) assert[name] = checks[name];
  const OTHER_CHECKS = 'AssertionError CallTracker doesNotMatch doesNotReject doesNotThrow fail ifError match ' +
    'notDeepEqual notDeepStrictEqual partialDeepStrictEqual rejects strict throws';
  for (const name of OTHER_CHECKS.split(' ')) unknown(assert, name);

  // --- the module and the console -----------------------------------------------------------------------------------

  const module = {exports: {}};
  for (const name of 'id path filename loaded children paths parent require'.split(' ')) unknown(module, name);
  const require = function require(name) {
    if (name !== 'assert' && name !== 'node:assert') giveUp();
    return assert;
  };
  for (const name of ['main', 'cache', 'resolve', 'extensions']) unknown(require, name);

  const print = (...args) => {
    for (let i = 0; i < args.length; i++) {
      printed += `${typeof args[i] === 'string' ? args[i] : show(args[i])} `;
    }
    printed += '\n';
    if (printed.length > MOST_PRINTED) giveUp();
  };
  const console = {};
  const PRINTING = ['log', 'info', 'debug', 'error', 'warn'];
  for (const name of hostNames.console) {
    if (PRINTING.includes(name)) console[name] = (...args) => apply(print, undefined, args);
    else unknown(console, name);
  }

  // --- what is taken away -------------------------------------------------------------------------------------------

  const kept = new Set(KEPT);
  const replaced = {__proto__: null, console, Function: closed(Function), Date: timeless()};
  for (const name of new Set([...ownKeys(realm), ...hostNames.globals])) {
    if (kept.has(name)) continue;
    delete realm[name];
    if (name in replaced) hidden(realm, name, replaced[name]);
    else unknown(realm, name);
  }
  // A constructor that makes code from strings, as the constructor of what the language's syntax makes.
  function closed(constructor) {
    const {prototype} = constructor;
    const stand = function () {
      giveUp();
    };
    defineProperty(stand, 'name', {value: constructor.name});
    defineProperty(stand, 'prototype', {value: prototype, writable: false, enumerable: false, configurable: false});
    defineProperty(prototype, 'constructor', {value: stand});
    return stand;
  }
  closed(getPrototypeOf(function* () {}).constructor);
  closed(getPrototypeOf(async function () {}).constructor);
  closed(getPrototypeOf(async function* () {}).constructor);

  // Dates, but not today's.
  function timeless() {
    const Timeless = function Date(...args) {
      if (new.target === undefined || args.length === 0) giveUp();
      return construct(RealDate, args, new.target);
    };
    defineProperty(Timeless, 'prototype', {value: RealDate.prototype, writable: false});
    hidden(RealDate.prototype, 'constructor', Timeless);
    for (const name of ['parse', 'UTC']) hidden(Timeless, name, RealDate[name]);
    unknown(Timeless, 'now');
    return Timeless;
  }
  hidden(Math, 'random', giveUp);

  // Node formats stacks by functions of its own realm, which may throw errors of that realm: no stacks are taken here.
  for (const name of ['stackTraceLimit', 'prepareStackTrace']) {
    delete Error[name];
    defineProperty(Error, name, {value: undefined, writable: false, enumerable: false, configurable: false});
  }
  delete Error.captureStackTrace;
  unknown(Error, 'captureStackTrace');

  // --- the run ------------------------------------------------------------------------------------------------------

  const MISREAD = freeze(['AssertionError', 'ERR_ASSERTION', 'SyntaxError', 'memory', 'bad_alloc', 'heap', 'allocate']);
  const misread = (words) => {
    for (let i = 0; i < MISREAD.length; i++) {
      if (contains(words, MISREAD[i])) return true;
    }
    return false;
  };

  // The status and detail of what a program threw; empty where node may see it differently.
  const failure = (thrown) => {
    if (thrown === null || typeof thrown !== 'object' || misread(printed)) return '';
    const message = getOwnPropertyDescriptor(thrown, 'message')?.value;
    if (typeof message !== 'string' || contains(message, 'SyntaxError')) return '';
    if (isAssertion(assertions, thrown)) return `wrong answer\nAssertionError [ERR_ASSERTION]: ${message}`;
    if (misread(message) || ownKeys(thrown).length !== 2) return '';
    const prototype = getPrototypeOf(thrown);
    for (let i = 0; i < NAMED.length; i++) {
      if (prototype !== NAMED[i][1]) continue;
      return prototype.name === NAMED[i][0] ? `exception\n${NAMED[i][0]}: ${message}` : '';
    }
    return '';
  };

  hidden(realm, '__run', () => {
    delete realm.__run;
    let outcome = 'passed\n';
    try {
      apply(program, module.exports, [module.exports, require, module, '', '']);
    } catch (thrown) {
      outcome = cantSay ? '' : failure(thrown);
    }
    return cantSay ? '' : outcome;
  });

  return (function_) => {
    program = function_;
  };
}
