"""Sampling shared by the processes of a launch: each draws every so-manieth batch into a file of its own.

The batches are those of one process, and what is drawn for a sample depends on neither its batch's neighbours nor the
process, so the joined file is that of one process byte for byte (same kind of machine, threads and library versions).
Killed and called again with as many processes, it goes on; with another number it draws the unfinished file anew.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from rewardranker import processes
from rewardranker.generation.files import sample_to_file, sampler_batch
from rewardranker.progress import Silent
from rewardranker.types import ProgressReporter, Sampler, Task


def sample_together(
    sampler: Sampler,
    tasks: Sequence[Task],
    n: int,
    path: str | Path,
    *,
    batch_tasks: int | None = None,
    round: int = 0,
    progress: ProgressReporter | None = None,
) -> dict[str, Any]:
    """`sample_to_file`, shared by all processes of the launch; each must call it. Started alone it is just that."""
    path, size = Path(path), processes.world_size()
    if batch_tasks is None or getattr(sampler, "streams", False):
        batch_tasks = sampler_batch(sampler)
    options: dict[str, Any] = {"batch_tasks": batch_tasks, "round": round}
    if size == 1:
        return sample_to_file(sampler, tasks, n, path, progress=progress, **options)
    if processes.on_main(lambda: _lines(path) == len(tasks) * n):
        return processes.on_main(lambda: sample_to_file(sampler, tasks, n, path, **options))
    batches = [tasks[start : start + batch_tasks] for start in range(0, len(tasks), batch_tasks)]
    own = [task for batch in batches[processes.rank() :: size] for task in batch]
    part = _part(path, processes.rank())
    shown = progress if processes.is_main() else Silent()
    mine = sample_to_file(sampler, own, n, part, progress=shown, **options) if own else {"tokens_per_second": 0.0}
    seconds = max(processes.gathered([mine.get("seconds", 0.0)]))
    speed = sum(processes.gathered([mine["tokens_per_second"]]))

    def join() -> dict[str, Any]:
        joined = path.with_name(f".{path.name}.joined.tmp")
        with contextlib.ExitStack() as stack:
            out = stack.enter_context(joined.open("wb"))
            # A process that has no batch writes no file.
            used = range(min(size, len(batches)))
            parts = [stack.enter_context(_part(path, rank).open("rb")) for rank in used]
            for number, batch in enumerate(batches):
                out.writelines(islice(parts[number % size], len(batch) * n))
        joined.replace(path)
        figures = sample_to_file(sampler, tasks, n, path, **options)  # nothing is left to draw: it checks and counts
        for leftover in path.parent.glob(f".{path.name}.part-*"):
            leftover.unlink()
        return figures | {"seconds": seconds, "tokens_per_second": speed}

    return processes.on_main(join)


def _part(path: Path, rank: int) -> Path:
    return path.with_name(f".{path.name}.part-{rank}-of-{processes.world_size()}")


def _lines(path: Path) -> int:
    if not path.exists():
        return 0
    with path.open("rb") as file:
        return sum(1 for _ in file)
