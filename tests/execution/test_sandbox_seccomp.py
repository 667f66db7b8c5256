"""The seccomp filter, tried on the running kernel; for other processors its program is interpreted here."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import platform
import re
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rewardranker.execution.sandbox import seccomp

MACHINE = platform.machine()
pytestmark = pytest.mark.skipif(MACHINE not in ("x86_64", "aarch64"), reason=f"no seccomp filter for {MACHINE}")
COLUMN = 0 if MACHINE == "x86_64" else 1
ALL_TABLES = " ".join(
    (seccomp._FORBIDDEN, seccomp._ABSENT, seccomp._SYSV_IPC, seccomp._MEMORY_FILES, seccomp._BY_ARGUMENTS)
)
CALLS = seccomp._table(ALL_TABLES, COLUMN)
libc = ctypes.CDLL(None, use_errno=True)

FORBIDDEN = """
    acct add_key adjtimex bpf chroot clock_adjtime clock_settime delete_module fanotify_init fanotify_mark
    finit_module fsconfig fsmount fsopen fspick init_module io_uring_enter io_uring_register io_uring_setup kcmp
    kexec_file_load kexec_load keyctl lookup_dcookie memfd_secret migrate_pages mount mount_setattr move_mount
    move_pages name_to_handle_at nfsservctl open_by_handle_at open_tree open_tree_attr perf_event_open pidfd_getfd
    pivot_root process_madvise process_vm_readv process_vm_writev ptrace quotactl quotactl_fd reboot request_key
    setdomainname sethostname setns settimeofday swapoff swapon syslog umount2 unshare userfaultfd vhangup
""".split()  # noqa: SIM905
FORBIDDEN_ON_X86 = "create_module get_kernel_syms ioperm iopl modify_ldt query_module _sysctl uselib".split()  # noqa: SIM905


def outcome(action: Callable[[], object], filter_: seccomp.Filter | None) -> int:
    """What an action comes to in a child process: 0, an errno, or minus the signal that killed it."""
    pid = os.fork()
    if pid == 0:
        try:
            os.setsid()
            if filter_ is not None:
                filter_.install()
            action()
            os._exit(0)
        except OSError as error:
            os._exit(error.errno or 254)
        except BaseException:
            os._exit(255)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def syscall(name: str, *arguments: int) -> Callable[[], None]:
    def action() -> None:
        if libc.syscall(CALLS[name], *(ctypes.c_ulong(each) for each in arguments)) == -1:
            raise OSError(ctypes.get_errno(), name)

    return action


def is_privileged() -> bool:
    status = Path("/proc/self/status").read_text()
    match = re.search(r"CapEff:\s*(\w+)", status)
    filtered = re.search(r"Seccomp:\s*(\d)", status)
    return bool(match and filtered and int(match[1], 16) >= 2**40 - 1 and filtered[1] == "0")


@pytest.fixture(scope="module")
def filter_() -> seccomp.Filter:
    return seccomp.make_filter()


@pytest.mark.parametrize("name", FORBIDDEN + (FORBIDDEN_ON_X86 if MACHINE == "x86_64" else []))
def test_call_is_refused_whatever_its_arguments(filter_: seccomp.Filter, name: str) -> None:
    # With -1 for each argument none of them does anything, even for root.
    call = syscall(name, *[2**64 - 1] * 6)
    assert outcome(call, filter_) == errno.EPERM
    if is_privileged():
        assert outcome(call, None) != errno.EPERM


NEW_NAMESPACES = {
    "mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
    "pid": 0x20000000, "net": 0x40000000,
}  # fmt: skip


@pytest.mark.parametrize("flag", [*NEW_NAMESPACES.values(), 0x8000], ids=[*NEW_NAMESPACES, "parent"])
def test_clone_makes_no_namespace_and_no_sibling(filter_: seccomp.Filter, flag: int) -> None:
    invalid_thread = 0x10000  # a thread without shared signal handlers: refused as EINVAL, so nothing is made
    call = syscall("clone", flag | invalid_thread, 0, 0, 0, 0)
    assert outcome(call, filter_) == errno.EPERM
    assert outcome(call, None) == errno.EINVAL


@pytest.mark.parametrize("name", ["clone3", "openat2"])
def test_call_with_hidden_flags_does_not_exist(filter_: seccomp.Filter, name: str) -> None:
    call = syscall(name, 0, 0, 0, 0)
    assert outcome(call, filter_) == errno.ENOSYS
    assert outcome(call, None) == errno.EINVAL


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET", "AF_VSOCK", "AF_ALG"])
@pytest.mark.parametrize("name", ["socket", "socketpair"])
def test_no_network_socket(filter_: seccomp.Filter, name: str, family: str) -> None:
    unknown_kind = 11  # no family has it, so the kernel's own answers are others
    call = syscall(name, getattr(socket, family), unknown_kind, 0, 0)
    assert outcome(call, filter_) == errno.EAFNOSUPPORT
    if family in ("AF_INET", "AF_INET6", "AF_NETLINK"):  # the others are not in every kernel
        assert outcome(call, None) not in (0, errno.EAFNOSUPPORT)


def test_loopback_can_not_be_reached(filter_: seccomp.Filter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
        assert outcome(lambda: socket.create_connection(address).close(), filter_) == errno.EAFNOSUPPORT
        assert outcome(lambda: socket.create_connection(address).close(), None) == 0


def test_network_on_demand() -> None:
    def connect() -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname()).close()

    assert outcome(connect, seccomp.make_filter(network=True)) == 0
    assert outcome(syscall("socket", socket.AF_VSOCK, 1, 0), seccomp.make_filter(network=True)) == errno.EAFNOSUPPORT


def test_unix_sockets_can_be_taken_away_but_pairs_stay() -> None:
    strict = seccomp.make_filter(unix_sockets=False)
    assert outcome(lambda: socket.socket(socket.AF_UNIX), seccomp.make_filter()) == 0
    assert outcome(lambda: socket.socket(socket.AF_UNIX), strict) == errno.EAFNOSUPPORT
    assert outcome(socket.socketpair, strict) == 0


@pytest.mark.parametrize("command", [0x5412, 0x541C, 0x5423], ids=["TIOCSTI", "TIOCLINUX", "TIOCSETD"])
@pytest.mark.parametrize("upper_half", [0, 1 << 32])
def test_no_terminal_injection(filter_: seccomp.Filter, command: int, upper_half: int) -> None:
    call = syscall("ioctl", 2**64 - 1, command | upper_half, 0)
    assert outcome(call, filter_) == errno.EPERM
    assert outcome(call, None) == errno.EBADF


def test_address_randomisation_stays(filter_: seccomp.Filter) -> None:
    assert outcome(syscall("personality", 0x0040000), filter_) == errno.EPERM
    assert outcome(syscall("personality", 0x0040000), None) == 0
    assert outcome(syscall("personality", 0xFFFFFFFF), filter_) == 0


def make_file(path: Path, mode: int) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_EXCL, mode))


SET_ID = {
    "chmod": lambda path: os.chmod(path.parent, 0o4755),
    "fchmod": lambda path: os.fchmod(os.open(path.parent, os.O_RDONLY), 0o4755),
    "set-group-id": lambda path: os.chmod(path.parent, 0o2755),
    "open": lambda path: make_file(path, 0o4755),
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o4755),
    "mknod in a folder": lambda path: os.mknod(path.name, stat.S_IFREG | 0o4755, dir_fd=os.open(path.parent, 0)),
    "unnamed file": lambda path: os.open(path.parent, os.O_TMPFILE | os.O_WRONLY, 0o4755),
}


@pytest.mark.parametrize("way", SET_ID)
def test_no_set_user_id_file(filter_: seccomp.Filter, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file"
    assert outcome(lambda: SET_ID[way](path), filter_) == errno.EPERM
    assert not path.exists()
    assert outcome(lambda: SET_ID[way](path), None) == 0


def test_no_device_node(filter_: seccomp.Filter, tmp_path: Path) -> None:
    def make() -> None:
        os.mknod(tmp_path / "whiteout", stat.S_IFCHR | 0o600, 0)  # the one device that every user may make

    assert outcome(make, filter_) == errno.EPERM
    assert outcome(make, None) == 0


FILES = {
    "fifo": lambda path: os.mkfifo(path),
    "mode": lambda path: (make_file(path, 0o755), path.chmod(0o1700)),
    "reading with a meaningless mode": lambda path: os.open(path.parent, os.O_RDONLY, 0o7777),
}


@pytest.mark.parametrize("action", FILES)
def test_ordinary_file_calls_work(filter_: seccomp.Filter, tmp_path: Path, action: str) -> None:
    assert outcome(lambda: FILES[action](tmp_path / "file"), filter_) == 0


def test_no_notification_listener(filter_: seccomp.Filter) -> None:
    assert outcome(syscall("seccomp", 1, 0x8, 0), filter_) == errno.EPERM
    assert outcome(syscall("seccomp", 1, 0x8, 0), None) == errno.EFAULT


def test_objects_that_outlive_the_process_on_demand(filter_: seccomp.Filter) -> None:
    get_and_remove = [syscall("semget", 0, 0, 0), syscall("shmget", 0, 0, 0), syscall("mq_open", 0, 0, 0, 0)]
    allowed = seccomp.make_filter(sysv_ipc=True)
    for call in [*get_and_remove, syscall("msgctl", 2**64 - 1, 0, 0)]:
        assert outcome(call, filter_) == errno.EPERM
        assert outcome(call, allowed) == outcome(call, None) != errno.EPERM


def test_memory_files_on_demand(filter_: seccomp.Filter) -> None:
    assert outcome(lambda: os.memfd_create("m"), filter_) == errno.ENOSYS
    assert outcome(lambda: os.memfd_create("m"), seccomp.make_filter(memory_files=True)) == 0


@pytest.mark.skipif(MACHINE != "x86_64", reason="the 32-bit entry is tried on x86_64 only")
def test_32_bit_entry_kills(filter_: seccomp.Filter) -> None:
    def getpid_by_interrupt() -> None:
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(bytes.fromhex("b814000000cd80c3"))  # mov eax, 20; int 0x80; ret
        address = ctypes.addressof(ctypes.c_char.from_buffer(code))
        ctypes.CFUNCTYPE(ctypes.c_int)(address)()

    if outcome(getpid_by_interrupt, None) != 0:
        pytest.skip("this kernel has no 32-bit entry")
    assert outcome(getpid_by_interrupt, filter_) == -signal.SIGSYS


def test_holds_in_threads_and_executed_programs(filter_: seccomp.Filter) -> None:
    codes: list[int] = []

    def attempt() -> None:
        try:
            socket.socket(socket.AF_INET)
        except OSError as error:
            codes.append(error.errno or 0)

    def in_a_thread() -> None:
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
        raise OSError(codes[0], "")

    def in_a_program() -> None:
        program = "import socket\ntry: socket.socket()\nexcept OSError as e: raise SystemExit(e.errno)"
        raise OSError(subprocess.run([sys.executable, "-c", program]).returncode, "")

    assert outcome(in_a_thread, filter_) == errno.EAFNOSUPPORT
    assert outcome(in_a_program, filter_) == errno.EAFNOSUPPORT


def test_can_not_be_undone(filter_: seccomp.Filter) -> None:
    allow_all = seccomp.Filter(struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000), filter_._call)

    def add_a_laxer_one_and_connect() -> None:
        allow_all.install()
        socket.socket(socket.AF_INET)

    assert outcome(add_a_laxer_one_and_connect, filter_) == errno.EAFNOSUPPORT


def test_sets_no_new_privileges(filter_: seccomp.Filter) -> None:
    def read() -> None:
        raise OSError(1 + libc.prctl(39, 0, 0, 0, 0), "")

    assert (outcome(read, None), outcome(read, filter_)) == (1, 2)


def test_refusal_by_the_kernel_is_an_error() -> None:
    broken = seccomp.Filter(struct.pack("=HBBI", 0xFFFF, 0, 0, 0), seccomp.make_filter()._call)
    assert outcome(broken.install, None) == errno.EINVAL


def test_unknown_machine_is_named() -> None:
    with pytest.raises(seccomp.UnsupportedMachineError, match="riscv64"):
        seccomp.make_filter(machine="riscv64")


PROGRAMS = {
    "python3": ("a.py", "import subprocess, threading\n"
                "t = threading.Thread(target=lambda: print('ok')); t.start(); t.join()\n"
                "assert subprocess.check_output(['echo', 'x']) == b'x\\n'", ["python3 a.py"]),
    "bash": ("a.sh", "x=$(echo ok | cat); cat <(echo $x)", ["bash a.sh"]),
    "perl": ("a.pl", "print `echo ok`", ["perl a.pl"]),
    "node": ("a.js", "const {Worker, isMainThread} = require('worker_threads');\n"
             "if (isMainThread) new Worker(__filename).on('exit', () => console.log('ok'))", ["node a.js"]),
    "g++": ("a.cpp", "#include <thread>\n#include <cstdio>\n"
            "int main() { std::thread t([] { puts(\"ok\"); }); t.join(); }", ["g++ -pthread a.cpp -o a", "./a"]),
    "java": ("A.java", "class A { public static void main(String[] a) throws Exception {\n"
             "Thread t = new Thread(() -> System.out.println(\"ok\")); t.start(); t.join(); } }", ["java A.java"]),
    "mono": ("a.cs", "using System.Threading; class A { static void Main() {\n"
             "var t = new Thread(() => System.Console.WriteLine(\"ok\")); t.Start(); t.Join(); } }",
             ["mcs a.cs", "mono a.exe"]),
}  # fmt: skip


@pytest.mark.parametrize("toolchain", PROGRAMS)
def test_toolchain_works_under_the_strictest_filter(tmp_path: Path, toolchain: str) -> None:
    if shutil.which(toolchain, path="/usr/bin:/bin") is None:
        pytest.skip(f"{toolchain} is not installed")
    name, source, commands = PROGRAMS[toolchain]
    (tmp_path / name).write_text(source)
    install = seccomp.make_filter(unix_sockets=False).install
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "LANG": "C.UTF-8"}
    for command in commands:
        done = subprocess.run(
            command.split(), cwd=tmp_path, preexec_fn=install, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == "ok\n"


# --- other processors, by interpretation --------------------------------------------------------------------------


def interpret(program: bytes, arch: int, number: int, *arguments: int) -> int:
    data = struct.pack("=iIQ6Q", number, arch, 0, *arguments, *[0] * (6 - len(arguments)))
    instructions = list(struct.iter_unpack("=HBBI", program))
    accumulator = position = 0
    while True:
        operation, taken, untaken, operand = instructions[position]
        if operation == 0x06:
            return int(operand)
        if operation == 0x20:
            accumulator, jump = struct.unpack_from("=I", data, operand)[0], 0
        else:
            holds = {0x15: accumulator == operand, 0x35: accumulator >= operand, 0x45: accumulator & operand}[operation]
            jump = taken if holds else untaken
        position += 1 + jump


ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
EPERM, ENOSYS, ALLOW, KILL = 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS, 0x7FFF0000, 0x80000000


@pytest.mark.parametrize("machine", ARCHES)
def test_every_machine_refuses_exactly_what_is_named(machine: str) -> None:
    program = seccomp.make_filter(sysv_ipc=True, memory_files=True, machine=machine).program
    names = seccomp._table(ALL_TABLES, list(ARCHES).index(machine))
    refused = {number for number in range(470) if interpret(program, ARCHES[machine], number) == EPERM}
    assert refused == {names[name] for name in FORBIDDEN + FORBIDDEN_ON_X86 if name in names}


@pytest.mark.parametrize("machine", ARCHES)
def test_numbers_of_the_future_and_of_x32_do_not_exist(machine: str) -> None:
    program = seccomp.make_filter(machine=machine).program
    for number in (470, 512, 1000, 0x40000000, 0x40000001, -1):
        assert interpret(program, ARCHES[machine], number) == ENOSYS
    assert interpret(program, ARCHES[machine], 469) == ALLOW


@pytest.mark.parametrize("machine", ARCHES)
def test_foreign_entry_kills_on_every_machine(machine: str) -> None:
    program = seccomp.make_filter(machine=machine).program
    assert {interpret(program, arch, 0) for arch in (0x40000003, 0x40000028, 0xC00000F3)} == {KILL}


MODE_ARGUMENT = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2, "creat": 1, "mknod": 1, "mknodat": 2}


@pytest.mark.parametrize("machine", ARCHES)
def test_set_user_id_is_refused_by_every_call_that_takes_a_mode(machine: str) -> None:
    program = seccomp.make_filter(machine=machine).program
    names = seccomp._table(ALL_TABLES, list(ARCHES).index(machine))
    for name in MODE_ARGUMENT.keys() & names.keys():
        arguments = [0o7777 & ~0o6000] * 6
        assert interpret(program, ARCHES[machine], names[name], *arguments) == ALLOW
        arguments[MODE_ARGUMENT[name]] |= 0o4000
        assert interpret(program, ARCHES[machine], names[name], *arguments) == EPERM


@pytest.mark.parametrize("machine", ARCHES)
def test_device_nodes_are_refused_by_every_call_that_makes_nodes(machine: str) -> None:
    program = seccomp.make_filter(machine=machine).program
    names = seccomp._table(ALL_TABLES, list(ARCHES).index(machine))
    for name in {"mknod", "mknodat"} & names.keys():
        for kind in (stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFREG, stat.S_IFSOCK, 0):
            arguments = [0] * 6
            arguments[MODE_ARGUMENT[name]] = kind | 0o600
            expected = EPERM if kind in (stat.S_IFCHR, stat.S_IFBLK) else ALLOW
            assert interpret(program, ARCHES[machine], names[name], *arguments) == expected


HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", r"#define __NR_(\w+) (\d+)"),
    "aarch64": ("/usr/include/asm-generic/unistd.h", r"#define __NR(?:3264)?_(\w+)\s+(\d+)"),
}


@pytest.mark.parametrize("machine", ARCHES)
def test_numbers_agree_with_the_kernel_headers(machine: str) -> None:
    path, pattern = HEADERS[machine]
    if not os.path.exists(path):
        pytest.skip(f"{path} is not installed (Debian: linux-libc-dev)")
    numbers = {name: int(number) for name, number in re.findall(pattern, Path(path).read_text())}
    mine = seccomp._table(ALL_TABLES, list(ARCHES).index(machine))
    newer = {"open_tree_attr", "fchmodat2"}
    assert {name: numbers.get(name) for name in mine if name in numbers or name not in newer} == {
        name: number for name, number in mine.items() if name in numbers or name not in newer
    }
