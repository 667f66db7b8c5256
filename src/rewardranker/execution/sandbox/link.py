"""The tester's end of the channel to a candidate: questions, answers, and objects that stay on the other side.

Everything that a candidate sends is taken for data. `Remote` stands for one of its objects: what a test does with it
is asked of the program, but for comparisons with the tests' own values, which would tell it the expected ones.
"""

from __future__ import annotations

import contextlib
import os
import sys
import types
from collections import deque
from typing import Any, NoReturn

from .candidate import MUTABLE, READY, builtin_error
from .foreseen import ForeseenCall
from .plan import Plan
from .wire import (
    BUILTIN_ERRORS,
    HEADER,
    BrokenFrame,
    CantCross,
    Codec,
    FrameReader,
    Gone,
    TooLong,
    write_all,
    write_frame,
)

_DETAIL = 500
_AHEAD_BYTES = 1 << 15
"""Of questions sent ahead: fewer than a socket holds, so that sending them never waits for who answers."""


class Halt(BaseException):
    """The candidate gave no answer. Not an `Exception`, so that tests don't take it for one."""

    def __init__(self, status: str, detail: str, gone: bool) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail
        self.gone = gone
        """No later question can be answered either."""


class NotReady(Exception):
    """The candidate died before it had the program: a fault of the judge."""


class Unforeseen(BaseException):
    """A test makes another call than the one sent ahead for it: a fault of the judge, whatever the test catches."""


class _Forged(Exception):
    pass


class Link:
    """Questions to a candidate and its answers."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._reader = FrameReader(fd, limit)
        self._codec = Codec(self._export, self._resolve)
        self._callbacks: list[Any] = []
        self._errors: dict[str, type[Exception]] = {}
        self._in_callback = False
        self._asked: deque[tuple[str, ForeseenCall]] = deque()
        """Calls sent ahead, not yet answered, with their nonces."""
        self._streams = (sys.stdin, sys.stdout, sys.stderr)
        self.halt: Halt | None = None
        """The last failure to answer; tests that swallow it do not pass."""
        self.raised: tuple[BaseException, str] | None = None
        """The last exception that came from the program, and its traceback."""

    def wait_until_ready(self) -> None:
        """
        Raises:
            NotReady: the candidate's process failed.
        """
        try:
            if self._reader.read() != READY:
                raise NotReady
        except (Gone, TooLong):
            raise NotReady from None

    def load(self, plan: Plan, program: str) -> dict[str, Any]:
        """Have the program run; the names of it that the tests need.

        Raises:
            Halt, Exception: it failed.
        """
        return {entry[0]: entry[1] for entry in self.ask("load", plan.setup, program, plan.names) if len(entry) == 2}

    @property
    def is_ahead(self) -> bool:
        """Whether a call was sent ahead that no test has made yet."""
        return bool(self._asked)

    def ask_ahead(self, function: Remote, calls: list[ForeseenCall]) -> None:
        """Send calls, or the first of them, that tests will make next, in this order; `call` then takes the answers."""
        if self._callbacks or (sys.stdin, sys.stdout, sys.stderr) != self._streams:
            return  # a program that calls one reads the answer to that next; what is printed may be wanted
        frames: list[bytes] = []
        size = 0
        for call in calls:
            nonce = os.urandom(8).hex()
            body = f'["{nonce}","call",{{"ref":{function._number}}},{call.text},{{"dict":[]}},false]'.encode("ascii")
            size += HEADER.size + len(body)
            if size > _AHEAD_BYTES:
                break
            frames += (HEADER.pack(len(body)), body)
            self._asked.append((nonce, call))
        with contextlib.suppress(Gone):  # whoever waits for the answers sees it
            write_all(self._fd, b"".join(frames))

    def call(self, function: Remote, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.ask("call", function, args, kwargs)

    def refuse(self, detail: str) -> NoReturn:
        """Give up on a test that needs more than calls and plain data.

        Raises:
            Halt: always, with the status `unsupported`.
        """
        self.halt = Halt("unsupported", detail, False)
        raise self.halt

    def ask(self, operation: str, *parts: Any) -> Any:
        """One question, one answer.

        Raises:
            Halt: no answer, or the question can't be asked.
            Exception: the program's own, as the nearest class that the tests know.
        """
        if self._in_callback:
            self.refuse("a function that a test gives the program calls the program in turn")
        stdin, stdout, stderr = self._streams
        if sys.stdin is not stdin or sys.stderr is not stderr:
            self.refuse("a test replaces sys.stdin or sys.stderr, which is not the program's")
        if self._asked:
            nonce, call = self._asked.popleft()
            if operation != "call" or parts[1:] != (call.args, {}):
                raise Unforeseen(f"{operation} of {parts!r:.200}, but {call.args!r:.200} was foreseen")
            return self._exchange(None, nonce, parts[1], False)
        nonce = os.urandom(8).hex()
        plain = self._codec.plain
        args: tuple[Any, ...] = ()
        captures = False
        try:
            if operation == "call":
                function, args, kwargs = parts
                captures = sys.stdout is not stdout
                sent = [plain(function), [plain(arg) for arg in args], plain(kwargs), captures]
            else:
                sent = [plain(part) for part in parts]
        except CantCross as error:
            self.refuse(str(error))
        return self._exchange(self._codec.dumps([nonce, operation, *sent]), nonce, args, captures)

    def _exchange(self, question: bytes | None, nonce: str, args: tuple[Any, ...], captures: bool) -> Any:
        try:
            if question is not None:
                write_frame(self._fd, question)
            return self._answer(nonce, args, captures)
        except Gone:
            self.halt = Halt("exited", "the process ended before it answered", True)
        except TooLong:
            self.halt = Halt("output limit", "the answer is longer than allowed", True)
        except (BrokenFrame, _Forged) as error:
            self.halt = Halt("broken channel", f"not an answer to the question asked: {error}"[:_DETAIL], True)
        raise self.halt

    def _answer(self, nonce: str, args: tuple[Any, ...], captures: bool) -> Any:
        while True:
            message = self._codec.loads(self._reader.read())
            match message:
                case [str(echo), *_] if echo != nonce:
                    raise _Forged("wrong nonce")
                case [_, "ok", value, [*changed]]:
                    for entry in changed:
                        _change(args, entry)
                    return value
                case [_, "raise", [*names], args_or_none, str(text)]:
                    raise self._exception(names, args_or_none, text)
                case [_, "exit", str(text)]:
                    self.halt = Halt("exited", text, False)
                case [_, "syntax", str(text)]:
                    self.halt = Halt("compile error", text, True)
                case [_, "limit"]:
                    self.halt = Halt("output limit", "the answer is longer than allowed", False)
                case [_, "printed", str(text)] if captures:
                    captures = False
                    sys.stdout.write(text)
                    continue
                case [_, "callback", int(number), list(parts), dict(named)] if 0 <= number < len(self._callbacks):
                    self._call_back(nonce, self._callbacks[number], parts, named)
                    continue
                case _:
                    raise _Forged("unknown message")
            raise self.halt

    def _exception(self, names: list[Any], args: Any, text: str) -> Exception:
        if not all(isinstance(name, str) for name in names) or not isinstance(args, list | None):
            raise _Forged("malformed exception")
        error = builtin_error(names, args, text, self._errors)
        self.raised = (error, text)
        return error

    def _call_back(self, nonce: str, function: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        plain = self._codec.plain
        self._in_callback = True
        try:
            reply = [nonce, "ok", plain(function(*args, **kwargs))]
        except CantCross as error:
            self.refuse(str(error))
        except Exception as error:
            names = [cls.__name__ for cls in type(error).__mro__]
            reply = [nonce, "raise", names, [str(a) for a in error.args]]
        finally:
            self._in_callback = False
        write_frame(self._fd, self._codec.dumps(reply))

    # --- references ---------------------------------------------------------------------------------------------

    def _export(self, value: Any) -> dict[str, Any]:
        if type(value) is Remote:
            return {"ref": value._number}
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if module in sys.stdlib_module_names and getattr(sys.modules.get(module), str(name), None) is value:
            return {"ref": -1, "path": [module, name]}
        if isinstance(value, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
            self._callbacks.append(value)
            return {"ref": len(self._callbacks) - 1, "callback": True}
        raise CantCross(f"a test gives the program a {type(value).__name__}, which can't cross to its process")

    def _resolve(self, tagged: dict[str, Any]) -> Any:
        number, name, true = tagged["ref"], tagged["type"], tagged["true"]
        if type(number) is not int or not isinstance(name, str) or not isinstance(true, bool):
            raise BrokenFrame("malformed reference")
        if "error" in tagged:
            return self._error_class(tagged["error"])
        return Remote(self, number, name, true)

    def _error_class(self, names: list[str]) -> type[Exception]:
        """A stand-in for an exception class of the program's, so that tests can expect it by name."""
        name, *bases = names
        if name not in self._errors:
            base = next((BUILTIN_ERRORS[base] for base in bases if base in BUILTIN_ERRORS), Exception)
            self._errors[name] = type(str(name), (base,), {})
        return self._errors[name]


def _change(args: tuple[Any, ...], entry: Any) -> None:
    """Make a container that was an argument hold what the program left in it."""
    match entry:
        case [int(i), new] if 0 <= i < len(args) and type(args[i]) in MUTABLE and type(new) is type(args[i]):
            old = args[i]
            old.clear()
            old.extend(new) if hasattr(old, "extend") else old.update(new)
        case _:
            raise _Forged("malformed change of an argument")


class Remote:
    """An object of the program that stays in the candidate's process.

    It equals nothing but itself, and has no arithmetic, order or `__contains__` of the program's: these would be told
    the expected value and could answer as the test wants. `in` goes through the items instead.
    """

    __slots__ = ("_link", "_number", "_true", "_type")
    _link: Link
    _number: int
    _true: bool
    _type: str

    def __init__(self, link: Link, number: int, type_name: str, true: bool) -> None:
        set_ = object.__setattr__
        set_(self, "_link", link)
        set_(self, "_number", number)
        set_(self, "_type", type_name)
        set_(self, "_true", true)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._link.call(self, args, kwargs)

    def __eq__(self, other: object) -> bool:
        if type(other) is Remote and other._number != self._number:
            self._link.refuse(f"a test compares two objects of the program ({self._type} and {other._type})")
        return type(other) is Remote

    def __hash__(self) -> int:
        return hash(("remote", self._number))

    def __bool__(self) -> bool:
        return bool(self._true)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._link.ask("operate", "attr", self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._link.ask("operate", "setattr", self, name, value)

    def __getitem__(self, key: Any) -> Any:
        return self._link.ask("operate", "item", self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._link.ask("operate", "setitem", self, key, value)

    def __len__(self) -> int:
        return int(self._link.ask("operate", "len", self))

    def __iter__(self) -> Any:
        return self._link.ask("operate", "iter", self)

    def __next__(self) -> Any:
        return self._link.ask("operate", "next", self)

    def __str__(self) -> str:
        return str(self._link.ask("operate", "str", self))

    def __repr__(self) -> str:
        return str(self._link.ask("operate", "repr", self))

    # What only an object can be meant for, and this one can't do.

    def __instancecheck__(self, instance: object) -> bool:
        if type(instance) is Remote:
            self._link.refuse(f"a test asks whether an object is an instance of the program's class {self._type}")
        return False

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[type, ...]:
        self._link.refuse("a test derives a class from one of the program's")

    def __enter__(self) -> Any:
        self._link.refuse(f"a test uses an object of the program ({self._type}) in a with statement")

    def __exit__(self, *_: object) -> None: ...

    def __await__(self) -> Any:
        self._link.refuse(f"a test awaits an object of the program ({self._type})")
