"""The judge: programs of many languages are run against tests, in isolation, on a pool of worker processes.

What a verdict on a Python function does not depend on: the program's `__eq__`, patched builtins or modules, its exit
status or what it prints; calls and results cross between processes as plain data, and the tests live in another one.
Programs of other languages are believed by exit status, once they have failed with one expected value changed.
How far programs are kept from the machine and from one another is the level of isolation (`levels`).

Not guaranteed: that a task's tests are good ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import selectors
import shutil
import tempfile
import time
import warnings
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, SandboxError
from rewardranker.execution import languages, levels
from rewardranker.execution.items import PYTHON, TaskTexts
from rewardranker.execution.language_examples import EXAMPLES
from rewardranker.execution.workers import WorkerProcess, default_workers, processors
from rewardranker.types import Sample, StdioTest, Task, Verdict

_ATTEMPTS = 3
_IN_HAND = 2
"""Items a worker has at once: one at work and one waiting, so that it never waits for the judge."""
_READ_AHEAD = 8
"""Items that wait for each worker."""
_WINDOW = 1024
"""Verdicts that may wait, for each worker, for that of an earlier item: while one program runs into its time limit, the
other workers go on."""
_BURST = 16
"""Verdicts handed out before workers are looked at again."""
_REMEMBERED = 1 << 16
"""Distinct (program, tests) whose verdicts are kept for equal ones to come."""
_START_SECONDS = 60.0
_LEAST_SECONDS = 60.0
"""No worker is held to hang sooner, whatever it is at."""
_ALONE_SECONDS = 180.0
_COMPILED_SECONDS = 1800.0
"""After so long a worker that compiles is held to hang: several ways to compile, each twice, on a busy machine."""


class IsolationWarning(UserWarning):
    """Programs run at a weaker level of isolation than this package can give."""


@dataclass
class _Slot:
    """One item on its way."""

    task: Task
    sample: Sample
    key: bytes
    frame: bytes
    verdict: Verdict | None = None
    same_as: _Slot | None = None
    faults: list[str] = field(default_factory=list)
    suspected: int = 0
    error: Exception | None = None


class ProgramJudge:
    """Judges programs on a pool of worker processes. Implements `types.Judge`; use as a context manager.

    Example:
        >>> with ProgramJudge(JudgeOptions(timeout=2)) as judge:
        ...     verdicts = list(judge.judge([(task, sample)]))
    """

    isolation: str

    def __init__(self, options: JudgeOptions | None = None, workers: int | None = None) -> None:
        """
        Args:
            workers: number of worker processes; None: one for each processor that this process may use.

        Raises:
            SandboxError: the workers don't start.
        """
        options = options or JudgeOptions()
        self._folder = tempfile.mkdtemp(prefix="rewardranker-judge-")
        os.chmod(self._folder, 0o711)
        self._timeout = options.timeout
        self._texts = TaskTexts(options)
        self._options: dict[str, Any] = {
            "timeout": options.timeout,
            "memory_mb": options.memory_mb,
            "output_bytes": options.output_kb * 1024,
            "processor": None,
        }
        self._workers: list[WorkerProcess] = []
        self._count = 0
        self._slots: dict[int, _Slot] = {}
        self._next_ticket = 0
        self._proven = {"py"}
        """Languages whose toolchain has been seen to work."""
        self._finalizer = weakref.finalize(self, _shut_down, self._workers, self._folder)
        try:
            self.choice = levels.choose(options, self._probe)
            self._options |= levels.worker_options(self.choice.level)
            for processor in processors(workers or default_workers()):
                self._workers.append(self._start_worker({"processor": processor}))
            self._wait_for_hello()
        except BaseException:
            self.close()
            raise
        if self.choice.warning:
            warnings.warn(self.choice.warning, IsolationWarning, stacklevel=2)

    def judge(
        self, items: Iterable[tuple[Task, Sample]], *, known: Iterable[tuple[Task, Sample, Verdict]] = ()
    ) -> Iterator[Verdict]:
        """Yield one verdict for each item, in order, while later ones are at work.

        Equal programs with equal tests are run once; the copies' verdicts say `cached`. Memory does not grow with the
        number of items.

        Args:
            known: verdicts of items that an earlier session judged: equal programs are not run again.

        Raises:
            DataError: a task can't be judged here: no tests, tests that do not compile, another language.
            SandboxError: the judge itself keeps failing on an item.
        """
        if not self._finalizer.alive:
            raise SandboxError("the judge is closed")
        remembered: OrderedDict[bytes, Verdict] = OrderedDict()
        for task, sample, verdict in known:
            _remember(remembered, self._texts.key(task, sample), replace(verdict, cached=False))
        return self._stream(iter(items), remembered)

    def close(self) -> None:
        """End all processes and remove the working directories. Further calls do nothing."""
        self._finalizer()

    def __enter__(self) -> ProgramJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the stream ---------------------------------------------------------------------------------------------

    def _stream(
        self, items: Iterator[tuple[Task, Sample]], remembered: OrderedDict[bytes, Verdict]
    ) -> Iterator[Verdict]:
        window: deque[_Slot] = deque()
        waiting: deque[_Slot] = deque()
        running: dict[bytes, _Slot] = {}
        exhausted = False
        handed_out = 0
        workers = len(self._workers)
        try:
            while True:
                while not exhausted and len(window) < _WINDOW * workers and len(waiting) < _READ_AHEAD * workers:
                    item = next(items, None)
                    if item is None:
                        exhausted = True
                        break
                    slot = self._slot(*item)
                    window.append(slot)
                    if slot.key in remembered:
                        remembered.move_to_end(slot.key)
                        slot.verdict = _copy(remembered[slot.key], slot.sample)
                    elif slot.key in running:
                        slot.same_as = running[slot.key]
                    else:
                        running[slot.key] = slot
                        waiting.append(slot)
                        if not all(worker.tickets for worker in self._workers):
                            self._dispatch(waiting)  # before more is read: some may have nothing to do
                if not window:
                    return
                self._dispatch(waiting)
                head = window[0]
                if head.same_as is not None and head.same_as.verdict is not None:
                    head.verdict = _copy(head.same_as.verdict, head.sample)
                if head.error is not None:
                    raise head.error
                if head.verdict is None:
                    self._receive(waiting)
                    continue
                handed_out += 1
                if handed_out % _BURST == 0:
                    self._receive(waiting, patience=0.0)
                window.popleft()
                if running.get(head.key) is head:
                    del running[head.key]
                    _remember(remembered, head.key, head.verdict)
                yield head.verdict
        finally:
            mine = {id(slot) for slot in window}
            self._slots = {ticket: slot for ticket, slot in self._slots.items() if id(slot) not in mine}

    def _slot(self, task: Task, sample: Sample) -> _Slot:
        frame = self._texts.frame(task, sample)
        return _Slot(task, sample, self._texts.key(task, sample), frame)

    # --- workers ------------------------------------------------------------------------------------------------

    def _start_worker(self, options: dict[str, Any] | None = None) -> WorkerProcess:
        self._count += 1
        folder = os.path.join(self._folder, str(self._count))
        try:
            os.makedirs(self._folder, 0o711, exist_ok=True)  # the last worker to end removes it
            os.mkdir(folder, 0o711)
        except OSError as error:
            raise SandboxError(f"the judge can't make a working directory: {error}") from None
        return WorkerProcess({**self._options, **(options or {}), "folder": folder})

    def _probe(self, options: dict[str, Any], program: str, inputs: list[str]) -> list[str]:
        """Run the self-test's program at a level: the lines that it printed."""
        task = Task("self-test", "", inputs=tuple(StdioTest(text, "") for text in inputs))
        sample = Sample("self-test", 0, "", "", program)
        return str(self._judge_alone(options, task, sample, keep_output=True)["output"]).splitlines()

    def _judge_alone(
        self, options: dict[str, Any], task: Task, sample: Sample, keep_output: bool = False
    ) -> dict[str, Any]:
        """A worker's message on one program, from a worker of its own.

        Raises:
            SandboxError: there is none.
        """
        worker = self._start_worker(options)
        frame = b'{"ticket":0,"keep_output":%s,' % json.dumps(keep_output).encode() + self._texts.frame(task, sample)
        end = time.monotonic() + _ALONE_SECONDS
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(worker, selectors.EVENT_READ)
                worker.send(frame)
                while time.monotonic() < end:
                    if not selector.select(1.0):
                        continue
                    for message in worker.receive() or [{"fault": worker.why_gone()}]:
                        if "hello" in message:
                            worker.uid = message["hello"]["uid"]
                        elif "verdict" in message:
                            return message
                        else:
                            raise SandboxError(message.get("fault") or message["bad_tests"])
            raise SandboxError(f"program '{task.task_id}' did not end within {_ALONE_SECONDS:.0f} s")
        except OSError as error:
            raise SandboxError(f"{worker.why_gone()} ({error})") from None
        finally:
            worker.close()

    def _prove(self, task: Task, passed: bool) -> None:
        """Before the first failure of a language's program is believed, see that its toolchain works at all.

        Raises:
            SandboxError: it fails a program that is known to be right.
        """
        language = languages.find(task.language)
        if passed or language.code in self._proven or language.code not in EXAMPLES:
            self._proven.add(language.code)
            return
        example = EXAMPLES[language.code]
        right = Task("example", example.prompt, language.code, tests=example.tests)
        message = self._judge_alone({}, right, Sample("example", 0, "", "", example.prompt + example.right))
        verdict = message["verdict"]
        if not verdict["passed"]:
            raise SandboxError(
                f"the toolchain of {language.title} ({self._texts.toolchain(task)}) does not work here: a program that "
                f"is known to be right gets '{verdict['status']}': {verdict['detail']}"
            )
        self._proven.add(language.code)

    def _wait_for_hello(self) -> None:
        """Wait until all workers run; say how they isolate programs."""
        words = set()
        end = time.monotonic() + _START_SECONDS
        with selectors.DefaultSelector() as selector:
            for worker in self._workers:
                selector.register(worker, selectors.EVENT_READ, worker)
            while selector.get_map():
                for key, _ in selector.select(max(0.0, end - time.monotonic())):
                    for message in key.data.receive() or [{"fault": key.data.why_gone()}]:
                        if "hello" not in message:
                            raise SandboxError(f"the judge does not start: {message.get('fault')}")
                        words.add(self._greet(key.data, message["hello"]))
                    selector.unregister(key.data)
                if time.monotonic() > end:
                    raise SandboxError(f"the judge's workers did not start within {_START_SECONDS:.0f} s")
        self.isolation = " / ".join(sorted(words))

    def _greet(self, worker: WorkerProcess, hello: dict[str, Any]) -> str:
        """Take down what a worker says of itself: the words that verdicts record."""
        uid = worker.uid = hello["uid"]
        user = "same user" if uid is None else "own user" if uid > 65535 else "user nobody"
        return f"{self.choice.level.words}, {user}" + (", control group" if hello["group"] else "")

    def _dispatch(self, waiting: deque[_Slot]) -> None:
        """Give waiting items to workers that have room."""
        for room in range(1, _IN_HAND + 1):
            for worker in list(self._workers):
                if waiting and len(worker.tickets) < room:
                    slot = waiting.popleft()
                    ticket = self._next_ticket
                    self._next_ticket += 1
                    self._slots[ticket] = slot
                    if not worker.tickets:
                        worker.since = time.monotonic()
                    worker.tickets.append(ticket)
                    # A worker that is gone is noticed on reading, with its cause.
                    with contextlib.suppress(OSError):
                        # After a fault none but the item itself may be the cause.
                        alone = b'"alone":true,' if slot.faults else b""
                        worker.send(b'{"ticket":%d,' % ticket + alone + slot.frame)

    def _receive(self, waiting: deque[_Slot], patience: float = 1.0) -> None:
        """Wait for news from the workers, at most so many seconds, and take it in."""
        by_descriptor = {worker.fileno(): worker for worker in self._workers}
        poll = select.poll()
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        for descriptor, _ in poll.poll(patience * 1000):
            worker = by_descriptor[descriptor]
            messages = worker.receive()
            if messages is None:
                self._replace(worker, worker.why_gone(), waiting)
                continue
            for message in messages:
                if "fault" in message:
                    self._replace(worker, message["fault"], waiting)
                    break
                if "hello" in message:
                    self._greet(worker, message["hello"])
                else:
                    self._settle(worker, message, waiting)
        now = time.monotonic()
        for worker in self._workers:
            if worker.tickets and now > worker.since + _LEAST_SECONDS and now > worker.since + self._patience(worker):
                self._replace(worker, "a worker process hangs", waiting)
                break

    def _patience(self, worker: WorkerProcess) -> float:
        slot = self._slots.get(worker.tickets[0])
        runs = max(1, len(slot.task.inputs)) if slot else 1
        if slot and self._texts.toolchain(slot.task) != PYTHON:
            return _COMPILED_SECONDS + runs * 100 * (self._timeout + 1)
        return _LEAST_SECONDS + runs * (11 * (self._timeout + 1) + 5)

    def _settle(self, worker: WorkerProcess, message: dict[str, Any], waiting: deque[_Slot]) -> None:
        ticket = worker.tickets.popleft()
        worker.since = time.monotonic()
        slot = self._slots.pop(ticket, None)
        if slot is None:
            return  # its stream was abandoned
        if "bad_tests" in message:
            slot.error = DataError(f"task '{slot.task.task_id}' can't be judged: {message['bad_tests']}")
            return
        fields = message["verdict"]
        try:
            self._prove(slot.task, fields["passed"])
        except SandboxError as error:
            slot.error = error
            return
        if fields.pop("suspect") and slot.suspected < _ATTEMPTS - 1:
            slot.suspected += 1
            waiting.appendleft(slot)
            return
        fields |= {"isolation": self.isolation, "toolchain": self._texts.toolchain(slot.task)}
        slot.verdict = Verdict(slot.task.task_id, slot.sample.sample_id, **fields)
        slot.frame = b""  # it may wait for long until earlier items have their verdicts

    def _replace(self, worker: WorkerProcess, cause: str, waiting: deque[_Slot]) -> None:
        """Put a fresh worker in the place of one that failed; what it had in hand is done again."""
        worker.kill()
        slots = [self._slots.pop(ticket, None) for ticket in worker.tickets]
        worker.close()
        place = self._workers.index(worker)
        if slots and slots[0] is not None:
            slots[0].faults.append(cause)
            if len(slots[0].faults) >= _ATTEMPTS:
                slot = slots.pop(0)
                assert slot is not None
                slot.error = SandboxError(
                    f"the judge failed {_ATTEMPTS} times on sample {slot.sample.sample_id} of task "
                    f"'{slot.task.task_id}': {'; '.join(dict.fromkeys(slot.faults))}"
                )
        waiting.extendleft(slot for slot in reversed(slots) if slot is not None)
        self._workers[place] = self._start_worker({"processor": worker.processor})


def _shut_down(workers: list[WorkerProcess], folder: str) -> None:
    for worker in workers:
        worker.hang_up()
    for worker in workers:
        worker.close()
    shutil.rmtree(folder, ignore_errors=True)


def _remember(remembered: OrderedDict[bytes, Verdict], key: bytes, verdict: Verdict) -> None:
    remembered[key] = verdict
    remembered.move_to_end(key)
    if len(remembered) > _REMEMBERED:
        remembered.popitem(last=False)


def _copy(verdict: Verdict, sample: Sample) -> Verdict:
    return replace(verdict, task_id=sample.task_id, sample_id=sample.sample_id, cached=True)


def judge(
    tasks: Iterable[Task], samples: Iterable[Sample], options: JudgeOptions | None = None, workers: int | None = None
) -> list[Verdict]:
    """Judge samples of several tasks: one verdict each, in order.

    Raises:
        DataError: a sample's task is not among `tasks`, or a task can't be judged.
        SandboxError: the judge itself fails.
    """
    with ProgramJudge(options, workers) as pool:
        return list(pool.judge(pair(tasks, samples)))


def pair(tasks: Iterable[Task], samples: Iterable[Sample]) -> Iterator[tuple[Task, Sample]]:
    """Each sample with its task.

    Raises:
        DataError: a sample's task is not among `tasks`.
    """
    by_id = {task.task_id: task for task in tasks}
    for sample in samples:
        if sample.task_id not in by_id:
            have = ", ".join(list(by_id)[:3]) or "none"
            raise DataError(
                f"sample {sample.sample_id} is of task '{sample.task_id}', which is not among the tasks "
                f"(there are {len(by_id)}: {have}, ...): judge it with the task file it was sampled from"
            )
        yield by_id[sample.task_id], sample
