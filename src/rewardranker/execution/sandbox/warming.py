"""Work done once in the zygote so that it isn't done in every candidate.

What Python does when code runs for the first times (specialising instructions, filling caches of attributes, binding
symbols of libraries) writes to pages that a forked process must then copy, one page fault each. A few rounds over a
program that holds nothing but everyday Python, through the very code that serves real ones, leave those pages as they
will stay. Those that are written to nevertheless, for every candidate, are found with one of them and copied by the
fork (`pinning`).
"""

from __future__ import annotations

import contextlib
import gc
import linecache
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from . import pinning
from .candidate import FILENAME, READY, Candidate
from .confine import Confinement, take
from .wire import Codec, FrameReader, Gone, write_frame

_ROUNDS = 16
"""Python 3.11 specialises a function at its eighth call and caches what it sees in the ones after."""
_PROGRAM = '''
from typing import List, Dict, Optional, Tuple
import math

def f(numbers: List[int], text: str = "a b", *rest, **more) -> Optional[bool]:
    """What programs are made of."""
    total, seen = 0, {}
    for i, number in enumerate(numbers):
        if number % 2 == 0 and number > 1 or not number:
            total += number * i
        elif number in seen:
            seen[number] -= 1
        else:
            seen[number] = abs(number) // 2
    while total > 100:
        total = int(total / 2)
    words = [word.lower() for word in text.split(" ") if len(word) > 0]
    pairs = sorted(((k, v) for k, v in seen.items()), key=lambda pair: pair[1], reverse=True)
    def inner(n):
        return n if n < 2 else inner(n - 1) + n
    try:
        total += inner(3) + max(numbers) - min(numbers) + sum(map(int, numbers)) + math.floor(1.5)
    except ValueError:
        return None
    text = "".join(reversed(words)) + str(total) + text[1:] + f"{total}"
    return text, pairs, all(x >= 0 for x in numbers), set(words)
'''


def warm_up(limit: int, confinement: Confinement) -> None:
    """Do in this process what a candidate will, as far as it does no harm: list its confinement, serve the program."""
    codec = Codec(lambda value: {}, lambda tagged: None)
    function = {"ref": 0}
    questions: list[list[Any]] = [["0", "load", "", _PROGRAM, ["f"]]]
    questions += [["1", "call", function, codec.plain([[1, 2, 3, 4, 5], "A b"]), codec.plain({}), False]] * 2
    questions += [["1", "call", function, codec.plain([[1.5, 2, 250, 4, 5]]), codec.plain({}), False]]
    questions += [["1", "call", function, codec.plain([[]]), codec.plain({}), False]]
    for _ in range(_ROUNDS):
        confinement.steps([0], None, "/tmp", None, True)
        take([(os.getpid, ())], [(os.getpid, ())])
        ours, theirs = socket.socketpair()
        with ours, theirs:
            for question in questions:
                write_frame(ours.fileno(), codec.dumps(question))
            ours.shutdown(socket.SHUT_WR)
            with contextlib.suppress(Gone):
                Candidate(theirs.fileno(), limit).serve()
    del sys.modules["program"], linecache.cache[FILENAME]
    gc.collect()
    gc.freeze()


_LEAST = "def f(number):\n    return [number]\n"
"""A program that writes to no page but those that every one writes to."""


def pin_pages(fork: Callable[[list[int]], int | None], end: Callable[[int], object], are_apart: bool) -> None:
    """Pin what a candidate, or this process on its behalf, writes to whatever the program.

    Args:
        fork: makes a candidate that has this channel.
        end: ends it.
        are_apart: one may be ended while another lives.
    """
    found: tuple[list[pinning.Span], ...] = ()
    (ours, theirs), (unused, other) = socket.socketpair(), socket.socketpair()
    with ours, theirs, unused, other:
        pid = fork([theirs.fileno()])
        if pid is None:
            return
        try:
            if are_apart and (second := fork([other.fileno()])) is not None:
                end(second)
            _ask(ours.fileno())
            found = pinning.own_memory()
        except (OSError, Gone):
            pass  # whatever it is, it is told where it stops a real candidate
        finally:
            end(pid)
    for spans in found:
        pinning.pin(spans)


def _ask(fd: int) -> None:
    """Have a candidate load a program and call it."""
    codec = Codec(lambda value: {}, lambda tagged: None)
    reader = FrameReader(fd, 1 << 16)
    if reader.read() != READY:
        raise Gone
    questions: list[list[Any]] = [["0", "load", "", _LEAST, ["f"]]]
    questions += [["1", "call", {"ref": 0}, [1], codec.plain({}), False]]
    for question in questions:
        write_frame(fd, codec.dumps(question))
        reader.read()
