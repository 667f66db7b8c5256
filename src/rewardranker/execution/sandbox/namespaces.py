"""Linux namespaces of level A: what the zygote gives each candidate, on top of the bubblewrap it lives in itself.

A candidate is the first process of a process id namespace of its own, so that killing it kills all it started, and has
its own mounts and System V objects. Its /tmp, /dev/shm and /proc are new and vanish with it. The file system below is
bubblewrap's: read-only, holding only what the worker bound into it, in a network namespace without any way out.

Needs CAP_SYS_ADMIN in the user namespace that owns the zygote's other namespaces; candidates lose it.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable

from . import process
from .process import Step

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND, _MS_REC = 1, 2, 4, 8, 32, 4096, 16384
_MNT_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24

WORK = "/tmp/.rewardranker"
"""Where the zygote keeps programs of other languages between compiling and running; under the
/tmp that candidates get, so that none sees it."""
BOX = "/box"
"""Where a candidate sees its own program's folder."""
_NEW = ("/tmp", "/dev/shm")
"""Writable and empty for each candidate."""
_COVERED = "/shown"
_TMP = b"size=%d,nr_inodes=8192,mode=1777"

_libc = ctypes.CDLL(None, use_errno=True)
_unshare, _setns = _libc.unshare, _libc.setns  # looked up once: see `call_once`
_libc.mount.argtypes = (*[ctypes.c_char_p] * 3, ctypes.c_ulong, ctypes.c_char_p)


def _error(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: bytes = b"") -> None:
    if _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data or None) != 0:
        raise _error(f"mount {kind or source} on {target}")


def _unmount(target: str) -> None:
    if _libc.umount2(target.encode(), _MNT_DETACH) != 0:
        raise _error(f"unmount {target}")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_NONE = (_CapabilityData * 2)()
_SELF = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)


class ProcessNamespaces:
    """Makes processes that are the first of a process id namespace of their own."""

    def __init__(self) -> None:
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self) -> int:
        """`process.fork`, the child being process 1 of a new namespace."""
        if _unshare(_CLONE_NEWPID) != 0:
            raise _error("unshare process ids")
        pid: int = process.fork_quickly()
        if pid == 0:
            return 0
        failure = _error("fork") if pid < 0 else None
        if _setns(self._own, _CLONE_NEWPID) != 0:
            raise _error("return to the own process namespace")
        if failure is not None:
            raise failure
        return pid


def mount_folder(path: str, size: int, mode: int = 0o700) -> None:
    """A new, empty file system of `size` bytes."""
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, b"size=%d,nr_inodes=16384,mode=%o" % (size, mode))


def unmount_folder(path: str) -> None:
    """Away with it and all that is in it."""
    _unmount(path)


def covered(readable: Iterable[str]) -> list[tuple[str, str]]:
    """What of this a candidate's own /tmp and /dev/shm would hide, as when the package is installed under /tmp.

    Returns:
        (where bubblewrap keeps it besides, its path) of each.
    """
    hidden: list[str] = []
    for path in sorted(readable):
        if path.startswith(_inside(_NEW)) and not path.startswith(_inside(hidden)):
            hidden.append(path)
    return [(f"{_COVERED}/{number}", path) for number, path in enumerate(hidden)]


def _inside(folders: Iterable[str]) -> tuple[str, ...]:
    """How paths inside of these begin."""
    return tuple(f"{folder}/" for folder in folders)


def entering(folder: str | None, writable: bool, tmp_bytes: int, uncovered: list[tuple[str, str]]) -> list[Step]:
    """The system calls that give a process mounts and System V objects of its own.

    Args:
        folder: shown at `BOX`; None: nothing is.
        tmp_bytes: capacity of /tmp and of /dev/shm.
        uncovered: of what is `covered`, that which is shown nevertheless.
    """
    quiet = _MS_NOSUID | _MS_NODEV
    steps: list[Step] = []
    steps.append((_libc.unshare, (_CLONE_NEWNS | _CLONE_NEWIPC,)))
    if folder is not None:
        steps.append((_libc.mount, (folder.encode(), BOX.encode(), b"", _MS_BIND, None)))
        if not writable:
            flags = _MS_BIND | _MS_REMOUNT | _MS_RDONLY | quiet
            steps.append((_libc.mount, (b"", BOX.encode(), b"", flags, None)))
    # The first of these also hides `WORK`, for good: unmounting takes a capability.
    for place in _NEW:
        steps.append((_libc.mount, (b"tmpfs", place.encode(), b"tmpfs", quiet, _TMP % tmp_bytes)))
    steps += _uncovering(uncovered)
    steps.append((_libc.mount, (b"proc", b"/proc", b"proc", quiet | _MS_NOEXEC, None)))
    return steps


def _uncovering(pairs: list[tuple[str, str]]) -> list[Step]:
    """Show again, read-only as it is, what new file systems lie over."""
    steps: list[Step] = []
    made = {*_NEW, "/dev"}
    for kept, path in pairs:
        is_folder = os.path.isdir(path)
        names = path.split("/")
        for depth in range(2, len(names) + is_folder):
            folder = "/".join(names[:depth])
            if folder not in made:
                made.add(folder)
                steps.append((os.mkdir, (folder, 0o755)))
        if not is_folder:
            steps.append((os.mknod, (path, 0o644)))
        steps.append((_libc.mount, (kept.encode(), path.encode(), b"", _MS_BIND | _MS_REC, None)))
    mask = os.umask(0o022)
    os.umask(mask)
    return [(os.umask, (0o022,)), *steps, (os.umask, (mask,))] if steps else []


DROPPING_CAPABILITIES: Step = (_libc.capset, (ctypes.byref(_SELF), ctypes.byref(_NONE)))
"""Gives up all capabilities for good; with `no_new_privs` no program run later gets one back."""


def call_once() -> None:
    """The first call of a C function costs every child that makes it some 50 us. So it is made here, without effect."""
    _libc.capget(ctypes.byref(_SELF), ctypes.byref((_CapabilityData * 2)()))
    _libc.capset(None, None)
    _libc.unshare(0)
    _libc.mount(None, None, None, 0, None)
