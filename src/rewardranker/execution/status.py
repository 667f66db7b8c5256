"""The words a verdict can have, and what each means."""

from __future__ import annotations

STATUS_MEANINGS: dict[str, str] = {
    "passed": "all tests hold",
    "wrong answer": "a test does not hold: a false assertion, other output, or a result the test can't work with",
    "exception": "the program raised an exception, on loading or when called",
    "compile error": "the program does not compile",
    "timeout": "it used more CPU seconds than allowed, or a second more than that on the wall clock",
    "out of memory": "it asked for more memory than allowed",
    "output limit": "it printed, returned or wrote to a file more than allowed",
    "exited": "it ended (sys.exit, os._exit, exit code of a whole program) before the tests had their answers",
    "crashed": "a signal ended it: a fault of the interpreter (deep recursion in C, say), or it killed itself",
    "no function": "it does not define the function that the tests call",
    "broken channel": "it closed the channel that answers travel on, or sent what is no answer to the question asked",
    "cheated": "it also passed with an expected value changed: its tests do not decide it",
    "unsupported": "a test needs more than calls and plain data (a patch, a file, an object of its own as an argument):"
    " not a pass, and no fault of the program's",
}

STATUSES: tuple[str, ...] = tuple(STATUS_MEANINGS)
