"""Tests of a request, run in the judge before ranking: what fails them comes after what passes.

The tests are those in the request, else the examples that the task shows as a doctest. Programs run in the judge's
isolation, whose level is the judge's to choose and to say; see `execution`.

Guarantees: requests share the judge's workers, and one whose tests can't be run (they do not compile, no judge for the
language) is refused alone. Not guaranteed: that passing a few public tests means correct.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rewardranker.errors import DataError
from rewardranker.generation.extraction import assemble_program
from rewardranker.ranking.shown_tests import shown_examples
from rewardranker.serving.candidates import Group, Pool
from rewardranker.serving.errors import bad
from rewardranker.serving.metrics import Metrics
from rewardranker.types import Judge, Sample, Task, Verdict

if TYPE_CHECKING:
    from rewardranker.serving.engine import Job

Items = list[tuple[Task, Sample]]


@dataclass(slots=True)
class _Asked:
    items: Items
    future: asyncio.Future[list[Verdict]]


class Verifier:
    """Runs programs of all requests on one judge, which one thread owns."""

    def __init__(self, judge: Judge, close_judge: Callable[[], None], metrics: Metrics) -> None:
        self.isolation = judge.isolation
        self._judge, self._close_judge, self._metrics = judge, close_judge, metrics
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="judge")
        self._asked: list[_Asked] = []
        self._worker: asyncio.Task[None] | None = None
        self._wakes = asyncio.Event()

    async def run(self, job: Job, pool: Pool, groups: Sequence[Group]) -> None:
        """Set `passed` and `verdict` of groups with code.

        Raises:
            ApiError: the tests can't be run.
        """
        task = task_with_tests(job)
        if task is None or not groups:
            return
        items: Items = []
        for group in groups:
            program = job.task + group.code if job.api == "completions" else assemble_program(task, group.code)
            items.append((task, Sample(task.task_id, group.members[0], group.code, group.code, program)))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        asked = _Asked(items, asyncio.get_running_loop().create_future())
        self._asked.append(asked)
        self._wakes.set()
        try:
            verdicts = await asked.future
        except DataError as error:
            raise bad(f"the tests can't be run: {error}", "rewardranker.tests") from None
        for group, verdict in zip(groups, verdicts, strict=True):
            group.passed = verdict.passed
            group.verdict = {
                "passed": verdict.passed,
                "status": verdict.status,
                "detail": verdict.detail,
                "tests_passed": verdict.tests_passed,
                "tests_total": verdict.tests_total,
            }
            self._metrics.verified(verdict.passed)

    async def close(self) -> None:
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.gather(self._worker, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        await asyncio.to_thread(self._close_judge)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wakes.wait()
            self._wakes.clear()
            asked = [item for item in self._asked if not item.future.done()]
            self._asked.clear()
            if not asked:
                continue
            outcomes = await loop.run_in_executor(self._thread, self._judge_all, [item.items for item in asked])
            for item, outcome in zip(asked, outcomes, strict=True):
                if item.future.done():
                    continue
                if isinstance(outcome, Exception):
                    item.future.set_exception(outcome)
                else:
                    item.future.set_result(outcome)

    def _judge_all(self, requests: list[Items]) -> list[list[Verdict] | Exception]:
        """The verdicts of each request, all judged together; one by one where one can't be judged."""
        try:
            verdicts = iter(list(self._judge.judge([item for items in requests for item in items])))
            return [[next(verdicts) for _ in items] for items in requests]
        except Exception as error:
            if len(requests) == 1:
                return [error]
            return [outcome for items in requests for outcome in self._judge_all([items])]


def task_with_tests(job: Job) -> Task | None:
    """The task that the judge runs programs for; None if there is no test.

    Raises:
        ApiError: tests need a function, and none is named.
    """
    task = Task("request", job.task, language=job.language, entry_point=job.entry_point, tests=tuple(job.tests))
    if job.tests:
        return task
    return shown_examples(task)
