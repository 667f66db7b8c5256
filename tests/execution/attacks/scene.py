"""What an attack can harm, set up around a judge, and the probes that tell whether it did.

The same scene stands on the machine when the project's judge is tested and inside the sandbox when a naive one is. It
starts as the user who runs the judge: a process with secrets in its arguments, environment and memory, listeners on
loopback and on local sockets, files that are private, public, precious, and a folder that anyone may write to.
"""

from __future__ import annotations

import contextlib
import ctypes
import glob
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

_BYSTANDER = """
import os, sys
secret = 'memory-' + os.environ['ATTACK_SECRET']
file = open(sys.argv[2])
print(file.fileno(), flush=True)
sys.stdin.read()
"""
_SHARED_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm", "/run/lock")
_JUDGE_MEMORY_MB = 150
"""More than any part of a judge needs while it looks at one small program."""


class Scene:
    """Use as a context manager.

    Args:
        package: folder of the judge's own source, which must not be written to.
    """

    def __init__(self, package: Path) -> None:
        self.secret = "s3cr3t-" + os.urandom(8).hex()
        self.token = ""
        self._package = package
        self.folder = Path(tempfile.mkdtemp(prefix="scene-", dir="/tmp"))
        self.folder.chmod(0o755)
        self._make_files()
        self._bystander = self._start_bystander()
        assert self._bystander.stdout is not None
        self._bystander_fd = self._bystander.stdout.readline().strip().decode()
        self._listeners = self._listen()
        self.inherited = os.open(self._private, os.O_RDONLY)
        os.set_inheritable(self.inherited, True)
        self.new_token()

    def _make_files(self) -> None:
        self._private = self.folder / "private"
        self._private.write_text(f"#error {self.secret}\n")
        self._private.chmod(0o600)
        self._public = self.folder / "public"
        self._public.write_text(f"#error {self.secret}\n")
        self._public.chmod(0o644)
        self._precious = self.folder / "precious"
        self._precious.write_text("precious")
        self._precious.chmod(0o644)
        self._drop = self.folder / "drop"
        self._drop.mkdir()
        self._drop.chmod(0o777)

    def _start_bystander(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-S", "-c", _BYSTANDER, self.secret, str(self._private)],
            env={"ATTACK_SECRET": self.secret},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def _listen(self) -> dict[str, socket.socket]:
        tcp = socket.create_server(("127.0.0.1", 0))
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind(("127.0.0.1", 0))
        abstract = socket.socket(socket.AF_UNIX)
        self._abstract = "scene-" + os.urandom(6).hex()
        abstract.bind("\0" + self._abstract)
        abstract.listen(64)
        path = socket.socket(socket.AF_UNIX)
        path.bind(str(self.folder / "socket"))
        (self.folder / "socket").chmod(0o777)
        path.listen(64)
        return {"tcp": tcp, "udp": udp, "abstract": abstract, "path": path}

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._bystander.stdin is not None
        self._bystander.stdin.close()
        self._bystander.kill()
        self._bystander.wait()
        assert self._bystander.stdout is not None
        self._bystander.stdout.close()
        os.close(self.inherited)
        for listener in self._listeners.values():
            listener.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def new_token(self) -> None:
        """A name of its own for the next attack: what carries it afterwards is that attack's doing."""
        self.token = "atk" + os.urandom(6).hex()
        self._sizes = _memory_of_descendants()

    def render(self, program: str) -> str:
        """The program with the words between `@` replaced."""
        words = {
            "TOKEN": self.token,
            "NEKOT": self.token[::-1],
            "KEY": str(self._key()),
            "HOME": os.path.expanduser("~"),
            "PRIVATE": str(self._private),
            "PUBLIC": str(self._public),
            "PRECIOUS": str(self._precious),
            "DROP": str(self._drop),
            "PACKAGE": str(self._package),
            "BYSTANDER": str(self._bystander.pid),
            "BYSTANDER_FD": self._bystander_fd,
            "TCP": str(self._listeners["tcp"].getsockname()[1]),
            "UDP": str(self._listeners["udp"].getsockname()[1]),
            "ABSTRACT": self._abstract,
            "SOCKET": str(self.folder / "socket"),
        }
        for word, value in words.items():
            program = program.replace(f"@{word}@", value)
        return program

    def _key(self) -> int:
        return int(self.token[3:], 16) % (1 << 30) + 1

    def find(self, harm: str, detail: str) -> str:
        """What is left of an attack that wants this harm; empty if there is nothing. Traces are removed.

        Args:
            harm: the name of one of the probes below.
            detail: what the judge says of the program.
        """
        return str(getattr(self, f"_probe_{harm}")(detail))

    # --- probes ---------------------------------------------------------------------------------------------------

    def _probe_leak(self, detail: str) -> str:
        return "a secret is in what the judge says" if self.secret in detail else ""

    def _probe_reached(self, detail: str) -> str:
        """The program itself says that it got as far as it wanted: the reverse of its token is in no source."""
        return "it got all that it asked for" if f"reached {self.token[::-1]}" in detail else ""

    def _probe_flood(self, detail: str) -> str:
        return f"{len(detail)} characters of output are kept" if len(detail) > 100_000 else ""

    def _probe_file(self, _: str) -> str:
        found = []
        for top in (*_SHARED_FOLDERS, str(self.folder), str(self._package), os.path.expanduser("~")):
            patterns = [f"*{self.token}*"]
            patterns += [f"naive-*/*{self.token}*", f"rewardranker-*/*/*/*{self.token}*"] if top == "/tmp" else []
            patterns += [f"drop/*{self.token}*"] if top == str(self.folder) else []
            for pattern in patterns:  # unlike `Path.glob`, unmoved by a folder that another test removes
                found += [Path(top, name) for name in glob.glob(pattern, root_dir=top, include_hidden=True)]
        for path in found:
            with contextlib.suppress(OSError):
                path.chmod(0o700)
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        return f"left behind: {', '.join(map(str, found))}" if found else ""

    def _probe_process(self, _: str) -> str:
        """A process that carries the token as its name or among its arguments still runs."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                if entry.name.isdigit() and self.token.encode() in (
                    (entry / "comm").read_bytes() + (entry / "cmdline").read_bytes()
                ):
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state not in "ZX":
                        found.append(entry.name)
                        os.kill(int(entry.name), signal.SIGKILL)
        return f"still running: process {', '.join(found)}" if found else ""

    def _probe_sysv(self, _: str) -> str:
        kinds = [k for k in ("shm", "msg") if self._in_table(Path("/proc/sysvipc", k))]
        if kinds:
            self._remove_sysv()
        return f"a System V object is left ({', '.join(kinds)})" if kinds else ""

    def _remove_sysv(self) -> None:
        libc = ctypes.CDLL(None)
        libc.shmctl(libc.shmget(self._key(), 0, 0), 0, None)
        libc.msgctl(libc.msgget(self._key(), 0), 0, None)

    def _in_table(self, table: Path) -> bool:
        return any(line.split()[0] == str(self._key()) for line in table.read_text().splitlines()[1:])

    def _probe_queue(self, _: str) -> str:
        """A POSIX message queue of the token's name exists."""
        libc = ctypes.CDLL(None, use_errno=True)
        queue = libc.mq_open(f"/{self.token}".encode(), os.O_RDONLY | os.O_NONBLOCK)
        if queue < 0 and ctypes.get_errno() == 2:
            return ""
        libc.mq_unlink(f"/{self.token}".encode())
        return "a message queue is left"

    def _probe_connected(self, _: str) -> str:
        """Something reached a listener of the host."""
        ready = select.select(list(self._listeners.values()), [], [], 0)[0]
        for listener in ready:
            if listener.type == socket.SOCK_DGRAM:
                listener.recv(100)
            else:
                listener.accept()[0].close()
        return f"{len(ready)} listener of the host was reached" if ready else ""

    def _probe_bystander(self, _: str) -> str:
        """The process that has nothing to do with it is dead or stopped."""
        code = self._bystander.poll()
        if code is not None:
            self._bystander = self._start_bystander()
            return f"a process that has nothing to do with it was ended ({code})"
        state = Path(f"/proc/{self._bystander.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        return "a process that has nothing to do with it was stopped" if state == "T" else ""

    def _probe_precious(self, _: str) -> str:
        with contextlib.suppress(OSError):
            if self._precious.read_text() == "precious":
                return ""
        self._precious.write_text("precious")
        return "a file of the judge's user was changed"

    def _probe_memory(self, _: str) -> str:
        """A process of the judge (a descendant of this one) has grown since the token was given."""
        grown = [
            f"{size} MB"
            for pid, size in _memory_of_descendants().items()
            if size > max(_JUDGE_MEMORY_MB, self._sizes.get(pid, 0))
        ]
        return f"a process of the judge has taken {', '.join(grown)}" if grown else ""

    def _probe_solved(self, _: str) -> str:
        """A program that does its task well, but at a price, has passed: told by whoever ran it."""
        return ""

    def _probe_judge(self, _: str) -> str:
        """The judge itself fails: told by whoever ran it."""
        return ""

    def _probe_late(self, _: str) -> str:
        """The judge takes longer than it promises: told by whoever ran it."""
        return ""


def _descendants(pid: int) -> list[int]:
    found = []
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for child in (thread / "children").read_text().split():
                found += [int(child), *_descendants(int(child))]
    return found


def _memory_of_descendants() -> dict[int, int]:
    return {pid: _peak_memory_mb(pid) for pid in _descendants(os.getpid())}


def _peak_memory_mb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) // 1024
    return 0
