"""Python programs that want to pass without solving the task."""

from __future__ import annotations

from attacks.corpus import SECRET, Attack

_EXITED = frozenset({"exited"})
_WRONG = frozenset({"wrong answer"})
_CHECK = (
    "def same(got, want):\n    assert got == want\n\n"
    f"def check(candidate):\n    got = candidate(1)\n    same(got, {SECRET})\n\ncheck(f)\n"
)

_LIAR = """
class Liar(@BASE@):
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    __le__ = __gt__ = __ge__ = __lt__
    def __hash__(self): return 0
    def __bool__(self): return True
def f(x): return Liar()
"""


def _exit(name: str, why: str, program: str, **more: object) -> Attack:
    more = {"naive": "exit_status", "statuses": _EXITED, **more}
    return Attack(name, "exits", why, program, **more)  # type: ignore[arg-type]


def _cheat(kind: str, name: str, why: str, program: str, **more: object) -> Attack:
    return Attack(name, kind, why, program, **more)  # type: ignore[arg-type]


EXITS = [
    _exit("sys.exit on loading", "ends with status 0 before the tests", "import sys\nsys.exit(0)"),
    _exit("sys.exit when called", "ends with status 0 in the first test", "import sys\ndef f(x): sys.exit(0)"),
    _exit("os._exit on loading", "no cleanup code can see it", "import os\nos._exit(0)"),
    _exit("os._exit when called", "no `except` can see it", "import os\ndef f(x): os._exit(0)"),
    _exit(
        "subclass of SystemExit",
        "`except SystemExit` or a comparison of types is not enough",
        "class Done(SystemExit):\n    code = 0\ndef f(x): raise Done",
    ),
    _exit(
        "atexit",
        "the assertion fails, then a handler chooses the exit status",
        "import atexit, os\natexit.register(os._exit, 0)\ndef f(x): return 0",
        statuses=_WRONG,
    ),
    _exit(
        "exit in a destructor",
        "globals are deleted after the assertion failed, before the status is used",
        "import os\nclass Last:\n    def __del__(self, end=os._exit): end(0)\nlast = Last()\ndef f(x): return 0",
        statuses=_WRONG,
    ),
    _exit(
        "exit from a thread",
        "the tests wait for an answer while another thread ends the process",
        "import os, threading\ndef f(x):\n    threading.Thread(target=os._exit, args=(0,)).start()\n"
        "    while True: pass",
    ),
    _exit(
        "exit from a timer signal",
        "the handler runs while the tests wait",
        "import os, signal\nsignal.signal(signal.SIGALRM, lambda *a: os._exit(0))\n"
        "def f(x):\n    signal.setitimer(signal.ITIMER_REAL, 0.01)\n    while True: pass",
    ),
    _exit(
        "excepthook",
        "what reports the failed assertion is the program's",
        "import os, sys\nsys.excepthook = lambda *a: os._exit(0)\ndef f(x): return 0",
        statuses=_WRONG,
    ),
    _exit("another program", "the process becomes one that succeeds", "import os\nos.execv('/bin/true', ['true'])"),
    _exit(
        "the parent leaves",
        "the tests fail in a child whose status nobody asks for",
        "import os\nif os.fork(): os._exit(0)\ndef f(x): return 0",
        statuses=frozenset({"exited", "wrong answer"}),
    ),
    _exit(
        "without asserts",
        "restarted with -O, the interpreter leaves all asserts out",
        "import os, sys\nif __debug__: os.execv(sys.executable, [sys.executable, '-O', sys.argv[0]])\n"
        "def f(x): return 0",
        statuses=frozenset(),
    ),
]

EQUALITY = [
    _cheat(
        "equality",
        "equal to everything",
        "== asks the left operand, which is the program's",
        _LIAR.replace("@BASE@", "object"),
        statuses=_WRONG,
    ),
    *(
        _cheat(
            "equality",
            f"{base} equal to everything",
            f"it also is an instance of {base}",
            _LIAR.replace("@BASE@", base),
            tests=(f"assert isinstance(f(1), {base}) and f(1) == {value}",),
            statuses=_WRONG,
        )
        for base, value in (("int", "77"), ("str", "'77'"), ("list", "[7, 7]"), ("float", "7.25"), ("dict", "{7: 7}"))
    ),
    _cheat(
        "equality",
        "lies about its class",
        "isinstance believes __class__",
        _LIAR.replace("def __bool__", "__class__ = int\n    def __bool__").replace("@BASE@", "object"),
        tests=("assert isinstance(f(1), int) and f(1) == 77",),
        statuses=_WRONG,
    ),
    _cheat(
        "equality",
        "arithmetic with itself is zero",
        "a tolerance is checked by the program's own subtraction",
        "class Near(float):\n    def __sub__(self, other): return 0.0\n    __rsub__ = __sub__\ndef f(x): return Near()",
        tests=("assert abs(f(2) - 3.5) < 1e-6", "assert abs(3.5 - f(2)) < 1e-6"),
        statuses=_WRONG,
    ),
    _cheat(
        "equality",
        "hashes as the expected one does",
        "a set looks for the hash, then asks the program",
        "class Key:\n    def __init__(self, x): self.x = x\n    def __hash__(self): return hash('two')\n"
        "    def __eq__(self, other): return True\ndef f(x): return Key(x)",
        tests=("assert f(2) in {'two'}", "assert {'two': 2}[f(2)] == 2"),
        statuses=_WRONG,
    ),
    _cheat(
        "equality",
        "contains everything",
        "`in` asks the container, which is the program's",
        "class All(list):\n    def __contains__(self, item): return True\ndef f(x): return All()",
        tests=("assert 7 in f(1) and 8 in f(1)",),
        statuses=_WRONG,
    ),
    _cheat(
        "equality",
        "other items each time",
        "sorted() and len() are asked of the program's object",
        "class Many(list):\n    def __iter__(self): return iter([3, 2, 1])\n    def __len__(self): return 3\n"
        "def f(x): return Many()",
        tests=("assert sorted(f(3)) == [1, 2, 3] and len(f(3)) == 3 and isinstance(f(3), list)",),
    ),
    _cheat(
        "equality",
        "keys made up when asked",
        "__missing__ answers for any key, with an object equal to everything",
        "class Any:\n    def __eq__(self, other): return True\n"
        "class Made(dict):\n    def __missing__(self, key): return Any()\ndef f(x): return Made()",
        tests=("assert f(1)['a'] == 7 and f(1)['b'] == 8",),
    ),
]

PATCHES = [
    _cheat(
        "builtins",
        "patched sorted",
        "tests look builtins up in the module that the program can write to",
        "import builtins\nbuiltins.sorted = lambda values: [1, 2, 3]\ndef f(x): return []",
        tests=("assert sorted(f(3)) == [1, 2, 3]",),
    ),
    _cheat(
        "builtins",
        "patched len and isinstance",
        "both are asked before the value is compared",
        "import builtins\nbuiltins.len = lambda value: 3\nbuiltins.isinstance = lambda *a: True\ndef f(x): return 0",
        tests=("assert len(f(3)) == 3 and isinstance(f(3), list)",),
    ),
    _cheat(
        "builtins",
        "patched abs and round",
        "tolerances are computed with them",
        "import builtins\nbuiltins.abs = lambda value: 0\nbuiltins.round = lambda *a: 1.25\ndef f(x): return 7",
        tests=("assert abs(f(2) - 3.5) < 1e-6", "assert round(f(5), 2) == 1.25"),
        statuses=_WRONG,
    ),
    _cheat(
        "builtins",
        "shadowed by globals",
        "tests run in the program's namespace",
        "def sorted(values): return [1, 2, 3]\ndef abs(value): return 0\ndef f(x): return 7",
        tests=("assert sorted(f(3)) == [1, 2, 3]", "assert abs(f(2) - 3.5) < 1e-6"),
        statuses=_WRONG,
    ),
    _cheat(
        "builtins",
        "patched math.isclose",
        "modules are shared by program and tests",
        "import math\nmath.isclose = lambda *a, **k: True\ndef f(x): return 0",
        tests=("import math\nassert math.isclose(f(4), 0.25)",),
        statuses=_WRONG,
    ),
    _cheat(
        "builtins",
        "module put in another's place",
        "`import math` in the tests finds what sys.modules holds",
        "import sys\nclass Fake:\n    isclose = staticmethod(lambda *a, **k: True)\nsys.modules['math'] = Fake\n"
        "def f(x): return 0",
        tests=("import math\nassert math.isclose(f(4), 0.25)",),
    ),
    _cheat(
        "builtins",
        "patched import",
        "the tests' imports call the program",
        "import builtins\nreal = builtins.__import__\nclass Fake:\n    isclose = staticmethod(lambda *a, **k: True)\n"
        "builtins.__import__ = lambda name, *a, **k: Fake if name == 'math' else real(name, *a, **k)\n"
        "def f(x): return 0",
        tests=("import math\nassert math.isclose(f(4), 0.25)",),
    ),
    _cheat(
        "builtins",
        "int compares as the program likes",
        "the comparison of the type itself is overwritten in memory: no test in this process can be right",
        "import ctypes\nkind = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.py_object, ctypes.py_object, ctypes.c_int)\n"
        "always = kind(lambda a, b, op: True)\n"
        "slot = ctypes.c_void_p.from_address(id(int) + 200)\n"
        "slot.value = ctypes.cast(always, ctypes.c_void_p).value\n"
        "def f(x): return 0",
        tests=("assert f(1) == 77",),
    ),
    _cheat(
        "builtins",
        "trace function that skips asserts",
        "a trace function may set the line that runs next",
        "import sys\ndef trace(frame, event, arg):\n"
        "    if event == 'line' and frame.f_code.co_name == 'check':\n"
        "        last = max(line for *_, line in frame.f_code.co_lines() if line)\n"
        "        if frame.f_lineno != last: frame.f_lineno = last\n"
        "    return trace\nsys.settrace(trace)\ndef f(x): return 0",
        tests="def check(candidate):\n    assert candidate(1) == 77\n    return\n\ncheck(f)\n",
    ),
    _cheat(
        "builtins",
        "profile function that forgives",
        "it is called when the check raises, and ends the process well",
        "import os, sys\ndef profile(frame, event, arg):\n"
        "    if event == 'return' and frame.f_code.co_name == 'check': os._exit(0)\n"
        "sys.setprofile(profile)\ndef f(x): return 0",
        tests=_CHECK,
        naive="exit_status",
    ),
    _cheat(
        "builtins",
        "sys.exit in a codec",
        "a hook that the runtime calls while it reports the failure",
        "import os, sys\nclass Quiet:\n    def write(self, text): os._exit(0)\n    def flush(self): pass\n"
        "sys.stderr = Quiet()\ndef f(x): return 0",
        naive="exit_status",
        statuses=_WRONG,
    ),
]

FRAMES = [
    _cheat(
        "frames",
        "constants of the caller",
        "the expected value is a constant of the code that calls",
        "import sys\ndef f(x): return max(c for c in sys._getframe(1).f_code.co_consts if type(c) is int)",
        tests=(f"assert f(1) == {SECRET}",),
    ),
    _cheat(
        "frames",
        "the tests' own helper replaced",
        "the caller's globals can be written to from the frame",
        "import sys\ndef f(x):\n    sys._getframe(1).f_globals['same'] = lambda got, want: None\n    return 0",
        tests=_CHECK,
    ),
    _cheat(
        "frames",
        "locals of the judge",
        "a frame further up holds the tests as text",
        "import sys, re\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        for value in list(frame.f_locals.values()):\n"
        "            found = re.search(r'== (\\d{9})', str(value))\n"
        "            if found: return int(found[1])\n"
        "        frame = frame.f_back\n",
        tests=(f"assert f(1) == {SECRET}",),
    ),
    _cheat(
        "frames",
        "objects of the judge",
        "the garbage collector lists every container, the judge's problem too",
        "import gc, re\ndef f(x):\n    for thing in gc.get_objects():\n"
        "        if type(thing) is dict and 'tests' in thing and type(thing['tests']) is str:\n"
        "            found = re.search(r'== (\\d{9})', thing['tests'])\n"
        "            if found: return int(found[1])\n",
        tests=(f"assert f(1) == {SECRET}",),
    ),
    _cheat(
        "frames",
        "its own source file",
        "tests appended to the program can be read by it",
        "import re, sys\ndef f(x): return int(re.search(r'== (\\d{9})', open(sys.argv[0]).read())[1])",
        tests=(f"assert f(1) == {SECRET}",),
        naive="exit_status",
    ),
    _cheat(
        "frames",
        "source from its loader",
        "the same without a file name: the import system gives the source",
        "import re\ndef f(x): return int(re.search(r'== (\\d{9})', __loader__.get_source('__main__'))[1])",
        tests=(f"assert f(1) == {SECRET}",),
        naive="exit_status",
    ),
    _cheat(
        "frames",
        "memory of its own process",
        "whatever was decoded there is still there",
        "import re\ndef f(x):\n    for line in open('/proc/self/maps'):\n        span, mode = line.split()[:2]\n"
        "        if mode.startswith('rw') and '[v' not in line:\n"
        "            low, high = (int(part, 16) for part in span.split('-'))\n"
        "            with open('/proc/self/mem', 'rb') as memory:\n                memory.seek(low)\n"
        "                found = re.search(rb'assert f\\(1\\) == (\\d{9})', memory.read(high - low))\n"
        "            if found: return int(found[1])\n",
        tests=(f"assert f(1) == {SECRET}",),
    ),
    _cheat(
        "proc",
        "memory of its parent",
        "the same user may read another process's memory",
        "import os, re\ndef f(x):\n    parent = os.getppid()\n    for line in open(f'/proc/{parent}/maps'):\n"
        "        span, mode = line.split()[:2]\n        if mode.startswith('rw') and '[v' not in line:\n"
        "            low, high = (int(part, 16) for part in span.split('-'))\n"
        "            with open(f'/proc/{parent}/mem', 'rb') as memory:\n                memory.seek(low)\n"
        "                found = re.search(rb'assert f\\(1\\) == (\\d{9})', memory.read(high - low))\n"
        "            if found: return int(found[1])\n",
        tests=(f"assert f(1) == {SECRET}",),
    ),
]

FORGED = [
    _cheat(
        "forged results",
        "report written to every descriptor",
        "the channel for results is open in the program's process",
        "import json, os, pickle, struct\noutcome = json.dumps({'outcome': ['passed', '', 2, 2, False]}).encode()\n"
        "for fd in range(64):\n    for data in (pickle.dumps('passed'), struct.pack('<I', len(outcome)) + outcome):\n"
        "        try: os.write(fd, data)\n        except OSError: pass\nos._exit(0)",
        statuses=frozenset({"broken channel", "exited", "output limit"}),
    ),
    _cheat(
        "forged results",
        "the judge's list of results",
        "the list that the judge collects results in is a local of its frame",
        "import sys\ndef f(x):\n    frame = sys._getframe()\n    while frame:\n"
        "        if type(frame.f_locals.get('result')) is list: frame.f_locals['result'].append('passed')\n"
        "        frame = frame.f_back\n    raise ValueError",
        statuses=frozenset({"exception"}),
    ),
    _cheat(
        "forged results",
        "the word for success",
        "what the judge looks for in the output, anybody can print",
        "import os, sys\nprint('ALL TESTS PASSED', flush=True)\nos._exit(0)",
        naive="printed_token",
        statuses=_EXITED,
    ),
    _cheat(
        "forged results",
        "the word for success at the end",
        "printed after the failed assertion, it is the last line",
        "import atexit\natexit.register(print, 'ALL TESTS PASSED')\ndef f(x): return 0",
        naive="printed_token",
        statuses=_WRONG,
    ),
    _cheat(
        "forged results",
        "answer that becomes code in the judge",
        "a pickle makes whatever object it wants where it is read",
        "class Answer:\n    def __reduce__(self):\n"
        "        return eval, (\"type('Equal', (), {'__eq__': lambda self, other: True})()\",)\n"
        "def f(x): return Answer()",
        naive="pickled_answers",
        statuses=_WRONG,
    ),
    _cheat(
        "forged results",
        "answer that patches the judge",
        "the same, to change the judge for all programs to come",
        "class Answer:\n    def __reduce__(self):\n"
        '        return exec, ("import builtins; builtins.sorted = lambda values: [1, 2, 3]",)\n'
        "def f(x): return Answer()",
        tests=("assert f(1) is None and sorted(f(3)) == [1, 2, 3]",),
        naive="pickled_answers",
    ),
    _cheat(
        "forged results",
        "exit taken for the expected error",
        "tests with a bare `except` take the end of the program for an error that they wait for",
        "def f(x): raise SystemExit(0)",
        tests="try:\n    f(1)\nexcept BaseException:\n    pass\nelse:\n    raise AssertionError\n",
        statuses=_EXITED,
    ),
]

ATTACKS = [*EXITS, *EQUALITY, *PATCHES, *FRAMES, *FORGED]
