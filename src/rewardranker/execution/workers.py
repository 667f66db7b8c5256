"""The judge's side of its worker processes: start, send, receive, stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections import deque
from pathlib import Path
from typing import Any

from rewardranker.errors import SandboxError
from rewardranker.execution import bubblewrap
from rewardranker.execution.sandbox import cgroups
from rewardranker.execution.sandbox.wire import HEADER

_BOOT = (
    "import sys, importlib\n"
    "sys.path.insert(0, {home!r})\n"
    "module = importlib.import_module('sandbox.' + sys.argv.pop(1))\n"
    "sys.path.remove({home!r})\n"
    "module.main()\n"
)
_SWEEP = (
    "import os, sys\nuid = int(sys.argv[1])\nos.setresuid(uid, uid, uid)\n"
    "if os.getresuid() == (uid, uid, uid) and uid > 65535: os.kill(-1, 9)"
)
_ENVIRONMENT = {"PYTHONHASHSEED": "0"}
"""All that the judge's processes get. The fixed seed makes verdicts on programs that depend on set order repeatable."""


def start_command() -> list[str]:
    """Starts a module of `execution.sandbox` in a clean interpreter: no site packages, no user's variables or paths."""
    return [bubblewrap.interpreter(), "-S", "-s", "-P", "-c", _BOOT.format(home=str(Path(__file__).parent))]


class WorkerProcess:
    """One worker, the tickets it has in hand, and the frames that came from it."""

    def __init__(self, options: dict[str, Any]) -> None:
        """
        Raises:
            SandboxError: no process can be started.
        """
        self.tickets: deque[int] = deque()
        self.since = time.monotonic()
        """When the first of `tickets` became the first."""
        self.processor: int | None = options["processor"]
        self.uid: int | None = None
        self._buffer = b""
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        self._socket, theirs = socket.socketpair()
        try:
            self._process = subprocess.Popen(
                [*start_command(), "worker", str(theirs.fileno()), json.dumps(options)],
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._errors,
                start_new_session=True,
            )
        except OSError as error:
            self._socket.close()
            raise SandboxError(f"the judge can't start a worker process: {error}") from None
        finally:
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, frame: bytes) -> None:
        """
        Raises:
            OSError: the worker is gone.
        """
        self._socket.sendall(HEADER.pack(len(frame)) + frame)

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that are there (call when readable); None when the worker is gone."""
        try:
            chunk = self._socket.recv(1 << 16)
        except ConnectionError:
            chunk = b""
        if not chunk:
            return None
        self._buffer += chunk
        messages = []
        while len(self._buffer) >= HEADER.size:
            end = HEADER.size + HEADER.unpack_from(self._buffer)[0]
            if len(self._buffer) < end:
                break
            messages.append(json.loads(self._buffer[HEADER.size : end]))
            self._buffer = self._buffer[end:]
        return messages

    def why_gone(self) -> str:
        """How a dead worker ended."""
        self.kill()
        self._errors.seek(0)
        text = self._errors.read().decode("utf-8", "replace").strip()[-500:]
        code = self._process.returncode
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit status {code}"
        return f"a worker process {how}" + (f": {text}" if text else "")

    def hang_up(self) -> None:
        """Tell the worker to end; it does so within moments, whatever it is at."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def kill(self) -> None:
        """End the worker and what its candidates may have left; by force if it does not end by itself."""
        self.hang_up()
        self._socket.close()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.returncode != 0:
            self._clean_up()

    def _clean_up(self) -> None:
        """What the worker could not do itself."""
        if self.uid is not None and self.uid > 65535:
            # Its user id is its own, so this can't hit anyone else's process.
            sweep = [bubblewrap.interpreter(), "-S", "-s", "-P", "-c", _SWEEP, str(self.uid)]
            subprocess.run(sweep, env={}, check=False)
        cgroups.remove_of(self.pid)

    def close(self) -> None:
        self.kill()
        self._errors.close()


def default_workers() -> int:
    """One for each processor that this process may use."""
    return len(os.sched_getaffinity(0))


def processors(workers: int) -> list[int | None]:
    """The processor that each worker keeps to; None: whichever is free.

    A worker's processes mostly wait for one another, so one processor does for all of them. Left to themselves they
    wander: two workers share a processor while another idles, and a sixth of the time is lost. Workers are tied down
    only as far as all processors get equally many; with fewer workers than processors none is, for then the other
    processors are there to be used, and other judges on this machine would tie theirs to the same ones.
    """
    usable = sorted(os.sched_getaffinity(0))
    tied = workers - workers % len(usable)
    return [usable[i % len(usable)] if i < tied else None for i in range(workers)]
