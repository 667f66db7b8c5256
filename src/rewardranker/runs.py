"""The run directory: records as JSON Lines, checkpoints, a manifest, resumption after any kill.

Guarantees: a file that has its final name is complete (`write_*` write beside it, sync, rename); a `RecordLog` loses
at most the records that were not yet appended and never shows a half-written line; two processes never write to one
run directory. Not guaranteed: safety on filesystems without working `flock` or atomic rename, or two machines that
write one file at the same time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import fcntl
import json
import math
import os
import platform
import re
import shutil
import time
import types
import typing
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, Generic, TypeVar

from rewardranker.errors import DataError, RunDirectoryError

T = TypeVar("T")


# --- one record <-> one line ------------------------------------------------------------------------------------


def to_json(record: object) -> str:
    """The JSON line of a record (no newline). NaN and infinities are refused: JSON has none.

    Raises:
        DataError: a field holds NaN or an infinity.
    """
    try:
        return json.dumps(_plain(record), ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise DataError(f"a record can't be written: {error}: {str(record)[:200]}") from None


def _plain(value: Any) -> Any:
    """Dataclasses to dicts without `asdict`'s deep copies, which dominate the writing of token lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], int | float):
            return value
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return value


def from_json(line: str, cls: type[T], where: str = "record") -> T:
    """The record of one JSON line. Columns that `cls` does not have are ignored; missing optional ones default.

    Args:
        where: file and line, named in errors.

    Raises:
        DataError: broken JSON, not an object, a missing column, or a column of the wrong type.
    """
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}: broken JSON ({error.msg} at column {error.colno}); repair or remove this line"
        ) from None
    if not isinstance(row, dict):
        raise DataError(f"{where}: expected a JSON object with the columns of {cls.__name__}, got {type(row).__name__}")
    return from_row(row, cls, where)


def from_row(row: Mapping[str, Any], cls: type[T], where: str = "record") -> T:
    """As `from_json`, from a dict (a row of a `datasets.Dataset`, say)."""
    values: dict[str, Any] = {}
    for name, (annotation, required) in _fields(cls).items():
        if name in row and not (row[name] is None and not required):
            values[name] = _convert(row[name], annotation, f"{where}: column '{name}'")
        elif required:
            have = ", ".join(sorted(row)) or "none"
            raise DataError(f"{where}: column '{name}' is missing ({cls.__name__} needs it; columns here: {have})")
    return cls(**values)


_FIELDS: dict[type, dict[str, tuple[Any, bool]]] = {}


def _fields(cls: type) -> dict[str, tuple[Any, bool]]:
    if cls not in _FIELDS:
        hints = typing.get_type_hints(cls)
        _FIELDS[cls] = {
            f.name: (
                hints[f.name],
                f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
            )
            for f in dataclasses.fields(cls)
        }
    return _FIELDS[cls]


def _convert(value: Any, annotation: Any, where: str) -> Any:
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in args:
            return None
        errors = []
        for option in (a for a in args if a is not type(None)):
            try:
                return _convert(value, option, where)
            except DataError as error:
                errors.append(error)
        raise errors[0]
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise DataError(f"{where}: expected a list, got {_shown(value)}")
        inner = args[0]
        # Token columns: one pass instead of a call for each number.
        if inner in (int, float) and all(type(v) is int or (inner is float and type(v) is float) for v in value):
            return tuple(value)
        return tuple(_convert(item, inner, f"{where}[{i}]") for i, item in enumerate(value))
    if origin is not None and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: expected an object, got {_shown(value)}")
        return {
            str(key): item if isinstance(item, str) else json.dumps(item)
            for key, item in value.items()
            if item is not None
        }
    if dataclasses.is_dataclass(annotation):
        if not isinstance(value, Mapping):
            raise DataError(f"{where}: expected an object, got {_shown(value)}")
        return from_row(value, typing.cast(type, annotation), where)
    if annotation is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise DataError(f"{where}: expected a finite number, got {value}")
        return float(value)
    if annotation is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if annotation is int and isinstance(value, bool):
        raise DataError(f"{where}: expected int, got {_shown(value)}")
    if annotation is str and isinstance(value, int) and not isinstance(value, bool):
        return str(value)  # MBPP's task_id is a number
    if isinstance(value, annotation):
        return value
    raise DataError(f"{where}: expected {annotation.__name__}, got {_shown(value)}")


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


# --- files ------------------------------------------------------------------------------------------------------


def read_records(path: str | Path, cls: type[T]) -> Iterator[T]:
    """Stream the records of a JSON Lines file.

    Raises:
        DataError: the file is missing or empty, or a line is not a record; names file, line, and column.
    """
    path = Path(path)
    count = 0
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    count += 1
                    yield from_json(line, cls, f"{path}:{number}")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file (expected JSON Lines of {cls.__name__})") from None
    except IsADirectoryError:
        raise DataError(f"{path}: is a folder (expected JSON Lines of {cls.__name__})") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text near byte {error.start}; is it compressed or binary?") from None
    if count == 0:
        raise DataError(f"{path}: the file has no records (expected JSON Lines of {cls.__name__})")


def write_records(path: str | Path, records: Iterable[object]) -> int:
    """Write records so that the file appears complete or not at all. Returns how many."""
    count = 0
    with _replacing(Path(path)) as file:
        for record in records:
            file.write(to_json(record) + "\n")
            count += 1
    return count


def write_json(path: str | Path, value: object) -> None:
    """Write one JSON document so that it appears complete or not at all."""
    with _replacing(Path(path)) as file:
        file.write(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> None:
    """Write a text file so that it appears complete or not at all."""
    with _replacing(Path(path)) as file:
        file.write(text)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[typing.TextIO]:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with _disk_errors(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
            with temporary.open("w", encoding="utf-8") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
            _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_folder(path: str | Path) -> Iterator[Path]:
    """A folder (a checkpoint) that appears complete or not at all: write into the yielded one; it takes `path`'s name.

    An older folder of that name stays until the new one is complete.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.old")
    with _disk_errors(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _remove_leftovers(path)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    with file.open("rb") as handle:
                        os.fsync(handle.fileno())
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            _sync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_leftovers(path: Path) -> None:
    """Remove what processes that a kill ended while they wrote `path` left beside it; running ones keep theirs."""
    name = re.compile(re.escape(f".{path.name}.") + r"(\d{1,9})\.tmp")
    for entry in os.scandir(path.parent):
        match = name.fullmatch(entry.name)
        if match is None or _is_running(int(match[1])):
            continue
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            Path(entry.path).unlink(missing_ok=True)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # sends nothing, only asks
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True


def recover_folder(path: str | Path) -> Path | None:
    """The folder last completed under this name by `replacing_folder`, also after a kill between its two renames."""
    path = Path(path)
    old = path.with_name(f".{path.name}.old")
    if not path.exists() and old.exists():
        os.replace(old, path)
    return path if path.exists() else None


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunDirectoryError(
                f"no space left while writing {path}: free some, then give the same command again; it goes on from "
                "the last complete record or checkpoint"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR):
            raise RunDirectoryError(f"{path} can't be written: {error.strerror}; choose another folder") from error
        raise


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class RecordLog(Generic[T]):
    """An append-only JSON Lines file that a long step writes to and resumes from.

    On opening, a last line that a kill left half-written is dropped. A step that works in chunks of `k` records calls
    `keep(len(log) // k * k)` first, so that the batches after a resumption are those of an undisturbed run.
    """

    def __init__(self, path: str | Path, cls: type[T]) -> None:
        self.path = Path(path)
        self._cls = cls
        with _disk_errors(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a buffer would keep what a full disk refused, and write it later.
            self._file = self.path.open("ab", buffering=0)
        self._ends = array("q", [0])  # 8 bytes a record: files of millions are written
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._ends.append(self._ends[-1] + len(line))
        self._file.truncate(self._ends[-1])

    def __len__(self) -> int:
        """Number of complete records in the file."""
        return len(self._ends) - 1

    def keep(self, count: int) -> None:
        """Drop all records after the first `count`."""
        del self._ends[count + 1 :]
        self._file.truncate(self._ends[-1])

    def append(self, records: Iterable[T], sync: bool = True) -> None:
        """Append records in one write and sync. On a full disk nothing of them stays.

        Args:
            sync: False leaves them to the operating system: they outlive this process, but maybe not a power failure
                before `sync` is called.

        Raises:
            RunDirectoryError: the disk is full.
        """
        lines = [(to_json(record) + "\n").encode() for record in records]
        try:
            with _disk_errors(self.path):
                rest = memoryview(b"".join(lines))
                while rest:  # the system may take less than all
                    rest = rest[self._file.write(rest) :]
                if sync:
                    os.fsync(self._file.fileno())
        except BaseException:
            with contextlib.suppress(OSError):
                self._file.truncate(self._ends[-1])
            raise
        for line in lines:
            self._ends.append(self._ends[-1] + len(line))

    def sync(self) -> None:
        """Wait until what was appended is on the disk.

        Raises:
            RunDirectoryError: the disk is full.
        """
        with _disk_errors(self.path):
            os.fsync(self._file.fileno())

    def read(self) -> Iterator[T]:
        """Stream the records that are in the file now."""
        if len(self):
            yield from read_records(self.path, self._cls)

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RecordLog[T]:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


# --- the run directory --------------------------------------------------------------------------------------------


class RunDirectory:
    """A folder that one command owns: its resolved options, its stages, and what each has done.

    Opening it with the options it was made with goes on where it stopped; with other options it is refused, because
    half a run under each would be neither. Use as a context manager: the lock is held inside.
    """

    def __init__(self, path: str | Path, command: str, options: Mapping[str, Any]) -> None:
        """
        Args:
            options: the resolved recipe, as plain JSON values. Keys under `launch` may change between calls.

        Raises:
            RunDirectoryError: another process holds the folder, or it was made by another command or other options.
        """
        self.path = Path(path)
        self._command = command
        self._options = json.loads(json.dumps(_plain(options)))

    def __enter__(self) -> RunDirectory:
        with _disk_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / ".lock").open("a+")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._lock.seek(0)
            owner = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise RunDirectoryError(
                f"{self.path} is in use by process {owner}: wait for it, stop it, or choose another --output-dir"
            ) from None
        self._lock.truncate(0)
        self._lock.write(f"{os.getpid()} on {platform.node()}")
        self._lock.flush()
        try:
            self._open_manifest()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._lock.close()

    def _open_manifest(self) -> None:
        path = self.path / "manifest.json"
        if path.exists():
            try:
                self.manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            except json.JSONDecodeError as error:
                raise RunDirectoryError(f"{path}: broken JSON ({error}); choose another --output-dir") from None
            if self.manifest.get("command") != self._command:
                raise RunDirectoryError(
                    f"{self.path} belongs to `rewardranker {self.manifest.get('command')}`: choose another --output-dir"
                )
            changed = _differences(self.manifest["options"], self._options)
            if changed:
                raise RunDirectoryError(
                    f"{self.path} was started with other options: {'; '.join(changed)}. Give the same options to go "
                    "on, or another --output-dir for a new run"
                )
            return
        foreign = [entry.name for entry in self.path.iterdir() if not entry.name.startswith(".")]
        if foreign:
            raise RunDirectoryError(
                f"{self.path} has files that are not from a run ({', '.join(sorted(foreign)[:5])}): choose another "
                "--output-dir"
            )
        self.manifest = {
            "command": self._command,
            "options": self._options,
            "versions": versions(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "stages": {},
        }
        write_json(path, self.manifest)

    def stage_is_done(self, name: str) -> bool:
        return "seconds" in self.manifest["stages"].get(name, {})

    def figures(self, name: str) -> dict[str, Any]:
        """The figures that a finished stage left."""
        figures: dict[str, Any] = self.manifest["stages"][name]["figures"]
        return figures

    def stage(self, name: str, work: Callable[[], Mapping[str, Any] | None]) -> dict[str, Any]:
        """Do a stage unless it is done already; `work` returns its figures (plain JSON values), kept in the manifest.

        `seconds` adds up the sessions that worked on the stage, except what a kill -9 cut off.
        """
        if self.stage_is_done(name):
            return self.figures(name)
        entry = self.manifest["stages"].setdefault(name, {"sessions": 0, "earlier_seconds": 0.0})
        entry["sessions"] += 1
        write_json(self.path / "manifest.json", self.manifest)
        start = time.monotonic()
        try:
            figures = dict(work() or {})
        except BaseException:
            entry["earlier_seconds"] += time.monotonic() - start
            with contextlib.suppress(OSError, RunDirectoryError):
                write_json(self.path / "manifest.json", self.manifest)
            raise
        entry["seconds"] = round(entry["earlier_seconds"] + time.monotonic() - start, 2)
        entry["figures"] = json.loads(json.dumps(_plain(figures), allow_nan=False))
        write_json(self.path / "manifest.json", self.manifest)
        return dict(entry["figures"])


FREE_OPTIONS = ("micro_batch_tokens", "vllm")
"""Options that decide how the machine is used and not what comes out: they may change on resumption."""


def _differences(old: Any, new: Any, path: str = "") -> list[str]:
    """`key: old -> new` for each option that differs; `launch` (threads, devices, workers) may.

    So may `FREE_OPTIONS`.
    """
    if isinstance(old, dict) and isinstance(new, dict):
        found = []
        for key in sorted({*old, *new}):
            if (path == "" and key == "launch") or key in FREE_OPTIONS:
                continue
            name = f"{path}.{key}" if path else key
            found += _differences(old[key] if key in old else _default(name), new.get(key), name)
        return found
    return [] if old == new else [f"{path}: was {json.dumps(old)}, now {json.dumps(new)}"]


def _default(option: str) -> Any:
    """What a version that did not have the option yet did; None where it is no recipe's."""
    from rewardranker.config import Recipe

    value: Any = Recipe().model_dump(mode="json")
    for key in option.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def versions(
    packages: Sequence[str] = ("rewardranker", "torch", "transformers", "tokenizers", "numpy"),
) -> dict[str, str]:
    """Versions of Python, the platform and the packages that decide the figures of a run."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found
