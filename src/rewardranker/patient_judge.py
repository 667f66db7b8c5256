"""A judge for tests that nobody has checked: one that never ends, or that the judge fails on, costs that test alone.

Not guaranteed: the outcome of a test that comes after many that end a program.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rewardranker.errors import SandboxError
from rewardranker.types import Judge, Sample, Task, Verdict

RESTARTS = 5
"""How often a program is started again behind a test that ended it."""
_BATCH = 256


class PatientJudge:
    """A judge that goes on behind a test that ended a program (an endless loop, too much memory).

    The tests after it are judged with the program started again, at most `restarts` times a program; those left are
    marked `-`. `seconds` adds up, other figures of the verdict are the first run's. A test on which the judge itself
    fails with some program is found by halves and does not hold; where the judge fails on everything, its error stays.

    Only tasks whose tests are single statements are gone on with.
    """

    def __init__(self, judge: Judge, restarts: int = RESTARTS) -> None:
        self._judge, self._restarts = judge, restarts
        self.isolation = judge.isolation

    def judge(self, items: Iterable[tuple[Task, Sample]]) -> Iterator[Verdict]:
        iterator = iter(items)
        while batch := list(itertools.islice(iterator, _BATCH)):
            yield from self._judge_batch(batch)

    def close(self) -> None:
        self._judge.close()

    def _judge_batch(self, batch: list[tuple[Task, Sample]]) -> list[Verdict]:
        verdicts = self._verdicts(batch)
        parts: dict[tuple[str, int], Task] = {}
        for _ in range(self._restarts):
            ended = [i for i, verdict in enumerate(verdicts) if _tests_left(batch[i][0], verdict)]
            if not ended:
                break
            again = []
            for i in ended:
                task, sample = batch[i]
                at = len(verdicts[i].outcomes.rstrip("-"))
                part = parts.setdefault((task.task_id, at), replace(task, tests=tuple(task.tests[at:])))
                again.append((part, sample))
            for i, more in zip(ended, self._verdicts(again), strict=True):
                verdicts[i] = _joined(verdicts[i], more)
        return verdicts

    def _verdicts(self, items: list[tuple[Task, Sample]]) -> list[Verdict]:
        done: list[Verdict] = []
        while len(done) < len(items):
            try:
                for verdict in self._judge.judge(items[len(done) :]):
                    done.append(verdict)
            except SandboxError as error:  # it is raised in the place of the item that it is about
                done.append(self._by_halves(*items[len(done)], error))
        return done

    def _by_halves(self, task: Task, sample: Sample, error: SandboxError) -> Verdict:
        if not isinstance(task.tests, tuple) or not task.tests:
            raise error
        if len(task.tests) > 1:
            half = len(task.tests) // 2
            parts = [replace(task, tests=tests) for tests in (task.tests[:half], task.tests[half:])]
            first, rest = (self._verdicts([(part, sample)])[0] for part in parts)
            outcomes = "".join(v.outcomes or "0" * v.tests_total for v in (first, rest))
            return replace(
                rest if first.passed else first,
                outcomes=outcomes,
                tests_passed=outcomes.count("1"),
                tests_total=len(task.tests),
                seconds=first.seconds + rest.seconds,
            )
        if not _is_well(self._judge):
            raise error
        return Verdict(task.task_id, sample.sample_id, False, "unsupported", str(error)[:200], 0, 1, "0")


def _is_well(judge: Judge) -> bool:
    """Whether the judge still judges a program that is known to be right."""
    text = "def double(a):\n    return 2 * a\n"
    task = Task("double", "", entry_point="double", tests=("assert double(2) == 4",))
    try:
        return next(iter(judge.judge([(task, Sample("double", 0, text, text, text))]))).passed
    except SandboxError:
        return False


def _tests_left(task: Task, verdict: Verdict) -> bool:
    return isinstance(task.tests, tuple) and verdict.outcomes.endswith("-") and verdict.outcomes.strip("-") != ""


def _joined(first: Verdict, rest: Verdict) -> Verdict:
    begun = first.outcomes.rstrip("-")
    # Without outcomes the program did not even load again: the rest does not hold.
    outcomes = begun + (rest.outcomes or "0" * (len(first.outcomes) - len(begun)))
    return replace(first, outcomes=outcomes, tests_passed=outcomes.count("1"), seconds=first.seconds + rest.seconds)
