"""A control group around a zygote and its candidates, where this process may make one (version 1 or 2).

It bounds what rlimits can't: the memory of all processes of a program together, shared memory and temporary files
included, and their number where they share a user with others. Nothing depends on it: machines where no group can be
made are the rule for ordinary users, and the other limits hold there.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OWN = 64 * 2**20
"""What the zygote itself and its wall may take."""
_REMOVE_SECONDS = 2.0
_PREFIX = "rewardranker-"
_STALE_SECONDS = 60.0
"""Far longer than from making a group to its first process."""
_KILLS = re.compile(rb"^oom_kill (\d+)", re.MULTILINE)


class ControlGroup:
    """One group, in every hierarchy it needs."""

    def __init__(self, memory: Path, pids: Path, version: int) -> None:
        self._memory, self._pids = memory, pids
        limit, events = (
            ("memory.max", "memory.events") if version == 2 else ("memory.limit_in_bytes", "memory.oom_control")
        )
        self._limit_file = memory / limit
        self._events = os.open(memory / events, os.O_RDONLY | os.O_CLOEXEC)  # asked for each program
        self._limits = (0, 0)
        self._told, self._kills = b"", 0

    def join(self) -> None:
        """Put the calling process into the group."""
        for folder in {self._memory, self._pids}:
            (folder / "cgroup.procs").write_text(str(os.getpid()))

    def limit(self, memory: int, processes: int) -> None:
        """Set how many bytes and processes all in the group together may have, beside the zygote's own."""
        if (memory, processes) == self._limits:
            return
        self._limits = (memory, processes)
        # A limit that can't be set, as others' memory is still being freed, leaves the one before.
        with contextlib.suppress(OSError):
            self._limit_file.write_text(str(memory + _OWN))
        with contextlib.suppress(OSError):
            (self._pids / "pids.max").write_text(str(processes + 8))

    def kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        with contextlib.suppress(OSError):
            events = os.pread(self._events, 4096, 0)
            if events != self._told:  # they rarely change, and are looked at several times for each program
                found = _KILLS.search(events)
                self._told, self._kills = events, int(found[1]) if found else 0
            return self._kills
        return 0

    def remove(self) -> None:
        """Once its processes have been killed; they may need a moment to be gone."""
        os.close(self._events)
        _remove({self._memory, self._pids})


def make(worker: int, number: int) -> ControlGroup | None:
    """A new group below this process's own; None where there can't be one.

    Args:
        worker: the process id of the worker that it is for.
        number: tells the worker's groups apart.
    """
    for attempt in (_make_v2, _make_v1):
        made: list[Path] = []
        try:
            group = attempt(f"{_PREFIX}{worker}-{number}", made.append)
        except OSError:
            group = None
        if group is not None:
            return group
        for folder in made:
            with contextlib.suppress(OSError):
                folder.rmdir()
    return None


def remove_of(worker: int) -> None:
    """Remove what a worker left that was killed before it could."""
    with contextlib.suppress(OSError):
        _remove({folder for parent in _parents() for folder in parent.glob(f"{_PREFIX}{worker}-*")})


def _remove(folders: set[Path]) -> None:
    end = time.monotonic() + _REMOVE_SECONDS
    for folder in folders:
        while folder.exists() and time.monotonic() < end:
            try:
                folder.rmdir()
            except OSError:
                time.sleep(0.001)


def _new(folder: Path) -> None:
    """Make a group's folder, and remove those beside it that nobody removed, as worker and judge were killed."""
    for other in folder.parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            is_old = time.time() - other.stat().st_mtime > _STALE_SECONDS
            if other == folder or (is_old and not Path("/proc", other.name.split("-")[1]).exists()):
                other.rmdir()  # fails where a process is in it
    folder.mkdir()


def _own_paths() -> dict[str, str]:
    """Controller -> this process's path; the controller of version 2 is empty."""
    paths = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            paths[controller] = path.lstrip("/")
    return paths


def _make_v2(name: str, made: Callable[[Path], None]) -> ControlGroup | None:
    own = _own_paths().get("")
    if own is None or not (_ROOT / "cgroup.controllers").exists():
        return None
    parent = _ROOT / own
    if not {"memory", "pids"} <= set((parent / "cgroup.subtree_control").read_text().split()):
        # Allowed where no process lives in the parent itself, or it is the root.
        (parent / "cgroup.subtree_control").write_text("+memory +pids")
    folder = parent / name
    _new(folder)
    made(folder)
    if not (folder / "memory.max").exists():
        return None
    with contextlib.suppress(OSError):
        (folder / "memory.swap.max").write_text("0")
    return ControlGroup(folder, folder, 2)


def _make_v1(name: str, made: Callable[[Path], None]) -> ControlGroup | None:
    paths = _own_paths()
    folders = []
    for controller in ("memory", "pids"):
        if controller not in paths:
            return None
        folders.append(_ROOT / controller / paths[controller] / name)
        _new(folders[-1])
        made(folders[-1])
    return ControlGroup(folders[0], folders[1], 1)


def _parents() -> set[Path]:
    """The folders that groups are made in."""
    own = _own_paths()
    paths = {_ROOT / controller / own[controller] for controller in ("memory", "pids") if controller in own}
    return paths | {_ROOT / own.get("", "")}
