"""Programs made against this judge in particular: its channel, its processes, its folders.

What would cheat or harm any judge is in `attacks/`, see `test_attacks.py`.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from rewardranker.execution import ProgramJudge

root_only = pytest.mark.skipif(os.geteuid() != 0, reason="without root candidates run as the same user")

SECRET = 918273645
TESTS = (
    f"assert f(1) == {SECRET}",
    "assert abs(f(2) - 3.5) < 1e-6",
    "assert sorted(f(3)) == [1, 2, 3]",
    "assert math.isclose(f(4), 0.25)",
    "assert f(5) == 'five' and isinstance(f(5), str)",
)
HONEST = f"def f(x):\n    return [None, {SECRET}, 3.5, [3, 1, 2], 0.25, 'five'][x]\n"

CHANNEL = (
    "import sys, os\nframe = sys._getframe()\n"
    "while type(frame.f_locals.get('self')).__name__ != 'Candidate': frame = frame.f_back\n"
    "me = frame.f_locals['self']\n"
)

# name -> (program, statuses it may get); none may pass, nor may any test of theirs be counted.
ATTACKS: dict[str, tuple[str, set[str]]] = {
    "printing success": (
        'print(\'{"outcome": ["passed", "", 5, 5, false]}\', flush=True)\ndef f(x): print(\'passed\')',
        {"wrong answer"},
    ),
    "replies ahead of the question": (
        "import os, struct, json\nfor v in (True, 3.5):\n b = json.dumps(['', 'ok', v, []]).encode()\n"
        " os.write(3, struct.pack('<I', len(b)) + b)\ndef f(x): return 0",
        {"broken channel"},
    ),
    "a report in place of an answer": (
        CHANNEL + "me._do_call = lambda *a: ['passed', '', 5, 5, False]\ndef f(x): return 0",
        {"broken channel"},
    ),
    "malformed tags": (
        CHANNEL + "me._do_call = lambda *a: ['ok', {'set': [[1]], 'ref': 'x'}, []]\ndef f(x): return 0",
        {"broken channel"},
    ),
    "changes arguments that were not given": (
        CHANNEL + "me._do_call = lambda *a: ['ok', 1, [[7, []]]]\ndef f(x): return 0",
        {"broken channel"},
    ),
    "raises AssertionError": ("def f(x): raise AssertionError", {"exception"}),
    "raises the judge's own exception": (
        "class Halt(BaseException): status, gone = 'passed', False\ndef f(x): raise Halt('passed', '', False)",
        {"exception"},
    ),
    "raises a fake of a builtin": ("class SystemExit(Exception): pass\ndef f(x): raise SystemExit(0)", {"exception"}),
    "lazy object": (
        "class Lazy:\n    def __getattr__(self, name): return lambda *a: True\ndef f(x): return Lazy()",
        {"wrong answer"},
    ),
    "generator": ("def f(x):\n    while True: yield x", {"wrong answer", "timeout", "out of memory"}),
    "closes its channel": ("import os\nos.close(3)\ndef f(x): return 0", {"broken channel", "exited"}),
    "closes its channel and lives on": ("import os, time\nos.close(3)\ntime.sleep(100)", {"broken channel"}),
    "closes all descriptors": ("import os\ndef f(x): os.closerange(0, 100)", {"broken channel", "exited"}),
    "patched json": (
        "import json\njson.dumps = json.loads = json.JSONEncoder.encode = lambda *a, **k: '[1]'\ndef f(x): return 0",
        {"wrong answer", "exited"},
    ),
    "infinite loop": ("def f(x):\n    while True: pass", {"timeout"}),
    "infinite loop on loading": ("while True: pass", {"timeout"}),
    "answer that explodes in the tester": (
        CHANNEL + "me._do_call = lambda *a: ['ok', {'range': [0, 10**15]}, []]\ndef f(x): return 0",
        {"wrong answer", "out of memory", "timeout"},
    ),
    "endless printing": ("def f(x):\n    while True: print('x' * 10000)", {"timeout"}),
    "fork bomb": (
        "import os\ndef f(x):\n    while True:\n        try: os.fork()\n        except OSError: pass",
        {"timeout", "broken channel"},
    ),
    "endless recursion": ("def f(x): return f(x)", {"exception"}),
    "recursion beyond the stack": (
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n    def __repr__(self): return repr(self)\n"
        "def f(x): return repr(A())",
        {"crashed", "exception", "out of memory"},
    ),
    "answer nested too deeply": (
        "def f(x):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
        {"exception"},
    ),
    "answer that contains itself": ("def f(x):\n    a = []\n    a.append(a)\n    return a", {"exception"}),
    "kills itself": ("import os\ndef f(x): os.kill(os.getpid(), 9)", {"crashed", "wrong answer"}),
    "segmentation fault": ("import ctypes\ndef f(x): ctypes.string_at(0)", {"crashed"}),
    "looks for the expected values in objects": (
        "import gc, sys\ndef f(x):\n"
        "    for o in gc.get_objects() + list(sys._current_frames().values()):\n"
        "        text = repr(o)[:10**5]\n"
        f"        if '{str(SECRET)[::-1]}'[::-1] in text: return int('{str(SECRET)[::-1]}'[::-1])\n"
        "    return 0",
        {"wrong answer"},
    ),
    "looks for the tests in modules": (
        "import sys, inspect\ndef f(x):\n"
        "    for name in list(sys.modules):\n"
        "        if hasattr(sys.modules[name], 'check') or hasattr(sys.modules[name], 'run_tests'): return 'found'\n"
        "    assert not any('check' in i.frame.f_globals for i in inspect.stack()), 'found'\n"
        "    return 0",
        {"wrong answer"},
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_gets_nothing(name: str, run) -> None:
    program, statuses = ATTACKS[name]
    verdict = run(program, *TESTS)
    assert not verdict.passed
    assert verdict.status in statuses, verdict
    assert verdict.tests_passed == 0, verdict


def test_the_attacked_tests_can_be_passed(run) -> None:
    """Otherwise the attacks above would fail whatever the judge did."""
    assert run(HONEST, *TESTS).tests_passed == len(TESTS)


def test_own_memory_does_not_hold_the_tests(run) -> None:
    """The expected value appears in no mapping of the candidate's process, whatever was judged there before."""
    program = f"""
def f(x):
    marker = str({SECRET} // 5 * 5)[::-1]
    needle, found = marker[::-1][:9].encode(), 0
    for line in open('/proc/self/maps'):
        span, mode = line.split()[:2]
        if 'rw' in mode and 'stack' not in line:
            low, high = (int(part, 16) for part in span.split('-'))
            with open('/proc/self/mem', 'rb') as memory:
                memory.seek(low)
                found += memory.read(high - low).count(b'f(1) == ' + needle)
    return found
"""
    run(HONEST, *TESTS)
    verdict = run(program, f"assert f(1) == {SECRET}")
    # Not readable at all (another user's process) is as good as not there.
    assert verdict.status in ("wrong answer", "exception")
    counted = run(program, "assert f(1) == 0")
    assert counted.passed or "PermissionError" in counted.detail


@root_only
@pytest.mark.parametrize("what", ["mem", "environ", "maps", "fd/0"])
def test_other_processes_of_the_judge_can_not_be_read(run, pool: ProgramJudge, what: str) -> None:
    program = f"def f(pid):\n    open(f'/proc/{{pid}}/{what}', 'rb').read(1)"
    verdict = run(program, f"assert f({pool._workers[0].pid}) is None")
    assert verdict.status == "exception"
    assert "PermissionError" in verdict.detail or "FileNotFoundError" in verdict.detail


@root_only
def test_parent_can_not_be_traced(run) -> None:
    program = "import ctypes, os\ndef f(): return ctypes.CDLL(None).ptrace(16, os.getppid(), 0, 0)"
    assert run(program, "assert f() == -1").passed


@pytest.fixture
def not_root(run) -> None:
    """Programs that signal everyone are only run where a broken judge could not let them do it as root."""
    verdict = run("import os\ndef f(): return 0 in (*os.getresuid(), *os.getresgid())", "assert f() is False")
    if not verdict.passed:
        pytest.fail("programs run as root: signals would reach every process of the machine")


@root_only
@pytest.mark.usefixtures("not_root")
@pytest.mark.parametrize("target", ["{worker}", "-{worker}"])
def test_judge_can_not_be_signalled(run, pool: ProgramJudge, target: str) -> None:
    worker = pool._workers[0].pid
    program = f"import os\ndef f():\n    os.kill({target.format(worker=worker)}, 9)"
    verdict = run(program, "assert f() is None")
    assert verdict.status == "exception"
    assert pool._workers[0].pid == worker


def test_working_folder_is_empty_and_its_own(run) -> None:
    program = "import os\ndef f():\n    names = os.listdir()\n    open('left', 'w').write('x')\n    return names"
    assert run(program, "assert f() == []").passed
    assert run(program + "\n", "assert f() == []").passed


def test_folders_are_removed(run, pool: ProgramJudge) -> None:
    run(
        "import os\ndef f():\n    os.makedirs('a/b'); open('a/b/c', 'w'); os.symlink('/etc', 'a/e')",
        "assert f() is None",
    )
    assert [path for path in Path(pool._folder).rglob("*") if len(path.relative_to(pool._folder).parts) > 2] == []
    assert Path("/etc/hostname").parent.is_dir()


def test_environment_is_empty(run) -> None:
    """Keys and tokens of the user's environment are not there to be read or sent away."""
    os.environ["SECRET_TOKEN"] = "x"
    program = "import os\ndef f(): return sorted(os.environ)"
    verdict = run(program, "assert set(f()) <= {'PYTHONHASHSEED', 'LC_CTYPE', 'PWD'}, f()")
    assert verdict.passed, verdict.detail


def test_programs_run_on_the_library_of_the_own_interpreter(run) -> None:
    """The loader must not find one of the system's in its place: it may be of another version."""
    own = sorted({line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "libpython" in line})
    program = "def f(): return sorted({line.split()[-1] for line in open('/proc/self/maps') if 'libpython' in line})"
    verdict = run(program, f"assert f() == {[os.path.realpath(path) for path in own]}, f()")
    assert verdict.passed, verdict.detail


def test_chance_is_the_same_for_all_programs(run) -> None:
    """The generator is seeded once, before the fork."""
    program = "import random\ndef f(): return random.random()\n"
    expected = random.Random(0).random()
    assert run(program, f"assert f() == {expected}").passed
    assert run(program + "\n", f"assert f() == {expected}").passed


def test_expected_error_passes(run) -> None:
    """A program that ends where the tests wait for an error does not (see the corpus); one that raises it does."""
    source = "def check(candidate):\n    try:\n        candidate(1)\n    except:\n        return\n    assert False\n"
    assert run("def f(x): raise ValueError", source=source).passed


def test_helper_of_the_prompt_is_not_the_programs(run) -> None:
    prompt = "def double(x):\n    return 2 * x\n\ndef f(x):\n    '''Half of x.'''\n"
    source = "def check(candidate):\n    assert double(candidate(4)) == 4\n"
    cheat = prompt + "    return 0\ndef double(x): return 4\n"
    assert run(cheat, source=source, prompt=prompt).status == "wrong answer"
    assert run(prompt + "    return x // 2\n", source=source, prompt=prompt).passed
