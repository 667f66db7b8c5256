"""The levels of isolation: which one is taken, that it is said, and that each keeps what it promises."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from conftest import sample_of

from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import IsolationWarning, ProgramJudge, bubblewrap, levels
from rewardranker.types import StdioTest, Task

TASK = Task("t", "", entry_point="f", tests=("assert f(1) == 2", "assert f(2) == 3"))
RIGHT = sample_of("def f(x): return x + 1")
REFUSED = {
    "namespaces": "no bubblewrap here",
    "landlock": "no Landlock here",
}


def options(level: str = "auto") -> JudgeOptions:
    return JudgeOptions(timeout=1, isolation=level, allow_unsafe=level == "rlimits")


def open_at(level: str) -> ProgramJudge:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IsolationWarning)
            return ProgramJudge(options(level), workers=1)
    except SandboxError as error:
        pytest.skip(f"level {level} does not hold on this machine: {error}")


@pytest.fixture(scope="module", params=["namespaces", "landlock", "rlimits"])
def judge(request: pytest.FixtureRequest):
    with open_at(request.param) as judge:
        yield judge


def printed(judge: ProgramJudge, program: str, *inputs: str) -> str:
    """What a whole program prints, by way of the verdict on it (up to 200 characters)."""
    task = Task("t", "", inputs=tuple(StdioTest(text, "?") for text in inputs or ("",)))
    (verdict,) = judge.judge([(task, sample_of(program))])
    return verdict.detail


# --- which level --------------------------------------------------------------------------------------------------


def refuse(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    why_not = levels._why_not
    monkeypatch.setattr(
        levels, "_why_not", lambda level, judged: REFUSED[level.name] if level.name in names else why_not(level, judged)
    )


def test_without_bubblewrap_level_b_is_taken_and_said_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    open_at("landlock").close()
    monkeypatch.setattr(bubblewrap, "find", lambda: None)
    with pytest.warns(IsolationWarning, match=r"(?s)level B.*bubblewrap is not installed.*apt-get install bubblewrap"):
        judge = ProgramJudge(options(), workers=1)
    with judge:
        (verdict,) = judge.judge([(TASK, RIGHT)])
    assert verdict.passed
    assert verdict.isolation.startswith("B: Landlock")


def test_level_c_is_refused_unless_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "namespaces", "landlock")
    with pytest.raises(SandboxError, match=r"(?s)no bubblewrap here.*no Landlock here.*not allowed.*--allow-unsafe"):
        ProgramJudge(options(), workers=1)


def test_level_c_when_allowed_warns_of_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(monkeypatch, "namespaces", "landlock")
    with pytest.warns(IsolationWarning, match="reach the network"):
        ProgramJudge(JudgeOptions(allow_unsafe=True), workers=1).close()


def test_named_level_is_not_exchanged_for_a_weaker_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "find", lambda: None)
    with pytest.raises(SandboxError, match="bubblewrap is not installed"):
        ProgramJudge(options("namespaces"), workers=1)


def test_wall_that_lets_a_program_out_is_no_level_a(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The self-test is what decides: a bubblewrap that shows the user's files does not give level A."""
    open_at("namespaces").close()
    command = bubblewrap.command
    monkeypatch.setattr(bubblewrap, "command", lambda bwrap, readable: command(bwrap, [*readable, "/var/tmp"]))
    monkeypatch.setattr(levels.tempfile, "tempdir", "/var/tmp")
    with pytest.raises(SandboxError, match="reads a file of the user's"):
        ProgramJudge(options("namespaces"), workers=1)


# --- what each level keeps ------------------------------------------------------------------------------------------


def test_verdict_records_the_level(judge: ProgramJudge) -> None:
    (verdict,) = judge.judge([(TASK, RIGHT)])
    assert verdict.passed
    assert verdict.isolation == judge.isolation
    assert verdict.isolation[0] == judge.choice.level.letter


def test_program_gets_no_privilege(judge: ProgramJudge) -> None:
    program = """
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines())
print(status["NoNewPrivs"], int(status["CapEff"], 16), int(status["CapPrm"], 16))
"""
    assert "printed '1 0 0'" in printed(judge, program)


def test_program_is_not_root(judge: ProgramJudge) -> None:
    assert "printed 'False'" in printed(judge, "import os; print(0 in os.getresuid() + os.getresgid())") or os.geteuid()


def test_program_has_only_its_own_descriptors(judge: ProgramJudge) -> None:
    program = "import os; print([n for n in range(4, 200) if n != 40 and os.path.lexists(f'/proc/self/fd/{n}')][:-1])"
    assert "printed '[]'" in printed(judge, program)


def test_program_can_lock_no_memory(judge: ProgramJudge) -> None:
    limit = "import resource\nprint(resource.getrlimit(resource.RLIMIT_MEMLOCK))"
    assert "(0, 0)" in printed(judge, limit)


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
def test_commands_reach_what_lies_under_a_temporary_folder(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    files = bubblewrap.interpreter_files()
    with tempfile.TemporaryDirectory(dir=place) as name:
        folder, file, other = Path(name, "folder"), Path(name, "file"), Path(name, "other")
        folder.mkdir()
        for path in (folder / "in", file, other):
            path.write_text("here ")
        for path in (Path(name), folder, folder / "in", file, other):
            path.chmod(0o777)
        monkeypatch.setattr(bubblewrap, "interpreter_files", lambda: [*files, str(folder), str(file)])
        program = f"""
printf "%s" "$(cat {folder}/in {file} 2>&1)"
[ -e {other} ] || printf " hidden"
{{ touch {folder}/new || touch {file}; }} 2> /dev/null || printf " read-only"
"""
        task = Task("t", "", language="bash", inputs=(StdioTest("", "?"),))
        with open_at("namespaces") as judge:
            (verdict,) = judge.judge([(task, sample_of(program))])
        assert "here here hidden read-only" in verdict.detail
        with open_at("namespaces") as judge:
            assert "[]" in printed(judge, f"import os\nprint(os.listdir({place!r}))")


def test_program_can_not_change_a_file_of_the_package(judge: ProgramJudge) -> None:
    path = Path(levels.__file__)
    program = f"try:\n    open({str(path)!r}, 'a')\n    print('open')\nexcept OSError:\n    print('closed')"
    assert "printed 'closed'" in printed(judge, program) or (judge.isolation.startswith("C") and os.geteuid())


def test_temporary_folder_is_writable_and_empty_again_for_the_next(judge: ProgramJudge) -> None:
    program = "import os, tempfile; f = tempfile.gettempdir(); print(os.listdir(f)); open(f + '/left', 'w').close()"
    assert printed(judge, program, "", "") == "line 1: expected '?', printed '[]'"
    assert printed(judge, program) == "line 1: expected '?', printed '[]'"


@pytest.mark.parametrize("judge", ["namespaces"], indirect=True)
def test_program_sees_its_own_processes_only(judge: ProgramJudge) -> None:
    program = "import os; print(sorted(n for n in os.listdir('/proc') if n.isdigit()), os.getpid())"
    assert "printed \"['1'] 1\"" in printed(judge, program)


@pytest.mark.parametrize("judge", ["namespaces"], indirect=True)
def test_program_sees_nothing_of_the_users(judge: ProgramJudge) -> None:
    program = "import os; print([p for p in ('/home', '/var/lib', '/run', '/sys', '/etc/passwd') if os.path.exists(p)])"
    assert "printed '[]'" in printed(judge, program)


@pytest.mark.parametrize("judge", ["namespaces"], indirect=True)
def test_nothing_stays_mounted(judge: ProgramJudge) -> None:
    before = Path("/proc/self/mountinfo").read_text()
    list(judge.judge([(TASK, RIGHT)]))
    assert Path("/proc/self/mountinfo").read_text() == before


# --- ordinary users ---------------------------------------------------------------------------------------------------

_SCRIPT = """
import warnings; warnings.simplefilter("ignore")
from rewardranker.config import JudgeOptions
from rewardranker.execution import ProgramJudge
from rewardranker.types import Sample, Task
task = Task("t", "", entry_point="f", tests=("assert f(1) == 2",))
with ProgramJudge(JudgeOptions(isolation={level!r}, allow_unsafe=True), workers=1) as judge:
    programs = ["def f(x): return x + 1", "def f(x): return x", "import os\\ndef f(x): os._exit(0)"]
    verdicts = judge.judge((task, Sample("t", i, "", "", text)) for i, text in enumerate(programs))
    print([verdict.status for verdict in verdicts], judge.isolation)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize(("level", "letter"), [("namespaces", "A"), ("landlock", "B"), ("rlimits", "C")])
def test_ordinary_user_gets_the_same_verdicts(level: str, letter: str, tmp_path: Path) -> None:
    open_at(level).close()
    python = shutil.which("python3.11", path="/usr/bin") or shutil.which("python3", path="/usr/bin")
    if python is None:
        pytest.skip("no Python that every user can start (/usr/bin/python3)")
    if Path(python).resolve().name != f"python3.{sys.version_info.minor}":
        pytest.skip(f"{python} is another version than this environment's packages")
    tmp_path.chmod(0o777)
    for parent in tmp_path.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    packages = [str(Path(levels.__file__).parents[2]), *(p for p in sys.path if p.endswith("site-packages"))]
    done = subprocess.run(
        [python, "-c", _SCRIPT.format(level=level)],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(packages), "TMPDIR": "/var/tmp"},
        user=12345,
        group=12345,
        extra_groups=[],
        cwd="/",
        capture_output=True,
        text=True,
    )
    if "Permission denied" in done.stderr or "No module named" in done.stderr:
        pytest.skip("this environment's packages lie in a folder closed to ordinary users")
    assert f"['passed', 'wrong answer', 'exited'] {letter}: " in done.stdout, done.stderr


def test_memory_of_all_processes_together_is_bounded() -> None:
    """A limit on each process is none on all of them."""
    program = """
import os, time
def f():
    children = []
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            held = bytearray(100 << 20)
            held[::4096] = b"x" * len(held[::4096])
            time.sleep(0.3)
            os._exit(0)
        children.append(pid)
    return sum(os.waitpid(pid, 0)[1] == 0 for pid in children)
"""
    task = Task("t", "", entry_point="f", tests=("assert f() <= 4",))
    with ProgramJudge(JudgeOptions(timeout=3, memory_mb=256), workers=1) as judge:
        if "control group" not in judge.isolation:
            pytest.skip("no control group can be made here")
        (verdict,) = judge.judge([(task, sample_of(program))])
    assert verdict.status in ("passed", "out of memory"), verdict


def test_tests_too_have_no_network_and_no_root(judge: ProgramJudge) -> None:
    """Models write tests as well as programs."""
    source = """
import os, socket
def check(candidate):
    assert 0 not in os.getresuid()
    try:
        socket.socket()
    except OSError:
        return
    assert candidate(1) == "level C"
"""
    task = Task("t", "", entry_point="f", tests=source)
    (verdict,) = judge.judge([(task, sample_of("def f(x): return 'level C'"))])
    assert verdict.passed or os.geteuid() != 0, verdict
    if judge.choice.level.letter != "C":
        (verdict,) = judge.judge([(task, sample_of("def f(x): return 0"))])
        assert verdict.passed or os.geteuid() != 0, verdict
