"""Programs of other languages than Python's functions: which runs decide them.

A program with tests inside passes when it ends with exit status 0 and prints nothing that its language shows failed
tests by. It is then run again with one expected value changed (the canary): one that passes this too does not look at
its tests and has cheated. A program with inputs is run once for each; what it prints decides.

The two runs of a program must not tell each other what they see: they are processes of their own, or ask one warm
runtime that gives each a world of its own, or, where a program is known to do nothing but compute, two warm machines of
which each sees one run. Chance decides which of the two sees the right tests.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from .comparing import Rules, output_difference
from .ending import SHOWN, Outcome, Step
from .outcome import PASSED, verdict
from .running import CantSay, Compiled, Programs
from .toolchain import Canary, Toolchain

if TYPE_CHECKING:
    from .worker import Worker

_REPEATS = 3
"""How often a program is run where chance could decide unseen: a coin then wins once in 64."""
_FAILED_ASSERTION = re.compile(r'Exception in thread "main" java\.lang\.AssertionError(?:: |\n)')
_CHEATED = ("cheated", "it also passes with one expected value of its tests changed", False)


def judge_program(worker: Worker, item: dict[str, Any]) -> dict[str, Any]:
    """Decide one program: the fields of a `Verdict`.

    Raises:
        Fault: a part of the judge, or a compiler or interpreter, does not start.
    """
    task = item["task"]
    job = _Job(worker, Toolchain(**task["toolchain"]), item["main"])
    if task["inputs"]:
        return job.decide_by_output(item["program"], task)
    return job.decide_by_exit(item["program"], task["tests"], Canary(**task["canary"]))


class _Job:
    """One program's way through compiler and tests."""

    def __init__(self, worker: Worker, toolchain: Toolchain, main: str) -> None:
        self._programs = Programs(worker, toolchain, main)
        self._toolchain = toolchain
        self._warm = toolchain.run_server is not None
        """Whether the warm runtime is asked."""
        self._answered = False
        """Whether the warm runtime decided the last run."""
        self._text = ""
        """What the last run printed."""

    def decide_by_exit(self, program: str, tests: str, canary: Canary) -> dict[str, Any]:
        try:
            outcome = self._decide_pure(program, tests, canary) or self._decide(program, tests, canary)
        except CantSay:
            self._warm = False
            outcome = self._decide(program, tests, canary)
        if outcome == PASSED and canary.missing:
            outcome = ("passed", f"believed by its exit status alone: {canary.missing}", False)
        return verdict(self._programs.runs, *outcome, int(outcome[0] == "passed"), 1)

    def _decide(self, program: str, tests: str, canary: Canary) -> Outcome:
        """
        Raises:
            CantSay: the warm runtime leaves a run to a process of its own. Then all runs are left to such: a program
                can tell the two apart, and could have only its canary left over, to fail there on purpose.
        """
        outcome = self._all_pass(f"{program}\n{tests}")
        if outcome == PASSED and not canary.missing:
            outcome = self._with_canary(f"{program}\n{canary.tests}", program.count("\n") + 1, canary)
        return outcome

    def _decide_pure(self, program: str, tests: str, canary: Canary) -> Outcome | None:
        """Decide a program that does nothing but compute by one run in each of two warm machines.

        It has neither chance nor a clock, and what ran in either machine before it leaves no trace that it could see.
        Only what is plain counts here: the right tests' run ends normally or by an exception of the platform's, the
        changed tests' run normally or by an AssertionError at the changed assertion.

        Returns:
            None where it may do more than compute.

        Raises:
            CantSay: processes of its own have to decide.
        """
        if self._toolchain.pure_server is None:
            return None
        compiled = self._programs.compile(f"{program}\n{tests}")
        if not isinstance(compiled, Compiled):
            return compiled
        if not compiled.pure:
            return None
        machine = secrets.randbelow(2)
        outcome, _ = self._programs.run_pure(compiled, machine)
        if outcome is not None or canary.missing:
            return outcome or PASSED
        compiled = self._programs.compile(f"{program}\n{canary.tests}")
        if not isinstance(compiled, Compiled) or not compiled.pure:
            return None
        outcome, text = self._programs.run_pure(compiled, 1 - machine)
        if outcome is None:
            return _CHEATED
        if _FAILED_ASSERTION.match(text) and self._fails_there(text, program.count("\n") + 1, canary):
            return PASSED
        raise CantSay

    def _with_canary(self, source: str, before: int, canary: Canary) -> Outcome:
        """What a program that has passed is worth.

        It has to fail at the changed assertion, where the language tells the line. One that passes or fails by chance
        fails at another; where no line is told, it has to be lucky in all of several runs of both kinds.

        Args:
            before: lines of the program.
        """
        outcome = self._any_passes(source)
        if outcome == PASSED:
            return _CHEATED
        if outcome[2]:
            return outcome
        if outcome[0] == "compile error" and self._toolchain.builds:
            # Even compiling can depend on chance: C++ knows the time of day.
            return "wrong answer", f"with one test changed it does not compile: {outcome[1]}"[:SHOWN], False
        tells_line = self._toolchain.failed_line and not self._answered
        if tells_line and not self._fails_there(self._text, before, canary):
            return "wrong answer", f"its second run, alike but for one test, failed elsewhere: {outcome[1]}", False
        return PASSED

    def _fails_there(self, text: str, before: int, canary: Canary) -> bool:
        """Whether what a run printed names the changed assertion, and no other line of the tests.

        Args:
            before: lines of the program.
        """
        lines = {int(line) - before for line in re.findall(self._toolchain.failed_line, text)}
        return bool(lines) and all(canary.holds(line) for line in lines)

    def _all_pass(self, source: str) -> Outcome:
        """Where chance could decide unseen, a program has to pass several times."""
        return next((outcome for outcome in self._outcomes(source) if outcome != PASSED), PASSED)

    def _any_passes(self, source: str) -> Outcome:
        outcomes = []
        for outcome in self._outcomes(source):
            if outcome == PASSED or outcome[2]:
                return outcome
            outcomes.append(outcome)
        return outcomes[-1]

    def _outcomes(self, source: str) -> Iterator[Outcome]:
        """One run's outcome, or several where the language does not tell the line of a failed test."""
        self._answered = False
        if self._warm:
            self._answered = True
            yield self._programs.ask_runtime(source) or PASSED
            return
        with self._programs.built(source) as (box, outcome):
            if outcome is not None:
                yield outcome
                return
            for _ in range(1 if self._toolchain.failed_line else _REPEATS):
                step, outcome = self._programs.run(box)
                self._text = step.text
                yield outcome or PASSED

    def decide_by_output(self, program: str, task: dict[str, Any]) -> dict[str, Any]:
        rules = Rules(**task.get("comparison", {}))
        total = len(task["inputs"])
        outcomes, first = "", None
        runs = self._programs.runs
        with self._programs.built(program) as (box, outcome):
            if outcome is not None:
                return verdict(runs, *outcome, 0, total)
            for test in task["inputs"]:
                step, outcome = self._programs.run(box, test["input"].encode("utf-8", "surrogateescape"))
                outcome = outcome or _compare(step, test["output"], rules)
                outcomes += str(int(outcome is None))
                if outcome is None:
                    continue
                first = first or outcome
                if outcome[0] == "timeout" or outcome[2]:
                    break
        return verdict(runs, *(first or PASSED), outcomes.count("1"), total, outcomes.ljust(total, "-"))


def _compare(step: Step, expected: str, rules: Rules) -> Outcome | None:
    difference = output_difference(step.printed.decode("utf-8", "replace"), expected, rules)
    return None if difference is None else ("wrong answer", difference, False)
