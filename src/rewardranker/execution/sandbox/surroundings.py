"""What tests do to their own process, where the program is not: files, environment, patches.

In one process with the program such a test would work; here its failure would be no fault of the program's. So the
attempt itself is refused (`unsupported`): files and folders, the environment, other processes, connections, and
`unittest.mock.patch`. Imports and tracebacks may read sources.

`random.seed` seeds the program too. Not noticed: other state of a library that a test changes for the program, such
as `decimal.getcontext`, and what a test draws from `random` between seeding it and calling the program.
"""

from __future__ import annotations

import functools
import linecache
import os
import random
import sys
import warnings
from collections.abc import Callable
from types import FrameType
from typing import Any

from .link import Link

_EVENTS = frozenset(
    """
    open os.listdir os.scandir glob.glob glob.glob/2 os.chdir os.chflags os.chmod os.chown os.exec os.fork os.forkpty
    os.kill os.link os.lockf os.mkdir os.posix_spawn os.putenv os.remove os.rename os.rmdir os.startfile os.symlink
    os.system os.truncate os.unsetenv os.utime shutil.copyfile shutil.make_archive shutil.move shutil.rmtree socket.bind
    socket.connect socket.getaddrinfo sqlite3.connect subprocess.Popen tempfile.mkdtemp tempfile.mkstemp urllib.Request
    """.split()  # noqa: SIM905 - lines to read instead of a column
)
_ALLOWED = frozenset(("<frozen importlib._bootstrap>", linecache.__file__))
"""Code that reads files for Python's own sake: imports, and sources to be shown in tracebacks."""

_watched: Link | None = None
"""The link of the tests that run now; None between tests and while the judge itself is at work."""


def watch(link: Link | None) -> None:
    """Refuse from now on what tests do to their surroundings; None: refuse nothing."""
    global _watched
    _watched = link


def install() -> None:
    """Once in a process, before its first tests."""
    sys.dont_write_bytecode = True
    sys.addaudithook(_audit)
    for name in ("stat", "lstat", "access"):  # these raise no audit event
        setattr(os, name, _watching(getattr(os, name), f"os.{name}"))
    random.seed = _seeding(random.seed)
    warnings.simplefilter("ignore")  # showing one reads files


def replace_patch() -> None:
    """For tests that name `mock`, which is too slow to import for all."""
    import unittest.mock

    unittest.mock.patch = _Patch()  # type: ignore[assignment]


def _audit(event: str, args: tuple[Any, ...]) -> None:
    if _watched is not None and event in _EVENTS and not _is_allowed():
        _refuse(f"{event}{args[:1]!r}")


def _is_allowed() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename != "<tests>":
        if frame.f_code.co_filename in _ALLOWED:
            return True
        frame = frame.f_back
    return False


def _watching(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(function)
    def watched(*args: Any, **kwargs: Any) -> Any:
        if _watched is not None and not _is_allowed():
            _refuse(f"{name}{args[:1]!r}")
        return function(*args, **kwargs)

    return watched


def _refuse(what: str) -> None:
    refuse(f"a test touches its surroundings, which are not the program's: {what}")


def refuse(detail: str) -> None:
    """Make the test that runs now, if any, unsupported."""
    if _watched is not None:
        _watched.refuse(detail[:300])


def _seeding(seed: Callable[..., None]) -> Callable[..., None]:
    def seed_both(*args: Any, **kwargs: Any) -> None:
        seed(*args, **kwargs)
        if _watched is not None:
            _watched.ask("call", random.seed, args, kwargs)

    seed_both.__module__, seed_both.__qualname__ = "random", "seed"  # under this name it crosses
    return seed_both


class _Patch:
    """In the place of `unittest.mock.patch`: its tests are refused when they run, not when they are defined."""

    def __call__(self, *args: Any, **kwargs: Any) -> _Patched:
        return _Patched(str(args[0]) if args else "?")

    def object(self, target: Any, attribute: str, *args: Any, **kwargs: Any) -> _Patched:
        return _Patched(f"{getattr(target, '__name__', type(target).__name__)}.{attribute}")

    def dict(self, target: Any, *args: Any, **kwargs: Any) -> _Patched:
        return _Patched(target if isinstance(target, str) else "a dict")

    def multiple(self, target: Any, **kwargs: Any) -> _Patched:
        return _Patched(str(target))

    def stopall(self) -> None: ...


class _Patched:
    def __init__(self, target: str) -> None:
        self._target = target

    def __call__(self, decorated: Any) -> Any:
        if isinstance(decorated, type):
            for name in dir(decorated):
                if name.startswith("test"):
                    setattr(decorated, name, self(getattr(decorated, name)))
            return decorated

        @functools.wraps(decorated)
        def refused(*args: Any, **kwargs: Any) -> None:
            self.start()

        return refused

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *_: object) -> None: ...

    def start(self) -> None:
        refuse(f"a test patches {self._target} in its own process, which is not the program's")
        raise RuntimeError("unittest.mock.patch outside of a test")

    def stop(self) -> None: ...
