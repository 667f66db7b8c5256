"""Sampling on a Ray cluster: a sampler for each GPU of its nodes, or one for a node without, draws batches of tasks.

`ray_pool` says what is guaranteed. The batches are those of one process, and what is drawn for a sample depends neither
on its batch's neighbours nor on who draws it, so the samples are those of one process on such a machine (see `sampler`
and `vllm_sampler` for how far). Every node loads the model for itself: a folder must be there under the same path.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from rewardranker.config import Recipe
from rewardranker.errors import DataError, ModelError
from rewardranker.generation.opening import open_sampler
from rewardranker.generation.recording import record_fields
from rewardranker.ray_pool import Kind, Place, RayPool
from rewardranker.types import Sample, Task


class _NodeSampler:
    """What runs on a node, as a Ray actor."""

    def __init__(
        self, recipe: dict[str, Any], source: str, name: str, engine: str, options: dict[str, Any], workers: int
    ) -> None:
        import ray

        opened = Recipe.model_validate(recipe)
        if opened.launch.threads is None:  # not the whole machine, where samplers share it
            own = ray.get_runtime_context().get_assigned_resources().get("CPU", 1)
            opened = opened.model_copy(
                update={"launch": opened.launch.model_copy(update={"threads": max(1, int(own))})}
            )
        self._sampler = open_sampler(opened, source, engine, options, name)

    def hello(self) -> tuple[None, str]:
        """Nothing to remember, and the version of this package."""
        return None, metadata.version("rewardranker")

    def work(self, tasks: list[Task], n: int, round: int) -> tuple[list[list[Sample]], str]:
        """The samples of each task, and what is wrong with the tasks, where something is."""
        try:
            return list(self._sampler.sample(tasks, n, round=round)), ""
        except (DataError, ModelError) as error:  # no other node could draw them either
            return [], str(error)


class RaySampler:
    """Draws programs on all nodes of a Ray cluster. Implements `types.Sampler`; use as a context manager.

    Example:
        >>> with RaySampler(recipe, "models/coder", engine="vllm") as sampler:
        ...     samples = list(sampler.sample(tasks, 16))
    """

    streams = True

    def __init__(
        self,
        recipe: Recipe,
        model: str,
        engine: str = "transformers",
        options: dict[str, Any] | None = None,
        workers: int | None = None,
        address: str | None = None,
    ) -> None:
        """Connect, and start the samplers.

        Args:
            recipe: `sampling`, `prompt`, `model.dtype` and `launch` are used.
            model, engine, options: see `open_sampler`. vLLM's `tensor_parallel_size` is the GPUs of one sampler.
            workers: samplers on each node, which share its processors (`launch.threads` where that is given); None: one
                for each GPU, one without.
            address: of the cluster; None: see `RayPool`.

        Raises:
            MissingExtraError: Ray is not installed.
            ModelError: no such cluster, or no node starts a sampler; lists the causes.
        """
        options = options or {}
        gpus = int(options.get("tensor_parallel_size", 1))

        def places(offered: dict[str, float]) -> list[Place]:
            processors, cards = int(offered.get("CPU", 0)), int(offered.get("GPU", 0))
            number = workers or cards // gpus or 1
            if not processors or (cards and cards < gpus * number):
                return []
            share = processors // number or processors / number  # Ray takes no fractions above 1
            return [Place(1, share, gpus if cards else 0)] * number

        source = str(Path(model).resolve()) if Path(model).exists() else model  # actors start in other folders
        self._model, self._sampling = model, recipe.sampling
        batch = recipe.sampling.batch_tasks
        self.pool: RayPool[Task, list[Sample]] = RayPool(
            Kind(
                actor=_NodeSampler,
                arguments=(recipe.model_dump(mode="json"), source, model, engine, options),
                places=places,
                items=(batch, batch),
                title=lambda task: f"task '{task.task_id}'",
                name=("sampler", "sample"),
                error=ModelError,
                start_seconds=1800.0,  # a large model comes from a slow disk, and vLLM compiles
            ),
            address,
        )

    @property
    def record_fields(self) -> dict[str, str | int | float]:
        """Columns that are the same in every sample of this sampler."""
        return record_fields(self._sampling, self._model)

    @property
    def batch_tasks(self) -> int:
        """Tasks decoded together."""
        return self._sampling.batch_tasks

    def sample(self, tasks: Sequence[Task], n: int, *, round: int = 0) -> Iterator[list[Sample]]:
        """Yield the `n` samples of each task, in order, while later ones are drawn.

        Raises:
            DataError: a task can't be drawn for: its prompt is too long for the model.
            ModelError: a batch failed in several places, or no node is left.
        """
        return self.pool.results(tasks, n, round)

    def close(self) -> None:
        """End the samplers on all nodes, and the connection if it was made here. Further calls do nothing."""
        self.pool.close()

    def __enter__(self) -> RaySampler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
