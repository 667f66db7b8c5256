"""Candidates for Python programs; where process namespaces keep programs apart, the next stands ready ahead of time.

A spare is forked from the zygote while the program before it runs, so that neither waits for the other. It has all of
its confinement and knows nothing: it waits for a program on a channel that only the worker holds the other end of. The
program that runs meanwhile can neither see nor signal it (another process id namespace, no file, no socket and no
memory in common). What they share is their control group and their user's number of processes, which have room for one
more. A spare that is dead when its turn comes, whatever killed it, is replaced: that is never a program's fault.

Time and waiting for a processor count from `take` on. CPU time and memory of a candidate include its start, as they do
without spares.
"""

from __future__ import annotations

import os
import select
import socket
from dataclasses import dataclass, field

from .forks import ZygoteProcess
from .outcome import Run


@dataclass
class Candidate:
    """A process that waits for a program, and this side's ends of what it was given."""

    channel: socket.socket
    whole: bool
    """For a whole program, so that it has the following."""
    stdin: int = -1
    """An empty file."""
    out: int = -1
    err: int = -1
    run: Run = field(init=False)

    def close(self) -> None:
        self.channel.close()
        for fd in (self.stdin, self.out, self.err):
            if fd >= 0:
                os.close(fd)


class Candidates:
    """Takes candidates from a zygote.

    Args:
        ahead: keep a spare.
    """

    def __init__(self, zygote: ZygoteProcess, ahead: bool) -> None:
        self._zygote = zygote
        self._ahead = ahead
        self._spare: Candidate | None = None
        self._is_asked = False
        """Whether a spare is on its way."""

    def take(self, whole: bool) -> Candidate:
        """A candidate for functions, or for a whole program.

        Raises:
            Fault: the zygote is gone.
        """
        spare = self.take_spare(whole)
        if spare is not None:
            return spare
        self.drop()
        candidate, fds = _connect(whole)
        candidate.run = self._zygote.fork(whole, fds)
        return candidate

    def take_spare(self, whole: bool) -> Candidate | None:
        """The spare, where there is one that can be used.

        Raises:
            Fault: the zygote is gone.
        """
        self._zygote.settle()
        spare = self._spare
        if spare is None or spare.whole != whole or select.select([spare.run.pidfd], [], [], 0)[0]:
            return None
        if self._zygote.kills() > spare.run.kills_before:
            return None  # it may have been meant, and end in a moment
        self._spare = None
        self._zygote.limit_programs()
        spare.run.begin()
        return spare

    def drop(self) -> None:
        """End the spare, if there is one.

        Raises:
            Fault: the zygote is gone.
        """
        self._zygote.settle()
        if self._spare is not None:
            spare, self._spare = self._spare, None
            self._zygote.end(spare.run)
            spare.close()

    def prepare(self, whole: bool) -> None:
        """Have a spare, now that a program runs. Where the machine has no room for one, there is none.

        Raises:
            Fault: the zygote is gone.
        """
        if not self._ahead or self._spare is not None or self._is_asked:
            return
        candidate, fds = _connect(whole)
        self._is_asked = True

        def keep(run: Run | None) -> None:
            self._is_asked = False
            if run is None:
                candidate.close()
            else:
                candidate.run = run
                self._spare = candidate

        self._zygote.fork_ahead(whole, fds, keep)


def _connect(whole: bool) -> tuple[Candidate, list[int]]:
    """A candidate without its process, and the descriptors for that."""
    ours, theirs = socket.socketpair()
    if not whole:
        return Candidate(ours, whole), [theirs.detach()]
    stdin = os.memfd_create("stdin")
    out, out_end = os.pipe()
    err, err_end = os.pipe()
    return Candidate(ours, whole, stdin, out, err), [theirs.detach(), os.dup(stdin), out_end, err_end]
