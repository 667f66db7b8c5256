"""The interpreter's code in huge pages, so that a forked process has it at once and not fault by fault.

A forked process maps the pages of a library anew, sixteen at a fault, and takes them apart again when it ends: for a
program of two milliseconds a few hundredths of its life. Private huge pages are handed on by the fork itself, as two
entries of a page table. The code stays where it is and what it is; only the pages below it are others.
"""

from __future__ import annotations

import ctypes
import mmap
import re

_HUGE = 2 * 2**20
_MREMAP_MAYMOVE, _MREMAP_FIXED = 1, 2
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ +(/\S+)")

_libc = ctypes.CDLL(None, use_errno=True)
for _function in (_libc.mmap, _libc.mremap):
    _function.restype = ctypes.c_void_p
    _function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, *[ctypes.c_size_t] * 2)
_libc.mremap.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p)
for _function in (_libc.madvise, _libc.mprotect):
    _function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_FAILED = ctypes.c_void_p(-1).value


def move_code() -> int:
    """Put the whole huge pages of the interpreter's read-only memory into huge pages of this process's own.

    Returns:
        Bytes moved; 0 where the system has no huge pages to give, or nothing may be both written and executed.
    """
    start, end = _code()
    start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
    size = end - start
    if size <= 0:
        return 0
    private = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
    room = _libc.mmap(None, size + _HUGE, mmap.PROT_READ | mmap.PROT_WRITE, private, -1, 0)
    if room == _FAILED:
        return 0
    copy = -(-room // _HUGE) * _HUGE
    _libc.munmap(room, copy - room)
    _libc.munmap(copy + size, room + _HUGE - copy)
    moved = False
    if _libc.madvise(copy, size, mmap.MADV_HUGEPAGE) == 0:
        ctypes.memmove(copy, start, size)
        if _is_huge(copy, size) and _libc.mprotect(copy, size, mmap.PROT_READ | mmap.PROT_EXEC) == 0:
            moved = _libc.mremap(copy, size, size, _MREMAP_MAYMOVE | _MREMAP_FIXED, start) == start
    if not moved:
        _libc.munmap(copy, size)
    return size if moved else 0


def _code() -> tuple[int, int]:
    """From where to where the interpreter's own file is mapped read-only, its code in the middle."""
    inside = ctypes.cast(ctypes.pythonapi.Py_GetVersion, ctypes.c_void_p).value
    assert inside is not None
    runs: list[list[int]] = []
    with open("/proc/self/maps") as file:
        for line in file:
            mapping = _MAPPING.match(line)
            if mapping is None or "w" in mapping[3]:
                continue
            start, end = int(mapping[1], 16), int(mapping[2], 16)
            if runs and runs[-1][1] == start:
                runs[-1][1] = end
            else:
                runs.append([start, end])
    return next(((start, end) for start, end in runs if start <= inside < end), (0, 0))


def _is_huge(start: int, size: int) -> bool:
    """Whether all of this memory is in huge pages."""
    with open("/proc/self/smaps") as file:
        text = file.read()
    found = re.search(rf"^{start:x}-{start + size:x} .*?^AnonHugePages: +(\d+) kB", text, re.DOTALL | re.MULTILINE)
    return found is not None and int(found[1]) * 1024 == size
