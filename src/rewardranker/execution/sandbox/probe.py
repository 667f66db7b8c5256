"""A program for the judge's self-test: it tries to get out and prints what it reached, one word a line.

Runs twice with the same input, a JSON object: `secret` (a file of the user's), `folder` (of the user's, writable),
`package` (this package's folder), `pid` (of the user's process), `port` (where somebody listens on loopback). The
second run looks for what the first one left.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import socket
import sys
from collections.abc import Callable

wanted = json.load(sys.stdin)
reached = []
MARK = "rewardranker-self-test"


def attempt(word: str, action: Callable[[], object]) -> None:
    try:
        if action() is not False:
            reached.append(word)
    except (OSError, ValueError):
        pass


def connect() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        client.connect(("127.0.0.1", wanted["port"]))


def leave(path: str) -> None:
    with open(path, "w") as file:
        file.write(MARK)


def other_processes() -> bool:
    own = {str(os.getpid()), str(os.getppid())}
    return any(name.isdigit() and name not in own for name in os.listdir("/proc"))


def user_namespace() -> bool:
    pid = os.fork()
    if pid == 0:
        os._exit(ctypes.CDLL(None).unshare(0x10000000) != 0)
    return os.waitpid(pid, 0)[1] == 0


def environment_of_first_process() -> bool:
    with open("/proc/1/environ", "rb") as file:
        names = {entry.split(b"=")[0] for entry in file.read().split(b"\0") if entry}
    return not names <= {b"PYTHONHASHSEED", b"LC_CTYPE", b"PWD", b"LD_BIND_NOW"}


attempt("reads a file of the user's", lambda: open(wanted["secret"]).close())
attempt("writes into a folder of the user's", lambda: leave(os.path.join(wanted["folder"], MARK)))
attempt("writes into the package's own folder", lambda: leave(os.path.join(wanted["package"], MARK)))
attempt("connects to a port of this machine", connect)
attempt("becomes root", lambda: os.setuid(0) if os.getuid() else False)
attempt("makes a user namespace", user_namespace)
attempt("sees other processes", other_processes)
attempt("signals other processes", lambda: os.kill(wanted["pid"], 0) if wanted["pid"] != os.getpid() else False)
attempt("reads the first process's environment", environment_of_first_process)
for place in ("/tmp", "/var/tmp", "/dev/shm", "/"):
    path = os.path.join(place, MARK)
    if os.path.exists(path):
        reached.append(f"finds what an earlier program left in {place}")
    with contextlib.suppress(OSError):
        leave(path)
print("\n".join(reached))
