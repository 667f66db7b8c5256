"""Verdicts by content, in one SQLite file that runs and processes share, and the judge that looks there first.

Equal keys mean: the same program, tests, language, limits, isolation, canary, toolchain version and version of the
judge's rules, so a verdict found is the one that judging would have given.

What is never shared: verdicts that the state of the machine can cause. A program may time out, be ended by a signal or
run out of memory because the machine was busy, so `timeout`, `crashed` and `out of memory` are always judged anew.

Not guaranteed: that a program which draws random numbers or reads the clock would do the same again; that the file
stays small (about 300 bytes a verdict; delete it when it is too large); anything on network file systems, where
SQLite's locks do not work: give each machine its own file. A connection does not cross a fork.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sqlite3
import time
import typing
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields, replace
from importlib import metadata
from pathlib import Path

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, RunDirectoryError, SandboxError
from rewardranker.execution.items import TaskTexts
from rewardranker.execution.records import start_judging
from rewardranker.types import Judge, Sample, Task, Verdict

_APPLICATION_ID = 0x52525643
"""Written into the file's header: "RRVC"."""
_SCHEMA = 1
_RULES = 1
"""Raised when the judge begins to decide differently: verdicts of older rules are then not found any more."""
_BUSY_SECONDS = 10.0
_QUERY_KEYS = 500
_CHECK_BYTES = 8
_KEEP_BYTES = 16 << 20
"""Page cache of a connection."""

_NEVER_SHARED = frozenset({"timeout", "crashed", "out of memory"})
_OF_THE_SAMPLE = ("task_id", "sample_id", "cached")

_LOOK_AHEAD = 64
_MOST_WAITING = 4096
"""Verdicts found in the cache that may wait for a slower one before them."""
_COMMIT_RECORDS = 256
_COMMIT_SECONDS = 1.0


class VerdictCache:
    """Verdicts by key in one SQLite file, safe for many processes. Use as a context manager.

    A verdict that was stored first stays: later ones under its key are not written. A fault while reading or writing
    (a full disk, a lock held for long) never fails the judging: it is counted in `faults` and warned of once.

    Example:
        >>> with VerdictCache("verdicts.sqlite") as cache:
        ...     cache.put_many([(key, verdict)])
        ...     cache.get_many([key])[key].cached
        True
    """

    def __init__(self, path: str | Path) -> None:
        """Open the file; make it if it is missing.

        Raises:
            DataError: the file is no verdict cache, or one of another version.
            RunDirectoryError: it can't be opened or made: no such folder, no permission, a full disk, locked.
        """
        self.path = Path(path)
        self.faults = 0
        """Reads and writes that failed since opening, each counted once for a whole batch."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None)
        except (OSError, sqlite3.Error) as error:
            raise RunDirectoryError(
                f"{path}: the verdict cache can't be opened: {error}; choose another file"
            ) from None
        try:
            self._prepare_patiently()
        except sqlite3.Error as error:
            self._connection.close()
            raise self._explain(error) from None
        except BaseException:
            self._connection.close()
            raise

    def get_many(self, keys: Iterable[bytes]) -> dict[bytes, Verdict]:
        """The verdicts that are there, by key, with `cached` set and without the ids of a sample.

        A record that is damaged counts as a fault and is not returned.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[bytes, Verdict] = {}
        try:
            for start in range(0, len(wanted), _QUERY_KEYS):
                part = wanted[start : start + _QUERY_KEYS]
                marks = ",".join("?" * len(part))
                query = f"SELECT key, verdict, checksum FROM verdicts WHERE key IN ({marks})"
                for key, text, checksum in self._connection.execute(query, part):
                    if checksum == _checksum(key, text):
                        found[key] = Verdict("", -1, cached=True, **json.loads(text))
                    else:
                        self._fault("a record is damaged")
        except sqlite3.Error as error:
            self._fault(str(error))
        return found

    def put_many(self, verdicts: Iterable[tuple[bytes, Verdict]]) -> None:
        """Store verdicts in one transaction; those that may not be shared (see the module's text) are left out."""
        rows = []
        for key, verdict in verdicts:
            if verdict.status not in _NEVER_SHARED:
                text = json.dumps({k: v for k, v in asdict(verdict).items() if k not in _OF_THE_SAMPLE})
                rows.append((key, text, _checksum(key, text)))
        if not rows:
            return
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?)", rows)
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            self._fault(str(error))

    def __len__(self) -> int:
        count: int = self._connection.execute("SELECT count(*) FROM verdicts").fetchone()[0]
        return count

    def close(self) -> None:
        """Close the file. Further calls do nothing."""
        self._connection.close()

    def __enter__(self) -> VerdictCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _prepare_patiently(self) -> None:
        """The switch to WAL does not wait for a lock by itself: of several that make the file, most try again."""
        end = time.monotonic() + _BUSY_SECONDS
        while True:
            try:
                return self._prepare()
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > end:
                    raise
                self._connection.rollback()
                time.sleep(0.01)

    def _prepare(self) -> None:
        connection = self._connection
        connection.execute(f"PRAGMA cache_size = -{_KEEP_BYTES >> 10}")
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # with WAL: a power failure may lose commits, not harm the file
        if self._pragma("application_id") == 0 and self._is_empty():
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")  # of several that begin at once, one makes the table
            if self._is_empty():
                connection.execute(
                    "CREATE TABLE verdicts (key BLOB PRIMARY KEY, verdict TEXT NOT NULL, checksum BLOB NOT NULL) "
                    "WITHOUT ROWID"
                )
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_SCHEMA}")
            connection.execute("COMMIT")
        if self._pragma("application_id") != _APPLICATION_ID:
            raise DataError(f"{self.path} is a database, but no verdict cache: choose another file")
        version = self._pragma("user_version")
        if version != _SCHEMA:
            raise DataError(
                f"{self.path} is a verdict cache of version {version}, and this program has version {_SCHEMA}: choose "
                "another file, or delete this one (it only saves time)"
            )
        connection.execute("SELECT key, verdict, checksum FROM verdicts LIMIT 1").fetchone()

    def _is_empty(self) -> bool:
        return self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0

    def _pragma(self, name: str) -> int:
        value: int = self._connection.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def _explain(self, error: sqlite3.Error) -> Exception:
        name = getattr(error, "sqlite_errorname", "")
        if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return DataError(
                f"{self.path} is not a verdict cache, or a damaged one ({error}): choose another file, or delete "
                "this one (it only saves time)"
            )
        if name.startswith("SQLITE_BUSY"):
            return RunDirectoryError(
                f"{self.path} was locked by another process for {_BUSY_SECONDS:.0f} s: wait for it, or choose "
                "another file"
            )
        if name.startswith("SQLITE_READONLY"):
            return RunDirectoryError(f"{self.path} can't be written ({error}): choose another file")
        return RunDirectoryError(f"{self.path}: the verdict cache can't be used ({error}): choose another file")

    def _fault(self, what: str) -> None:
        self.faults += 1
        if self.faults == 1:
            warnings.warn(
                f"the verdict cache {self.path} fails ({what}); programs are judged without it where it does",
                RuntimeWarning,
                stacklevel=3,
            )


def _checksum(key: bytes, text: str) -> bytes:
    return hashlib.blake2b(key + text.encode(), digest_size=_CHECK_BYTES).digest()


class VerdictKeys:
    """Makes the keys of a cache: the SHA-256 of `items.TaskTexts.key` (program, tests, language, limits, canary and
    toolchain), the isolation that the judge promises, the versions of this package and of the judge's rules, and the
    names of a verdict's fields."""

    def __init__(self, options: JudgeOptions, isolation: str) -> None:
        surroundings = [isolation, metadata.version("rewardranker"), _RULES, [field.name for field in fields(Verdict)]]
        self._surroundings = hashlib.sha256(json.dumps(surroundings).encode()).digest()
        self._texts = TaskTexts(options)

    def __call__(self, task: Task, sample: Sample) -> tuple[bytes, str] | None:
        """The key and the toolchain that it is of; None for a task that can't be judged on this machine."""
        try:
            content = self._texts.key(task, sample)
            return hashlib.sha256(self._surroundings + content).digest(), self._texts.toolchain(task)
        except (DataError, SandboxError):  # the judge is the one to say so, or has the toolchain elsewhere
            return None


class CachedJudge:
    """A judge that looks into a cache before it runs a program. Implements `types.Judge`.

    Order and verdicts are the judge's own; memory does not grow with
    the number of items.
    """

    def __init__(self, judge: Judge, cache: VerdictCache, options: JudgeOptions) -> None:
        """
        Args:
            options: those that `judge` was made with.
        """
        self._judge = judge
        self._cache = cache
        self.isolation = judge.isolation
        self._key = VerdictKeys(options, judge.isolation)

    def close(self) -> None:
        """Close the judge; the cache stays open."""
        self._judge.close()

    def judge(
        self, items: Iterable[tuple[Task, Sample]], *, known: Iterable[tuple[Task, Sample, Verdict]] = ()
    ) -> Iterator[Verdict]:
        """Yield one verdict for each item, in order; those from the cache say `cached`.

        Args:
            known: verdicts of items that an earlier session judged, for the judge itself.

        Raises:
            DataError, SandboxError: as the judge.
        """
        lookup = _Lookup(iter(items), self._cache, self._key)
        return self._stream(lookup, start_judging(self._judge, lookup.unknown(), known))

    def _stream(self, lookup: _Lookup, verdicts: Iterator[Verdict]) -> Iterator[Verdict]:
        fresh: list[tuple[bytes, Verdict]] = []
        stored = time.monotonic()
        try:
            while True:
                yield from lookup.ready()
                verdict = next(verdicts, None)
                yield from lookup.ready()
                if verdict is None:
                    if lookup.exhausted:
                        return
                    verdicts = self._judge.judge(lookup.unknown())
                    continue
                key = lookup.take_unknown()
                if key is not None and self._is_what_the_key_says(verdict, key[1]):
                    fresh.append((key[0], verdict))
                if len(fresh) >= _COMMIT_RECORDS or (fresh and time.monotonic() - stored >= _COMMIT_SECONDS):
                    self._cache.put_many(fresh)
                    fresh, stored = [], time.monotonic()
                yield verdict
        finally:
            self._cache.put_many(fresh)

    def _is_what_the_key_says(self, verdict: Verdict, toolchain: str) -> bool:
        """Made here and now, with the isolation and the toolchain that are in the key: other machines may differ."""
        made = (verdict.cached, verdict.isolation, verdict.toolchain)
        return made == (False, self.isolation, toolchain)


class _Lookup:
    """Splits a stream into verdicts that the cache has and items that it has not, and remembers their order."""

    def __init__(self, items: Iterator[tuple[Task, Sample]], cache: VerdictCache, key: VerdictKeys) -> None:
        self.exhausted = False
        self._items = items
        self._cache = cache
        self._key = key
        self._order: deque[Verdict | tuple[bytes, str] | None] = deque()
        """A verdict that was found, or the key and toolchain of an item that the judge has."""
        self._waiting = 0

    def unknown(self) -> Iterator[tuple[Task, Sample]]:
        """The items that have to be judged. It ends early when too many found verdicts wait behind one of them."""
        while self._waiting < _MOST_WAITING:
            items = list(itertools.islice(self._items, _LOOK_AHEAD))
            if not items:
                self.exhausted = True
                return
            keys = [self._key(task, sample) for task, sample in items]
            found = self._cache.get_many(key[0] for key in keys if key is not None)
            for (task, sample), key in zip(items, keys, strict=True):
                if key is not None and key[0] in found:
                    self._waiting += 1
                    self._order.append(replace(found[key[0]], task_id=task.task_id, sample_id=sample.sample_id))
                else:
                    self._order.append(key)
                    yield task, sample

    def ready(self) -> Iterator[Verdict]:
        """The found verdicts whose turn it is."""
        while self._order and isinstance(self._order[0], Verdict):
            self._waiting -= 1
            yield typing.cast(Verdict, self._order.popleft())

    def take_unknown(self) -> tuple[bytes, str] | None:
        """Key and toolchain of the item that the judge's next verdict is of."""
        return typing.cast("tuple[bytes, str] | None", self._order.popleft())
