"""Things made once per machine for the judge's speed: precompiled headers, compile servers' classes.

They lie in a cache folder, one folder for each set of inputs (compiler version, flags, source), which only ever appears
complete. What is in there was made by trusted code and is shown read-only to programs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from rewardranker.errors import SandboxError


def cache_folder() -> Path:
    """Where prepared things lie; it exists afterwards.

    Under root it is /var/cache, because programs then run as users who can't enter root's home.

    Raises:
        SandboxError: it can't be made.
    """
    own = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (Path("/var/cache") if os.geteuid() == 0 else own) / "rewardranker" / "judge"
    try:
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise SandboxError(f"the judge's cache folder {folder} can't be made: {error.strerror}") from None
    return folder


def prepared(name: str, key: Iterable[str], build: Callable[[Path], None]) -> Path:
    """The folder of a prepared thing; it is built if it is not there.

    Args:
        key: all that its content depends on.
        build: fills the empty folder it is given; anything it raises is passed on, and leaves nothing behind.

    Raises:
        SandboxError: the cache folder can't be written.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:16]
    parent = cache_folder()
    folder = parent / f"{name}-{digest}"
    if folder.is_dir():
        return folder
    try:
        new = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
    except OSError as error:
        raise SandboxError(f"the judge's cache folder {parent} can't be written: {error.strerror}") from None
    try:
        build(new)
        _open_to_all(new)
        with contextlib.suppress(OSError):  # another process was faster
            new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return folder


def _open_to_all(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)
