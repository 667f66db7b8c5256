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
from dataclasses import dataclass

from .forks import ZygoteProcess
from .outcome import Run


@dataclass
class Candidate:
    """A process that waits for a program, and this side's ends of what it was given."""

    run: Run
    channel: socket.socket
    whole: bool
    """For a whole program, so that it has the following."""
    stdin: int = -1
    """An empty file."""
    out: int = -1
    err: int = -1

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

    def take(self, whole: bool) -> Candidate:
        """A candidate for functions, or for a whole program.

        Raises:
            Fault: the zygote is gone.
        """
        spare, self._spare = self._spare, None
        # Killed for want of memory, it may not have ended yet.
        is_sound = not self._zygote.new_kills()
        if spare is not None:
            if is_sound and spare.whole == whole and not select.select([spare.run.pidfd], [], [], 0)[0]:
                self._zygote.limit_programs()
                spare.run.begin()
                return spare
            self._zygote.end(spare.run)
            self._zygote.new_kills()
            spare.close()
        candidate = self._start(whole, ahead=False)
        assert candidate is not None
        return candidate

    def prepare(self, whole: bool) -> None:
        """Have a spare, now that a program runs. Where the machine has no room for one, there is none.

        Raises:
            Fault: the zygote is gone.
        """
        if self._ahead and self._spare is None:
            self._spare = self._start(whole, ahead=True)

    def _start(self, whole: bool, ahead: bool) -> Candidate | None:
        ours, theirs = socket.socketpair()
        fds = [theirs.detach()]
        stdin = out = err = -1
        if whole:
            stdin = os.memfd_create("stdin")
            out, out_end = os.pipe()
            err, err_end = os.pipe()
            fds += [os.dup(stdin), out_end, err_end]
        run = self._zygote.fork(whole, fds, ahead)
        if run is not None:
            return Candidate(run, ours, whole, stdin, out, err)
        ours.close()
        for fd in (stdin, out, err) if whole else ():
            os.close(fd)
        return None
