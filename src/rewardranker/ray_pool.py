"""Work spread over a Ray cluster: actors on its nodes take batches, results come back in order (extra `ray`).

Guarantees: the results are those of one machine, in order; memory does not grow with the number of items; a batch whose
node is lost is done elsewhere, and one that keeps failing is an error with its causes. Not guaranteed: that nodes which
join later help. Within a batch the slowest item decides when an actor goes on.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import socket
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any, Generic, TypeVar

from rewardranker.errors import DataError, MissingExtraError, RewardRankerError

_ATTEMPTS = 3
"""Times that a batch is tried, and that an actor is started in one place."""
_IN_FLIGHT = 2
"""Batches an actor has at once: one at work and one waiting."""
_AHEAD = 2
"""Batches of the window for each one in flight: those done wait there for a slower one before them."""
_CONNECT_SECONDS = 10.0

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Kind(Generic[Item]):
    """What is spread.

    Attributes:
        actor: the class that works on a node. `hello()` gives what it is to be remembered by, and this package's
            version there; `work(items, *arguments)` the results, and what is wrong with the item after the last, if
            anything is.
        arguments: of its constructor, the number of `workers` of its place coming last.
        places: for what a node offers (`CPU`, `GPU`, ...) the actors that stand on it.
        items: of an actor's first batch, and at most, for each of its workers; a batch has twice as many as the last.
        title: of an item, for messages.
        name: of the actor, and the verb for what it does.
        error: raised when it fails.
        start_seconds: that an actor has to start in.
    """

    actor: type
    arguments: tuple[Any, ...]
    places: Callable[[dict[str, float]], list[Place]]
    items: tuple[int, int]
    title: Callable[[Item], str]
    name: tuple[str, str]
    error: type[RewardRankerError]
    start_seconds: float = 180.0


@dataclass(frozen=True, slots=True)
class Place:
    """Room for an actor on a node."""

    workers: int
    processors: float
    gpus: float = 0


@dataclass
class _Batch(Generic[Item, Result]):
    items: list[Item]
    results: list[Result] | None = None
    error: DataError | None = None
    """What is wrong with the item after the last of `results`."""
    faults: list[str] = field(default_factory=list)


@dataclass
class Node(Generic[Item, Result]):
    """An actor's place on a node of the cluster."""

    id: str
    address: str
    place: Place
    actor: Any = None
    hello: Any = None
    """What the actor is remembered by."""
    greeting: Any = None
    """Reference of the answer of an actor that is starting; None when it has come."""
    greeting_due: float = 0.0
    starts: int = 0
    batch_items: int = 0
    batches: dict[Any, _Batch[Item, Result]] = field(default_factory=dict)
    """By the reference of their result."""


class RayPool(Generic[Item, Result]):
    """Actors on all nodes of a Ray cluster.

    Args:
        address: of the cluster; None: the environment's RAY_ADDRESS, a cluster that runs on this machine, or a new
            one of this machine alone. A connection that the caller has already made is used as it is.

    Raises:
        MissingExtraError: Ray is not installed.
        RewardRankerError: (the kind's) no such cluster, or no node starts an actor; lists the causes.
    """

    def __init__(self, kind: Kind[Item], address: str | None = None) -> None:
        try:
            import ray
        except ImportError:
            raise MissingExtraError("ray", "ray") from None
        self._ray = ray
        self._kind = kind
        self.faults: list[str] = []
        """Nodes and actors that were lost or did not start, in words."""
        self.nodes: list[Node[Item, Result]] = []
        self._connected = not ray.is_initialized()
        if self._connected:
            self._connect(address)
        try:
            self._start_all()
        except BaseException:
            self.close()
            raise

    def results(self, items: Iterable[Item], *arguments: Any) -> Iterator[Result]:
        """Yield one result for each item, in order, while later ones are at work.

        Args:
            arguments: of the actors' `work` beside the items.

        Raises:
            DataError: an item can't be worked on.
            RewardRankerError: (the kind's) a batch failed in several places, or no node is left.
        """
        stream = iter(items)
        window: deque[_Batch[Item, Result]] = deque()
        waiting: deque[_Batch[Item, Result]] = deque()
        for node in self.nodes:
            node.batch_items = self._kind.items[0] * node.place.workers
        is_at_end = False
        try:
            while True:
                is_at_end = self._hand_out(stream, window, waiting, arguments) or is_at_end
                if is_at_end and not window:
                    return
                head = window[0] if window else None
                if head is None or head.results is None:
                    self._receive(waiting)
                    continue
                window.popleft()
                yield from head.results
                if head.error is not None:
                    raise head.error
        finally:
            for node in self.nodes:  # an abandoned stream's results come to nobody
                node.batches.clear()

    def close(self) -> None:
        """End the actors on all nodes, and the connection if it was made here. Further calls do nothing."""
        for node in self.nodes:
            self._kill(node)
        self.nodes.clear()
        if self._connected:
            self._connected = False
            self._ray.shutdown()

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
            raise self._kind.error(
                f"can't connect to the Ray cluster {where}: {error}; start one with `ray start --head`, or set "
                "RAY_ADDRESS to that of one"
            ) from None

    def _start_all(self) -> None:
        for info in self._ray.nodes():
            for place in self._kind.places(info["Resources"]) if info["Alive"] else ():
                node: Node[Item, Result] = Node(info["NodeID"], info["NodeManagerAddress"], place)
                self.nodes.append(node)
                self._start(node)
        for node in list(self.nodes):
            with contextlib.suppress(RewardRankerError):
                self._greet(node, max(0.0, node.greeting_due - time.monotonic()))
        if not self.nodes:
            raise self._kind.error(
                f"no node of the Ray cluster can {self._kind.name[1]}: "
                f"{'; '.join(self.faults) or 'none offers the processors or GPUs that are asked for'}"
            )

    def _start(self, node: Node[Item, Result]) -> None:
        """Start an actor in its place."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        node.actor = (
            self._ray.remote(self._kind.actor)
            .options(
                num_cpus=node.place.processors,
                num_gpus=node.place.gpus,
                max_restarts=0,
                max_task_retries=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.id, soft=False),
            )
            .remote(*self._kind.arguments, node.place.workers)
        )
        node.starts += 1
        node.batch_items = self._kind.items[0] * node.place.workers
        node.greeting = node.actor.hello.remote()
        node.greeting_due = time.monotonic() + self._kind.start_seconds

    def _greet(self, node: Node[Item, Result], seconds: float) -> None:
        """Take in that an actor has started. One that can't work is left out.

        Raises:
            RewardRankerError: it has been left out.
        """
        ours = metadata.version("rewardranker")
        try:
            hello, version = self._ray.get(node.greeting, timeout=seconds)
            if version != ours:
                raise DataError(f"it has rewardranker {version}, this machine has {ours}: install the same on both")
        except RewardRankerError as error:
            cause = str(error)
        except self._ray.exceptions.GetTimeoutError:
            cause = (
                f"no {self._kind.name[0]} started within {self._kind.start_seconds:.0f} s: are its processors or GPUs "
                "taken by other jobs?"
            )
        except self._ray.exceptions.RayError as error:
            cause = _cause(error)
        else:
            node.greeting, node.hello = None, hello
            return
        self._give_up(node, cause)
        raise self._kind.error(cause)

    def _kill(self, node: Node[Item, Result]) -> None:
        if node.actor is not None:
            with contextlib.suppress(Exception):  # it may be gone, and the cluster with it
                self._ray.kill(node.actor)
            node.actor = None

    def _give_up(self, node: Node[Item, Result], cause: str) -> None:
        self._kill(node)
        self.nodes.remove(node)
        self.faults.append(f"node {node.address}: {cause}")
        warnings.warn(
            f"the {self._kind.name[0]} goes on without a node of the Ray cluster: {self.faults[-1]}",
            RuntimeWarning,
            stacklevel=2,
        )

    def _restart(self, node: Node[Item, Result], cause: str) -> None:
        """Start a fresh actor where one failed; do without the place if its node is gone or it fails often."""
        self._kill(node)
        alive = any(info["NodeID"] == node.id and info["Alive"] for info in self._ray.nodes())
        if alive and node.starts < _ATTEMPTS:
            self.faults.append(f"node {node.address}: {cause}")
            self._start(node)
        else:
            self._give_up(node, cause)

    # --- batches ------------------------------------------------------------------------------------------------

    def _hand_out(
        self,
        stream: Iterator[Item],
        window: deque[_Batch[Item, Result]],
        waiting: deque[_Batch[Item, Result]],
        arguments: tuple[Any, ...],
    ) -> bool:
        """Give batches to actors that have room: first those to be tried again, then new ones.

        Returns:
            The stream has ended. Where none has room, nothing is known of that.
        """
        for _ in range(_IN_FLIGHT):
            for node in sorted(self.nodes, key=lambda node: len(node.batches)):
                if node.greeting is not None or len(node.batches) >= _IN_FLIGHT:
                    continue
                if waiting:
                    batch = waiting.popleft()
                elif len(window) < len(self.nodes) * _IN_FLIGHT * _AHEAD:
                    batch = _Batch(list(itertools.islice(stream, node.batch_items)))
                    if not batch.items:
                        return True
                    window.append(batch)
                    node.batch_items = min(2 * node.batch_items, self._kind.items[1] * node.place.workers)
                else:
                    return False
                node.batches[node.actor.work.remote(batch.items, *arguments)] = batch
        return False

    def _receive(self, waiting: deque[_Batch[Item, Result]]) -> None:
        """Wait for news from the nodes and take it in."""
        if not self.nodes:
            raise self._kind.error(f"no node of the Ray cluster is left: {'; '.join(self.faults)}")
        by_result = {result: node for node in self.nodes for result in node.batches}
        greetings = {node.greeting: node for node in self.nodes if node.greeting is not None}
        ready = self._ray.wait([*by_result, *greetings], num_returns=1, timeout=1.0)[0]
        late = [greeting for greeting, node in greetings.items() if time.monotonic() > node.greeting_due]
        for greeting in {*late, *ready} & {*greetings}:
            with contextlib.suppress(RewardRankerError):
                self._greet(greetings[greeting], 0.0)
        for result in {*ready} & {*by_result}:
            node = by_result[result]
            batch = node.batches.pop(result)
            try:
                results, problem = self._ray.get(result)
            except self._ray.exceptions.RayError as error:
                self._take_back(node, batch, _cause(error), waiting)
                continue
            batch.results = results
            batch.error = DataError(problem) if problem else None

    def _take_back(
        self,
        node: Node[Item, Result],
        batch: _Batch[Item, Result],
        cause: str,
        waiting: deque[_Batch[Item, Result]],
    ) -> None:
        """A batch failed: all that its actor had is tried elsewhere, and a fresh actor takes its place."""
        batch.faults.append(f"node {node.address}: {cause}")
        if len(batch.faults) >= _ATTEMPTS:
            raise self._kind.error(
                f"the {self._kind.name[0]} failed {_ATTEMPTS} times on a batch of {len(batch.items)} (the first is "
                f"{self._kind.title(batch.items[0])}): {'; '.join(dict.fromkeys(batch.faults))}"
            )
        waiting.extend([batch, *node.batches.values()])
        node.batches.clear()
        self._restart(node, cause)


def _cause(error: Exception) -> str:
    """The last line of an error from a node, which tells what happened there."""
    cause = getattr(error, "cause", None)
    text = str(cause if isinstance(cause, Exception) else error).strip()
    return text.splitlines()[-1][:500] if text else type(error).__name__
