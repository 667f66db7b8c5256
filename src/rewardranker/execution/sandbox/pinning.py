"""Pages of memory that a fork copies at once.

A forked process shares its parent's pages until one of the two writes to one: then there is a fault, and the page is
copied. An interpreter that has just been forked writes to hundreds of pages before it has run a program's first line,
if only to count references, and the faults take several times as long as the copying. Pages that are pinned (that a
device may be at work on) are copied by the fork itself, since Linux 5.10, and stay the parent's own. Buffers that are
registered with an io_uring are pinned for as long as its descriptor is open; nothing is ever read or written by it.
"""

from __future__ import annotations

import ctypes
import os
import re
from array import array

_SETUP, _REGISTER = 425, 427
"""System calls, by the same numbers on all of Linux's architectures that Python runs on."""
_REGISTER_BUFFERS = 0
_PARAMETERS_BYTES = 120
_PRESENT, _OF_FILE, _EXCLUSIVE = 1 << 63, 1 << 61, 1 << 56
"""Of an entry of `/proc/PID/pagemap` (proc(5))."""
_WRITABLE = re.compile(r"([0-9a-f]+)-([0-9a-f]+) rw.p \S+ \S+ (\d+)")
_PAGE = os.sysconf("SC_PAGE_SIZE")

Span = tuple[int, int]
"""Address and bytes, whole pages."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Buffer(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("size", ctypes.c_size_t))


def own_memory() -> tuple[list[Span], list[Span]]:
    """Memory that this process can write to and shares with no other one: after a fork, what one of the two has
    written to since.

    Returns:
        That of no file, and what was copied from a file's (a library's data): older kernels do not pin the latter.
    """
    spans: tuple[list[Span], list[Span]] = ([], [])
    with open("/proc/self/maps") as file:
        mappings = [match.groups() for match in map(_WRITABLE.match, file) if match]
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        for start, end, inode in mappings:
            first, last = int(start, 16) // _PAGE, int(end, 16) // _PAGE
            entries = array("Q", os.pread(pagemap.fileno(), (last - first) * 8, first * 8))
            for page, entry in enumerate(entries, first):
                if entry & _PRESENT and entry & _EXCLUSIVE and not entry & _OF_FILE:
                    _append(spans[inode != "0"], page * _PAGE)
    return spans


def _append(spans: list[Span], address: int) -> None:
    if spans and sum(spans[-1]) == address:
        spans[-1] = spans[-1][0], spans[-1][1] + _PAGE
    else:
        spans.append((address, _PAGE))


def pin(spans: list[Span]) -> int:
    """Have forks copy this memory, for as long as this process lives.

    Returns:
        Bytes; 0 where the system does not allow it: no io_uring, or more than RLIMIT_MEMLOCK.
    """
    ring = _libc.syscall(_SETUP, 1, (ctypes.c_uint8 * _PARAMETERS_BYTES)())
    if ring < 0:
        return 0
    buffers = (_Buffer * len(spans))(*(_Buffer(*span) for span in spans))
    if _libc.syscall(_REGISTER, ring, _REGISTER_BUFFERS, buffers, len(spans)) != 0:
        os.close(ring)
        return 0
    return sum(size for _, size in spans)
