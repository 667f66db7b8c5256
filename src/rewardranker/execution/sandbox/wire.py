"""Plain data between processes: JSON frames, and tags for what JSON lacks.

What crosses by value: None, bool, int of any size, float (NaN and infinities too), complex, str, bytes, bytearray,
list, tuple, named tuples (without further methods), dict, Counter, OrderedDict, defaultdict (without its factory), set,
frozenset, range, slice, deque, dict views, array, Decimal, Fraction, date/time objects, Ellipsis, and the builtin types
and exception classes. Instances of subclasses of these cross as the plain base: an `IntEnum` member as an int.
Everything else (functions, generators, classes, other instances) stays where it is and crosses as a numbered reference,
if the side that sends has a table of references; `tester.py` says what becomes of each.

Decoding makes builtin objects only, whatever the bytes are; malformed frames raise `BrokenFrame`.
"""

from __future__ import annotations

import array
import builtins
import datetime
import functools
import json
import keyword
import os
import struct
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from types import FunctionType
from typing import Any

HEADER = struct.Struct("<I")


class Gone(Exception):
    """The other side closed the channel or died."""


class BrokenFrame(Exception):
    """The frame is not what this protocol sends."""


class TooLong(Exception):
    """The frame is longer than allowed."""


class CantCross(Exception):
    """The value has no plain form and this side keeps no references."""


# --- values ---------------------------------------------------------------------------------------------------------

BUILTIN_ERRORS: dict[str, type[Exception]] = {
    name: value for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, Exception)
}

_SCALARS = frozenset((str, bool, float, type(None)))
_SMALL = 1 << 62
_DATES = {cls.__name__: cls for cls in (datetime.datetime, datetime.date, datetime.time)}
_TYPES: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        int,
        float,
        complex,
        bool,
        str,
        bytes,
        bytearray,
        list,
        tuple,
        dict,
        set,
        frozenset,
        range,
        type(None),
        object,
        *BUILTIN_ERRORS.values(),
    )
}
_DICTS: dict[type, str] = {OrderedDict: "ordered", Counter: "counter", defaultdict: "defaultdict"}
_EMPTY: dict[None, None] = {}
_VIEWS: dict[type, str] = {type(view): type(view).__name__ for view in (_EMPTY.keys(), _EMPTY.values(), _EMPTY.items())}


class Codec:
    """Values to JSON-able trees and back.

    Args:
        export: makes the reference (a JSON object with the key `ref`) of a value that can't cross by value; raises
            `CantCross`.
        resolve: the value that a received reference stands for.
    """

    def __init__(self, export: Callable[[Any], dict[str, Any]], resolve: Callable[[dict[str, Any]], Any]) -> None:
        self._export = export
        self._resolve = resolve
        # What `json.dumps` and `json.loads` do is little beside what they do before it, and it is done for every call.
        self._chunks = json.encoder.c_make_encoder(  # type: ignore[attr-defined]
            None, json.JSONEncoder().default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, True
        )
        self._scan = json.JSONDecoder(object_hook=self._untag).scan_once  # type: ignore[attr-defined]

    def dumps(self, message: list[Any]) -> bytes:
        return "".join(self._chunks(message, 0)).encode("ascii")

    def loads(self, frame: bytes) -> Any:
        """
        Raises:
            BrokenFrame: the frame is not JSON, or a tag does not hold what it should.
        """
        try:
            text = frame.decode("ascii")
            value, end = self._scan(text, 0)
        except MemoryError:
            raise
        except Exception as error:
            raise BrokenFrame(f"{type(error).__name__}: {error}") from None
        if end != len(text):
            raise BrokenFrame("more than one value")
        return value

    def plain(self, value: Any) -> Any:
        """The JSON-able tree of a value.

        Raises:
            CantCross: there is none.
            RecursionError: the value is nested too deeply, or contains itself.
        """
        kind = type(value)
        if kind in _SCALARS:
            return value
        if kind is int:
            return value if -_SMALL < value < _SMALL else {"int": hex(value)}
        if kind is list:
            return self._items(value)
        if kind is tuple:
            return {"tuple": self._items(value)}
        if kind is dict:
            return {"dict": [[self.plain(k), self.plain(v)] for k, v in value.items()]}
        return self._rare(kind, value)

    def _items(self, values: Any) -> list[Any]:
        plain = self.plain
        return [item if type(item) in _SCALARS else plain(item) for item in values]

    def _rare(self, kind: type, value: Any) -> Any:
        if kind is FunctionType:
            return self._export(value)
        if kind in _DICTS:
            return {_DICTS[kind]: [[self.plain(k), self.plain(v)] for k, v in dict.items(value)]}
        for base, tag in ((set, "set"), (frozenset, "frozenset"), (deque, "deque")):
            if issubclass(kind, base):
                return {tag: self._items(base.__iter__(value))}
        if issubclass(kind, list):
            return self._items(list.__iter__(value))
        if issubclass(kind, tuple) and (names := _names(kind, value)):
            return {"named": [names, self._items(tuple.__iter__(value))]}
        if issubclass(kind, tuple):
            return {"tuple": self._items(tuple.__iter__(value))}
        if issubclass(kind, dict):
            return {"dict": [[self.plain(k), self.plain(v)] for k, v in dict.items(value)]}
        if issubclass(kind, str):
            return str.__str__(value)
        if issubclass(kind, int):
            return self.plain(int.__int__(value))
        if issubclass(kind, float):
            return float.__float__(value)
        if issubclass(kind, complex):
            return {"complex": [float(value.real), float(value.imag)]}
        if issubclass(kind, bytes | bytearray):
            return {"bytes" if issubclass(kind, bytes) else "bytearray": memoryview(value).hex()}
        if kind is range or kind is slice:
            tag = "range" if kind is range else "slice"
            return {tag: [self.plain(value.start), self.plain(value.stop), self.plain(value.step)]}
        if kind in _VIEWS:
            return {_VIEWS[kind]: self._items(value)}
        if kind is array.array:
            return {"array": [value.typecode, self._items(value)]}
        if kind is Decimal:
            return {"decimal": str(value)}
        if kind is Fraction:
            return {"fraction": [self.plain(value.numerator), self.plain(value.denominator)]}
        if kind in _DATES.values():
            return {"date": [type(value).__name__, value.isoformat()]}
        if kind is datetime.timedelta:
            return {"timedelta": [value.days, value.seconds, value.microseconds]}
        if value is Ellipsis or value is NotImplemented:
            return {"constant": str(value)}
        if kind is type and value in _TYPES.values():
            return {"type": value.__name__}
        return self._export(value)

    def _untag(self, tagged: dict[str, Any]) -> Any:
        if "ref" in tagged:
            return self._resolve(tagged)
        ((tag, body),) = tagged.items()
        if tag in _OF_ITEMS and type(body) is not list:
            raise BrokenFrame(f"{tag} without a list")
        return _DECODERS[tag](body)


def _names(kind: type, value: tuple[Any, ...]) -> list[str]:
    """The names of a tuple's class and fields, if they are such as `namedtuple` takes."""
    fields = getattr(kind, "_fields", None)
    if (
        type(fields) is not tuple
        or len(fields) != tuple.__len__(value)
        or not all(type(name) is str for name in fields)
    ):
        return []
    names = [kind.__name__, *fields]
    valid = all(name.isidentifier() and not keyword.iskeyword(name) for name in names)
    distinct = len(set(fields)) == len(fields) and not any(name.startswith("_") for name in fields)
    return names if valid and distinct else []


@functools.lru_cache(256)
def _named_class(name: str, *fields: str) -> Any:
    return namedtuple(name, fields)


_DECODERS: dict[str, Callable[[Any], Any]] = {
    "int": lambda body: int(body, 16),
    "tuple": tuple,
    "dict": dict,
    "named": lambda body: _named_class(*body[0])._make(body[1]),
    "ordered": OrderedDict,
    "counter": lambda body: Counter(dict(body)),
    "defaultdict": lambda body: defaultdict(None, body),
    "set": set,
    "frozenset": frozenset,
    "deque": deque,
    "complex": lambda body: complex(*body),
    "bytes": bytes.fromhex,
    "bytearray": bytearray.fromhex,
    "range": lambda body: range(*body),
    "slice": lambda body: slice(*body),
    "dict_keys": lambda body: dict.fromkeys(body).keys(),
    "dict_values": lambda body: dict(enumerate(body)).values(),
    "dict_items": lambda body: dict(body).items(),
    "array": lambda body: array.array(*body),
    "decimal": lambda body: Decimal(str(body)),
    "fraction": lambda body: Fraction(*body),
    "date": lambda body: _DATES[body[0]].fromisoformat(body[1]),
    "timedelta": lambda body: datetime.timedelta(*body),
    "constant": lambda body: {"Ellipsis": ..., "NotImplemented": NotImplemented}[body],
    "type": lambda body: _TYPES[body],
}

_OF_ITEMS = frozenset(
    ("tuple", "dict", *_DICTS.values(), "set", "frozenset", "deque", "dict_keys", "dict_values", "dict_items")
)

# --- frames ---------------------------------------------------------------------------------------------------------


_FIRST = 4000
"""Bytes to ask for when a frame begins: most are shorter, and room for more costs a candidate pages to be copied."""


def write_frame(fd: int, body: bytes) -> None:
    """
    Raises:
        Gone: nobody reads.
    """
    write_all(fd, HEADER.pack(len(body)) + body)


def write_all(fd: int, frames: bytes) -> None:
    """
    Raises:
        Gone: nobody reads.
    """
    view = memoryview(frames)
    try:
        while view:
            view = view[os.write(fd, view) :]
    except (BrokenPipeError, ConnectionError):
        raise Gone from None


class FrameReader:
    """Frames from a file descriptor, none longer than `limit` bytes."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._buffer = b""

    @property
    def has_begun(self) -> bool:
        """Whether a part of the next frame was read with the last one."""
        return bool(self._buffer)

    def read(self) -> bytes:
        """
        Raises:
            Gone: the other side is gone (also in the middle of a frame).
            TooLong: the frame is longer than the limit.
        """
        buffer = self._buffer
        while len(buffer) < 4:
            buffer += self._chunk(_FIRST)
        (length,) = HEADER.unpack_from(buffer)
        if length > self._limit:
            raise TooLong
        end = 4 + length
        if len(buffer) < end:
            parts = [buffer]
            missing = end - len(buffer)
            while missing > 0:
                parts.append(self._chunk(max(65536, missing)))
                missing -= len(parts[-1])
            buffer = b"".join(parts)
        self._buffer = buffer[end:]
        return buffer[4:end]

    def _chunk(self, size: int) -> bytes:
        try:
            chunk = os.read(self._fd, size)
        except ConnectionError:
            raise Gone from None
        if not chunk:
            raise Gone
        return chunk
