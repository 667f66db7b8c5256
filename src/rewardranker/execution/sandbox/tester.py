"""The process that runs a task's tests against a candidate: the only one that knows the expected values.

Where the tests name the program's function they get a `Remote`, which asks the candidate over the channel. What comes
back is decoded to builtin objects, so every comparison is between objects made here. A `Remote` that stands for
an object which can't cross (an instance, a generator, a function) equals nothing but itself: a candidate's `__eq__` is
never asked. Arguments that the program changed in place are changed here too.
"""

from __future__ import annotations

import gc
import json
import os
import random
import socket
import sys
import traceback
import types
from typing import Any

from .candidate import MUTABLE, READY, builtin_error
from .plan import BadTests, Plan, make_plan
from .wire import BrokenFrame, CantCross, Codec, FrameReader, Gone, TooLong, write_frame

_DETAIL = 500
_PLANS = 64
"""Compiled tests kept: samples of one task come together."""


class Halt(BaseException):
    """The candidate gave no answer. Not an `Exception`, so that tests don't take it for one."""

    def __init__(self, status: str, detail: str, gone: bool) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail
        self.gone = gone
        """No later question can be answered either."""


class NotReady(Exception):
    """The candidate died before it had the program: a fault of the judge."""


class Link:
    """Questions to a candidate and its answers."""

    def __init__(self, fd: int, limit: int) -> None:
        self._fd = fd
        self._reader = FrameReader(fd, limit)
        self._codec = Codec(self._export, self._resolve)
        self._callbacks: list[Any] = []
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

    def call(self, function: Remote, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return self.ask("call", function, args, kwargs)

    def ask(self, operation: str, *parts: Any) -> Any:
        """One question, one answer.

        Raises:
            Halt: no answer.
            Exception: the program's own, as the nearest builtin class.
            CantCross: a part of the question can't be sent.
        """
        nonce = os.urandom(8).hex()
        plain = self._codec.plain
        if operation == "call":
            function, args, kwargs = parts
            sent = [plain(function), [plain(arg) for arg in args], plain(kwargs)]
        else:
            args = ()
            sent = [plain(part) for part in parts]
        try:
            write_frame(self._fd, self._codec.dumps([nonce, operation, *sent]))
            return self._answer(nonce, args)
        except Gone:
            self.halt = Halt("exited", "the process ended before it answered", True)
        except TooLong:
            self.halt = Halt("output limit", "the answer is longer than allowed", True)
        except (BrokenFrame, _Forged) as error:
            self.halt = Halt("broken channel", f"not an answer to the question asked: {error}"[:_DETAIL], True)
        raise self.halt

    def _answer(self, nonce: str, args: tuple[Any, ...]) -> Any:
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
                case [_, "callback", int(number), list(parts), dict(named)] if 0 <= number < len(self._callbacks):
                    self._call_back(nonce, self._callbacks[number], parts, named)
                    continue
                case _:
                    raise _Forged("unknown message")
            raise self.halt

    def _exception(self, names: list[Any], args: Any, text: str) -> Exception:
        if not all(isinstance(name, str) for name in names) or not isinstance(args, list | None):
            raise _Forged("malformed exception")
        error = builtin_error(names, args, text)
        self.raised = (error, text)
        return error

    def _call_back(self, nonce: str, function: Any, args: list[Any], kwargs: dict[str, Any]) -> None:
        plain = self._codec.plain
        try:
            reply = [nonce, "ok", plain(function(*args, **kwargs))]
        except Exception as error:
            names = [cls.__name__ for cls in type(error).__mro__]
            reply = [nonce, "raise", names, [str(a) for a in error.args]]
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
        return Remote(self, number, name, true)


class _Forged(Exception):
    pass


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

    It has no comparison, arithmetic or `__contains__` of the program's: these would be told the expected value and
    could answer as the test wants. `in` goes through the items instead.
    """

    __slots__ = ("_link", "_number", "_true", "_type")

    def __init__(self, link: Link, number: int, type_name: str, true: bool) -> None:
        set_ = object.__setattr__
        set_(self, "_link", link)
        set_(self, "_number", number)
        set_(self, "_type", type_name)
        set_(self, "_true", true)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._link.call(self, args, kwargs)

    def __eq__(self, other: object) -> bool:
        return type(other) is Remote and other._number == self._number

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
        return f"<{self._type} in the program's process>"


# --- the process --------------------------------------------------------------------------------------------------


def serve(connection: socket.socket, limit: int) -> None:
    """Run the tests of one program after the other: a descriptor (the candidate's channel) and an item come in, a
    report goes out: `{"outcome": [status, detail, tests passed, tests in all, whether the candidate is gone]}`,
    `{"bad_tests": text}` or `{"fault": text}`.

    Args:
        limit: bytes of a candidate's answer.
    """
    reader = FrameReader(connection.fileno(), 1 << 31)
    plans: dict[str, Plan] = {}
    gc.freeze()
    while True:
        command, fds, _, _ = socket.recv_fds(connection, 1, 1)
        if not command:
            return
        item = json.loads(reader.read())
        report: dict[str, Any]
        try:
            plan = plans.pop(item["key"], None) or make_plan(item["task"])
            plans[item["key"]] = plan
            report = {"outcome": run_tests(plan, item["program"], fds[0], limit)}
        except BadTests as error:
            report = {"bad_tests": str(error)}
        except NotReady:
            report = {"fault": "the candidate's process failed before it had the program"}
        except Exception:
            report = {"fault": traceback.format_exc()[-1000:]}
        os.close(fds[0])
        if len(plans) > _PLANS:
            del plans[next(iter(plans))]
        write_frame(connection.fileno(), json.dumps(report).encode())


# --- the tests --------------------------------------------------------------------------------------------------


def run_tests(plan: Plan, program: str, fd: int, limit: int) -> list[Any]:
    """Decide one program.

    Returns:
        [status, detail, tests passed, tests in all, whether the candidate was gone].

    Raises:
        NotReady: the candidate's process failed before it had the program.
    """
    random.seed(0)
    link = Link(fd, limit)
    link.wait_until_ready()
    space: dict[str, Any] = {"__name__": "__tests__"}
    failure = _attempt(link, lambda: space.update(link.load(plan, program)))
    if failure is None and plan.entry_point is not None and plan.entry_point not in space:
        failure = ("no function", f"the program does not define {plan.entry_point}", False)
    if failure is None:
        failure = _attempt(link, lambda: _prepare(plan, space))
    if failure is not None:
        return [failure[0], failure[1], 0, plan.total, failure[2]]
    if plan.source is not None:
        failure = _attempt(link, lambda: _run_source(plan, space), plan.lines)
        passed = int(failure is None)
        return [*(failure[:2] if failure else ("passed", "")), passed, plan.total, bool(failure and failure[2])]
    return _run_asserts(plan, link, space)


def _prepare(plan: Plan, space: dict[str, Any]) -> None:
    import importlib

    for name in plan.modules:
        space[name] = importlib.import_module(name)
    entry = space.get(plan.entry_point or "")
    for code in plan.prelude:
        exec(code, space)
    if plan.entry_point:
        space[plan.entry_point] = entry


def _run_source(plan: Plan, space: dict[str, Any]) -> None:
    assert plan.source is not None
    entry = space.get(plan.entry_point or "")
    exec(plan.source, space)
    if plan.calls_check:
        space["check"](entry)


def _run_asserts(plan: Plan, link: Link, space: dict[str, Any]) -> list[Any]:
    """All statements are run, so that the share that holds is right; only a dead candidate ends it early."""
    passed, first = 0, None
    for text, code in plan.asserts:
        failure = _attempt(link, lambda code=code: exec(code, space), [text])
        if failure is None:
            passed += 1
            continue
        first = first or failure
        if failure[2]:
            return [*failure[:2], passed, plan.total, True]
    return [*(first[:2] if first else ("passed", "")), passed, plan.total, False]


def _attempt(link: Link, work: Any, lines: list[str] | None = None) -> tuple[str, str, bool] | None:
    """Run a piece of the tests: None if it holds, else (status, detail, whether the candidate is gone)."""
    link.halt = link.raised = None
    try:
        work()
    except Halt as halt:
        return halt.status, halt.detail, halt.gone
    except CantCross as error:
        return "unsupported", str(error), False
    except BaseException as error:
        if link.halt is None:
            return (*_explain(link, error, lines or []), False)
    if link.halt is not None:
        return link.halt.status, link.halt.detail, link.halt.gone
    return None


def _explain(link: Link, error: BaseException, lines: list[str]) -> tuple[str, str]:
    if link.raised is not None and link.raised[0] is error:
        if isinstance(error, MemoryError):
            return "out of memory", link.raised[1][-_DETAIL:]
        if isinstance(error, OSError) and error.errno == 27:
            return "output limit", link.raised[1][-_DETAIL:]
        return "exception", link.raised[1][-_DETAIL:]
    if isinstance(error, MemoryError):
        return "out of memory", "the tests ran out of memory on the program's answer"
    if isinstance(error, NameError) and error.name is not None:
        return "no function", f"the program does not define {error.name}"
    where = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<tests>"]
    number = where[-1].lineno if where else None
    source = "\n".join(lines).splitlines()
    line = source[number - 1].strip() if number and number <= len(source) else ""
    if isinstance(error, AssertionError):
        text = f"{line}\n{error}" if str(error) else line
    else:
        text = f"{line}\n{type(error).__name__}: {error}"
    return "wrong answer", text.strip()[:_DETAIL]
