"""A seccomp filter that takes away the system calls a program to be judged has no use for (Linux, x86_64 and aarch64).

What is not named here stays allowed: eighteen language runtimes have to work. Taken away are the ways to look into or
steer other processes, to make namespaces and mounts, to load code into the kernel, to reach the network, to keep
memory outside the address space limit, and the parts of the kernel that privilege escalations mostly came through.

    kept = make_filter()      # once per process
    kept.install()            # in each child; holds for all it forks and executes, can't be undone

Not guaranteed:
- Nothing is said about *which* files, processes or sockets a call names: a filter sees numbers, never what a pointer
  points at. Files are Landlock's or a mount namespace's, signals a pid namespace's, amounts the resource limits'.
- Only the calling thread is filtered: install it while the process has one thread.
- Descriptors that were open before stay usable, a connected network socket too.
- Kernel bugs behind allowed calls, and what the processor leaks by timing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterable

from .process import Step

_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_COLUMN = {"x86_64": 0, "aarch64": 1}

_NEWEST = 469
"""The highest number (Linux 6.18) whose meaning is known here: what comes later, and x32 on x86_64, does not exist."""

_FORBIDDEN = """
    acct 163 89                 add_key 248 217             adjtimex 159 171            bpf 321 280
    chroot 161 51               clock_adjtime 305 266       clock_settime 227 112       create_module 174 -
    delete_module 176 106       fanotify_init 300 262       fanotify_mark 301 263       finit_module 313 273
    fsconfig 431 431            fsmount 432 432             fsopen 430 430              fspick 433 433
    get_kernel_syms 177 -       init_module 175 105         io_uring_enter 426 426      io_uring_register 427 427
    io_uring_setup 425 425      ioperm 173 -                iopl 172 -                  kcmp 312 272
    kexec_file_load 320 294     kexec_load 246 104          keyctl 250 219              lookup_dcookie 212 18
    memfd_secret 447 447        migrate_pages 256 238       modify_ldt 154 -            mount 165 40
    mount_setattr 442 442       move_mount 429 429          move_pages 279 239          name_to_handle_at 303 264
    nfsservctl 180 42           open_by_handle_at 304 265   open_tree 428 428           open_tree_attr 467 467
    perf_event_open 298 241     pidfd_getfd 438 438         pivot_root 155 41           process_madvise 440 440
    process_vm_readv 310 270    process_vm_writev 311 271   ptrace 101 117              query_module 178 -
    quotactl 179 60             quotactl_fd 443 443         reboot 169 142              request_key 249 218
    setdomainname 171 162       sethostname 170 161         setns 308 268               settimeofday 164 170
    swapoff 168 225             swapon 167 224              syslog 103 116              _sysctl 156 -
    umount2 166 39              unshare 272 97              uselib 134 -                userfaultfd 323 282
    vhangup 153 58
"""
"""Name, number on x86_64, number on aarch64 of what fails with EPERM whatever the arguments."""

_ABSENT = "clone3 435 435  openat2 437 437"
"""ENOSYS: their flags lie behind a pointer. C libraries then take clone and openat, whose flags can be read."""

_SYSV_IPC = """
    shmget 29 194   shmat 30 196    shmctl 31 195   shmdt 67 197    semget 64 190   semop 65 193    semctl 66 191
    semtimedop 220 192              msgget 68 186   msgsnd 69 189   msgrcv 70 188   msgctl 71 187
    mq_open 240 180                 mq_unlink 241 181
"""
"""Objects that outlive the process unless it has an ipc namespace of its own."""

_MEMORY_FILES = "memfd_create 319 279"

_BY_ARGUMENTS = """
    chmod 90 -      clone 56 220    creat 85 -      fchmod 91 52    fchmodat 268 53     fchmodat2 452 452
    ioctl 16 29     mknod 133 -     mknodat 259 33  open 2 -        openat 257 56       personality 135 92
    seccomp 317 277                 socket 41 198   socketpair 53 199
"""

_CLONE_FLAGS = 0x7E020000 | 0x00008000
"""Every CLONE_NEW* that clone takes, and CLONE_PARENT, which would make a sibling that no one here asked for."""
_SET_ID = stat.S_ISUID | stat.S_ISGID
_DEVICE = 0o020000
"""A bit that character and block devices have and regular files, fifos and sockets have not."""
_CREATES = os.O_CREAT | 0x400000
"""O_CREAT, and the bit of O_TMPFILE that is its own."""
_TERMINAL_INJECTION = (0x5412, 0x541C, 0x5423)
"""TIOCSTI, TIOCLINUX, TIOCSETD."""
_LISTENER = 0x8
_OWN_EXECUTION_DOMAIN = (0, 0xFFFFFFFF)
"""The usual one, and the question which one it is."""

# Classic BPF: operation, taken jump, untaken jump, operand.
_LOAD, _JUMP_EQUAL, _JUMP_AT_LEAST, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_KILL, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000
_NUMBER, _ARCH = 0, 4
"""Where in the kernel's `struct seccomp_data` the call's number and the architecture lie."""

_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39
_SECCOMP_CALL = {"x86_64": 317, "aarch64": 277}
_SET_MODE_FILTER, _GET_ACTION_AVAIL = 1, 2
_SPEC_ALLOW = 4

_libc = ctypes.CDLL(None, use_errno=True)

Instruction = tuple[int, int, int, int]
Block = list[Instruction]


class UnsupportedMachineError(OSError):
    """No table of system calls for this processor, or a 32-bit interpreter: seccomp can't be used here."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


class Filter:
    """A filter ready to be installed, any number of times.

    Attributes:
        program: the instructions as the kernel (and `bwrap --seccomp`) reads them.
    """

    def __init__(self, program: bytes, call: int) -> None:
        # The first call of a C function costs 40 us, in every child that makes it. So it is made here, without effect.
        _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
        _libc.syscall(call, _GET_ACTION_AVAIL, 0, None)
        self.program = program
        self._call = call
        self._memory = ctypes.create_string_buffer(program, len(program))
        self._pointer = _Program(len(program) // 8, ctypes.addressof(self._memory))

    def install(self) -> None:
        """Filter the calling thread, and all that it starts from now on, for good; sets no_new_privs as well.

        Raises:
            OSError: the kernel refused (built without seccomp filters, or another filter forbids it).
        """
        for function, arguments in self.installing():
            if function(*arguments) != 0:
                code = ctypes.get_errno()
                raise OSError(code, f"the kernel refused the seccomp filter: {os.strerror(code)}")

    def installing(self) -> list[Step]:
        """The system calls of `install`: the C functions and their arguments."""
        # Without SPEC_ALLOW, kernels before 5.16 turn store bypass off for the candidate and slow it by a tenth or
        # more. It guards secrets that lie in the candidate's own memory, of which there are none.
        arguments = (self._call, _SET_MODE_FILTER, _SPEC_ALLOW, ctypes.byref(self._pointer))
        return [
            (_libc.prctl, (_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)),
            (_libc.syscall, arguments),
        ]


def make_filter(
    network: bool = False,
    unix_sockets: bool = True,
    sysv_ipc: bool = False,
    memory_files: bool = False,
    machine: str | None = None,
) -> Filter:
    """Assemble the filter.

    Args:
        network: also allow IPv4, IPv6 and netlink sockets. Otherwise not even loopback can be reached.
        unix_sockets: allow Unix domain sockets, with which any socket file in reach can be connected to. Connected
            pairs (`socketpair`) are allowed in either case.
        sysv_ipc: allow System V and POSIX message queues, semaphores and shared memory: only inside a private ipc
            namespace, since they outlive the process.
        memory_files: allow `memfd_create`, whose memory no address space limit counts.
        machine: the processor, as `os.uname()` names it; this one's when None.

    Raises:
        UnsupportedMachineError: the processor is neither x86_64 nor aarch64, or the interpreter is a 32-bit one.
    """
    machine = os.uname().machine if machine is None else machine
    if machine not in _AUDIT_ARCH or sys.maxsize < 2**32:
        raise UnsupportedMachineError(
            errno.ENOSYS,
            f"no seccomp filter for {machine} with {struct.calcsize('P') * 8}-bit Python: "
            f"known are {' and '.join(_AUDIT_ARCH)} with 64 bits",
        )
    column = _COLUMN[machine]
    blocks = dict.fromkeys(_table(_FORBIDDEN, column).values(), _fail(errno.EPERM))
    blocks |= dict.fromkeys(_table(_ABSENT, column).values(), _fail(errno.ENOSYS))
    if not sysv_ipc:
        blocks |= dict.fromkeys(_table(_SYSV_IPC, column).values(), _fail(errno.EPERM))
    if not memory_files:
        blocks |= dict.fromkeys(_table(_MEMORY_FILES, column).values(), _fail(errno.ENOSYS))
    families = {socket.AF_UNIX} if unix_sockets else set()
    if network:
        families |= {socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    by_arguments = _argument_blocks(families)
    blocks |= {number: by_arguments[name] for name, number in _table(_BY_ARGUMENTS, column).items()}
    program: Block = [
        (_LOAD, 0, 0, _ARCH),
        (_JUMP_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER),
        *_search(_ranges(blocks)),
    ]
    return Filter(b"".join(struct.pack("=HBBI", *each) for each in program), _SECCOMP_CALL[machine])


def _table(text: str, column: int) -> dict[str, int]:
    """Name -> number of the calls of a table that this processor has."""
    words = text.split()
    numbers = zip(words[::3], words[1 + column :: 3], strict=True)
    return {name: int(number) for name, number in numbers if number != "-"}


def _argument_blocks(families: Iterable[int]) -> dict[str, Block]:
    """What decides about the calls that are allowed with some arguments only.

    Every argument looked at is an `int` or narrower than 32 bits to the kernel, or has its dangerous bits there, so
    the upper half can't be used to get round the comparison.
    """
    eperm, no_family = _fail(errno.EPERM), _fail(errno.EAFNOSUPPORT)
    return {
        "clone": _unless_any_bit(0, _CLONE_FLAGS, eperm),
        "chmod": _unless_any_bit(1, _SET_ID, eperm),
        "fchmod": _unless_any_bit(1, _SET_ID, eperm),
        "fchmodat": _unless_any_bit(2, _SET_ID, eperm),
        "fchmodat2": _unless_any_bit(2, _SET_ID, eperm),
        "creat": _unless_any_bit(1, _SET_ID, eperm),
        "open": _unless_both(1, _CREATES, 2, _SET_ID, eperm),
        "openat": _unless_both(2, _CREATES, 3, _SET_ID, eperm),
        "mknod": _unless_any_bit(1, _SET_ID | _DEVICE, eperm),
        "mknodat": _unless_any_bit(2, _SET_ID | _DEVICE, eperm),
        "seccomp": _unless_any_bit(1, _LISTENER, eperm),
        "ioctl": _unless_among(1, _TERMINAL_INJECTION, eperm),
        "personality": _if_among(0, _OWN_EXECUTION_DOMAIN, eperm),
        "socket": _if_among(0, sorted(families), no_family),
        "socketpair": _if_among(0, [socket.AF_UNIX], no_family),
    }


def _fail(code: int) -> Block:
    return [(_RETURN, 0, 0, _ERRNO | code)]


_PASS: Block = [(_RETURN, 0, 0, _ALLOW)]


def _load_argument(index: int) -> Instruction:
    """The lower 32 bits of an argument (both processors are little-endian)."""
    return (_LOAD, 0, 0, 16 + 8 * index)


def _unless_any_bit(argument: int, bits: int, refusal: Block) -> Block:
    return [_load_argument(argument), (_JUMP_ANY_BIT, 0, 1, bits), *refusal, *_PASS]


def _unless_both(first: int, first_bits: int, second: int, second_bits: int, refusal: Block) -> Block:
    """Refuse when the first argument has any of its bits and so has the second."""
    return [
        _load_argument(first),
        (_JUMP_ANY_BIT, 0, 3, first_bits),
        _load_argument(second),
        (_JUMP_ANY_BIT, 0, 1, second_bits),
        *refusal,
        *_PASS,
    ]


def _unless_among(argument: int, values: Iterable[int], refusal: Block) -> Block:
    return _choose(argument, list(values), refusal, _PASS)


def _if_among(argument: int, values: Iterable[int], refusal: Block) -> Block:
    return _choose(argument, list(values), _PASS, refusal)


def _choose(argument: int, values: list[int], found: Block, otherwise: Block) -> Block:
    """Compare with each value in turn; both blocks are a single return."""
    tests = [(_JUMP_EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]
    return [_load_argument(argument), *tests, *otherwise, *found]


def _ranges(blocks: dict[int, Block]) -> list[tuple[int, Block]]:
    """The call numbers cut into stretches of equal treatment: (first number, what to do)."""
    ranges: list[tuple[int, Block]] = []
    for number in range(_NEWEST + 1):
        block = blocks.get(number, _PASS)
        if not ranges or ranges[-1][1] != block:
            ranges.append((number, block))
    return [*ranges, (_NEWEST + 1, _fail(errno.ENOSYS))]


def _search(ranges: list[tuple[int, Block]]) -> Block:
    """Binary search for the stretch that the number in the accumulator lies in, then its block.

    The kernel (5.11 and later) runs the program once per number when it is installed and never again for numbers that
    are allowed without a look at the arguments. Short paths keep that run cheap and a short program the translation,
    so blocks that are equal are there once. Jumps only go forward: the program is written from its end, and places
    are counted from there.
    """
    backwards: Block = []
    places: dict[tuple[Instruction, ...], int] = {}

    def write_block(block: Block) -> int:
        if tuple(block) not in places:
            backwards.extend(reversed(block))
            places[tuple(block)] = len(backwards)
        return places[tuple(block)]

    def write(part: list[tuple[int, Block]]) -> int:
        if len(part) == 1:
            return write_block(part[0][1])
        middle = len(part) // 2
        above, below = write(part[middle:]), write(part[:middle])
        following = len(backwards)
        backwards.append((_JUMP_AT_LEAST, following - above, following - below, part[middle][0]))
        return len(backwards)

    write(ranges)
    return backwards[::-1]
