"""Runs a naive judge on an attack inside bubblewrap, so that the machine is safe from what the judge lets through.

The sandbox has its own processes, network, System V objects, small file systems in memory, a user of its own where
root starts it, and limits. Nothing of it survives: it is one process id namespace, and its first process is ended.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from attacks.corpus import HONEST, Attack

_LIMIT = 0.1
"""Seconds that the naive judges allow a Python program."""
_COMPILED_LIMIT = 60.0
"""Seconds that they allow a compiler or a program that wants to pass: on a busy machine that must not decide."""
_BOMB_LIMIT = 1.0
_PYTHON_FOLDER = "/judge/python"
_PYTHON = f"{_PYTHON_FOLDER}/bin/python{sys.version_info.major}.{sys.version_info.minor}"
_USER = 1_800_000_000


@dataclass(frozen=True)
class NaiveOutcome:
    passed: bool
    detail: str
    found: str


def why_not_possible() -> str:
    """A reason why naive judges can't be run here; empty if they can."""
    if shutil.which("bwrap") is None:
        return "bubblewrap is not installed, and nothing else may contain a naive judge"
    probe = subprocess.run([*_sandbox(), _PYTHON, "-S", "-c", ""], capture_output=True, text=True, check=False)
    return "" if probe.returncode == 0 else f"bubblewrap does not work here: {probe.stderr.strip()}"


def run_naive(attack: Attack) -> NaiveOutcome:
    """Have the naive judge that the attack is aimed at judge it."""
    python = attack.language == "python"
    endless = attack.harm in ("late", "judge")
    limit = _LIMIT if python and endless else _BOMB_LIMIT if endless else 10.0 if python else _COMPILED_LIMIT
    order = {
        "program": attack.program,
        "tests": attack.tests if isinstance(attack.tests, str) else "\n".join(attack.tests),
        "honest": HONEST,
        "harm": attack.harm,
        "naive": attack.naive,
        "language": attack.language,
        "stdin": attack.inputs[0][0] if attack.inputs else "",
        "limit": limit,
        "patience": limit + 0.75,
        "uid": _USER + os.getpid() if os.geteuid() == 0 else None,
        "address_space": 4 << 30 if python or attack.language == "cpp" else 0,
    }
    command = [*_sandbox(), _PYTHON, "-S", "-B", "/judge/attacks/contained_run.py"]
    done = subprocess.run(
        command, input=json.dumps(order), capture_output=True, text=True, timeout=limit + 30, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"the sandbox of the naive judge failed: {done.stderr[-2000:]}")
    return NaiveOutcome(**json.loads(done.stdout))


@functools.cache
def _sandbox() -> tuple[str, ...]:
    here = str(Path(__file__).resolve().parent)
    command = ["bwrap", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--die-with-parent"]
    command += ["--new-session", "--as-pid-1", "--clearenv", "--setenv", "HOME", "/home/judge", "--setenv", "PATH"]
    command += ["/judge/rust/bin:/usr/bin:/bin", "--chdir", "/tmp"]
    if os.geteuid() == 0:
        command += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    command += ["--ro-bind", "/usr", "/usr", "--ro-bind", "/etc", "/etc"]
    for name in ("bin", "sbin", "lib", "lib64"):
        path = Path("/", name)
        if path.is_symlink():
            command += ["--symlink", os.readlink(path), str(path)]
        elif path.exists():
            command += ["--ro-bind", str(path), str(path)]
    command += ["--proc", "/proc", "--dev", "/dev"]
    for folder, megabytes in (("/tmp", 400), ("/var/tmp", 16), ("/dev/shm", 16), ("/run", 16), ("/home/judge", 16)):
        command += ["--size", str(megabytes << 20), "--perms", "1777", "--tmpfs", folder]
    command += ["--perms", "0755", "--dir", "/judge", "--ro-bind", here, "/judge/attacks"]
    command += ["--ro-bind", sys.base_prefix, _PYTHON_FOLDER]
    if _rust_sysroot():
        command += ["--ro-bind", _rust_sysroot(), "/judge/rust"]
    return tuple(command)


@functools.cache
def _rust_sysroot() -> str:
    """Where the compiler itself lies: `rustc` on the path may be rustup's, which needs its user's settings."""
    if shutil.which("rustc") is None:
        return ""
    asked = subprocess.run(["rustc", "--print", "sysroot"], capture_output=True, text=True, check=False)
    folder = asked.stdout.strip()
    return folder if asked.returncode == 0 and Path(folder, "bin", "rustc").exists() else ""
