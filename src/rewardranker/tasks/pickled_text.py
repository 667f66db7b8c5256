"""The one text in a pickle, read without unpickling.

A pickle is a program; unpickling an untrusted one runs whatever it says. LiveCodeBench packs a JSON text as a pickle
(base64 of zlib of pickle). Here the pickle's instructions are only listed, with `pickletools`, and accepted when they
are exactly those that make one `str`: a protocol mark, frames, one text, notes in the memo, and the end. Everything
else is refused, whatever it would do.

Guaranteed: nothing of the pickle is executed; no unpickler is made. Not guaranteed: what the text says.
"""

from __future__ import annotations

import base64
import binascii
import pickletools
import zlib

from rewardranker.errors import DataError

LARGEST = 1 << 30
"""Bytes of an unpacked pickle: compressed data may say that it is much more."""

_TEXTS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_NOTES = {"MEMOIZE", "BINPUT", "LONG_BINPUT", "PUT"}
"""They put the text into the memo, where nothing reads it."""


def packed_text(packed: str, where: str) -> str:
    """The text in base64 of zlib of a pickled `str`.

    Args:
        where: file, row and column, named in errors.

    Raises:
        DataError: it is not that, is too large, or its pickle does anything but hold one text.
    """
    try:
        compressed = base64.b64decode(packed.encode("ascii"), validate=True)
        unpacker = zlib.decompressobj()
        pickled = unpacker.decompress(compressed, LARGEST)
    except (UnicodeEncodeError, binascii.Error, zlib.error) as error:
        raise DataError(f"{where}: expected JSON, or base64 of zlib of a pickled text: {error}") from None
    if not unpacker.eof:
        raise DataError(f"{where}: the packed data is cut off, or holds more than {LARGEST >> 20} MiB")
    return pickled_text(pickled, where)


def pickled_text(pickled: bytes, where: str) -> str:
    """The text that a pickle of exactly one `str` holds.

    Raises:
        DataError: see `packed_text`.
    """
    text: str | None = None
    end = -1
    try:
        for opcode, argument, position in pickletools.genops(pickled):
            if opcode.name == "STOP":
                end = position or 0
            elif opcode.name in _TEXTS and text is None and isinstance(argument, str):
                text = argument
            elif opcode.name == "PROTO" and position == 0:
                pass
            elif opcode.name != "FRAME" and not (opcode.name in _NOTES and text is not None):
                raise DataError(
                    f"{where}: the pickle in it has the instruction {opcode.name} at byte {position}; only a plain "
                    "text is read, and nothing is ever unpickled"
                )
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{where}: the pickle in it is broken: {str(error)[:200]}") from None
    if text is None or end != len(pickled) - 1:
        raise DataError(f"{where}: the pickle in it does not hold one text and nothing else")
    return text
