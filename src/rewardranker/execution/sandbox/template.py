"""A runtime that is started once in a zygote and copied for each program, instead of started for each.

The zygote loads `servers/template.c`, compiled, which starts the runtime inside the zygote's own process and stops its
threads. A candidate is then a copy of the zygote in which they go on, confined as any other before they do. The runtime
never sees a program before it is copied, so that each program finds it as the first one did.
"""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass


@dataclass(frozen=True)
class TemplateSpec:
    """What is started."""

    library: str
    """`servers/template.c`, compiled."""
    runtime: str
    """The Java virtual machine's library."""
    options: list[str]
    """For the virtual machine."""
    training: str
    """A class of ours that makes the machine load and start what programs use."""


class Template:
    """The runtime in this process, started and stopped.

    Raises:
        OSError: it does not start.
    """

    def __init__(self, spec: TemplateSpec) -> None:
        before = set(_open_files())
        self._library = ctypes.CDLL(spec.library)
        words = (ctypes.c_char_p * len(spec.options))(*(word.encode() for word in spec.options))
        null = os.open(os.devnull, os.O_RDWR)
        kept = {fd: os.dup(fd) for fd in (1, 2)}
        for fd in kept:
            os.dup2(null, fd)
        try:
            started = self._library.start(spec.runtime.encode(), len(words), words, spec.training.encode())
            if started != 0 or self._library.freeze() < 0:
                raise OSError(f"{spec.runtime} does not start")
        finally:
            for fd, copy in kept.items():
                os.dup2(copy, fd)
                os.close(copy)
            os.close(null)
        self._files = {fd: path for fd, path in _open_files().items() if fd not in before}

    def fork(self) -> int:
        """As `os.fork`, which would lose the runtime's threads."""
        pid = int(self._library.copy())
        if pid < 0:
            raise OSError("the process can't be copied")
        return pid

    def resume(self, name: str, channel: int = -1) -> None:
        """In a copy, whose other descriptors are closed: become the program whose main class has this name.

        Args:
            channel: a descriptor that the program must not have; it is open as long as something may fail.

        Raises:
            OSError: a library of the runtime is gone.
        """
        # Opened anew for each, as an open file's flags would be shared with all programs that come later.
        for fd, path in self._files.items():
            opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            os.dup2(opened, fd, inheritable=False)
            if opened != fd:
                os.close(opened)
        if channel >= 0:
            os.close(channel)
        self._library.resume(name.encode())


def _open_files() -> dict[int, str]:
    """Paths of the regular files that this process has open."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        path = f"/proc/self/fd/{name}"
        if os.path.isfile(path):
            found[int(name)] = os.readlink(path)
    return found
