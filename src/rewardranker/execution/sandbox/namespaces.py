"""Linux namespaces of level A: what the zygote gives each candidate, on top of the bubblewrap it lives in itself.

A candidate is the first process of a process id namespace of its own, so that killing it kills all it started, and has
its own mounts and System V objects. Its /tmp, /dev/shm and /proc are new and vanish with it. The file system below is
bubblewrap's: read-only, holding only what the worker bound into it, in a network namespace without any way out.

Needs CAP_SYS_ADMIN in the user namespace that owns the zygote's other namespaces; candidates lose it.
"""

from __future__ import annotations

import ctypes
import os

_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWPID = 0x00020000, 0x08000000, 0x20000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_NOEXEC, _MS_REMOUNT, _MS_BIND = 1, 2, 4, 8, 32, 4096
_MNT_DETACH = 2
_CAPABILITY_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24

WORK = "/work"
"""Where the zygote keeps programs of other languages between compiling and running; no candidate sees it."""
BOX = "/box"
"""Where a candidate sees its own program's folder."""
_TMP = b"size=%d,nr_inodes=8192,mode=1777"

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _mount(source: str, target: str, kind: str, flags: int, data: bytes = b"") -> None:
    result = _libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), data or None)
    _check(result, f"mount {kind or source} on {target}")


def _unmount(target: str) -> None:
    _check(_libc.umount2(target.encode(), _MNT_DETACH), f"unmount {target}")


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _CapabilityData(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


_NONE = (_CapabilityData * 2)()
_SELF = _CapabilityHeader(_CAPABILITY_VERSION_3, 0)


class ProcessNamespaces:
    """Makes processes that are the first of a process id namespace of their own."""

    def __init__(self) -> None:
        # The first call of a C function costs every child that makes it some 50 us. So it is made here, without effect.
        _libc.capget(ctypes.byref(_SELF), ctypes.byref((_CapabilityData * 2)()))
        _libc.capset(None, None)
        _libc.umount2(b"", 0)
        self._own = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)

    def fork(self) -> int:
        """`os.fork`, the child being process 1 of a new namespace."""
        _check(_libc.unshare(_CLONE_NEWPID), "unshare process ids")
        pid = -1
        try:
            pid = os.fork()
        finally:
            if pid != 0:
                _check(_libc.setns(self._own, _CLONE_NEWPID), "return to the own process namespace")
        return pid


def mount_folder(path: str, size: int, mode: int = 0o700) -> None:
    """A new, empty file system of `size` bytes."""
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, b"size=%d,nr_inodes=16384,mode=%o" % (size, mode))


def unmount_folder(path: str) -> None:
    """Away with it and all that is in it."""
    _unmount(path)


def enter(folder: str | None, writable: bool, tmp_bytes: int) -> None:
    """Give the calling process mounts and System V objects of its own.

    Args:
        folder: shown at `BOX`; None: nothing is.
        tmp_bytes: capacity of /tmp and of /dev/shm.
    """
    _check(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWIPC), "unshare mounts")
    if folder is not None:
        _mount(folder, BOX, "", _MS_BIND)
        if not writable:
            _mount("", BOX, "", _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID | _MS_NODEV)
    _unmount(WORK)
    for place in ("/tmp", "/dev/shm"):
        _mount("tmpfs", place, "tmpfs", _MS_NOSUID | _MS_NODEV, _TMP % tmp_bytes)
    _mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def drop_capabilities() -> None:
    """Give up all capabilities for good; with `no_new_privs` no program run later gets one back."""
    _check(_libc.capset(ctypes.byref(_SELF), ctypes.byref(_NONE)), "drop capabilities")
