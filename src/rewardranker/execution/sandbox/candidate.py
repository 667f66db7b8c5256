"""The process that runs one program: it loads the source, then answers calls until it is killed.

Nothing here is trusted once the program runs: it can read and change everything in this process, this code and its
channel included. What it can do with them is answer, and an answer is all that the tester takes from it. Neither the
tests nor the expected values are ever in this process or in one it was forked from.

Messages: `[nonce, operation, ...]` comes in, one of these goes out:
    [nonce, "ok", value, changed]      changed: [[argument number, new value], ...] of arguments changed in place
    [nonce, "raise", names, args, text]    class names from the exception's own to `object`; its arguments or null
    [nonce, "exit", text]              SystemExit
    [nonce, "syntax", text]            the program does not compile
    [nonce, "limit"]                   the answer is longer than allowed
    [nonce, "callback", number, args, kwargs]   call a function of the tests; answered by an "ok" or "raise" message
    [nonce, "printed", text]           what a call printed, ahead of its answer, where the tests catch it
"""

from __future__ import annotations

import importlib
import io
import json
import linecache
import os
import sys
import traceback
import types
from collections import deque
from collections.abc import Mapping
from typing import Any

from . import process
from .wire import BUILTIN_ERRORS, Codec, FrameReader, Gone, write_frame

MUTABLE = (list, dict, set, bytearray, deque)
READY = b'"ready"'
"""Sent before the program is read: a candidate that dies earlier is the judge's fault, not the program's."""
FILENAME = "<program>"
NO_MEMORY = 102
"""Exit status when there is no memory left even to say so."""
NOT_EXECUTED = 103
_TAIL = 600
_LOADED = 1 << 31


class Candidate:
    """One program and the objects that the tests hold references to."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._limit = limit
        self._reader = FrameReader(fd, _LOADED)
        self._codec = Codec(self._export, self._resolve)
        self._objects: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._described = False
        self._nonce = ""

    def serve(self) -> None:
        """Answer until the tester is gone."""
        write_frame(self._fd, READY)
        while True:
            self._nonce, operation, *parts = self._codec.loads(self._reader.read())
            try:
                reply = getattr(self, f"_do_{operation}")(*parts)
            except _NotCompiled as error:
                reply = ["syntax", str(error)]
            except BaseException as error:
                reply = self._failure(error)
            self._reply(reply)

    def _reply(self, reply: list[Any]) -> None:
        body = self._codec.dumps([self._nonce, *reply])
        if len(body) > self._limit:
            body = self._codec.dumps([self._nonce, "limit"])
        write_frame(self._fd, body)

    # --- operations ---------------------------------------------------------------------------------------------

    def _do_load(self, setup: str, program: str, names: list[str]) -> list[Any]:
        module = types.ModuleType("program")
        sys.modules["program"] = module
        self._space = module.__dict__
        load(setup, program, self._space)
        found = []
        for name in names:
            found.append([name, self._codec.plain(self._space[name])] if name in self._space else [name])
        return ["ok", found, []]

    def _do_call(self, function: Any, args: list[Any], kwargs: dict[str, Any], captures: bool) -> list[Any]:
        plain = self._codec.plain
        mutable = [(i, arg, plain(arg)) for i, arg in enumerate(args) if type(arg) in MUTABLE]
        value = plain(self._printing(function, args, kwargs) if captures else function(*args, **kwargs))
        changed = []
        for i, arg, before in mutable:
            after = plain(arg)
            if after != before:
                changed.append([i, after])
        return ["ok", value, changed]

    def _printing(self, function: Any, args: list[Any], kwargs: dict[str, Any]) -> Any:
        """Call a function and send what it prints."""
        stdout, text = sys.stdout, io.StringIO()
        sys.stdout = text
        try:
            return function(*args, **kwargs)
        finally:
            sys.stdout = stdout
            self._reply(["printed", text.getvalue()])

    def _do_operate(self, name: str, *operands: Any) -> list[Any]:
        return ["ok", self._codec.plain(OPERATIONS[name](*operands)), []]

    # --- references ---------------------------------------------------------------------------------------------

    def _export(self, value: Any) -> dict[str, Any]:
        number = self._numbers.get(id(value))
        if number is None:
            number = self._numbers[id(value)] = len(self._objects)
            self._objects.append(value)
        reference = {
            "ref": number,
            "type": type(value).__name__,
            "true": True if isinstance(value, type | types.FunctionType) else bool(value),
        }
        if isinstance(value, type) and issubclass(value, BaseException):
            reference["error"] = [cls.__name__ for cls in value.__mro__]
        return reference

    def _resolve(self, tagged: dict[str, Any]) -> Any:
        if "path" in tagged:
            module, name = tagged["path"]
            return getattr(importlib.import_module(module), name)
        if "callback" in tagged:
            return self._callback(tagged["ref"])
        return self._objects[tagged["ref"]]

    def _callback(self, number: int) -> Any:
        def function(*args: Any, **kwargs: Any) -> Any:
            message = ["callback", number, self._codec.plain(list(args)), self._codec.plain(kwargs)]
            self._reply(message)
            _, kind, *parts = self._codec.loads(self._reader.read())
            if kind == "raise":
                raise builtin_error(*parts[:2])
            return parts[0]

        return function

    # --- failures -----------------------------------------------------------------------------------------------

    def _failure(self, error: BaseException) -> list[Any]:
        if isinstance(error, Gone):
            os._exit(0)
        if isinstance(error, SystemExit):
            return ["exit", f"SystemExit({error.code!r})"[:_TAIL]]
        names = [cls.__name__ for cls in type(error).__mro__]
        try:
            args = self._codec.plain(list(error.args))
        except BaseException:
            args = None
        try:
            text = f"{names[0]}: {error}"[:_TAIL] if self._described else describe(error)
        except BaseException:
            text = names[0]
        self._described = True
        return ["raise", names, args, text]


class _NotCompiled(Exception):
    pass


def load(setup: str, program: str, space: dict[str, Any]) -> None:
    """Run the setup code and the program in a namespace.

    Raises:
        _NotCompiled: the program's source is not Python.
    """
    if setup:
        exec(compile(setup, "<setup>", "exec", dont_inherit=True), space)
    lines = program.splitlines(keepends=True)
    linecache.cache[FILENAME] = (len(program), None, lines, FILENAME)
    try:
        code = compile(program, FILENAME, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, OverflowError) as error:
        raise _NotCompiled("".join(traceback.format_exception_only(error))[-_TAIL:]) from None
    exec(code, space)


def describe(error: BaseException) -> str:
    """The end of a traceback, the judge's own frames left out."""
    frames = traceback.extract_tb(error.__traceback__)
    while frames and frames[0].filename not in (FILENAME, "<setup>"):
        del frames[0]
    lines = traceback.format_list(frames[-3:]) + traceback.format_exception_only(error)
    return "".join(lines).rstrip()[-_TAIL:]


def builtin_error(
    names: list[str], args: list[Any] | None, text: str = "", known: Mapping[str, type[Exception]] = BUILTIN_ERRORS
) -> Exception:
    """The exception that a crossed one stands for: the nearest class in its method resolution order that is `known` or
    builtin."""
    known = {**BUILTIN_ERRORS, **known}
    cls = next((known[name] for name in names if name in known), Exception)
    try:
        return cls(*(args if args is not None else [text]))
    except Exception:
        return Exception(text)


def _next(iterator: Any) -> Any:
    return next(iterator)


OPERATIONS: dict[str, Any] = {
    "attr": getattr,
    "setattr": setattr,
    "item": lambda value, key: value[key],
    "setitem": lambda value, key, item: value.__setitem__(key, item),
    "len": len,
    "iter": iter,
    "next": _next,
    "str": str,
    "repr": repr,
}
"""What tests may do with an object that stays in the candidate's process, besides calling it."""


def say_why_not(fd: int, error: Exception) -> None:
    """End a process that could not be confined, and tell the reason in place of the greeting."""
    write_frame(fd, json.dumps(f"{type(error).__name__}: {error}").encode())
    os._exit(1)


def execute(fd: int, argv: list[str], environment: dict[str, str], as_child: bool) -> None:
    """Become the program of a command line; the channel closes by itself when that happened.

    Where it can't, the reason is told on the channel: a toolchain that does not start is never a program's fault.

    Args:
        as_child: run it as a child, whose wait status is told on the channel. For the first process of a process
            namespace: it ignores signals that end others, `abort` among them, and would end otherwise than elsewhere.
    """
    write_frame(fd, READY)
    pid = process.fork() if as_child else 0
    if pid == 0:
        try:
            os.execve(argv[0], argv, environment)
        except OSError as error:
            write_frame(fd, json.dumps(error.strerror).encode())
        os._exit(NOT_EXECUTED)
    process.close_memory()
    for standard in range(3):
        os.close(standard)
    ended, status = os.wait()
    while ended != pid:
        ended, status = os.wait()
    write_frame(fd, str(status).encode())
    os._exit(0)


def run_whole_program(fd: int) -> None:
    """Run a program that reads standard input and prints; ends the process.

    Exit status: 0, the program's own, or 1 with a traceback on standard error. What went wrong on the way is told on
    the channel, for the verdict's word only: what was printed decides.
    """
    write_frame(fd, READY)
    reader = FrameReader(fd, _LOADED)
    codec = Codec(lambda value: {}, lambda tagged: None)
    _, setup, program = codec.loads(reader.read())
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    sys.argv = ["program.py"]
    status = 0
    word = "exit"
    try:
        load(setup, program, module.__dict__)
    except _NotCompiled as error:
        word, status = "syntax", 1
        sys.stderr.write(str(error))
    except SystemExit as error:
        code = error.code
        status = code & 0xFF if isinstance(code, int) else 0 if code is None else 1
        if status == 1 and not isinstance(code, int):
            sys.stderr.write(str(code))
    except BaseException as error:
        word, status = "memory" if isinstance(error, MemoryError) else "raise", 1
        sys.stderr.write(describe(error))
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        write_frame(fd, codec.dumps([word]))
    except BaseException:
        status = status or 1
    os._exit(status)
