"""The encoding of plain data: what goes in comes out, and nothing else can be made to come out."""

from __future__ import annotations

import array
import datetime
import json
import math
import os
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction

import pytest

from rewardranker.execution.sandbox.wire import BrokenFrame, CantCross, Codec, FrameReader, Gone, TooLong, write_frame


def refuse(value: object) -> dict:
    raise CantCross(type(value).__name__)


CODEC = Codec(refuse, lambda tagged: ("resolved", tagged["ref"]))


def crossed(value: object) -> object:
    return CODEC.loads(CODEC.dumps([CODEC.plain(value)]))[0]


def random_value(rng: random.Random, depth: int) -> object:
    scalars = (
        lambda: rng.randint(-(10 ** rng.randint(1, 40)), 10**6),
        lambda: rng.choice([0.0, -0.0, math.inf, -math.inf, rng.random() * 10 ** rng.randint(-300, 300)]),
        lambda: "".join(chr(rng.choice([0, 10, 34, 92, 200, 0xD800, 0x1F600])) for _ in range(rng.randint(0, 5))),
        lambda: rng.choice(
            [None, True, False, ..., int, b"\0\xff", 1 + 2j, range(5, 1, -2), Decimal("1.50"), Fraction(2, 3)]
        ),
    )
    if depth == 0 or rng.random() < 0.3:
        return rng.choice(scalars)()
    items = [random_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    hashable = [rng.choice(scalars)() for _ in range(3)]
    return rng.choice(
        [
            items,
            tuple(items),
            deque(items),
            dict(zip(hashable, items, strict=False)),
            set(hashable),
            frozenset(hashable),
        ]
    )


def test_random_values_come_back_equal_and_of_the_same_type() -> None:
    rng = random.Random(0)
    for _ in range(500):
        value = random_value(rng, 4)
        back = crossed(value)
        assert back == value
        assert repr(back) == repr(value) or isinstance(value, set | frozenset) or "{" in repr(value)


@pytest.mark.parametrize(
    "value",
    [
        array.array("d", [1.5, 2]),
        bytearray(b"x"),
        datetime.datetime(2020, 1, 2, 3, 4, 5, 6),
        datetime.time(1, 2),
        datetime.timedelta(days=-1, microseconds=3),
        slice(1, None, 2),
        NotImplemented,
        {"ref": 1, "tuple": [1]},
        {"int": "0x1"},
        10**5000,
    ],
    ids=lambda value: type(value).__name__,
)
def test_rare_value_comes_back(value: object) -> None:
    assert crossed(value) == value
    assert type(crossed(value)) is type(value)


def test_nan_comes_back() -> None:
    assert math.isnan(crossed(math.nan))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "base"),
    [
        (type("I", (int,), {"__int__": lambda self: 9, "__index__": lambda self: 9})(3), 3),
        (type("S", (str,), {"__str__": lambda self: "no"})("yes"), "yes"),
        (type("F", (float,), {"__float__": lambda self: 9.0})(1.5), 1.5),
        (type("L", (list,), {"__iter__": lambda self: iter([9])})([1, 2]), [1, 2]),
        (type("T", (tuple,), {"__iter__": lambda self: iter([9])})((1, 2)), (1, 2)),
        (type("D", (dict,), {"items": lambda self: []})(a=1), {"a": 1}),
        (type("Z", (set,), {"__iter__": lambda self: iter([9])})({1}), {1}),
        (type("C", (Counter,), {"items": lambda self: []})("aab"), {"a": 2, "b": 1}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subclass_crosses_as_its_plain_base(value: object, base: object) -> None:
    assert crossed(value) == base
    assert type(crossed(value)) is type(base)


@pytest.mark.parametrize(
    "value",
    [OrderedDict(b=1, a=2), Counter("aab"), defaultdict(None, {1: [2]})],
    ids=lambda value: type(value).__name__,
)
def test_dicts_of_collections_cross_as_what_they_are(value: dict[object, object]) -> None:
    assert crossed(value) == value
    assert type(crossed(value)) is type(value)
    assert list(crossed(value)) == list(value)


def test_named_tuple_keeps_its_names() -> None:
    point = crossed(namedtuple("Point", "x y")(1, [2]))
    assert (point.x, point.y, type(point).__name__) == (1, [2], "Point")
    assert point == (1, [2])


@pytest.mark.parametrize("fields", [("a",), ("a", 1), ("class", "b"), ("_a", "b"), ("a", "a"), "ab", None])
def test_tuple_with_odd_names_crosses_as_a_tuple(fields: object) -> None:
    assert type(crossed(type("T", (tuple,), {"_fields": fields})((1, 2)))) is tuple


@pytest.mark.parametrize("value", [object(), lambda: 0, iter([1]), (x for x in "a"), Codec, open])
def test_value_without_a_plain_form_is_refused(value: object) -> None:
    with pytest.raises(CantCross):
        CODEC.plain([value])


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        b"{",
        b"\xff",
        b'{"unknown":1}',
        b'{"tuple":5}',
        b'{"tuple":{"range":[0,3]}}',
        b'{"set":[[1]]}',
        b'{"int":"12","set":[]}',
        b'{"int":5}',
        b'{"type":"eval"}',
        b'{"type":"type"}',
        b'{"decimal":"x"}',
        b"{}",
        b"[" * 100_000,
        b"9" * 5000,
        b"[1] [2]",
    ],
)
def test_malformed_frame_is_an_error(frame: bytes) -> None:
    with pytest.raises(BrokenFrame):
        CODEC.loads(frame)


def test_circular_value_is_an_error() -> None:
    value: list[object] = []
    value.append(value)
    with pytest.raises(RecursionError):
        CODEC.plain(value)


def test_frames_cross_in_pieces_and_together() -> None:
    read, write = os.pipe()
    bodies = [json.dumps(list(range(n))).encode() for n in (0, 1, 2000, 3)]
    for body in bodies:
        write_frame(write, body)
    reader = FrameReader(read, 1 << 20)
    assert [reader.read() for _ in bodies] == bodies
    os.write(write, b"\x05\x00")
    os.close(write)
    with pytest.raises(Gone):
        reader.read()
    os.close(read)


def test_frame_over_the_limit_is_refused_before_it_is_read() -> None:
    read, write = os.pipe()
    os.write(write, b"\x65\x00\x00\x00")
    with pytest.raises(TooLong):
        FrameReader(read, 100).read()
    os.close(read)
    os.close(write)
