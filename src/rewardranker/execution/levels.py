"""Which level of isolation this machine can give, found by trying to get out.

    A  namespaces  bubblewrap around each worker; per program new process, mount and ipc namespaces, no network, private
                   /tmp and /dev/shm, a read-only system without the user's files, seccomp, no capabilities
    B  landlock    Landlock and seccomp: no file but the system's and its own folder, no network; other processes are
                   visible, and System V objects and /proc are closed rather than private
    C  rlimits     limits only: a program reads what its user can read and reaches the network

A level holds if the probe (`sandbox/probe.py`), judged as any other program, reaches nothing that the level closes.
Not guaranteed by any level: flaws of the kernel, and side channels such as time.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import SandboxError
from rewardranker.execution import bubblewrap, languages
from rewardranker.execution.prepared import cache_folder
from rewardranker.execution.workers import start_command

_SANDBOX = Path(__file__).parent / "sandbox"
_OPEN_IN_B = frozenset({"sees other processes", "reads the first process's environment"})
"""What level B does not promise. Signals are closed by Landlock 6, or under root by a user of its own."""


@dataclass(frozen=True)
class Level:
    name: str
    """The word of `judge.isolation`."""
    letter: str
    words: str
    """What verdicts record."""
    remedy: str
    """What to do where it does not hold."""
    open: str = ""
    """What programs can do at this level that they can't at level A."""


LEVELS = (
    Level(
        "namespaces",
        "A",
        "A: namespaces, seccomp",
        f"{bubblewrap.INSTALL}; allow user namespaces (`sysctl kernel.unprivileged_userns_clone=1`, or "
        "`kernel.apparmor_restrict_unprivileged_userns=0`), or run as root; in Docker: `--security-opt "
        "seccomp=unconfined --security-opt systempaths=unconfined --cap-add SYS_ADMIN`",
    ),
    Level(
        "landlock",
        "B",
        "B: Landlock, seccomp",
        "use Linux 5.13 or newer on x86_64 or aarch64 with Landlock on (`lsm=landlock,...` at boot)",
        "they see other processes, share the machine's memory limits and temporary file systems",
    ),
    Level(
        "rlimits",
        "C",
        "C: rlimits only",
        "judge.allow_unsafe=true (`--allow-unsafe`) accepts it",
        "they read all files that their user can read, write where it can write, and reach the network",
    ),
)
_BY_NAME = {level.name: level for level in LEVELS}


@dataclass(frozen=True)
class Choice:
    """The level that programs run at, and why not a stronger one."""

    level: Level
    refused: dict[str, str]
    """Name of each stronger level that was tried -> what was wrong."""

    @property
    def warning(self) -> str | None:
        """What the user must hear, if it is not level A."""
        if self.level is LEVELS[0]:
            return None
        words = f"programs run at isolation level {self.level.words}: {self.level.open}"
        for name, reason in self.refused.items():
            better = _BY_NAME[name]
            words += f"\nlevel {better.letter} does not hold here: {reason}\n  remedy: {better.remedy}"
        return words


Judged = Callable[[dict[str, Any], str, list[str]], list[str]]
"""(worker options, probe, its inputs) -> the lines that it printed; raises `SandboxError` where nothing runs."""


def worker_options(level: Level) -> dict[str, Any]:
    """What a worker must know to isolate programs at a level.

    Raises:
        SandboxError: the level's tool is missing.
    """
    readable = sorted({*bubblewrap.interpreter_files(), *languages.outside_folders(), str(cache_folder())})
    start = start_command()
    if level.name == "namespaces":
        bwrap = bubblewrap.find()
        if bwrap is None:
            raise SandboxError("bubblewrap is not installed")
        start = [*bubblewrap.command(bwrap, readable), *start]
    return {"level": level.name, "readable": readable, "start_zygote": start}


def choose(options: JudgeOptions, judged: Judged) -> Choice:
    """The strongest level that holds here.

    Raises:
        SandboxError: the one that `options` names does not hold, or none does and level C was not allowed.
    """
    wanted = [level for level in LEVELS if options.isolation in ("auto", level.name)]
    refused: dict[str, str] = {}
    for level in wanted:
        if level.name == "rlimits" and not options.allow_unsafe:
            refused[level.name] = "it hides neither files nor network from programs, and was not allowed"
            continue
        try:
            refused[level.name] = _why_not(level, judged)
        except SandboxError as error:
            refused[level.name] = str(error)
        if not refused[level.name]:
            del refused[level.name]
            return Choice(level, refused)
    lines = [f"  {_BY_NAME[n].words}: {why}\n    remedy: {_BY_NAME[n].remedy}" for n, why in refused.items()]
    raise SandboxError("programs can't be isolated here:\n" + "\n".join(lines))


def _why_not(level: Level, judged: Judged) -> str:
    """What a program could do that the level promises to prevent; empty where the level holds."""
    if level.name == "rlimits":
        return ""
    with _bait() as bait:
        lines = judged(worker_options(level), (_SANDBOX / "probe.py").read_text(), [json.dumps(bait)] * 2)
    reached = set(filter(None, lines)) - (_OPEN_IN_B if level.name == "landlock" else frozenset())
    return f"a program {', '.join(sorted(reached))}" if reached else ""


@contextmanager
def _bait() -> Iterator[dict[str, Any]]:
    """Things of the user's that a program should not reach."""
    with tempfile.TemporaryDirectory(prefix="rewardranker-bait-") as folder, socket.socket() as listener:
        os.chmod(folder, 0o777)
        secret = Path(folder) / "secret"
        secret.write_text("secret")
        secret.chmod(0o644)
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        port = listener.getsockname()[1]
        yield {"secret": str(secret), "folder": folder, "package": str(_SANDBOX), "pid": os.getpid(), "port": port}
