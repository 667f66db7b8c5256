"""How a forked process becomes a candidate: everything it must not keep is taken away, in an order that holds.

Level `namespaces`: mounts, process ids and System V objects of its own (`namespaces`), seccomp, no capabilities.
Level `landlock`: only its folder is writable and only the system readable, no TCP; seccomp. Level `rlimits`: limits,
and under root a user of its own. All levels: limits, no new privileges, no descriptor but its channel and the standard
ones.
"""

from __future__ import annotations

import ctypes
import fcntl
import math
import os
import resource
import sys
from typing import Any, NamedTuple

from . import landlock, namespaces, process, seccomp
from .process import Step

THREADS = 32
_FILES = 64
_LIBRARY = 40
"""Descriptors from here on hold the library's folder, out of the way of the candidate's few."""
_TMP_BYTES = 64 * 2**20
TEMPORARY_BYTES = 2 * _TMP_BYTES
"""/tmp and /dev/shm together."""


class Command(NamedTuple):
    """A command line for a candidate, and the limits that are not the same for all candidates."""

    argv: list[str]
    environment: dict[str, str]
    box: int | None = None
    """The folder it runs in."""
    writable: bool = False
    """Whether it may change what is in there."""
    cpu_seconds: float = 10.0
    address_space: int | None = None
    """Bytes; None for runtimes that reserve far more than they use."""
    data: int | None = None
    """Bytes of private writable memory, for those."""
    processes: int = THREADS
    """Processes and threads."""
    file_bytes: int = 1 << 26
    files: int = 256


class Confinement:
    """Takes rights away from a process just forked from the zygote.

    What can be made ready is made in the zygote, once: every page that a candidate writes to on its way has to be
    copied for it, and that is most of what it costs.
    """

    def __init__(self, options: dict[str, Any], uid: int | None, other_uid: int | None, connection: int) -> None:
        """
        Args:
            uid: of candidates; None: the own.
            other_uid: of every second one for Python programs, where two may run for a moment; None: there is none.
            connection: the zygote's.
        """
        self._options = options
        self._level: str = options["level"]
        self._uid = uid
        self._null = os.open(os.devnull, os.O_RDWR)
        if connection != 3:
            os.dup2(self._null, 3)  # kept free for the channel
        self._pid = os.getpid()
        self._keeps_library = uid is not None and self._level != "namespaces"
        if self._keeps_library:
            _reach_library_by_descriptor()
        self.space: int = process.own_address_space() + options["memory_mb"] * 2**20
        self._others = options["user_tasks"] if self._shares_task_count() else 0
        # Another candidate of the same user that waits for its turn.
        self._spares = int(self._level == "namespaces" and other_uid is None)
        self._rules: landlock.Ruleset | None = None
        if self._level == "landlock":
            readable = [*landlock.system_paths(), *options["readable"]]
            self._rules = landlock.Ruleset(read_only=readable, devices=landlock.DEVICES)
        self._filter: seccomp.Filter | None = None
        if self._level != "rlimits":
            private = self._level == "namespaces"
            self._filter = seccomp.make_filter(unix_sockets=False, sysv_ipc=private)
        if self._level == "namespaces":
            namespaces.call_once()
        for which in (resource.RLIMIT_CORE, resource.RLIMIT_MSGQUEUE):
            process.lower_limit(which, 0)  # candidates inherit these
        self._nothing: list[Step] = [(os.dup2, (self._null, number)) for number in range(3)]
        """Standard descriptors of programs that are called."""
        self._usual: list[list[Step]] = []
        if self._level == "namespaces":
            users = uid, uid if other_uid is None else other_uid
            self._usual = [self._after_descriptors(None, "/tmp", None, user) for user in users]

    def _shares_task_count(self) -> bool:
        """Whether RLIMIT_NPROC counts processes that are none of this zygote's."""
        if self._uid is not None and self._uid != process.NOBODY:
            return False
        return not (self._level == "namespaces" and self._uid is None and process.counts_tasks_by_namespace())

    def steps(
        self, fds: list[int], folder: str | None, temporary: str, command: Command | None, second_user: bool
    ) -> list[list[Step]]:
        """All that makes a forked process one that can do no harm, for `take`; the channel becomes descriptor 3.

        Args:
            fds: channel, and standard input, output, error if it has them.
            folder: where it works, writable if the command says so; None: in the temporary one.
            temporary: a writable folder of its own.
            second_user: for Python programs, where there is one.
        """
        channel = [(os.dup2, (fds[0], 3, False))]
        standard = [(os.dup2, (fd, number)) for number, fd in enumerate(fds[1:])] if len(fds) > 1 else self._nothing
        if self._usual and command is None:
            return [standard, channel, self._usual[second_user]]
        return [standard, channel, self._after_descriptors(folder, temporary, command, self._uid)]

    def _after_descriptors(
        self, folder: str | None, temporary: str, command: Command | None, uid: int | None
    ) -> list[Step]:
        steps: list[Step] = [(os.setsid, ())]
        if self._level == "namespaces":
            covered = namespaces.covered(self._options["readable"])
            if command is None:  # a Python program reads the library alone, and finds an empty /tmp where it can
                covered = [pair for pair in covered if pair[1] in sys.path]
            writable = command is not None and command.writable
            steps += namespaces.entering(folder, writable, _TMP_BYTES, covered)
            steps.append((os.chdir, (temporary if folder is None else namespaces.BOX,)))
        else:
            steps.append((os.chdir, (folder or temporary,)))
            steps.append((os.environ.__setitem__, ("TMPDIR", temporary)))
        steps += process.limiting(self._limits(command))
        if uid is not None:
            steps += process.dropping_user(uid)
        if self._level == "namespaces":
            steps.append(namespaces.DROPPING_CAPABILITIES)
        else:
            steps.append((process.forbid_new_privileges, ()))
            steps.append((process.die_with_parent, (self._pid,)))
        if self._rules is not None:
            read_only, read_write = ["/proc/self"], [temporary]
            if command is not None and folder is not None:
                (read_write if command.writable else read_only).append(folder)
            steps.append((self._rules.restrict, (read_only, read_write)))
        # All descriptors but the channel and the standard ones; the library's folder stays.
        if self._keeps_library:
            steps.append((os.closerange, (4, _LIBRARY)))
        steps.append((os.closerange, (_LIBRARY + 1 if self._keeps_library else 4, process.LAST_DESCRIPTOR)))
        if self._filter is not None:
            steps += self._filter.installing()
        return steps

    def _limits(self, command: Command | None) -> dict[int, tuple[int, int]]:
        """Soft and hard limits by resource, beside those that the zygote has itself."""
        options = self._options
        cpu = math.ceil(command.cpu_seconds if command else options["timeout"])
        limits = {
            resource.RLIMIT_CPU: (cpu + 1, cpu + 2),
            resource.RLIMIT_FSIZE: (command.file_bytes if command else options["output_bytes"],) * 2,
            resource.RLIMIT_NOFILE: (command.files if command else _FILES,) * 2,
            resource.RLIMIT_MEMLOCK: (0, 0),  # the zygote pins pages
            resource.RLIMIT_NPROC: (self._others + self._spares + (command.processes if command else THREADS),) * 2,
        }
        space = command.address_space if command else self.space
        if space is not None:
            limits[resource.RLIMIT_AS] = (space, space)
        if command and command.data is not None:
            limits[resource.RLIMIT_DATA] = (command.data, command.data)
        return limits


def take(*parts: list[Step]) -> None:
    """In the forked process: all steps.

    Raises:
        OSError: one failed.
    """
    for steps in parts:
        for function, arguments in steps:
            if function(*arguments) == -1:
                number = ctypes.get_errno()
                raise OSError(number, f"{function.__name__}{arguments}: {os.strerror(number)}")


def confine_tester(level: str, readable: list[str], uid: int | None, parent: int) -> None:
    """Take from the calling process what tests of Python functions don't need: models write tests too.

    It keeps its descriptors and its address space; files can be read where programs may read them.
    """
    rules = None
    if level != "rlimits" and landlock.abi() > 0:
        rules = landlock.Ruleset(read_only=[*landlock.system_paths(), *readable], devices=landlock.DEVICES)
    if uid is not None:
        _reach_library_by_descriptor()
        process.drop_user(uid)
    process.forbid_new_privileges()
    process.die_with_parent(parent)
    if rules is not None:
        rules.restrict(read_only=["/proc/self"])
    if level != "rlimits":
        seccomp.make_filter(unix_sockets=False).install()


def _reach_library_by_descriptor() -> None:
    """Let the candidate's user import from a standard library that lies under a folder closed to it."""
    here = os.path.dirname(os.__file__)
    path = f"/proc/self/fd/{fcntl.fcntl(os.open(here, os.O_PATH), fcntl.F_DUPFD_CLOEXEC, _LIBRARY)}"
    sys.path[:] = [entry.replace(here, path, 1) for entry in sys.path if entry.startswith(here)]
    for module in list(sys.modules.values()):
        if getattr(module, "__path__", None) and type(module.__path__) is list:
            module.__path__ = [entry.replace(here, path, 1) for entry in module.__path__]
