"""The judge on a Ray cluster: one actor on each node, with a pool of workers of its own, works on batches.

`ray_pool` says what is guaranteed. Besides, not guaranteed: that equal programs run once beyond a batch (a cache
in front sees to that); that a program meets the same processor or toolchain everywhere: verdicts record what ran them,
`doctor` on each node tells beforehand. Within a batch the slowest program decides when a node goes on, so its other
workers may wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import metadata
from typing import Any

from rewardranker.config import JudgeOptions
from rewardranker.errors import DataError, SandboxError
from rewardranker.execution.judge import ProgramJudge
from rewardranker.ray_pool import Kind, Place, RayPool
from rewardranker.types import Sample, Task, Verdict

Item = tuple[Task, Sample]

_FIRST_ITEMS, _MOST_ITEMS = 4, 64
"""Items of a node's batch for each of its workers: the first is small, so that short inputs reach all nodes."""


class _NodeJudge:
    """What runs on a node, as a Ray actor."""

    def __init__(self, options: dict[str, Any], workers: int) -> None:
        self._judge = ProgramJudge(JudgeOptions(**options), workers)

    def hello(self) -> tuple[str, str]:
        """The isolation of programs here, and the version of this package."""
        return self._judge.isolation, metadata.version("rewardranker")

    def work(self, items: list[Item]) -> tuple[list[Verdict], str]:
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

    def __init__(
        self, options: JudgeOptions | None = None, workers: int | None = None, address: str | None = None
    ) -> None:
        """Connect, and start a judge on every node that has a processor to offer.

        Args:
            workers: worker processes on each node; None: one for each processor that the node offers to Ray.
            address: of the cluster; None: see `RayPool`.

        Raises:
            MissingExtraError: Ray is not installed.
            SandboxError: no such cluster, or no node starts a judge; lists the causes.
        """

        def places(offered: dict[str, float]) -> list[Place]:
            processors = int(offered.get("CPU", 0))
            return [Place(workers or processors, min(workers or processors, processors))] if processors else []

        self.pool: RayPool[Item, Verdict] = RayPool(
            Kind(
                actor=_NodeJudge,
                arguments=((options or JudgeOptions()).model_dump(),),
                places=places,
                items=(_FIRST_ITEMS, _MOST_ITEMS),
                title=lambda item: f"a program of task '{item[0].task_id}'",
                name=("judge", "judge"),
                error=SandboxError,
            ),
            address,
        )

    @property
    def isolation(self) -> str:
        """Of programs on the nodes; several where they differ."""
        return " / ".join(sorted({node.hello for node in self.pool.nodes if node.hello is not None}))

    def judge(self, items: Iterable[Item]) -> Iterator[Verdict]:
        """Yield one verdict for each item, in order, while later ones are at work.

        Raises:
            DataError: a task can't be judged.
            SandboxError: a batch failed on several nodes, or no node is left.
        """
        return self.pool.results(items)

    def close(self) -> None:
        """End the judges on all nodes, and the connection if it was made here. Further calls do nothing."""
        self.pool.close()

    def __enter__(self) -> RayJudge:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
