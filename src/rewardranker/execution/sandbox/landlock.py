"""Landlock: the kernel closes every file that is not listed, for a process and all it starts, without any privilege.

    system = Ruleset(read_only=system_paths(), devices=DEVICES)     # once per process
    system.restrict(read_write=[folder])                            # in each child; can't be undone

Besides files, what the kernel's version of Landlock (`abi()`) can do is closed whole: moving files between folders
that are not both writable (2), truncation (3), TCP connections and servers (4), device controls (5), abstract Unix
sockets of others and signals to processes outside (6).

Not guaranteed:
- Names and attributes stay visible: stat, access, chdir and readlink work on every path, listing a folder does not.
  Changes of mode, owner, times and extended attributes are left to the file's owner and permissions.
- Descriptors that were open before keep what they could do.
- Before version 3 any file that the user may write can be truncated; before 4 TCP is open; before 6 signals reach the
  user's other processes. UDP and other protocols are always open, and so are socket files: seccomp's task.
- Amounts: how much is written, or how many files, is for the resource limits and the file system.
- Only the calling thread is restricted: do it while the process has one thread.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterable

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _REMOVE_DIR, _REMOVE_FILE = (1 << bit for bit in range(6))
_MAKE_CHAR, _MAKE_DIR, _MAKE_REG, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = (1 << bit for bit in range(6, 13))
_REFER, _TRUNCATE, _IOCTL_DEV = 1 << 13, 1 << 14, 1 << 15
_SINCE = {1: (1 << 13) - 1, 2: _REFER, 3: _TRUNCATE, 5: _IOCTL_DEV}
"""File rights by the version that brought them."""
_TCP = 0b11
_ABSTRACT_SOCKETS_AND_SIGNALS = 0b11

_READ = _EXECUTE | _READ_FILE | _READ_DIR
_CHANGE = _WRITE_FILE | _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_REG | _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
_READ_WRITE = _READ | _CHANGE | _REFER | _TRUNCATE
_DEVICE = _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL_DEV
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that a rule on something that is not a folder may name."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
"""The calls' numbers, the same on every processor."""
_ASK_VERSION = 1
_PATH_BENEATH = 1
_NO_AUDIT_RECORDS = 1
"""From version 7 refusals would be logged by the machine's audit service: a line for each attempt of each candidate."""
_PR_SET_NO_NEW_PRIVS, _PR_GET_NO_NEW_PRIVS = 38, 39

_libc = ctypes.CDLL(None, use_errno=True)

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_SYSTEM = """
    /usr /lib /lib32 /lib64 /bin /sbin /opt
    /etc/ld.so.cache /etc/ld.so.conf /etc/ld.so.conf.d /etc/alternatives /etc/localtime /etc/timezone /etc/passwd
    /etc/group /etc/nsswitch.conf /etc/locale.alias /etc/inputrc /etc/mime.types /etc/ssl/openssl.cnf /etc/bash.bashrc
    /etc/java-8-openjdk /etc/java-11-openjdk /etc/java-17-openjdk /etc/java-21-openjdk /etc/java-25-openjdk
    /etc/mono /etc/R /etc/php /etc/perl /etc/python3 /etc/ldc2.conf /etc/ldc /etc/dmd.conf /etc/racket /etc/scala
""".split()  # noqa: SIM905 - lines to read instead of a column


def system_paths() -> list[str]:
    """Programs, libraries and the configuration that toolchains read: those of them that this machine has."""
    return [path for path in _SYSTEM if os.path.exists(path)]


def abi() -> int:
    """The version of Landlock that the running kernel offers; 0 where it has none or it was not enabled at boot."""
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _ASK_VERSION)
    return max(int(version), 0)


class Ruleset:
    """What may be read and written beneath which paths; everything else is closed.

    Args:
        read_only: files and folders to read and execute, with all beneath them.
        read_write: those to change as well: write, create, remove. Devices can't be made in any.
        devices: device files to read, write and control.
        version: use no more than this version of Landlock offers; the kernel's own when None.

    Raises:
        OSError: a path does not exist or can't be opened, or the kernel has no Landlock (ENOSYS).
    """

    def __init__(
        self,
        read_only: Iterable[str | os.PathLike[str]] = (),
        read_write: Iterable[str | os.PathLike[str]] = (),
        devices: Iterable[str | os.PathLike[str]] = DEVICES,
        version: int | None = None,
    ) -> None:
        self._rules: list[tuple[int, bytes]] = []
        self._version = abi() if version is None else min(version, abi())
        if self._version < 1:
            raise OSError(errno.ENOSYS, "this kernel has no Landlock, or it was not enabled at boot (lsm=landlock,...)")
        # The first call of a C function costs 40 us, in every child that makes it. So it is made here, without effect.
        _libc.prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
        self._handled = sum(rights for since, rights in _SINCE.items() if since <= self._version)
        for paths, rights in ((read_only, _READ), (read_write, _READ_WRITE), (devices, _DEVICE)):
            self._rules += (self._rule(path, rights) for path in paths)

    def _rule(self, path: str | os.PathLike[str], rights: int) -> tuple[int, bytes]:
        """A descriptor that holds the path, and the kernel's `struct landlock_path_beneath_attr`."""
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        if not os.path.isdir(path):
            rights &= _OF_A_FILE
        return fd, struct.pack("=Qi", rights & self._handled, fd)

    def restrict(
        self, read_only: Iterable[str | os.PathLike[str]] = (), read_write: Iterable[str | os.PathLike[str]] = ()
    ) -> None:
        """Hold the calling thread, and all that it starts from now on, to these rules for good; sets no_new_privs.

        The rules of a process that was restricted before hold on: a file is open where both allow it. Afterwards the
        ruleset's descriptors are closed, so it is spent in this process (its parent has its own).

        Args:
            read_only, read_write: further paths, for this process alone.

        Raises:
            OSError: a path can't be opened, or the kernel refused.
        """
        try:
            self._rules += (self._rule(path, _READ) for path in read_only)
            self._rules += (self._rule(path, _READ_WRITE) for path in read_write)
            network = _TCP if self._version >= 4 else 0
            scoped = _ABSTRACT_SOCKETS_AND_SIGNALS if self._version >= 6 else 0
            # Old kernels take the longer structure as long as what they don't know is zero.
            handled = struct.pack("=QQQ", self._handled, network, scoped)
            ruleset = _call(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
            try:
                for _, rule in self._rules:
                    _call(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
                if _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
                    raise OSError(ctypes.get_errno(), "no_new_privs was refused")
                _call(_RESTRICT_SELF, ruleset, _NO_AUDIT_RECORDS if self._version >= 7 else 0)
            finally:
                os.close(ruleset)
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the paths; a ruleset that is forgotten does so by itself."""
        while self._rules:
            os.close(self._rules.pop()[0])

    __del__ = close


def _call(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(number, *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"Landlock refused: {os.strerror(code)}")
    return result
