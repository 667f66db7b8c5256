"""The judge on a Ray cluster: one actor on each node, with a pool of workers of its own, works on batches.

Guarantees: the verdicts and their order are those of one machine; memory does not grow with the number of programs; a
batch whose node is lost is judged elsewhere, and one that keeps failing is an error with its causes. Not guaranteed:
that equal programs run once beyond a batch (a verdict cache in front sees to that); that nodes which join later help;
that a program meets the same processor or toolchain everywhere: verdicts record what ran them, `doctor` on each node
tells beforehand. Within a batch the slowest program decides when a node goes on, so its other workers may wait for it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, MissingExtraError, SandboxError
from rewardranker.execution.judge import ProgramJudge
from rewardranker.types import Sample, Task, Verdict

Item = tuple[Task, Sample]

_ATTEMPTS = 3
"""Times that a batch is tried, and that the judge is started on one node."""
_IN_FLIGHT = 2
"""Batches a node has at once: one at work and one waiting."""
_AHEAD = 2
"""Batches of the window for each one in flight: those done wait there for a slower one before them."""
_FIRST_ITEMS = 4
_MOST_ITEMS = 64
"""Items of a node's batch for each of its workers: the first is small, so that short inputs reach all nodes, and each
further one has twice as many, up to the second figure."""
_CONNECT_SECONDS = 10.0
_START_SECONDS = 180.0


@dataclass
class _Batch:
    items: list[Item]
    verdicts: list[Verdict] | None = None
    error: DataError | None = None
    """What is wrong with the item after the last of `verdicts`."""
    faults: list[str] = field(default_factory=list)


@dataclass
class _Node:
    """A node of the cluster with the judge on it."""

    id: str
    address: str
    workers: int
    actor: Any = None
    greeting: Any = None
    """Reference of the answer of a judge that is starting; None when it has come."""
    greeting_due: float = 0.0
    starts: int = 0
    batch_items: int = 0
    batches: dict[Any, _Batch] = field(default_factory=dict)
    """By the reference of their result."""


class _NodeJudge:
    """What runs on a node, as a Ray actor."""

    def __init__(self, options: dict[str, Any], workers: int) -> None:
        self._judge = ProgramJudge(JudgeOptions(**options), workers)

    def hello(self) -> tuple[str, str]:
        """The isolation of programs here, and the version of this package."""
        return self._judge.isolation, metadata.version("rewardranker")

    def judge(self, items: list[Item]) -> tuple[list[Verdict], str]:
        """The verdicts, and what is wrong with the item after the last; empty where all have one.

        Raises:
            SandboxError: the judge itself fails.
        """
        verdicts: list[Verdict] = []
        try:
            for verdict in self._judge.judge(items):
                verdicts.append(verdict)
        except DataError as error:
            return verdicts, str(error)
        return verdicts, ""


class RayJudge:
    """Judges programs on all nodes of a Ray cluster. Implements `types.Judge`; use as a context manager.

    Example:
        >>> with RayJudge(JudgeOptions(timeout=2), workers=8) as judge:
        ...     verdicts = list(judge.judge([(task, sample)]))
    """

    isolation: str

    def __init__(
        self, options: JudgeOptions | None = None, workers: int | None = None, address: str | None = None
    ) -> None:
        """Connect, and start a judge on every node that has a processor to offer.

        Args:
            workers: worker processes on each node; None: one for each processor that the node offers to Ray.
            address: of the cluster; None: the environment's RAY_ADDRESS, a cluster that runs on this machine, or a new
                one of this machine alone. A connection that the caller has already made is used as it is.

        Raises:
            MissingExtraError: Ray is not installed.
            SandboxError: no such cluster, or no node starts a judge; lists the causes.
        """
        try:
            import ray
        except ImportError:
            raise MissingExtraError("ray", "ray") from None
        self._ray = ray
        self._options = (options or JudgeOptions()).model_dump()
        self.faults: list[str] = []
        """Nodes and processes that were lost or did not start, in words."""
        self._connected = not ray.is_initialized()
        if self._connected:
            self._connect(address)
        self._nodes: list[_Node] = []
        try:
            self._start_all(workers)
        except BaseException:
            self.close()
            raise

    def judge(self, items: Iterable[Item]) -> Iterator[Verdict]:
        """Yield one verdict for each item, in order, while later ones are at work.

        Raises:
            DataError: a task can't be judged.
            SandboxError: a batch failed on several nodes, or no node is left.
        """
        stream = iter(items)
        window: deque[_Batch] = deque()
        waiting: deque[_Batch] = deque()
        for node in self._nodes:
            node.batch_items = _FIRST_ITEMS * node.workers
        try:
            while True:
                self._hand_out(stream, window, waiting)
                if not window:
                    return
                head = window[0]
                if head.verdicts is None:
                    self._receive(waiting)
                    continue
                window.popleft()
                yield from head.verdicts
                if head.error is not None:
                    raise head.error
        finally:
            for node in self._nodes:  # an abandoned stream's results come to nobody
                node.batches.clear()

    def close(self) -> None:
        """End the judges on all nodes, and the connection if it was made here. Further calls do nothing."""
        for node in self._nodes:
            self._kill(node)
        self._nodes.clear()
        if self._connected:
            self._connected = False
            self._ray.shutdown()

    def __enter__(self) -> RayJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- nodes --------------------------------------------------------------------------------------------------

    def _connect(self, address: str | None) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing about a user's runs is sent anywhere
        where = address or os.environ.get("RAY_ADDRESS") or "auto"
        host, _, port = where.removeprefix("ray://").rpartition(":")
        try:
            if host and port.isdecimal():  # Ray itself goes on trying for minutes
                socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()
            self._ray.init(address=address, log_to_driver=False, logging_level="warning")
        except (OSError, RuntimeError, ValueError) as error:
            self._connected = False
            raise SandboxError(
                f"can't connect to the Ray cluster {where}: {error}; start one with `ray start --head`, or set "
                "RAY_ADDRESS to that of one"
            ) from None

    def _start_all(self, workers: int | None) -> None:
        for info in self._ray.nodes():
            processors = int(info["Resources"].get("CPU", 0)) if info["Alive"] else 0
            if processors:
                node = _Node(info["NodeID"], info["NodeManagerAddress"], workers or processors)
                self._nodes.append(node)
                self._start(node)
        words = set()
        for node in list(self._nodes):
            with contextlib.suppress(SandboxError):
                words.add(self._greet(node, max(0.0, node.greeting_due - time.monotonic())))
        if not self._nodes:
            raise SandboxError(
                f"no node of the Ray cluster can judge: {'; '.join(self.faults) or 'none offers a processor'}"
            )
        self.isolation = " / ".join(sorted(words))

    def _start(self, node: _Node) -> None:
        """Start a judge on a node."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        offered = next((n["Resources"].get("CPU", 0) for n in self._ray.nodes() if n["NodeID"] == node.id), 0)
        node.actor = (
            self._ray.remote(_NodeJudge)
            .options(
                num_cpus=min(node.workers, offered),
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            )
            .remote(self._options, node.workers)
        )
        node.starts += 1
        node.batch_items = _FIRST_ITEMS * node.workers
        node.greeting = node.actor.hello.remote()
        node.greeting_due = time.monotonic() + _START_SECONDS

    def _greet(self, node: _Node, seconds: float) -> str:
        """The isolation on a node whose judge has started. A node that can't judge is left out.

        Raises:
            SandboxError: it has been left out.
        """
        ours = metadata.version("rewardranker")
        try:
            isolation, version = self._ray.get(node.greeting, timeout=seconds)
            if version != ours:
                raise SandboxError(f"it has rewardranker {version}, this machine has {ours}: install the same on both")
        except SandboxError as error:
            cause = str(error)
        except self._ray.exceptions.GetTimeoutError:
            cause = f"no judge started within {_START_SECONDS:.0f} s: are its processors taken by other jobs?"
        except self._ray.exceptions.RayError as error:
            cause = _cause(error)
        else:
            node.greeting = None
            return str(isolation)
        self._give_up(node, cause)
        raise SandboxError(cause)

    def _kill(self, node: _Node) -> None:
        if node.actor is not None:
            with contextlib.suppress(Exception):  # it may be gone, and the cluster with it
                self._ray.kill(node.actor)
            node.actor = None

    def _give_up(self, node: _Node, cause: str) -> None:
        self._kill(node)
        self._nodes.remove(node)
        self.faults.append(f"node {node.address}: {cause}")
        warnings.warn(
            f"the judge goes on without a node of the Ray cluster: {self.faults[-1]}", RuntimeWarning, stacklevel=2
        )

    def _restart(self, node: _Node, cause: str) -> None:
        """Start a fresh judge on a node whose judge failed; do without the node if it is gone or fails often."""
        self._kill(node)
        alive = any(info["NodeID"] == node.id and info["Alive"] for info in self._ray.nodes())
        if alive and node.starts < _ATTEMPTS:
            self.faults.append(f"node {node.address}: {cause}")
            self._start(node)
        else:
            self._give_up(node, cause)

    # --- batches ------------------------------------------------------------------------------------------------

    def _hand_out(self, stream: Iterator[Item], window: deque[_Batch], waiting: deque[_Batch]) -> None:
        """Give batches to nodes that have room: first those to be tried again, then new ones."""
        for _ in range(_IN_FLIGHT):
            for node in sorted(self._nodes, key=lambda node: len(node.batches)):
                if node.greeting is not None or len(node.batches) >= _IN_FLIGHT:
                    continue
                if waiting:
                    batch = waiting.popleft()
                elif len(window) < len(self._nodes) * _IN_FLIGHT * _AHEAD:
                    batch = _Batch(list(itertools.islice(stream, node.batch_items)))
                    if not batch.items:
                        return
                    window.append(batch)
                    node.batch_items = min(2 * node.batch_items, _MOST_ITEMS * node.workers)
                else:
                    return
                node.batches[node.actor.judge.remote(batch.items)] = batch

    def _receive(self, waiting: deque[_Batch]) -> None:
        """Wait for news from the nodes and take it in."""
        if not self._nodes:
            raise SandboxError(f"no node of the Ray cluster is left: {'; '.join(self.faults)}")
        by_result = {result: node for node in self._nodes for result in node.batches}
        greetings = {node.greeting: node for node in self._nodes if node.greeting is not None}
        ready = self._ray.wait([*by_result, *greetings], num_returns=1, timeout=1.0)[0]
        late = [greeting for greeting, node in greetings.items() if time.monotonic() > node.greeting_due]
        for greeting in {*late, *ready} & {*greetings}:
            with contextlib.suppress(SandboxError):
                self.isolation = " / ".join(
                    sorted({*self.isolation.split(" / "), self._greet(greetings[greeting], 0.0)})
                )
        for result in {*ready} & {*by_result}:
            node = by_result[result]
            batch = node.batches.pop(result)
            try:
                verdicts, problem = self._ray.get(result)
            except self._ray.exceptions.RayError as error:
                self._take_back(node, batch, _cause(error), waiting)
                continue
            batch.verdicts = verdicts
            batch.error = DataError(problem) if problem else None

    def _take_back(self, node: _Node, batch: _Batch, cause: str, waiting: deque[_Batch]) -> None:
        """A batch failed: all that its node had is tried elsewhere, and the node gets a fresh judge."""
        batch.faults.append(f"node {node.address}: {cause}")
        if len(batch.faults) >= _ATTEMPTS:
            first = batch.items[0][0].task_id
            raise SandboxError(
                f"the judge failed {_ATTEMPTS} times on a batch of {len(batch.items)} programs (the first is of task "
                f"'{first}'): {'; '.join(dict.fromkeys(batch.faults))}"
            )
        waiting.extend([batch, *node.batches.values()])
        node.batches.clear()
        self._restart(node, cause)


def _cause(error: Exception) -> str:
    """The last line of an error from a node, which tells what happened there."""
    cause = getattr(error, "cause", None)
    text = str(cause if isinstance(cause, Exception) else error).strip()
    return text.splitlines()[-1][:500] if text else type(error).__name__
