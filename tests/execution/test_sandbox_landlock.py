"""Landlock rules, tried on the running kernel in child processes."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardranker.execution.sandbox import landlock

pytestmark = pytest.mark.skipif(landlock.abi() < 1, reason="this kernel has no Landlock, or it was not enabled at boot")


def needs(version: int) -> pytest.MarkDecorator:
    return pytest.mark.skipif(landlock.abi() < version, reason=f"Landlock {version} is newer than this kernel")


def outcome(action: Callable[[], object], confine: Callable[[], object] | None) -> int:
    """What an action comes to in a child process: 0, an errno, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            if confine is not None:
                confine()
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 254)
        except BaseException:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Three folders: listed to read, listed to write, not listed."""
    for name in ("read", "write", "closed"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "file").write_text("text")
        shutil.copy("/bin/true", tmp_path / name / "program")
    return tmp_path


@pytest.fixture
def confine(place: Path) -> Callable[[], None]:
    rules = landlock.Ruleset([*landlock.system_paths(), place / "read"])
    return lambda: rules.restrict(read_write=[place / "write"])


ACTIONS: dict[str, Callable[[Path], object]] = {
    "read": lambda folder: (folder / "file").read_text(),
    "list": lambda folder: os.listdir(folder),
    "execute": lambda folder: os.execv(folder / "program", ["program"]),
    "write": lambda folder: (folder / "file").open("r+").write("x"),
    "append": lambda folder: (folder / "file").open("a"),
    "create": lambda folder: (folder / "new").write_text("x"),
    "make folder": lambda folder: (folder / "new").mkdir(),
    "make link": lambda folder: (folder / "new").symlink_to("/"),
    "make fifo": lambda folder: os.mkfifo(folder / "new"),
    "make socket": lambda folder: socket.socket(socket.AF_UNIX).bind(str(folder / "new")),
    "remove": lambda folder: (folder / "file").unlink(),
    "remove folder": lambda folder: (folder / "sub").rmdir(),
    "rename": lambda folder: (folder / "file").rename(folder / "new"),
}
READS = ("read", "list", "execute")


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_not_listed_is_closed(place: Path, confine: Callable[[], None], action: str) -> None:
    assert outcome(lambda: ACTIONS[action](place / "closed"), confine) == errno.EACCES
    assert outcome(lambda: ACTIONS[action](place / "closed"), None) == 0


@pytest.mark.parametrize("action", ACTIONS)
def test_read_only_allows_reading_alone(place: Path, confine: Callable[[], None], action: str) -> None:
    assert outcome(lambda: ACTIONS[action](place / "read"), confine) == (0 if action in READS else errno.EACCES)


@pytest.mark.parametrize("action", ACTIONS)
def test_read_write_allows_all_of_it(place: Path, confine: Callable[[], None], action: str) -> None:
    assert outcome(lambda: ACTIONS[action](place / "write"), confine) == 0


@needs(2)
def test_files_move_between_writable_folders_only(place: Path, confine: Callable[[], None]) -> None:
    assert outcome(lambda: (place / "write/file").rename(place / "write/sub/file"), confine) == 0
    assert outcome(lambda: os.link(place / "read/file", place / "write/link"), confine) in (errno.EACCES, errno.EXDEV)
    assert outcome(lambda: os.link(place / "read/file", place / "write/link"), None) == 0


@needs(3)
def test_no_truncation_by_name(place: Path, confine: Callable[[], None]) -> None:
    assert outcome(lambda: os.truncate(place / "closed/file", 0), confine) == errno.EACCES
    assert outcome(lambda: os.truncate(place / "write/file", 0), confine) == 0
    assert outcome(lambda: os.truncate(place / "closed/file", 0), None) == 0


@needs(4)
def test_no_tcp(confine: Callable[[], None]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        for action in (lambda: socket.create_connection(address), lambda: socket.create_server(("127.0.0.1", 0))):
            assert outcome(action, confine) == errno.EACCES
            assert outcome(action, None) == 0


@needs(5)
def test_no_control_of_devices_that_are_only_files(place: Path) -> None:
    def ask_terminal_number() -> None:
        with open("/dev/ptmx", "r+b", buffering=0) as terminal:
            fcntl.ioctl(terminal, 0x80045430, bytes(4))  # TIOCGPTN

    if outcome(ask_terminal_number, None) != 0:
        pytest.skip("no pseudo-terminals here")
    as_file = landlock.Ruleset(read_write=["/dev"], devices=())
    as_device = landlock.Ruleset(read_only=["/dev"], devices=["/dev/ptmx", os.path.realpath("/dev/ptmx")])
    assert outcome(ask_terminal_number, as_file.restrict) == errno.EACCES
    assert outcome(ask_terminal_number, as_device.restrict) == 0


@needs(6)
def test_no_abstract_socket_of_others(confine: Callable[[], None]) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("")  # the kernel picks an abstract name
        server.listen()
        address = server.getsockname()
        assert outcome(lambda: socket.socket(socket.AF_UNIX).connect(address), confine) == errno.EPERM
        assert outcome(lambda: socket.socket(socket.AF_UNIX).connect(address), None) == 0


@needs(6)
def test_signals_reach_own_processes_only(confine: Callable[[], None]) -> None:
    parent = os.getpid()

    def signal_own_child() -> None:
        with subprocess.Popen(["/bin/sleep", "60"], stdin=subprocess.DEVNULL) as child:
            child.kill()

    assert outcome(lambda: os.kill(parent, 0), confine) == errno.EPERM
    assert outcome(lambda: os.kill(parent, 0), None) == 0
    assert outcome(signal_own_child, confine) == 0
    assert outcome(lambda: os.kill(os.getpid(), signal.SIGTERM), confine) == -signal.SIGTERM


@pytest.mark.parametrize("path", ["/proc/self/environ", "/proc/1/cmdline", "/proc/self/maps", "/proc/cpuinfo"])
def test_proc_is_closed_unless_listed(confine: Callable[[], None], path: str) -> None:
    opened = landlock.Ruleset(landlock.system_paths())
    assert outcome(lambda: os.open(path, os.O_RDONLY), confine) == errno.EACCES
    assert outcome(lambda: os.open(path, os.O_RDONLY), lambda: opened.restrict(read_only=["/proc"])) == 0


def test_own_proc_folder_is_that_of_the_restricted_process() -> None:
    rules = landlock.Ruleset()

    def open_parents() -> None:
        os.open(f"/proc/{parent}/maps", os.O_RDONLY)

    parent = os.getpid()
    confine = lambda: rules.restrict(read_only=["/proc/self"])  # noqa: E731
    assert outcome(lambda: os.open("/proc/self/maps", os.O_RDONLY), confine) == 0
    assert outcome(open_parents, confine) == errno.EACCES
    assert outcome(open_parents, None) == 0


@pytest.mark.parametrize("device", landlock.DEVICES)
def test_devices_can_be_used(confine: Callable[[], None], device: str) -> None:
    assert outcome(lambda: os.open(device, os.O_RDWR), confine) == 0


@pytest.mark.parametrize(
    "command", [["/bin/sh", "-c", "ls / >/dev/null 2>&1; echo ok"], [sys.executable, "-I", "-c", "import json, re"]]
)
def test_programs_run(place: Path, command: list[str]) -> None:
    rules = landlock.Ruleset([*landlock.system_paths(), sys.prefix, sys.base_prefix])
    done = subprocess.run(command, cwd=place / "write", preexec_fn=rules.restrict, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_holds_in_executed_programs(place: Path) -> None:
    rules = landlock.Ruleset(landlock.system_paths())
    command = ["/bin/cat", str(place / "closed/file")]
    assert subprocess.run(command, capture_output=True).stdout == b"text"
    done = subprocess.run(command, preexec_fn=rules.restrict, capture_output=True)
    assert done.returncode != 0
    assert b"Permission denied" in done.stderr


def test_holds_in_threads(place: Path, confine: Callable[[], None]) -> None:
    codes: list[int] = []

    def attempt() -> None:
        try:
            (place / "closed/file").read_text()
        except OSError as error:
            codes.append(error.errno or 0)

    def in_a_thread() -> None:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        raise OSError(codes[0], "")

    assert outcome(in_a_thread, confine) == errno.EACCES


def test_one_childs_folder_is_closed_to_the_next(place: Path) -> None:
    rules = landlock.Ruleset(landlock.system_paths())
    read = lambda: (place / "write/file").read_text()  # noqa: E731
    assert outcome(read, lambda: rules.restrict(read_write=[place / "write"])) == 0
    assert outcome(read, lambda: rules.restrict(read_write=[place / "closed"])) == errno.EACCES


def test_can_not_be_undone(place: Path, confine: Callable[[], None]) -> None:
    def widen_and_read() -> None:
        landlock.Ruleset([place]).restrict()
        (place / "closed/file").read_text()

    assert outcome(widen_and_read, confine) == errno.EACCES


def test_descriptors_of_the_rules_are_closed(place: Path) -> None:
    rules = landlock.Ruleset([*landlock.system_paths(), "/proc"])

    def count() -> None:
        before = set(os.listdir("/proc/self/fd"))
        rules.restrict()
        raise OSError(100 + len(before - set(os.listdir("/proc/self/fd"))), "")

    assert outcome(count, None) == 100 + len(rules._rules)


def test_sets_no_new_privileges(confine: Callable[[], None]) -> None:
    def read() -> None:
        raise OSError(1 + landlock._libc.prctl(39, 0, 0, 0, 0), "")

    assert (outcome(read, None), outcome(read, confine)) == (1, 2)


@pytest.mark.parametrize("version", range(1, 8))
def test_older_versions_close_files_too(place: Path, version: int) -> None:
    if version > landlock.abi():
        pytest.skip(f"Landlock {version} is newer than this kernel")
    rules = landlock.Ruleset([place / "read"], version=version)
    assert outcome((place / "read/file").read_text, rules.restrict) == 0
    assert outcome((place / "closed/file").read_text, rules.restrict) == errno.EACCES


@needs(4)
def test_a_version_does_no_more_than_it_says() -> None:
    rules = landlock.Ruleset([], version=3)
    assert outcome(lambda: socket.create_server(("127.0.0.1", 0)), rules.restrict) == 0


def test_missing_path_is_an_error(place: Path) -> None:
    with pytest.raises(FileNotFoundError, match="absent"):
        landlock.Ruleset([place / "absent"])


def test_kernel_without_landlock_is_an_error() -> None:
    with pytest.raises(OSError, match="no Landlock") as caught:
        landlock.Ruleset(["/usr"], version=0)
    assert caught.value.errno == errno.ENOSYS


def test_a_rule_names_the_rights_of_a_file_only_for_a_file(place: Path) -> None:
    # The kernel refuses rules that name rights of folders on a file; a listed file must not end in that.
    rules = landlock.Ruleset([place / "closed/file"], devices=())
    assert [struct.unpack("=Qi", rule)[0] & landlock._READ_DIR for _, rule in rules._rules] == [0]
    assert outcome((place / "closed/file").read_text, rules.restrict) == 0
