"""A C++ compiler that has read the standard headers already: programs go in, executables come out.

Runs as `cpp_compiler.py FOLDER` in the sandbox of a server; FOLDER is what `accelerators/cpp.py` prepared. Programs are
compiled by copies of one clang that stopped just before a program's text (`snapshot.c`) and linked by mold. Nothing is
written to a file system: texts, objects and executables are in memory, and gone with the next request.

Says so where it can't tell: texts that do not begin with `#include <bits/stdc++.h>` (they would see headers that they
do not include), all that clang refuses, and programs that call what no library has.
"""

import json
import os
import re
import struct
import sys

_REQUESTS, _REPLIES, _TEXT, _OUTPUT = 100, 101, 102, 103
_OBJECT = 104
_LONGEST = 1 << 26
_LENGTH = struct.Struct("<I")
_DONE, _CANNOT_SAY = b"\0", b"\2"
_WEAK = 2
_LINE = re.compile(rb"[ \t]*(//[^\\\n]*|#[ \t]*include[ \t]*<([\w./+]+)>[ \t]*(//[^\\\n]*)?)?\r?\n")
_ALL_HEADERS = b"bits/stdc++.h"
_PLAIN_HEADERS = (b"assert.h", b"cassert")
"""What may come before all headers: nothing in there changes what they declare."""


def read_exactly(size: int) -> bytes:
    parts = []
    while size:
        part = os.read(0, min(size, 1 << 20))
        if not part:
            sys.exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_frame() -> bytes:
    size = _LENGTH.unpack(read_exactly(_LENGTH.size))[0]
    if size > _LONGEST:
        sys.exit(1)
    return read_exactly(size)


def write_frame(content: bytes) -> None:
    view = memoryview(_LENGTH.pack(len(content)) + content)
    while view:
        view = view[os.write(1, view) :]


def without_all_headers(text: bytes) -> bytes | None:
    """A text whose first directive that matters includes all headers, without it; None: it begins otherwise."""
    place = 0
    while found := _LINE.match(text, place):
        if found[2] == _ALL_HEADERS:
            return text[:place] + b"\n" + text[found.end() :]
        if found[2] and found[2] not in _PLAIN_HEADERS:
            return None
        place = found.end()
    return None


def undefined_symbols(elf: bytes) -> set[bytes]:
    """Names that an object file (64 bits, little-endian) takes from elsewhere and can't do without."""
    offset = struct.unpack_from("<Q", elf, 40)[0]
    size, count = struct.unpack_from("<HH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQIIQQ", elf, offset + size * number) for number in range(count)]
    names = set()
    for section in sections:
        if section[1] != 2:  # not the table of symbols
            continue
        strings = sections[section[6]][4]
        table = elf[section[4] : section[4] + section[5]]
        for name, info, _, where, _, _ in struct.iter_unpack("<IBBHQQ", table):
            if where == 0 and name and info >> 4 != _WEAK:
                start = strings + name
                names.add(elf[start : elf.index(b"\0", start)])
    return names


class Compiler:
    """The stopped clang, and what it takes to link."""

    def __init__(self, folder: str) -> None:
        with open(os.path.join(folder, "commands.json")) as file:
            commands = json.loads(file.read().replace("{folder}", folder))
        self._link: list[str] = [word.replace("{object}", f"/proc/self/fd/{_OBJECT}") for word in commands["link"]]
        with open(os.path.join(folder, "symbols"), "rb") as file:
            self._known = set(file.read().split(b"\n"))
        self._null = os.open(os.devnull, os.O_RDWR)
        self._text, self._object, self._program = (nameless_file() for _ in range(3))
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        given = {0: self._null, 1: self._null, 2: self._null}
        given |= {_REQUESTS: requests, _REPLIES: replies, _TEXT: self._text, _OUTPUT: self._object}
        # Parameters of the preloaded library, and nothing else.
        environment = {
            "LD_PRELOAD": os.path.join(folder, "snapshot.so"),
            "SNAPSHOT_AT": os.path.join(folder, "program.cpp"),
            "SNAPSHOT_ROOTS": commands["roots"],
        }
        self._clang = spawn(commands["compile"], environment, given)
        os.close(requests)
        os.close(replies)

    def compile(self, text: bytes) -> bytes | None:
        """The executable; None: ask another compiler."""
        rest = without_all_headers(text)
        if rest is None:
            return None
        rewrite(self._text, b'#line 1 "program.cpp"\n' + rest)
        rewrite(self._object, b"")
        os.write(self._requests, b"c")
        reply = os.read(self._replies, 4)
        if len(reply) < 4:
            sys.exit(1)  # clang is gone, and a new server starts it again
        if int.from_bytes(reply, "little") != 0:
            return None
        if not undefined_symbols(contents(self._object)) <= self._known:
            return None
        rewrite(self._program, b"")
        pid = spawn(self._link, {}, {0: self._null, 1: self._program, 2: self._null, _OBJECT: self._object})
        if os.waitpid(pid, 0)[1] != 0:
            return None
        return contents(self._program)


def nameless_file() -> int:
    """An empty file that only its descriptor leads to, in memory; in the temporary folder where memory files are
    denied.

    Raises:
        OSError: neither is to be had.
    """
    try:
        return os.memfd_create("file")
    except OSError:
        return os.open(os.environ.get("TMPDIR", "/tmp"), os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC)


def spawn(command: list[str], environment: dict[str, str], descriptors: dict[int, int]) -> int:
    """Start a process that has just these descriptors, by number, and none but them; its process id."""
    actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in descriptors.items()]
    return os.posix_spawn(command[0], command, environment, file_actions=actions)


def rewrite(fd: int, content: bytes) -> None:
    os.ftruncate(fd, 0)
    os.lseek(fd, 0, os.SEEK_SET)
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
    os.lseek(fd, 0, os.SEEK_SET)


def contents(fd: int) -> bytes:
    size = os.fstat(fd).st_size
    return os.pread(fd, size, 0)


def main() -> None:
    try:
        compiler = Compiler(sys.argv[1])
    except OSError:
        compiler = None  # this sandbox allows no files: every program is for others
    while True:
        read_frame()  # the file's name
        text = read_frame()
        program = compiler.compile(text) if compiler else None
        if program is None:
            write_frame(_CANNOT_SAY)
        else:
            name = b"program"
            write_frame(_DONE + _LENGTH.pack(len(name)) + name + _LENGTH.pack(len(program)) + program)


if __name__ == "__main__":
    main()
